"""Retries calls that may succeed later, until they do or the process drains."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tael.errors import Retryable
from tael.runtime.service import Stop

T = TypeVar("T")
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.1, 5.0


class Stopped(Exception):  # not an error: the process drains
    """The process drains, so a failed call is not retried. The owner of the loop catches it."""


async def retry(
    call: Callable[[], Awaitable[T]],
    stop: Stop,
    failed: Callable[[Retryable, float], None],
    *,
    first_pause_seconds: float = FIRST_PAUSE_SECONDS,
) -> T:
    """The result of ``call``, which is retried after each Retryable with doubling pauses of at most five seconds.

    ``failed`` is called with each failure and the pause that follows, for logs and metrics. Raises Stopped when the process drains before
    an attempt succeeds (one attempt is always made), and at once any other error of ``call``.
    """
    pause = first_pause_seconds
    while True:
        try:
            return await call()
        except Retryable as error:
            failed(error, pause)
        # The drain also ends the pause: retries must not delay the end of the process.
        if await stop.sleep(pause):
            raise Stopped
        pause = min(MAX_PAUSE_SECONDS, pause * 2)
