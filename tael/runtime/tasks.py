"""Coroutines that run side by side and end together; calls that run in a thread and are waited for."""

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
    """What each comes to, in order. The first failure cancels the others and is raised as it is, in no group; tasks have the ``name``."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine, name=name) for coroutine in coroutines]
    except ExceptionGroup as errors:
        # Callers catch errors of ours by type; a group would pass by their except clauses.
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


async def both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B], *, name: str) -> tuple[A, B]:
    """``together`` for two of different types."""
    one, other = await together((first, second), name=name)
    return one, other  # type: ignore[return-value]  # in the order of the coroutines


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and return when all have ended, however they ended."""
    while waiting := [task for task in tasks if not task.done()]:
        for task in waiting:
            # More than once: asyncio.wait_for of Python 3.11 loses a cancellation that comes just as what it waits for is done.
            task.cancel()
        await asyncio.wait(waiting, timeout=0.5)
    await asyncio.gather(*tasks, return_exceptions=True)


async def in_thread(call: Callable[..., T], *args: object) -> T:
    """What ``call`` comes to in a thread. Returns after the thread has, even when cancelled: what it works on is held until then."""
    running = asyncio.ensure_future(asyncio.to_thread(call, *args))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        # A thread cannot be cancelled: returning earlier would free buffers that it still reads.
        with contextlib.suppress(Exception):
            await asyncio.shield(running)
        raise


async def parts_and_result(run: Callable[[Callable[[P], None]], Coroutine[Any, Any, A]], *, name: str) -> AsyncGenerator[P | A]:
    """The parts that ``run`` hands to the function that it is given, as they come, and its result at the end.

    Raises what it raises; whoever stops listening (``aclosing``) cancels it.
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
