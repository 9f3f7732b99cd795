"""Whether the WAL takes appends, as the last append to each shard showed: for readiness, and so that clients do not queue behind a WAL that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tael.errors import Unavailable
from tael.wal.api import WalAppender

FORGET_SECONDS = 15.0
"""A failure this old says nothing any more: without requests nothing would ever show that the WAL is well again."""


@dataclass(slots=True)
class _Failure:
    reason: str
    at: float
    retrying: bool = False


class WatchedAppender:
    """A WalAppender that remembers which shards' last append failed.

    While a shard's WAL fails, one append at a time is tried; the others are refused at once with the same reason.
    """

    def __init__(self, appender: WalAppender, now: Callable[[], float] = time.monotonic) -> None:
        self._appender = appender
        self._now = now
        self._failures: dict[int, _Failure] = {}

    @property
    def max_body_bytes(self) -> int:
        """See WalAppender."""
        return self._appender.max_body_bytes

    @property
    def problem(self) -> str:
        """Why appends fail now; empty while they succeed, or when none was tried for FORGET_SECONDS."""
        recent = [f for f in self._failures.values() if f.retrying or self._now() - f.at < FORGET_SECONDS]
        return "; ".join(dict.fromkeys(failure.reason for failure in recent))

    def turns(self, shard: int) -> int:
        """See WalAppender."""
        return self._appender.turns(shard)

    async def append(self, shard: int, signal: str, body: bytes, items: int, dedup_id: str) -> None:
        """See WalAppender."""
        failure = self._failures.get(shard)
        if failure is not None and failure.retrying:
            raise Unavailable(failure.reason, retry_after_seconds=2)
        # One append finds out whether the WAL is well again, and the others do not wait behind it.
        if failure is not None:
            failure.retrying = True
        try:
            await self._appender.append(shard, signal, body, items, dedup_id)
        # Overloaded is no failure of this kind: a WAL that says that it is full answers, and Pressure speaks for it.
        except Unavailable as error:
            self._failures[shard] = _Failure(str(error), self._now())
            raise
        else:
            self._failures.pop(shard, None)
        finally:
            if failure is not None:
                failure.retrying = False
