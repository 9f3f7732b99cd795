"""Moves a shard's WAL to its hot tier, exactly once, in the process that holds the shard's writer lease.

The lease's key holds the epoch, the last committed entry and the current intent (tael/cluster/lease.py). A writer reads the entries after
the committed one, records their range as its intent by compare-and-set, inserts them with a token made of that range, and continues; each
intent commits the one before. A stale writer fails at the compare-and-set. A successor finds the intent and repeats it with the same token,
under which the hot tier drops what it has stored. The WAL is trimmed up to, but not including, the last committed entry, by which the WAL
is recognised. Where a WAL lost its tail or was recreated, the writer resumes at the first entry that differs (docs/adr/0010).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from services.ingest.writer.insert import Inserter
from services.ingest.writer.parts import Parts
from services.ingest.writer.plan import intent_of, linger_seconds
from services.ingest.writer.progress import Progress
from services.ingest.writer.written import WrittenRecords
from tael.cluster.api import Versioned
from tael.cluster.lease import Lease
from tael.errors import Diverged, Fenced, Retryable
from tael.model.mark import Mark
from tael.runtime.observe import get_logger
from tael.runtime.retry import Stopped
from tael.runtime.service import Stop
from tael.runtime.tasks import cancelled
from tael.wal.api import Entry

log = get_logger("writer")
_LOOK_EVERY_SECONDS = 2.0


class ShardWriter:
    """Writes one shard under one epoch of its lease, until stopped or fenced."""

    def __init__(self, parts: Parts, granted: Versioned) -> None:
        self._parts = parts
        self._progress = Progress(parts, granted)
        self._inserter = Inserter(parts)
        self._written = WrittenRecords(parts)
        self._lost = 0
        self._insert_seconds = 0.0
        self._looked_at = 0.0

    async def run(self, stop: Stop) -> None:
        """Repeat a predecessor's intent, then write the WAL as it grows. Raises Fenced when another process holds the lease."""
        label, lease = self._parts.name, self._progress.lease
        self._parts.metrics.epoch.labels(label).set(lease.epoch)
        log.info("writing", shard=self._parts.name, epoch=lease.epoch, committed=lease.committed)
        try:
            # Digests first: repeating the intent must drop the same resends as the first time.
            await self._written.load(lease, stop)
            await self._repeat_intent(stop)
            await self._follow(stop)
        except Stopped:
            log.info("drained before the last batch was written; the next holder of the lease repeats it", shard=self._parts.name)
        except Fenced:
            self._parts.metrics.fenced.labels(label).inc()
            raise
        finally:
            self._parts.metrics.epoch.labels(label).set(0)
            self._parts.metrics.of_lease.remove(label)

    async def _repeat_intent(self, stop: Stop) -> None:
        lease = self._progress.lease
        intent = lease.intent
        if intent is None:
            return
        log.info("repeating the previous holder's intent", shard=self._parts.name, first=intent.first, last=intent.last)
        entries = await self._parts.until_done("reading the WAL", lambda: self._parts.wal.read_range(intent.first, intent.end), stop)
        # Counted as lost although they may be stored: it is safer to report too much loss.
        if missing := intent.last - intent.first + 1 - len(entries):
            self._lose(missing, "entries of a predecessor's intent are gone from the WAL; it is not known whether they were written")
        if entries:
            await self._inserter.write(self._written.fresh(entries), lease, stop)
        await self._settle(stop)

    async def _follow(self, stop: Stop) -> None:
        reading = asyncio.create_task(self._gather(self._progress.lease.place, stop))
        try:
            while not stop.is_set:
                try:
                    entries = await reading
                except Diverged as difference:
                    reading = asyncio.create_task(self._gather(await self._resume(difference, stop), stop))
                    continue
                self._lose(self._parts.wal.take_lost(), "entries were lost from the WAL before they were written")
                if entries:
                    intent = intent_of(entries, self._parts.settings.insert_max_items, self._parts.wal.mark(entries[-1]))
                    # The intent is durable before the insert begins; a successor that finds it repeats exactly these inserts.
                    await self._progress.store(self._with_losses(self._progress.lease.intend(intent)), stop)
                    # The next batch is read while this one is inserted; its intent is recorded only after this insert is done.
                    reading = asyncio.create_task(self._gather(intent.end, stop))
                    await self._insert(entries, stop)
                else:
                    await self._settle(stop)
                    reading = asyncio.create_task(self._gather(self._progress.lease.place, stop))
                await self._look_at_wal()
            await self._settle(stop)
        finally:
            # Entries that were read ahead are still in the WAL, so discarding them loses nothing.
            await cancelled(reading)

    async def _gather(self, after: Mark, stop: Stop) -> Sequence[Entry]:
        settings = self._parts.settings
        wait = linger_seconds(self._insert_seconds, settings.batch_max_seconds)
        return await self._parts.until_done(
            "reading the WAL",
            lambda: self._parts.wal.read(after, max_items=settings.batch_max_spans, max_bytes=settings.batch_max_bytes, wait_seconds=wait),
            stop,
        )

    async def _insert(self, entries: Sequence[Entry], stop: Stop) -> None:
        started = time.monotonic()
        await self._inserter.write(self._written.fresh(entries), self._progress.lease, stop)
        self._insert_seconds = time.monotonic() - started

    async def _settle(self, stop: Stop) -> None:
        """Commit the written intent, and record losses, when there is no next intent to do both."""
        settled = self._with_losses(self._progress.lease.commit())
        if settled != self._progress.lease:
            await self._progress.store(settled, stop)

    async def _resume(self, difference: Diverged, stop: Stop) -> Mark:
        """Find where a diverged WAL starts to hold entries that were not read, and record it. Everything read so far is written."""
        await self._settle(stop)
        before = self._progress.lease.place
        place = await self._parts.until_done("reading the WAL", lambda: self._parts.wal.resume(before), stop)
        log.error(
            "the WAL lost entries or was recreated; resuming with the entries that are not written yet",
            shard=self._parts.name,
            reason=str(difference),
            written_through=before.sequence,
            going_on_behind=place.sequence,
        )
        self._parts.metrics.wal_restarts.labels(self._parts.name).inc()
        self._lose(self._parts.wal.take_lost(), "entries were lost from the WAL before they were written")
        await self._progress.store(self._with_losses(self._progress.lease.resume(place)), stop)
        self._written.renumber(place)
        return place

    def _lose(self, entries: int, event: str) -> None:
        """Report lost entries; the next write of the lease adds their number to its count."""
        if entries:
            log.error(event, shard=self._parts.name, entries=entries)
            self._parts.metrics.wal_lost.labels(self._parts.name).inc(entries)
            self._lost += entries

    def _with_losses(self, lease: Lease) -> Lease:
        lost, self._lost = self._lost, 0
        return lease.lose(lost) if lost else lease

    async def _look_at_wal(self) -> None:
        """Every few seconds: report how far behind the writer is, and trim the WAL up to, but not including, the last committed entry."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_SECONDS:
            return
        self._looked_at = now
        lease = self._progress.lease
        try:
            state = await self._parts.wal.state()
            self._parts.metrics.lag.labels(self._parts.name).set(max(0, state.last - lease.committed))
            # Before trimming: the digests of trimmed entries exist nowhere else.
            await self._written.save(lease)
            if state.first < lease.committed:
                await self._parts.wal.trim(lease.committed - 1)
        except Retryable as error:
            log.warning("cannot trim the WAL", shard=self._parts.name, reason=str(error))
