"""From a shard's log to its hot tier, exactly once, by whoever holds the shard's writer lease.

The lease's key holds the epoch, what is committed and what is intended (tael/cluster/lease.py). A writer reads the entries that follow
what is committed, records the range as its intent by compare-and-set, inserts it with a token made of that range, and goes on; the next
intent commits the one before. A stale writer fails at the compare-and-set. A successor finds the intent and repeats it with the same
token, which the hot tier drops if it was stored. The log is trimmed only behind what is committed.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pydantic import Field

from services.ingest.bisect import halve, normalise
from services.ingest.prepare import Preparation
from services.ingest.telemetry import WriterMetrics
from tael.cluster.api import KeyValue, Versioned
from tael.cluster.lease import Intent, Lease, writer_key
from tael.errors import Conflict, Fenced, Rejected, Retryable, Unavailable
from tael.runtime.config import Bytes, Settings
from tael.runtime.failpoint import FailPoint
from tael.runtime.observe import get_logger
from tael.runtime.service import Stop
from tael.runtime.tasks import together
from tael.storage.api import BatchWriter
from tael.wal.api import DeadLetter, Entry, LogState, WalReader

log = get_logger("writer")
R = TypeVar("R")
_LINGER_MIN_SECONDS, _LINGER_FACTOR = 0.1, 4.0
_BACKOFF_MAX_SECONDS = 5.0
_LOOK_EVERY_SECONDS = 2.0
_KEEP_SECONDS = 30.0
_INSERTS_AT_ONCE = 2


class WriterSettings(Settings):
    """How the writer batches, and what it leaves in the log."""

    batch_max_seconds: float = Field(
        default=1.0, gt=0, le=10, alias="TAEL_BATCH_MAX_SECS", description="The longest that an entry waits for company."
    )
    batch_max_spans: int = Field(
        default=120_000, ge=1, le=1_000_000, alias="TAEL_BATCH_MAX_SPANS", description="Spans, log records or samples that close a batch."
    )
    insert_max_items: int = Field(
        default=60_000,
        ge=1,
        le=1_000_000,
        alias="TAEL_INSERT_MAX_ITEMS",
        description="A larger batch is written in several inserts, two at a time.",
    )
    batch_max_bytes: Bytes = Field(
        default="64MB",
        ge=1,
        alias="TAEL_BATCH_MAX_BYTES",
        description="Bytes that close a batch; the hot tier needs several times as much memory for it.",
    )  # type: ignore[assignment]
    delta_series: int = Field(
        default=500_000,
        ge=1,
        le=100_000_000,
        alias="TAEL_DELTA_SERIES",
        description="Series of delta temporality whose running totals a shard's writer remembers; it reads the others from the hot tier.",
    )
    wal_keep_bytes: Bytes = Field(
        default="512MiB",  # type: ignore[assignment]
        ge=0,
        alias="TAEL_WAL_KEEP_BYTES",
        description="Entries that are written stay in the log for 30 s, up to this size and half of TAEL_WAL_MAX_BYTES, so that a resend is known even after NATS restarts.",
    )


def linger_seconds(insert_seconds: float, most_seconds: float) -> float:
    """How long to gather before the next insert: several times what the last one took, so that inserts never crowd out reads."""
    return min(most_seconds, max(_LINGER_MIN_SECONDS, insert_seconds * _LINGER_FACTOR))


@dataclass(frozen=True)
class Parts:
    """What a shard's writer works with."""

    shard: int
    node_id: str
    kv: KeyValue
    wal: WalReader
    storage: BatchWriter
    settings: WriterSettings
    metrics: WriterMetrics
    fail: FailPoint
    preparations: Mapping[str, Preparation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Work:
    """One insert: entries of one signal, joined, under one token."""

    signal: str
    token: str
    entries: Sequence[Entry]


def intent_of(entries: Sequence[Entry], insert_items: int) -> Intent:
    """The intent to write ``entries``, in inserts of at most ``insert_items`` items where the entries allow it, about equal in size."""
    items = sum(entry.items for entry in entries)
    inserts = -(-items // insert_items) or 1
    cuts: list[int] = []
    before = 0
    for entry in entries:
        if before and before >= (len(cuts) + 1) * items / inserts:
            cuts.append(entry.sequence)
        before += entry.items
    return Intent(first=entries[0].sequence, last=entries[-1].sequence, cuts=tuple(cuts))


class ShardWriter:
    """Writes one shard under one epoch of its lease, until stopped or fenced."""

    def __init__(self, parts: Parts, granted: Versioned) -> None:
        self._parts = parts
        self._revision = granted.revision
        self._lease = Lease.decode(granted.value)
        self._written = self._lease.committed
        self._behind: deque[tuple[float, int]] = deque()
        self._insert_seconds = 0.0
        self._looked_at = 0.0

    async def run(self, stop: Stop) -> None:
        """Repeat what a predecessor intended, then write the log as it grows. Raises Fenced when the lease has moved on."""
        label = str(self._parts.shard)
        self._parts.metrics.epoch.labels(label).set(self._lease.epoch)
        log.info("writing", shard=self._parts.shard, epoch=self._lease.epoch, committed=self._lease.committed)
        try:
            await self._repeat_intent(stop)
            await self._follow(stop)
        except Fenced:
            self._parts.metrics.fenced.labels(label).inc()
            raise
        finally:
            self._parts.metrics.epoch.labels(label).set(0)

    async def _repeat_intent(self, stop: Stop) -> None:
        intent = self._lease.intent
        if intent is None:
            return
        log.info("repeating a predecessor's intent", shard=self._parts.shard, first=intent.first, last=intent.last)
        entries = await self._until_reachable(lambda: self._parts.wal.read_range(intent.first, intent.last), stop)
        if entries is None or not await self._insert(entries, intent, stop):
            return
        self._written = intent.last
        await self._store(self._lease.commit(), stop)

    async def _follow(self, stop: Stop) -> None:
        reading = asyncio.create_task(self._gather(self._written, stop))
        try:
            while not stop.is_set:
                entries = await reading
                if entries is None:
                    return
                if entries:
                    intent = intent_of(entries, self._parts.settings.insert_max_items)
                    if not await self._store(self._lease.intend(intent, committed=self._written), stop):
                        return
                    reading = asyncio.create_task(self._gather(intent.last, stop))
                    if not await self._insert(entries, intent, stop):
                        return
                    self._written = intent.last
                else:
                    reading = asyncio.create_task(self._gather(self._written, stop))
                    await self._settle(stop)
                await self._look_at_log(stop)
            await self._settle(stop)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _gather(self, after: int, stop: Stop) -> Sequence[Entry] | None:
        settings = self._parts.settings
        wait = linger_seconds(self._insert_seconds, settings.batch_max_seconds)
        return await self._until_reachable(
            lambda: self._parts.wal.read(after, max_items=settings.batch_max_spans, max_bytes=settings.batch_max_bytes, wait_seconds=wait),
            stop,
        )

    async def _settle(self, stop: Stop) -> None:
        """Record what is written as committed when no next intent is about to do it."""
        if self._lease.intent is not None and self._written >= self._lease.intent.last:
            await self._store(self._lease.commit(), stop)

    async def _insert(self, entries: Sequence[Entry], intent: Intent, stop: Stop) -> bool:
        """Write a range, an insert for each signal and cut; False when the process drains before it could."""
        parts = self._parts
        started = time.monotonic()
        parts.fail("before_insert")
        works = [work for first, last in intent.ranges() for work in self._works(entries, first, last)]
        prepared = await self._prepare(entries, stop)
        if prepared is None:
            return False
        works += prepared
        turns = asyncio.Semaphore(_INSERTS_AT_ONCE)

        async def write(work: _Work) -> bool:
            async with turns:
                return await self._write_work(work, stop)

        if not all(await together((write(work) for work in works), name="insert")):
            return False
        parts.fail("after_insert")
        self._insert_seconds = time.monotonic() - started
        return True

    def _works(self, entries: Sequence[Entry], first: int, last: int) -> list[_Work]:
        """The inserts of one range, one a signal."""
        by_signal: dict[str, list[Entry]] = {}
        for entry in entries:
            if first <= entry.sequence <= last:
                by_signal.setdefault(entry.signal, []).append(entry)
        prefix = f"{self._parts.shard}.{self._lease.generation}:{first}-{last}"
        return [_Work(signal, f"{prefix}:{signal}", group) for signal, group in sorted(by_signal.items())]

    async def _prepare(self, entries: Sequence[Entry], stop: Stop) -> list[_Work] | None:
        """What must be written besides the entries, under tokens of its content; None when the process drains before it is known."""
        works: list[_Work] = []
        for signal, preparation in self._parts.preparations.items():
            group = [entry for entry in entries if entry.signal == signal]
            made = await self._until_reachable(partial(preparation.prepare, group), stop)
            if made is None:
                return None
            prefix = f"{self._parts.shard}.{self._lease.generation}:{signal}:prepared"
            works += [_Work(signal, f"{prefix}:{hashlib.sha256(entry.body).hexdigest()[:40]}", [entry]) for entry in made]
        return works

    async def _write_work(self, work: _Work, stop: Stop) -> bool:
        items = sum(entry.items for entry in work.entries)
        body = b"".join(entry.body for entry in work.entries)
        if not await self._write(work.signal, body, work.token, items, work.entries[0].sequence, stop):
            return False
        self._parts.fail("between_tables")
        self._parts.metrics.batches.labels(str(self._parts.shard), work.signal).inc()
        self._parts.metrics.items.labels(str(self._parts.shard), work.signal).inc(items)
        self._parts.metrics.batch_items.labels(work.signal).observe(items)
        self._parts.metrics.batch_bytes.labels(work.signal).observe(len(body))
        return True

    async def _write(self, signal: str, body: bytes, token: str, items: int, sequence: int, stop: Stop) -> bool:
        """Write one body, in halves where the hot tier refuses it, and bury what cannot be cut any further."""
        try:
            return await self._until_written(signal, body, token, stop)
        except Rejected as refused:
            reason = str(refused)
        fresh = normalise(signal, body)
        if fresh != body:
            return await self._write(signal, fresh, f"{token}:n", items, sequence, stop)
        halves = halve(signal, body)
        if halves is None:
            await self._bury(signal, body, token, sequence, reason, stop)
            return True
        for side, half in zip("lr", halves, strict=True):
            if not await self._write(signal, half, f"{token}:{side}", items, sequence, stop):
                return False
        return True

    async def _until_written(self, signal: str, body: bytes, token: str, stop: Stop) -> bool:
        async def insert() -> bool:
            with self._parts.metrics.insert_seconds.labels(signal).time():
                await self._parts.storage.write(signal, body, token)
            return True

        return bool(await self._until_reachable(insert, stop))

    async def _bury(self, signal: str, body: bytes, token: str, sequence: int, reason: str, stop: Stop) -> None:
        letter = DeadLetter(self._parts.shard, sequence, signal, 1, reason, body)
        log.error("dead letter", shard=self._parts.shard, sequence=sequence, signal=signal, token=token, reason=reason)
        await self._until_reachable(lambda: self._parts.wal.bury(letter), stop)
        self._parts.metrics.dead_letters.labels(str(self._parts.shard), signal).inc()

    async def _until_reachable(self, call: Callable[[], Awaitable[R]], stop: Stop) -> R | None:
        """Repeat a call that may succeed later, with growing pauses; None when the process drains first."""
        pause = 0.1
        while True:
            try:
                return await call()
            except Retryable as error:
                self._parts.metrics.retries.labels(str(self._parts.shard)).inc()
                log.warning("the writer waits", shard=self._parts.shard, reason=str(error), retry_in_seconds=pause)
                if await stop.sleep(pause):
                    return None
                pause = min(_BACKOFF_MAX_SECONDS, pause * 2)

    async def _store(self, lease: Lease, stop: Stop) -> bool:
        """Compare-and-set the lease's key; False when the process drains first. Raises Fenced when somebody else holds it now."""
        key = writer_key(self._parts.shard)

        async def update() -> int:
            try:
                return await self._parts.kv.update(key, lease.encode(), self._revision)
            except Conflict:
                return await self._adopt(key, lease)

        revision = await self._until_reachable(update, stop)
        if revision is None:
            return False
        self._revision, self._lease = revision, lease
        return True

    async def _adopt(self, key: str, lease: Lease) -> int:
        """After a lost compare-and-set: our own write whose answer was lost counts, anybody else's epoch fences us."""
        found = await self._parts.kv.get(key)
        if found is None:
            raise Fenced(f"the writer lease of shard {self._parts.shard} is gone (held here with epoch {self._lease.epoch})")
        current = Lease.decode(found.value)
        if current == lease:
            return found.revision
        if current.epoch == self._lease.epoch and current.holder == self._parts.node_id:
            self._revision = found.revision
            raise Unavailable("the lease's revision moved under the same epoch", retry_after_seconds=0)
        raise Fenced(
            f"shard {self._parts.shard} is written by {current.holder or 'nobody'} with epoch {current.epoch} now;"
            f" {self._parts.node_id} held epoch {self._lease.epoch} and writes nothing more"
        )

    async def _look_at_log(self, stop: Stop) -> None:
        """Every few seconds: say how far behind it is, trim it, and notice when it is not the log that was written before."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_EVERY_SECONDS:
            return
        self._looked_at = now
        try:
            state = await self._parts.wal.state()
            self._parts.metrics.lag.labels(str(self._parts.shard)).set(max(0, state.last - self._written))
            if state.last < self._written:
                await self._begin_anew(state, stop)
            else:
                await self._trim(state, now)
        except Retryable as error:
            log.warning("the log could not be looked at", shard=self._parts.shard, reason=str(error))

    async def _begin_anew(self, state: LogState, stop: Stop) -> None:
        log.error(
            "the log was lost or replaced: it ends before what is committed; reading it from its beginning",
            shard=self._parts.shard,
            last=state.last,
            committed=self._written,
        )
        if await self._store(self._lease.begin_anew(), stop):
            self._written = 0
            self._behind.clear()

    async def _trim(self, state: LogState, now: float) -> None:
        committed = self._lease.committed
        if not self._behind or self._behind[-1][1] < committed:
            self._behind.append((now, committed))
        through = 0
        keep_bytes = min(self._parts.settings.wal_keep_bytes, state.max_bytes // 2 or self._parts.settings.wal_keep_bytes)
        while self._behind and (now - self._behind[0][0] > _KEEP_SECONDS or state.size_bytes > keep_bytes):
            through = self._behind.popleft()[1]
        if through >= state.first:
            await self._parts.wal.trim(through)


class WriterPool:
    """One ShardWriter for each shard whose lease names this process; follows the leases as they move."""

    def __init__(self, kv: KeyValue, node_id: str, parts_of: Callable[[int], Awaitable[Parts]]) -> None:
        self._kv = kv
        self._node_id = node_id
        self._parts_of = parts_of
        self._running: dict[int, tuple[int, asyncio.Task[None]]] = {}

    async def run(self, stop: Stop) -> None:
        """Start and end shard writers as leases come and go; on the drain, let each finish the batch it is in."""
        prefix = writer_key(0).removesuffix("0")
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(self._watch(prefix, group, stop), name="watch-writer-leases")
            await stop.wait()
            watching.cancel()

    async def _watch(self, prefix: str, group: asyncio.TaskGroup, stop: Stop) -> None:
        async for change in self._kv.watch(prefix):
            if not change.value:
                continue
            shard = int(change.key.removeprefix(prefix))
            lease = Lease.decode(change.value)
            epoch, task = self._running.get(shard, (0, None))
            if lease.holder == self._node_id and lease.epoch > epoch and not stop.is_set:
                if task is not None:
                    task.cancel()
                writer = group.create_task(self._write(shard, change, stop), name=f"writer-{shard}-{lease.epoch}")
                self._running[shard] = (lease.epoch, writer)

    async def _write(self, shard: int, granted: Versioned, stop: Stop) -> None:
        try:
            await ShardWriter(await self._parts_of(shard), granted).run(stop)
        except Fenced as fenced:
            log.warning("fenced", shard=shard, reason=str(fenced))
