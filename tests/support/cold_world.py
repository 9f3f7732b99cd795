"""What happens to two shards in the cold tier's model test: the compactor's own code over real hot nodes, a bucket and a key-value store,
and real readers.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.compactor.collect import Collector, Ports, Times
from services.compactor.erase import Eraser
from services.compactor.retire import retire
from tael.cluster.deletions import Deletions, Kind
from tael.cluster.manifests import Manifests
from tael.cluster.nats_kv import NatsKeyValue
from tael.cluster.shard import Router
from tael.errors import Unavailable
from tael.model.attributes import Attributes
from tael.model.payload import Reference
from tael.model.retention import Retention
from tael.model.series import Exemplar, labels_of
from tael.model.signals import LOGS, METRICS, PAYLOADS, TRACES
from tael.model.time import DAY_NS, HOUR_NS, NS_PER_SECOND
from tael.objects import MinioObjectStore
from tael.storage.clickhouse.collecting import ClickHouseCollect
from tael.storage.clickhouse.erase import ClickHouseErase
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.stored_rows import ClickHouseRows
from tael.storage.erase import Erasure
from tael.vectors.histograms.text import parse
from tael.wal import codec
from tael.wal.api import WalState
from tael.wal.payloads import Wanted, bodies
from tests.support.cold import Crash
from tests.support.cold_compactor import Compactor
from tests.support.cold_ledger import Ledger, Row, content_of
from tests.support.cold_questions import EVER, FIRST, TABLES, TENANTS, WORDS, Questions
from tests.support.collecting import GRACE_NS, LEASE, RELIED_NS, hash_of
from tests.support.dead_letters import MemoryLetters
from tests.support.key_value import MemoryKeyValue
from tests.support.objects import object_settings
from tests.support.series import StoredSeries
from tests.support.storage import START_NS, HotTier, logs_of, of_service, wire_log, wire_span

SHARDS = 2
SIGNALS = tuple(TABLES)
FOR_EVER_DAYS = 36_500.0
_SLOTS, _SLOT_MS = 11, 300_000


class Losing(NatsKeyValue):
    """Loses the answer to the next update, which takes effect or not."""

    loses = ""

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """See KeyValue."""
        loses, self.loses = self.loses, ""
        if loses == "request lost":
            raise Unavailable("nobody answers")
        written = await super().update(key, value, revision)
        if loses == "answer lost":
            raise Unavailable("nobody answers")
        return written


class World:
    """Two shards, their compactors and readers, and the ledger. Every method that changes something leaves the ledger right at every moment
    in between.

    ``crash_at`` is where the compactor dies next: a fail point, or a key of ``Losing``.
    """

    def __init__(self, tier: HotTier, objects: MinioObjectStore, kv: Losing) -> None:
        self.ledger = Ledger()
        self.deletions: dict[str, tuple[Erasure, set[Row]]] = {}
        """What was asked for and is not done, and the rows that will be gone."""
        self.wanted: dict[tuple[str, str], int] = {}
        """The end of the last hour that a tenant's signal no longer keeps; "" is the default for all tenants."""
        self._tier, self._kv = tier, kv
        self._manifests = Manifests(kv, objects)
        self._requests = MemoryKeyValue()
        bucket_url = f"{object_settings()['TAEL_S3_URL']}/{object_settings()['TAEL_S3_BUCKET']}/"
        self.compactors = [
            Compactor(place, clickhouse, kv, objects, bucket_url, self._fail) for place, clickhouse in enumerate(tier.clickhouses)
        ]
        shards = {one.number: one.clickhouse for one in self.compactors}
        self._questions = Questions(shards, self._manifests, bucket_url, self.ledger)
        self._sent: dict[tuple[int, str, int, str], int] = {}
        """By shard, tenant, hour and word: when a payload was sent last."""
        self._crash_at = ""
        self._number, self._now_ns = 0, EVER.end_ns

    async def store(self, signal: str, tenant: str, hour: int, trace: int, count: int) -> None:
        """Insert ``count`` rows of an hour that came just now, unless the tenant no longer keeps that hour: then they would be refused."""
        if self._is_past(signal, tenant, hour) or (signal == METRICS and self._is_being_deleted(tenant)):
            return
        self._now_ns += 1_000_000
        numbers = range(self._number + 1, self._number + count + 1)
        self._number += count
        trace = 0 if signal == METRICS else trace
        rows = [Row(signal, tenant, hour, number, trace, self._now_ns, _said(signal, number)) for number in numbers]
        await {TRACES: self._store_items, LOGS: self._store_items, METRICS: self._store_samples}[signal](tenant, rows)
        self.ledger.write(rows)

    def _is_being_deleted(self, tenant: str) -> bool:
        # A sample does not say when it came, so a deletion of its tenant takes those that come while it is under way.
        return any((what.kind, what.tenant) == ("tenant", tenant) for what, _ in self.deletions.values())

    async def _store_items(self, tenant: str, rows: list[Row]) -> None:
        router = Router(SHARDS)
        for row in rows:
            shard = router.shard_of(row.trace_id or _lone(row))
            if row.said:
                await self._send_payload(shard, tenant, row)
            request = _span(row) if row.signal == TRACES else _record(row)
            await self._write(shard, row.signal, codec.encode(tenant, self._now_ns, request.SerializeToString()))

    async def _send_payload(self, shard: int, tenant: str, row: Row) -> None:
        """As a receiver does: before the item, once an hour of items, and again when it no longer relies on having sent it."""
        key = (shard, tenant, row.hour, row.said)
        if self._now_ns - self._sent.get(key, 0) < RELIED_NS:
            return
        wanted = Wanted((FIRST + row.hour * HOUR_NS) // NS_PER_SECOND, hash_of(content_of(row.said)), content_of(row.said).encode())
        for body in bodies(tenant, shard, [wanted], self._now_ns, 1 << 20):
            await self._write(shard, PAYLOADS, body.body)
        self._sent[key] = self._now_ns

    async def _write(self, shard: int, signal: str, body: bytes) -> None:
        await self._tier.writers[shard].write(signal, body, secrets.token_hex(8))

    async def _store_samples(self, tenant: str, rows: list[Row]) -> None:
        series = StoredSeries(self._tier)
        for row in rows:
            # At most one in five minutes, at their end: then its rollup is a sample of the same time and value.
            at_ms = (FIRST + row.hour * HOUR_NS) // 1_000_000 + (1 + row.number % _SLOTS) * _SLOT_MS
            native = row.number % 2
            labels = labels_of({"__name__": "counted", "n": str(row.number // _SLOTS), "native": str(native)})
            value = parse(f"{{{{schema:0 count:{row.number} sum:{row.number} buckets:[{row.number}]}}}}") if native else float(row.number)
            series.add(labels, [(at_ms, value)], tenant=tenant)
            series.add_exemplar(Exemplar(labels, at_ms, float(row.number), labels_of({"of": "a call"})), tenant=tenant)
        await series.flush()

    async def pass_time(self, hours: float) -> None:
        """Let everybody's clock go on."""
        self._now_ns += int(hours * HOUR_NS)

    def arm(self, crash_at: str) -> None:
        """Let the compactor die at this place; "" for no place."""
        self._crash_at = crash_at
        self._kv.loses = crash_at if crash_at.endswith("lost") else ""

    def _fail(self, place: str) -> None:
        if place == self._crash_at:
            self._crash_at = ""
            raise Crash

    async def roll(self, shard: int, steps: int) -> None:
        """Do at most so many steps of a shard's roll, while questions are asked; so do those below that work."""
        await self._while_asked(shard, lambda: self.compactors[shard].roll(steps))

    async def keep_house(self, shard: int) -> None:
        """Merge generations, and delete what nothing names."""
        await self._while_asked(shard, self.compactors[shard].keep_house)

    async def roll_up(self, shard: int) -> None:
        """Roll up samples, and gather their days."""
        await self._while_asked(shard, self.compactors[shard].roll_up)

    async def collect(self, shard: int) -> None:
        """Look for payloads that nothing refers to, and delete those that are due, in a compactor that has just started with it."""
        collector = Collector(self._ports(), Times(RELIED_NS, GRACE_NS, 0), self._fail, now_ns=lambda: self._now_ns)
        addresses = [one.address for one in self.compactors]
        await self._while_asked(shard, lambda: collector.work(addresses[shard], LEASE, addresses))

    def _ports(self) -> Ports:
        return Ports(
            MemoryKeyValue(),
            lambda shard: ClickHouseCollect(self._tier.clickhouses[shard.index]),
            lambda shard: self._tier.writers[shard.index],
            lambda _: self._questions.payloads,
            lambda shard, _: self.compactors[shard.index].cold(),
            _nothing_waits,
            MemoryLetters(),
        )

    async def haunt(self, shard: int, deed: str) -> None:
        """Let a compactor of the shard that has lost its lease try something."""
        await self.compactors[shard].haunt(deed, self._retention(), [what for what, _ in self.deletions.values()])

    async def retire(self, signal: str, tenant: str, hour: int) -> None:
        """Keep a signal of a tenant, or of all ("") that have no retention of their own, only from after this hour on."""
        key = (tenant, signal)
        self.wanted[key] = max(self.wanted.get(key, 0), FIRST + (hour + 1) * HOUR_NS)
        self.ledger.release(row for row in [*self.ledger.must] if self._is_past(row.signal, row.tenant, row.hour))
        for deletion_id, (what, rows) in self.deletions.items():
            # A trace may lose the spans by which a deletion of a user would find it.
            if what.kind == "user":
                self.deletions[deletion_id] = what, {row for row in rows if row.user == what.value}

        await self.enforce()

    async def enforce(self) -> None:
        """Drop and delete what is past its retention, on every shard."""

        async def work(one: Compactor) -> None:
            roller = await one.owner()
            await retire(ClickHouseSchema(one.clickhouse), ClickHouseRows(one.clickhouse), self._retention(), one.number)
            await roller.retire(self._retention())

        lived = [await self._while_asked(shard, partial(work, one)) for shard, one in enumerate(self.compactors)]
        if all(lived):
            await self._forget_what_is_past()

    async def _forget_what_is_past(self) -> None:
        # An hour on its way arrives first; a day goes when all of it is past.
        stay: set[tuple[str, int]] = set()
        for manifest in [await self._manifests.read(one.number) for one in self.compactors]:
            stay |= {(one.table, one.hour_ns) for one in manifest.head.open}
            stay |= {(one.table, hour) for page in manifest.pages.values() for one in page if one.hours > 1 for hour in one.each_hour}
        for row in [*self.ledger.may]:
            places = {(table, FIRST + row.hour * HOUR_NS) for table in TABLES[row.signal]}
            if self._is_past(row.signal, row.tenant, row.hour) and not places & stay:
                self.ledger.remove([row])

    def _retention(self) -> Retention:
        now_ns = time.time_ns()
        days = {key: (now_ns - end_ns) / DAY_NS - 1e-3 for key, end_ns in self.wanted.items()}
        everybody = {signal: days.get(("", signal), FOR_EVER_DAYS) for signal in SIGNALS}
        tenants = {tenant: {signal: days[tenant, signal] for signal in SIGNALS if (tenant, signal) in days} for tenant in TENANTS}
        return Retention(everybody, tenants)

    def _is_past(self, signal: str, tenant: str, hour: int) -> bool:
        end_ns = self.wanted.get((tenant, signal), self.wanted.get(("", signal), 0))
        return FIRST + (hour + 1) * HOUR_NS <= end_ns

    async def request(self, kind: Kind, value: str, tenant: str) -> None:
        """Request a deletion of what has come so far."""
        deletion = await Deletions(self._requests).request(tenant, kind, value, now_ns=self._now_ns, shards=SHARDS)
        self._now_ns += 1_000_000
        what = Erasure(tenant, kind, value, deletion.requested_ns)
        self.deletions[deletion.id] = what, self.ledger.taken_by(what)
        self.ledger.release(self.ledger.touched_by(what))

    async def erase(self, shard: int) -> None:
        """Work on a shard's part of the deletions, in a compactor that has just started with them."""
        eraser = Eraser(
            self._requests,
            lambda address: ClickHouseErase(self._tier.clickhouses[address.index]),
            lambda address, _: self.compactors[address.index].cold(),
            _nothing_waits,
            RELIED_NS,
            now_ns=lambda: self._now_ns,
        )
        await self._while_asked(shard, lambda: eraser.work(self.compactors[shard].address, LEASE))
        deletions = Deletions(self._requests)
        for deletion in await deletions.list(lambda one: one.id in self.deletions):
            if {(await deletions.progress_of(deletion, place)).state for place in range(SHARDS)} == {"done"}:
                self.ledger.erase(self.deletions.pop(deletion.id)[1])

    async def check(self) -> None:
        """Compare what is readable with the ledger."""
        await self._questions.check()

    async def settle(self) -> None:
        """Finish everything that was begun: what is still in the ledger is all that there is."""
        self.arm("")
        for _ in range(8):
            for shard in range(SHARDS):
                await self.roll(shard, 10_000)
                await self.keep_house(shard)
            await self.enforce()
            for shard in range(SHARDS):
                await self.erase(shard)
                await self.collect(shard)
            if not self.deletions:
                break
            await self.pass_time(3)
        assert not self.deletions, "a deletion is never done"
        assert [(await self._manifests.head(one.number)).open for one in self.compactors] == [()] * SHARDS
        await self._questions.check_all()

    async def _while_asked(self, shard: int, work: Callable[[], Awaitable[None]]) -> bool:
        """Let the compactor work while questions are asked; returns whether it lives afterwards."""
        asking = asyncio.create_task(self._questions.for_ever())
        try:
            await work()
        except (Crash, Unavailable):
            self.compactors[shard].die()
            return False
        finally:
            self.arm("")
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
        return True


async def _nothing_waits(_: int) -> WalState:
    """A WAL of which everything was written."""
    return WalState(1, 0, 0)


def _said(signal: str, number: int) -> str:
    """The word of the payload that every other item refers to."""
    return "" if signal == METRICS or number % 2 == 0 else WORDS[number // 2 % len(WORDS)]


def _attributes(row: Row) -> Attributes:
    reference = Reference(hash_of(content_of(row.said)), len(content_of(row.said).encode()))
    return {"user.id": row.user, **({"gen_ai.prompt.0.content": str(reference)} if row.said else {})}


def _span(row: Row) -> ExportTraceServiceRequest:
    trace_id, span_id = row.trace_id or _lone(row), row.number.to_bytes(8)
    span = wire_span(_offset(row), trace_id=trace_id, span_id=span_id, attributes=_attributes(row))
    return ExportTraceServiceRequest(resource_spans=[of_service("shop", span)])


def _record(row: Row) -> ExportLogsServiceRequest:
    record = wire_log(_offset(row), str(row.number), trace_id=row.trace_id, attributes=_attributes(row))
    return ExportLogsServiceRequest(resource_logs=[logs_of("shop", record)])


def _offset(row: Row) -> int:
    """From START_NS to the time of a row."""
    return FIRST + row.hour * HOUR_NS + row.number * 1_000_000 - START_NS


def _lone(row: Row) -> bytes:
    """The id of a trace with a single span."""
    return b"\xff" * 8 + row.number.to_bytes(8)
