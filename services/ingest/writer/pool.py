"""Which shards this process writes: those whose writer lease names it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from services.ingest.writer.parts import Parts
from services.ingest.writer.shard import ShardWriter
from tael.cluster.api import KeyValue, Versioned
from tael.cluster.damaged import DamagedKeys
from tael.cluster.lease import WRITER_PREFIX, Lease, wal_of
from tael.errors import Fenced
from tael.runtime.observe import get_logger
from tael.runtime.service import Stop

log = get_logger("writer")


def _say_lost(shard: int, fenced: Fenced) -> None:
    log.warning("fenced", shard=shard, reason=str(fenced))


class WriterPool:
    """One ShardWriter for each shard whose lease names this process; follows the leases as they move.

    ``lost`` is told of a shard that this process may write no more.
    """

    def __init__(
        self, kv: KeyValue, node_id: str, parts_of: Callable[[int], Awaitable[Parts]], lost: Callable[[int, Fenced], None] = _say_lost
    ) -> None:
        self._kv = kv
        self._node_id = node_id
        self._parts_of = parts_of
        self._lost = lost
        self._damaged = DamagedKeys()
        self._running: dict[int, tuple[int, asyncio.Task[None]]] = {}

    async def run(self, stop: Stop) -> None:
        """Start and end shard writers as leases come and go; on the drain, let each finish the batch it is in."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(group, stop), name="watch-writer-leases")
            await stop.wait()
            # Writers see the stop themselves; the group waits for the batch that each is in.
            watching.cancel()

    async def _watch(self, group: asyncio.TaskGroup, stop: Stop) -> None:
        async for change in self._kv.watch(WRITER_PREFIX):
            if not change.value:
                continue
            shard, lease = wal_of(change.key), self._damaged.read(Lease, change)
            if shard is None or lease is None:
                continue
            epoch, task = self._running.get(shard, (0, None))
            # Each write of progress comes by here too, under the epoch that runs. Of a lease that went to another its writer learns by its
            # next compare-and-set, before which nothing that it does can harm.
            # Epochs only grow, until the cluster's state is lost and they begin anew: a smaller one is a grant too, and so is the same one behind an end.
            granted = lease.epoch != epoch or (task is not None and task.done())
            if lease.holder == self._node_id and granted and not stop.is_set:
                # The same process may be granted the shard again: the task of the older epoch would only be fenced at its next write.
                if task is not None:
                    task.cancel()
                writer = group.create_task(self._write(shard, change, stop), name=f"writer-{shard}-{lease.epoch}")
                self._running[shard] = (lease.epoch, writer)

    async def _write(self, shard: int, granted: Versioned, stop: Stop) -> None:
        try:
            await ShardWriter(await self._parts_of(shard), granted).run(stop)
        except Fenced as fenced:
            self._lost(shard, fenced)
