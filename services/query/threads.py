"""Evaluates in a thread what would hold up the event loop, and stops it when nobody waits for the result any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


class Abandoned(Exception):
    """Nobody waits for this evaluation any more."""


async def in_thread(work: Callable[[Callable[[], None]], R]) -> R:
    """What ``work`` returns; it MUST call its argument now and then, which raises once the caller was cancelled or gave up."""
    ended = threading.Event()

    def check() -> None:
        if ended.is_set():
            raise Abandoned

    try:
        return await asyncio.to_thread(work, check)
    finally:
        ended.set()
