"""Carries out deletions on the shards that this process holds: a few traces at a time, until a look finds nothing that is to go."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge

from tael.cluster.api import KeyValue
from tael.cluster.deletions import Deletion, Deletions, Progress
from tael.cluster.lease import WRITER_PREFIX, Lease
from tael.cluster.shard import ShardAddress
from tael.cold.manifest import Head
from tael.errors import Damaged, Rejected, Retryable
from tael.model.lanes import aside_of, wal_name
from tael.runtime.observe import get_logger
from tael.storage.erase import EraseStore, Erasure
from tael.wal.api import WalState

log = get_logger("compactor")
_TRACES_AT_ONCE: Final = 1_000
_ROUNDS: Final = 8
"""Of traces before other deletions, and other shards, get their turn."""
_COLD_SECONDS: Final = 60.0
"""What waits for the cold tier alone is looked at so often."""
_ROWS = Counter("tael_compactor_erased_rows", "Rows deleted because somebody asked for it.", ["shard"], registry=REGISTRY)
_OPEN = Gauge("tael_compactor_open_deletions", "Deletions that this shard is not done with.", ["shard"], registry=REGISTRY)


class Eraser:
    """The deletions of all shards. ``wal_state`` tells what a WAL holds, ``head`` what of a shard is in the cold tier."""

    def __init__(
        self,
        kv: KeyValue,
        store: Callable[[ShardAddress], EraseStore],
        wal_state: Callable[[int], Awaitable[WalState]],
        head: Callable[[int], Awaitable[Head]],
    ) -> None:
        self._kv = kv
        self._deletions = Deletions(kv)
        self._store = store
        self._wal_state = wal_state
        self._head = head
        self._done: set[tuple[str, int]] = set()
        self._due: dict[tuple[str, int], float] = {}

    async def work(self, shard: ShardAddress) -> None:
        """Go on with every open deletion of a shard, for a while each; raises nothing but what is a bug."""
        try:
            waiting = await self._deletions.list(lambda one: shard.index < one.shards and (one.id, shard.index) not in self._done)
            left = 0
            for deletion in waiting:
                progress = await self._deletions.progress_of(deletion, shard.index)
                if progress.state != "done" and time.monotonic() >= self._due.get((deletion.id, shard.index), 0.0):
                    progress = await self._go_on(deletion, shard, progress)
                if progress.state == "done":
                    self._done.add((deletion.id, shard.index))
                else:
                    left += 1
            _OPEN.labels(str(shard.index)).set(left)
        except (Retryable, Rejected, Damaged) as error:
            log.warning("a deletion failed; retrying", shard=shard.name, reason=str(error))

    async def _go_on(self, deletion: Deletion, shard: ShardAddress, before: Progress) -> Progress:
        """The shard's progress after some more of the work."""
        until = before.until or await self._ends(shard.index)
        if not before.until:
            # What arrived before the request may still be on its way: the WALs' ends are kept before anything is looked at.
            before = await self._tell(deletion, shard, before.model_copy(update={"state": "running", "until": until}))
        behind = await self._behind(until)
        rows, finished = await self._erase(deletion, self._store(shard))
        cold = await self._in_the_cold_tier(shard.index)
        reason = behind or ("" if finished and not rows else "a look that finds nothing more") or cold
        if reason == cold != "":
            self._due[deletion.id, shard.index] = time.monotonic() + _COLD_SECONDS
        after = before.model_copy(update={"rows": before.rows + rows, "reason": reason, "state": "running" if reason else "done"})
        _ROWS.labels(str(shard.index)).inc(rows)
        if after != before:
            after = await self._tell(deletion, shard, after)
        if after.state == "done":
            log.info("deletion done", shard=shard.name, id=deletion.id, tenant=deletion.tenant, kind=deletion.kind, rows=after.rows)
        return after

    async def _erase(self, deletion: Deletion, store: EraseStore) -> tuple[int, bool]:
        """Rows deleted, and whether the last look found nothing more."""
        what = Erasure(deletion.tenant, deletion.kind, deletion.value, deletion.requested_ns)
        rows = 0
        for _ in range(_ROUNDS):
            traces = await store.next_traces(what, _TRACES_AT_ONCE)
            if not traces:
                return rows + await store.erase_rest(what), True
            rows += await store.erase_traces(what, traces)
        return rows, False

    async def _tell(self, deletion: Deletion, shard: ShardAddress, progress: Progress) -> Progress:
        told = progress.model_copy(update={"at_ns": time.time_ns()})
        await self._deletions.tell(deletion, shard.index, told)
        return told

    async def _ends(self, shard: int) -> Mapping[str, int]:
        return {wal_name(wal): (await self._wal_state(wal)).last for wal in (shard, aside_of(shard))}

    async def _behind(self, until: Mapping[str, int]) -> str:
        """Why something that came before the request may not be in the hot tier yet; empty when all of it is."""
        for name, last in until.items():
            stored = await self._kv.get(f"{WRITER_PREFIX}{name}")
            committed = Lease.decode(stored).committed if stored else 0
            if committed < last:
                return f"the WAL {name} is written up to {committed}, and what came before the request reaches to {last}"
        return ""

    async def _in_the_cold_tier(self, shard: int) -> str:
        head = await self._head(shard)
        if head.cold or head.open:
            return "hours of this shard are in the cold tier, whose files are not rewritten yet: they go with their retention"
        return ""
