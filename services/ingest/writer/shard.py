"""From a shard's WAL to its hot tier, exactly once, by whoever holds the shard's writer lease.

The lease's key holds the epoch, what is committed and what is intended (tael/cluster/lease.py). A writer reads the entries that follow
what is committed, records the range as its intent by compare-and-set, inserts it with a token made of that range, and goes on; the next
intent commits the one before. A stale writer fails at the compare-and-set. A successor finds the intent and repeats it with the same
token, which the hot tier drops if it was stored. The WAL is trimmed only behind what is committed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from services.ingest.writer.insert import Inserter
from services.ingest.writer.parts import Parts
from services.ingest.writer.plan import intent_of, linger_seconds
from services.ingest.writer.progress import Progress
from services.ingest.writer.retention import Retention
from tael.cluster.api import Versioned
from tael.errors import Fenced, Retryable
from tael.runtime.observe import get_logger
from tael.runtime.retry import Stopped
from tael.runtime.service import Stop
from tael.wal.api import Entry, LogState

log = get_logger("writer")
_LOOK_EVERY_SECONDS = 2.0


class ShardWriter:
    """Writes one shard under one epoch of its lease, until stopped or fenced."""

    def __init__(self, parts: Parts, granted: Versioned) -> None:
        self._parts = parts
        self._progress = Progress(parts, granted)
        self._inserter = Inserter(parts)
        self._retention = Retention(parts.settings.wal_keep_bytes)
        self._written = self._progress.lease.committed
        self._insert_seconds = 0.0
        self._looked_at = 0.0

    async def run(self, stop: Stop) -> None:
        """Repeat what a predecessor intended, then write the WAL as it grows. Raises Fenced when the lease has moved on."""
        label, lease = str(self._parts.shard), self._progress.lease
        self._parts.metrics.epoch.labels(label).set(lease.epoch)
        log.info("writing", shard=self._parts.shard, epoch=lease.epoch, committed=lease.committed)
        try:
            await self._repeat_intent(stop)
            await self._follow(stop)
        except Stopped:
            log.info("drained before the last batch was written; the next holder of the lease repeats it", shard=self._parts.shard)
        except Fenced:
            self._parts.metrics.fenced.labels(label).inc()
            raise
        finally:
            self._parts.metrics.epoch.labels(label).set(0)

    async def _repeat_intent(self, stop: Stop) -> None:
        lease = self._progress.lease
        intent = lease.intent
        if intent is None:
            return
        log.info("repeating a predecessor's intent", shard=self._parts.shard, first=intent.first, last=intent.last)
        entries = await self._parts.until_done("reading the WAL", lambda: self._parts.wal.read_range(intent.first, intent.last), stop)
        await self._inserter.write(entries, lease, stop)
        self._written = intent.last
        await self._progress.store(lease.commit(), stop)

    async def _follow(self, stop: Stop) -> None:
        reading = asyncio.create_task(self._gather(self._written, stop))
        try:
            while not stop.is_set:
                entries = await reading
                if entries:
                    intent = intent_of(entries, self._parts.settings.insert_max_items)
                    await self._progress.store(self._progress.lease.intend(intent, committed=self._written), stop)
                    reading = asyncio.create_task(self._gather(intent.last, stop))
                    await self._insert(entries, stop)
                else:
                    reading = asyncio.create_task(self._gather(self._written, stop))
                    await self._settle(stop)
                await self._look_at_wal(stop)
            await self._settle(stop)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _gather(self, after: int, stop: Stop) -> Sequence[Entry]:
        settings = self._parts.settings
        wait = linger_seconds(self._insert_seconds, settings.batch_max_seconds)
        return await self._parts.until_done(
            "reading the WAL",
            lambda: self._parts.wal.read(after, max_items=settings.batch_max_spans, max_bytes=settings.batch_max_bytes, wait_seconds=wait),
            stop,
        )

    async def _insert(self, entries: Sequence[Entry], stop: Stop) -> None:
        started = time.monotonic()
        await self._inserter.write(entries, self._progress.lease, stop)
        self._written = entries[-1].sequence
        self._insert_seconds = time.monotonic() - started

    async def _settle(self, stop: Stop) -> None:
        """Record what is written as committed when no next intent is about to do it."""
        lease = self._progress.lease
        if lease.intent is not None and self._written >= lease.intent.last:
            await self._progress.store(lease.commit(), stop)

    async def _look_at_wal(self, stop: Stop) -> None:
        """Every few seconds: say how far behind it is, trim it, and notice when it is not the WAL that was written before."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_SECONDS:
            return
        self._looked_at = now
        try:
            state = await self._parts.wal.state()
            self._parts.metrics.lag.labels(str(self._parts.shard)).set(max(0, state.last - self._written))
            if state.last < self._written:
                await self._begin_anew(state, stop)
            elif (through := self._retention.trim_through(self._progress.lease.committed, state, now)) is not None:
                await self._parts.wal.trim(through)
        except Retryable as error:
            log.warning("the WAL could not be trimmed", shard=self._parts.shard, reason=str(error))

    async def _begin_anew(self, state: LogState, stop: Stop) -> None:
        log.error(
            "the WAL was lost or replaced: it ends before what is committed; reading it from its beginning",
            shard=self._parts.shard,
            last=state.last,
            committed=self._written,
        )
        await self._progress.store(self._progress.lease.begin_anew(), stop)
        self._written = 0
        self._retention.begin_anew()
