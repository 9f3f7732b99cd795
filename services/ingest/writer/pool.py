"""Runs a writer for each shard whose writer lease names this process."""

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


def _log_fenced(shard: int, fenced: Fenced) -> None:
    log.warning("fenced", shard=shard, reason=str(fenced))


class WriterPool:
    """One ShardWriter for each shard whose lease names this process; follows the leases as they move.

    ``lost`` is called for each shard that this process may no longer write.
    """

    def __init__(
        self, kv: KeyValue, node_id: str, parts_of: Callable[[int], Awaitable[Parts]], lost: Callable[[int, Fenced], None] = _log_fenced
    ) -> None:
        self._kv = kv
        self._node_id = node_id
        self._parts_of = parts_of
        self._lost = lost
        self._damaged = DamagedKeys()
        self._running: dict[int, tuple[int, asyncio.Task[None]]] = {}

    async def run(self, stop: Stop) -> None:
        """Start shard writers as leases are granted; on the drain, let each finish its current batch."""
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(group, stop), name="watch-writer-leases")
            await stop.wait()
            # Writers see ``stop`` themselves; the task group waits until each has finished its batch.
            watching.cancel()

    async def _watch(self, group: asyncio.TaskGroup, stop: Stop) -> None:
        async for change in self._kv.watch(WRITER_PREFIX):
            if not change.value:
                continue
            shard, lease = wal_of(change.key), self._damaged.read(Lease, change)
            if shard is None or lease is None:
                continue
            epoch, task = self._running.get(shard, (0, None))
            # The watch also reports each write of progress, under the epoch of the running writer. A writer that lost its lease learns so
            # at its next compare-and-set; nothing it does before then can do harm.
            # Any other epoch is a grant, even a smaller one: epochs grow only until the cluster's state is lost and they start anew.
            # The same epoch is a grant if its writer has ended.
            granted = lease.epoch != epoch or (task is not None and task.done())
            if lease.holder == self._node_id and granted and not stop.is_set:
                # The shard was granted to this process again: cancel the writer of the older epoch rather than wait until it is fenced.
                if task is not None:
                    task.cancel()
                writer = group.create_task(self._write(shard, change, stop), name=f"writer-{shard}-{lease.epoch}")
                self._running[shard] = (lease.epoch, writer)

    async def _write(self, shard: int, granted: Versioned, stop: Stop) -> None:
        try:
            await ShardWriter(await self._parts_of(shard), granted).run(stop)
        except Fenced as fenced:
            self._lost(shard, fenced)
