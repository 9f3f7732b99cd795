"""Runs work that would block the event loop in a thread, and stops it when its caller is gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")


class Abandoned(Exception):
    """The caller of this evaluation was cancelled or gave up."""


async def in_thread(work: Callable[[Callable[[], None]], R]) -> R:
    """Run ``work`` in a thread. It MUST call its argument regularly; that raises Abandoned once the caller is gone."""
    ended = threading.Event()

    def check() -> None:
        if ended.is_set():
            raise Abandoned

    try:
        return await asyncio.to_thread(work, check)
    finally:
        # A thread cannot be cancelled: the work itself has to notice, at its next check.
        ended.set()
