"""Observes the WALs, the leases and the disks once a second, feeds Pressure, and reports them on ``/metrics``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Gauge

from services.ingest.pressure import CAUSES, Pressure, PressureSettings, WalView
from tael.cluster.api import KeyValue
from tael.cluster.damaged import DamagedKeys
from tael.cluster.lease import Lease, writer_key
from tael.errors import Overloaded, Retryable
from tael.runtime.observe import get_logger
from tael.runtime.service import Stop
from tael.wal.api import WalState

log = get_logger("pressure")
_EVERY_SECONDS = 1.0
_RETRY_AFTER_SECONDS = 5.0
WalStates = Callable[[int], Awaitable[Sequence[WalState | None]]]


def free_bytes(directory: str) -> int:
    """The bytes that an unprivileged process may still write to a directory's disk. Raises OSError."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


@dataclass
class Observer:
    """Observes until stopped; ``require`` refuses while there is pressure."""

    settings: PressureSettings
    kv: KeyValue
    wal_states: WalStates
    shard_count: Callable[[], int]
    registry: CollectorRegistry
    free_bytes: Callable[[str], int] = free_bytes
    pressure: Pressure = field(init=False)

    def __post_init__(self) -> None:
        self.pressure = Pressure(self.settings)
        self._reported: list[str] = []
        self._unseen: set[str] = set()
        self._damaged = DamagedKeys()
        self.wal_problem = ""
        self._closed = Gauge(
            "tael_ingest_backpressure", "1 while all writes are refused for this cause.", ["cause"], registry=self.registry
        )
        self._entries = Gauge("tael_wal_waiting_entries", "WAL entries not yet in the hot tier.", ["shard"], registry=self.registry)
        self._waiting = Gauge(
            "tael_wal_waiting_bytes", "Approximate bytes of the WAL not yet in the hot tier.", ["shard"], registry=self.registry
        )
        self._seconds = Gauge(
            "tael_wal_waiting_seconds", "Age of the oldest WAL entry not yet in the hot tier.", ["shard"], registry=self.registry
        )
        self._size = Gauge("tael_wal_bytes", "Size of the WAL.", ["shard"], registry=self.registry)
        self._free = Gauge("tael_disk_free_bytes", "Free space of a watched disk.", ["directory"], registry=self.registry)

    def require(self) -> None:
        """Raise Overloaded, with every reason, while there is pressure."""
        if reasons := self.pressure.reasons:
            raise Overloaded("; ".join(reasons), retry_after_seconds=_RETRY_AFTER_SECONDS)

    async def run(self, stop: Stop, looked: Callable[[], None] = lambda: None) -> None:
        """Look once a second until ``stop`` and call ``looked`` after each look. ``wal_problem`` then names the WALs that cannot
        be read.
        """
        while not stop.is_set:
            await self.look()
            looked()
            await stop.sleep(_EVERY_SECONDS)

    async def look(self) -> None:
        """Look once. The last decision stands for whatever cannot be read; appends will report what is wrong with it."""
        try:
            wals = await self._wals()
        except Retryable as error:
            log.debug("cannot read the state of the WALs", reason=str(error))
            wals, self.wal_problem = {}, str(error)
        # In a thread, as statvfs() of a network file system may block.
        self.pressure.observe(wals, await asyncio.to_thread(self._disks), time.monotonic())
        self._report(wals)

    async def _wals(self) -> Mapping[int, WalView]:
        # Only the main WAL of each shard: items far from now may wait in the second one without causing backpressure (docs/adr/0013).
        states = await self.wal_states(self.shard_count())
        views: dict[int, WalView] = {}
        for shard, state in enumerate(states):
            lease = await self.kv.get(writer_key(shard))
            if state is not None:
                known = self._damaged.read(Lease, lease) if lease else None
                # Without a lease nobody writes: every entry in the WAL is still waiting.
                committed = known.committed if known else state.first - 1
                views[shard] = WalView(state.first, state.last, state.size_bytes, state.max_bytes, committed)
        missing = [str(shard) for shard, state in enumerate(states) if state is None]
        self.wal_problem = f"the WAL of shard {', '.join(missing)} does not exist or cannot be read" if missing else ""
        return views

    def _disks(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for directory in self.settings.watched_dirs:
            try:
                found[directory] = self.free_bytes(directory)
            except OSError as error:
                if directory not in self._unseen:
                    log.warning("cannot read a disk's free space", directory=directory, reason=error.strerror)
                self._unseen.add(directory)
        return found

    def _report(self, wals: Mapping[int, WalView]) -> None:
        for shard, view in wals.items():
            self._entries.labels(str(shard)).set(view.waiting_entries)
            self._waiting.labels(str(shard)).set(view.waiting_bytes)
            self._seconds.labels(str(shard)).set(self.pressure.lag_seconds[shard])
            self._size.labels(str(shard)).set(view.size_bytes)
        for cause in CAUSES:
            self._closed.labels(cause).set(self.pressure.closed(cause))
        causes = [cause for cause in CAUSES if self.pressure.closed(cause)]
        if causes and causes != self._reported:
            log.warning("backpressure on: refusing writes", reason="; ".join(self.pressure.reasons))
        elif self._reported and not causes:
            log.info("backpressure off: accepting writes")
        self._reported = causes
