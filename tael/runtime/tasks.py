"""Coroutines that run side by side and end together."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


async def together(coroutines: Iterable[Coroutine[Any, Any, T]], *, name: str) -> list[T]:
    """What each comes to, in order. The first failure cancels the others and is raised as it is, in no group; tasks have the ``name``."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine, name=name) for coroutine in coroutines]
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors
    return [task.result() for task in tasks]


async def both(first: Coroutine[Any, Any, A], second: Coroutine[Any, Any, B], *, name: str) -> tuple[A, B]:
    """``together`` for two of different types."""
    one, other = await together((first, second), name=name)
    return one, other  # type: ignore[return-value]  # in the order of the coroutines
