"""Runs coroutines concurrently as a unit, and calls in threads that are always awaited."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
P = TypeVar("P")


async def together(coroutines: Iterable[Coroutine[Any, Any, T]], *, name: str) -> list[T]:
    """The results of all coroutines, in order. The first failure cancels the others and is raised itself, not in a group. ``name`` names
    the tasks.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine, name=name) for coroutine in coroutines]
    except ExceptionGroup as errors:
        # Callers catch errors by type, and their except clauses would not match a group.
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


async def both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B], *, name: str) -> tuple[A, B]:
    """``together`` for two coroutines of different types."""
    one, other = await together((first, second), name=name)
    return one, other  # type: ignore[return-value]  # in the order of the coroutines


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and return when all have ended, however they ended."""
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            # Repeatedly: in Python 3.11 asyncio.wait_for loses a cancellation that coincides with the end of its own wait.
            task.cancel()
        await asyncio.wait(waiting, timeout=0.5)
    await asyncio.gather(*tasks, return_exceptions=True)


async def in_thread(call: Callable[..., T], *args: object) -> T:
    """The result of ``call`` in a thread. Even when cancelled, it returns only after the thread has, so that its arguments stay valid."""
    running = asyncio.ensure_future(asyncio.to_thread(call, *args))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        # A thread cannot be cancelled: returning earlier would free buffers that it still reads.
        with contextlib.suppress(Exception):
            await asyncio.shield(running)
        raise


async def parts_and_result(run: Callable[[Callable[[P], None]], Coroutine[Any, Any, A]], *, name: str) -> AsyncGenerator[P | A]:
    """The parts that ``run`` passes to its argument, as they come, and finally its result.

    Raises what ``run`` raises; closing the generator (``aclosing``) cancels it.
    """
    parts: asyncio.Queue[P | None] = asyncio.Queue()
    task = asyncio.create_task(run(parts.put_nowait), name=name)
    task.add_done_callback(lambda _: parts.put_nowait(None))
    try:
        while (part := await parts.get()) is not None:
            yield part
        yield await task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await task
