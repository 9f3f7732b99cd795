"""Admission of queries: how many run at once, how many wait, and for how long.

A query waits at most ``timeout_seconds`` for its turn and then has that long to ask the shards, so that time spent waiting is never taken
from the shards; rendering the answer has no deadline. A query that finds the queue full, or waits too long, raises Overloaded; one that is
still waiting for an answer at its deadline raises TimeoutError. Shards get a little less than the full time: a slow shard then makes the
answer partial before the deadline. A query that takes several turns, so that a slow client holds none, has one ``Allowance`` for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

from prometheus_client import Counter, Gauge, Histogram

from services.query.fair import FairSemaphore
from tael.errors import Overloaded
from tael.storage.gather import Patience, patient

T = TypeVar("T")

SECONDS = Histogram("tael_query_seconds", "Run time of queries in seconds, without the time in the queue.", ["route"])
REFUSED = Counter("tael_query_refused_total", "Queries refused because the limit of running and waiting queries was reached.")
RUNNING = Gauge("tael_query_running", "Queries running.")
WAITING = Gauge("tael_query_waiting", "Queries waiting in the queue.")


def shard_timeout_seconds(timeout_seconds: float) -> float:
    """A shard's share of a query's time: nine tenths, at least 50 ms less than all of it, never less than half."""
    # The 50 ms are for merging the other shards' answers, where a tenth of a short time would be too little.
    return max(timeout_seconds / 2, min(timeout_seconds * 0.9, timeout_seconds - 0.05))


@dataclass(slots=True)
class Allowance:
    """The time that a query has left for all of its turns: to wait for them, and to ask in them. ``lost`` is as in Patience."""

    waiting_seconds: float
    asking_seconds: float
    lost: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Turn:
    """The deadline within which one query may ask the shards, and how long it waited for its turn; ``began`` by the monotonic clock.
    ``lost`` is as in Patience.
    """

    timeout_seconds: float
    lost: dict[str, str]
    waited_seconds: float
    began: float

    @property
    def seconds(self) -> float:
        """How long the query has been running."""
        return time.monotonic() - self.began

    async def ask(self, answer: Awaitable[T], most_seconds: float = math.inf) -> T:
        """Await an answer, perhaps for less time than the query has. Raises TimeoutError at the deadline."""
        seconds = min(self.timeout_seconds, most_seconds)
        with patient(Patience(shard_timeout_seconds(seconds), self.lost)):
            async with asyncio.timeout(seconds):
                return await answer


class Turns:
    """Hands out turns: ``concurrency`` queries run at once, ``queue`` wait, tenants take turns."""

    def __init__(self, *, concurrency: int, queue: int, timeout_seconds: float) -> None:
        self._free = FairSemaphore(concurrency)
        self._concurrency = concurrency
        self._queue = queue
        self._waiting = 0
        self._timeout_seconds = timeout_seconds

    def allowance(self, lost: dict[str, str] | None = None) -> Allowance:
        """The time of a query that takes several turns: as much in all as others have for one. ``lost`` is that of an allowance before."""
        return Allowance(self._timeout_seconds, self._timeout_seconds, {} if lost is None else lost)

    def spent(self, left: Allowance) -> tuple[float, float]:
        """The seconds that a query has waited for its turns, and those that it was running in them."""
        return self._timeout_seconds - left.waiting_seconds, self._timeout_seconds - left.asking_seconds

    @contextlib.asynccontextmanager
    async def turn(self, route: str, tenant: str = "", allowance: Allowance | None = None) -> AsyncIterator[Turn]:
        """Run the block as one query of ``tenant``, or as a part of one, whose time is taken from its ``allowance``. Raises Overloaded
        instead of entering it.
        """
        left = allowance or self.allowance()
        asked = time.monotonic()
        await self._take(tenant, left.waiting_seconds)
        began = time.monotonic()
        left.waiting_seconds -= began - asked
        turn = Turn(left.asking_seconds, left.lost, began - asked, began)
        try:
            with RUNNING.track_inprogress():
                yield turn
        finally:
            self._free.release()
            left.asking_seconds -= turn.seconds
            SECONDS.labels(route).observe(turn.seconds)

    async def _take(self, tenant: str, seconds: float) -> None:
        if self._free.locked() and self._waiting >= self._queue:
            REFUSED.inc()
            raise Overloaded(
                f"query limit reached: {self._concurrency} running, {self._waiting} waiting (TAEL_QUERY_CONCURRENCY, TAEL_QUERY_QUEUE)"
            )
        self._waiting += 1
        try:
            # A timeout cancels acquire(), which then holds no place (see FairSemaphore.acquire).
            with WAITING.track_inprogress():
                await asyncio.wait_for(self._free.acquire(tenant), seconds)
        except TimeoutError:
            REFUSED.inc()
            raise Overloaded(
                f"waited {self._timeout_seconds:g} s for one of {self._concurrency} running queries to end (TAEL_QUERY_CONCURRENCY)"
            ) from None
        finally:
            self._waiting -= 1
