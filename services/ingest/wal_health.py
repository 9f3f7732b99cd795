"""Whether the WAL accepts appends, judged by the last append to each shard: for readiness, and so that clients do not queue behind a WAL
that hangs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tael.errors import Unavailable
from tael.wal.api import WalAppender

FORGET_SECONDS = 15.0
"""A failure older than this is ignored: without requests, no append would ever show that the WAL has recovered."""


@dataclass(slots=True)
class _Failure:
    reason: str
    at: float
    retrying: bool = False


class WatchedAppender:
    """A WalAppender that remembers the shards whose last append failed.

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
        """Why appends fail now; empty while they succeed, or when none was tried within FORGET_SECONDS."""
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
        # This append probes whether the WAL has recovered; the others do not wait behind it.
        if failure is not None:
            failure.retrying = True
        try:
            await self._appender.append(shard, signal, body, items, dedup_id)
        # Overloaded does not count: a WAL that reports that it is full does answer, and Pressure handles that case.
        except Unavailable as error:
            self._failures[shard] = _Failure(str(error), self._now())
            raise
        else:
            self._failures.pop(shard, None)
        finally:
            if failure is not None:
                failure.retrying = False
