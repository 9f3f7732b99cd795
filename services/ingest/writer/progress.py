"""A writer's progress, recorded in its lease: every step is a compare-and-set on the lease's key, which a stale writer loses."""

from __future__ import annotations

from services.ingest.writer.parts import Parts
from tael.cluster.api import Versioned
from tael.cluster.lease import Lease, writer_key
from tael.errors import Conflict, Damaged, Fenced, Unavailable
from tael.runtime.service import Stop


class Progress:
    """The lease as last written, with its revision."""

    def __init__(self, parts: Parts, granted: Versioned) -> None:
        self._parts = parts
        self._key = writer_key(parts.wal_number)
        self._revision = granted.revision
        self.lease = Lease.decode(granted)

    async def store(self, lease: Lease, stop: Stop) -> None:
        """Write the lease. Raises Fenced when another process holds it now, Stopped when the process drains first."""

        async def update() -> int:
            try:
                return await self._parts.kv.update(self._key, lease.encode(), self._revision)
            except Conflict:
                return await self._adopt(lease)

        self._revision = await self._parts.until_done("writing the lease", update, stop)
        self.lease = lease

    async def _adopt(self, lease: Lease) -> int:
        """The lease's revision after a lost compare-and-set, if the stored lease is our own write whose answer was lost.

        Raises Fenced when it is under another epoch, Unavailable (retry) when only its revision has moved.
        """
        shard, node_id, epoch = self._parts.name, self._parts.node_id, self.lease.epoch
        found = await self._parts.kv.get(self._key)
        if found is None:
            raise Fenced(f"the writer lease of shard {shard} is gone (held here with epoch {epoch})")
        try:
            current = Lease.decode(found)
        except Damaged as error:
            last = self.lease.model_copy(update={"holder": ""}).encode().decode()
            raise Fenced(f"{error}; this writer, which now stops, last wrote {last}") from error
        # Equal in holder, epoch and all progress: only this writer can have written it.
        if current == lease:
            return found.revision
        if current.epoch == epoch and current.holder == node_id:
            # Somebody restored or rewrote the key by hand. The lease is still ours, so the same write is retried on the new revision.
            self._revision = found.revision
            raise Unavailable("the lease's revision moved under the same epoch", retry_after_seconds=0)
        raise Fenced(
            f"shard {shard} is written by {current.holder or 'nobody'} with epoch {current.epoch} now;"
            f" {node_id} held epoch {epoch} and writes nothing more"
        )
