"""What a shard's writer knows of the records that it and its predecessors wrote: loaded when it begins, saved before the WAL is trimmed."""

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
    """One shard's. ``load`` comes first, then ``fresh`` for each batch in the order of the WAL, and ``save`` now and then."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._resends = Resends(parts.settings.resend_digests)
        self._saved: deque[tuple[int, int]] = deque()
        self._newest_ns = 0

    async def load(self, lease: Lease, stop: Stop) -> None:
        """Know what is committed: from what was saved, and from the entries behind it, which are not trimmed yet. Raises Stopped."""
        through = 0
        for message in await self._parts.until_done("loading digests", self._parts.digests.load, stop):
            for appended_at_ns, digests in saved_entries(message):
                self._resends.learn(appended_at_ns, digests)
            # Sequences of another generation name other entries; their digests are still worth knowing.
            if message.generation == lease.generation:
                through = max(through, message.through)
        while through < lease.committed:
            # All of them were appended no later than the last committed one, so its time and digest serve as the mark of every part.
            last = replace(lease.place, sequence=min(lease.committed, through + _LOAD_ENTRIES))
            for entry in await self._read(through + 1, last, stop):
                self._resends.read(entry)
            through = last.sequence

    def fresh(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """A batch without the records that were written before."""
        found = self._resends.fresh(entries)
        for signal, records in found.dropped.items():
            self._parts.metrics.resends.labels(self._parts.name, signal).inc(records)
        self._newest_ns = max(self._newest_ns, entries[-1].appended_at_ns)
        return found.entries

    async def save(self, lease: Lease) -> None:
        """Save what is known of committed entries, so that they may be trimmed, and forget what is too old to matter. Raises Unavailable."""
        message = self._resends.unsaved(lease.generation, lease.committed)
        if message is not None:
            place = await self._parts.digests.save(message)
            self._resends.saved(message)
            self._saved.append((place, message.entries[-1].appended_at))
        old = 0
        # Twice the window, as a successor begins with an intent whose entries may be older than the newest that was seen here.
        while self._saved and self._saved[0][1] < self._newest_ns - 2 * WINDOW_SECONDS * 10**9:
            old = self._saved.popleft()[0]
        # A purge up to its place takes predecessors' messages along, which are older.
        if old:
            await self._parts.digests.forget(old)

    def renumber(self, place: Mark) -> None:
        """The WAL has diverged, and goes on behind ``place``."""
        self._resends.renumber(place.sequence)

    async def _read(self, first: int, last: Mark, stop: Stop) -> Sequence[Entry]:
        return await self._parts.until_done("reading the WAL", lambda: self._parts.wal.read_range(first, last), stop)
