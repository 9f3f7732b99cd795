"""The freshness of answers: which shards' writers are behind their WAL, so that answers carry a warning."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from aiohttp import web

from tael.cluster.api import KeyValue
from tael.cluster.damaged import DamagedKeys
from tael.cluster.lag import Ages
from tael.cluster.lease import Lease, writer_key
from tael.cluster.shard import shard_name
from tael.errors import Retryable
from tael.runtime.observe import get_logger
from tael.runtime.service import Stop
from tael.wal.api import WalState

log = get_logger("freshness")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
WalStates = Callable[[int], Awaitable[Sequence[WalState | None]]]
_LOOK_EVERY_SECONDS = 2.0
# A context variable, because answers are built many calls below the request, by code that does not know about shards.
_LAGS: ContextVar[Mapping[str, float]] = ContextVar("lags")


class Freshness:
    """Watches the WALs and the writers' leases of all ``shard_count()`` shards; a shard that is at most ``most_seconds`` behind counts as
    fresh.
    """

    def __init__(self, kv: KeyValue, wal_states: WalStates, shard_count: Callable[[], int], most_seconds: float) -> None:
        self._kv = kv
        self._wal_states = wal_states
        self._shard_count = shard_count
        self._most_seconds = most_seconds
        self._ages: dict[int, Ages] = {}
        self._damaged = DamagedKeys()
        self._lags: dict[str, float] = {}

    async def run(self, stop: Stop) -> None:
        """Look every few seconds until ``stop``; a shard that cannot be read keeps its last known lag."""
        while not stop.is_set:
            try:
                await self.look()
            except Retryable as error:
                log.debug("cannot determine how fresh the shards are", reason=str(error))
            await stop.sleep(_LOOK_EVERY_SECONDS)

    async def look(self) -> None:
        """Update the lags once. Raises Unavailable."""
        for shard, state in enumerate(await self._wal_states(self._shard_count())):
            found = await self._kv.get(writer_key(shard))
            lease = self._damaged.read(Lease, found) if found else None
            if state is not None:
                # Without a lease nothing was ever written: everything in the WAL is behind.
                committed = lease.committed if lease else state.first - 1
                age = self._ages.setdefault(shard, Ages()).observe(state.last, committed, time.monotonic())
                self._lags[shard_name(shard)] = age

    def lags(self) -> Mapping[str, float]:
        """How many seconds each shard that is not fresh is behind, by its name."""
        return {name: age for name, age in self._lags.items() if age > self._most_seconds}


def lags_middleware(behind: Callable[[], Mapping[str, float]]) -> Any:
    """A middleware that stores ``behind()`` for each request, to be read by ``lags``."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        before = _LAGS.set(behind())
        try:
            return await handler(request)
        finally:
            _LAGS.reset(before)

    return middleware


def lags() -> Mapping[str, float]:
    """The shards that were behind when the current request arrived, and by how many seconds."""
    return _LAGS.get({})


def lag_warnings() -> list[str]:
    """A warning for each of the shards in ``lags``."""
    return [f"{name} is {seconds:.0f} s behind: data sent since then is missing from this result" for name, seconds in lags().items()]
