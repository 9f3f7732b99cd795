"""The digests of the records that a shard's writer and its predecessors wrote: loaded at the start, saved before the WAL is trimmed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from services.ingest.writer.parts import Parts
from services.ingest.writer.resends import WINDOW_SECONDS, Resends, saved_entries
from tael.cluster.lease import Lease
from tael.model.mark import Mark
from tael.runtime.service import Stop
from tael.wal.api import Entry

_LOAD_ENTRIES = 64


class WrittenRecords:
    """The written records of one WAL. Call ``load`` first, then ``fresh`` for each batch in the order of the WAL, and ``save`` now and
    then.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._resends = Resends(parts.settings.resend_digests)
        self._saved: deque[tuple[int, int]] = deque()
        self._newest_ns = 0

    async def load(self, lease: Lease, stop: Stop) -> None:
        """Load the digests of committed entries: the saved ones, and those of later entries, which are not trimmed yet. Raises Stopped."""
        through = 0
        for message in await self._parts.until_done("loading digests", self._parts.digests.load, stop):
            for appended_at_ns, digests in saved_entries(message):
                self._resends.learn(appended_at_ns, digests)
            # Sequences of another generation name other entries; their digests still identify resends.
            if message.generation == lease.generation:
                through = max(through, message.through)
        while through < lease.committed:
            # Every committed entry was appended no later than the last one, so the last one's time and digest serve as the mark of each
            # chunk.
            last = replace(lease.place, sequence=min(lease.committed, through + _LOAD_ENTRIES))
            for entry in await self._read(through + 1, last, stop):
                self._resends.read(entry)
            through = last.sequence

    def fresh(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The batch without records that were written before."""
        found = self._resends.fresh(entries)
        for signal, records in found.dropped.items():
            self._parts.metrics.resends.labels(self._parts.name, signal).inc(records)
        self._newest_ns = max(self._newest_ns, entries[-1].appended_at_ns)
        return found.entries

    async def save(self, lease: Lease) -> None:
        """Save the digests of committed entries, so that these may be trimmed, and delete saved ones that are too old. Raises
        Unavailable.
        """
        message = self._resends.unsaved(lease.generation, lease.committed)
        if message is not None:
            place = await self._parts.digests.save(message)
            self._resends.saved(message)
            self._saved.append((place, message.entries[-1].appended_at))
        old = 0
        # Twice the window: a successor starts with an intent whose entries may be older than the newest entry seen here.
        while self._saved and self._saved[0][1] < self._newest_ns - 2 * WINDOW_SECONDS * 10**9:
            old = self._saved.popleft()[0]
        # Purging up to this place also deletes predecessors' messages, which are older.
        if old:
            await self._parts.digests.forget(old)

    def renumber(self, place: Mark) -> None:
        """The WAL has diverged and continues after ``place``."""
        self._resends.renumber(place.sequence)

    async def _read(self, first: int, last: Mark, stop: Stop) -> Sequence[Entry]:
        return await self._parts.until_done("reading the WAL", lambda: self._parts.wal.read_range(first, last), stop)
