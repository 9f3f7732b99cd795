"""Tells whether everything that was in the WALs at one moment is in the hot tier by now."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from tael.cluster.api import KeyValue
from tael.cluster.lease import WRITER_PREFIX, Lease
from tael.model.lanes import wal_name
from tael.wal.api import WalState


async def ends_of(wal_state: Callable[[int], Awaitable[WalState]], wals: Iterable[int]) -> Mapping[str, int]:
    """The current last sequence of each WAL, by name. Raises Retryable."""
    return {wal_name(wal): (await wal_state(wal)).last for wal in wals}


async def behind_of(kv: KeyValue, until: Mapping[str, int]) -> str:
    """Why entries up to these sequences may not all be in the hot tier yet; empty when they are. Raises Retryable."""
    for name, last in until.items():
        stored = await kv.get(f"{WRITER_PREFIX}{name}")
        committed = Lease.decode(stored).committed if stored else 0
        if committed < last:
            return f"the WAL {name} is written up to {committed}, and the entries before the request end at {last}"
    return ""
