"""Repeating what may succeed later, until it does or the process drains."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tael.errors import Retryable
from tael.runtime.service import Stop

T = TypeVar("T")
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.1, 5.0


class Stopped(Exception):  # not an error: the process drains
    """The process drains, so a call that failed is not made again. Whoever owns the loop catches it."""


async def retry(
    call: Callable[[], Awaitable[T]],
    stop: Stop,
    failed: Callable[[Retryable, float], None],
    *,
    first_pause_seconds: float = FIRST_PAUSE_SECONDS,
) -> T:
    """What ``call`` returns, made again after each Retryable with doubling pauses of at most five seconds.

    ``failed`` is told of every failure and of the pause that follows, for logs and metrics. Raises Stopped when the process drains before
    an attempt succeeds (one attempt is always made), and at once whatever else ``call`` raises.
    """
    pause = first_pause_seconds
    while True:
        try:
            return await call()
        except Retryable as error:
            failed(error, pause)
        # The drain ends the pause as well: a process must not be held up by its own patience.
        if await stop.sleep(pause):
            raise Stopped
        pause = min(MAX_PAUSE_SECONDS, pause * 2)
