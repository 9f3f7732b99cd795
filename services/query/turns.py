"""How many queries run at once, how many wait, and for how long: the bounds of a query process.

A query waits at most ``timeout_seconds`` for its turn and then has that long to ask the shards, so that a busy process never takes from the
time in which they answer; putting the answer into words is not cut off. Who finds the queue full, or waits in vain, is told to come back (Overloaded); a query that asks past its deadline
ends in TimeoutError. Shards get a little less than the whole: a slow one then makes the answer partial before the deadline kills it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram

from services.query.fair import FairSemaphore
from tael.errors import Overloaded

T = TypeVar("T")

SECONDS = Histogram("tael_query_seconds", "Time a query ran, without its wait for a turn.", ["route"])
REFUSED = Counter("tael_query_refused_total", "Queries refused because too many were running and waiting.")
RUNNING = Gauge("tael_query_running", "Queries running now.")
WAITING = Gauge("tael_query_waiting", "Queries waiting for their turn.")


def shard_timeout_seconds(timeout_seconds: float) -> float:
    """What a shard may take of a query's time: nine tenths, and always at least 50 ms less than all of it where that leaves half."""
    return max(timeout_seconds / 2, min(timeout_seconds * 0.9, timeout_seconds - 0.05))


@dataclass(frozen=True, slots=True)
class Turn:
    """One query's time to ask."""

    timeout_seconds: float

    async def ask(self, answer: Awaitable[T]) -> T:
        """The answer. Raises TimeoutError when it takes too long."""
        async with asyncio.timeout(self.timeout_seconds):
            return await answer


class Turns:
    """Hands out turns to run: ``concurrency`` at once, ``queue`` waiting, fair between tenants."""

    def __init__(self, *, concurrency: int, queue: int, timeout_seconds: float) -> None:
        self._free = FairSemaphore(concurrency)
        self._concurrency = concurrency
        self._queue = queue
        self._waiting = 0
        self._timeout_seconds = timeout_seconds

    @contextlib.asynccontextmanager
    async def turn(self, route: str, tenant: str = "") -> AsyncIterator[Turn]:
        """Run the block as one query of ``tenant``. Raises Overloaded before it starts."""
        await self._take(tenant)
        started = time.monotonic()
        try:
            with RUNNING.track_inprogress():
                yield Turn(self._timeout_seconds)
        finally:
            self._free.release()
            SECONDS.labels(route).observe(time.monotonic() - started)

    async def _take(self, tenant: str) -> None:
        if self._free.locked() and self._waiting >= self._queue:
            REFUSED.inc()
            raise Overloaded(
                f"query limit reached: {self._concurrency} running, {self._waiting} waiting (TAEL_QUERY_CONCURRENCY, TAEL_QUERY_QUEUE)"
            )
        self._waiting += 1
        try:
            with WAITING.track_inprogress():
                await asyncio.wait_for(self._free.acquire(tenant), self._timeout_seconds)
        except TimeoutError:
            REFUSED.inc()
            raise Overloaded(
                f"waited {self._timeout_seconds:g} s for one of {self._concurrency} running queries to end (TAEL_QUERY_CONCURRENCY)"
            ) from None
        finally:
            self._waiting -= 1
