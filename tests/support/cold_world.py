"""What happens to one shard in the cold tier's model test: the compactor's own code over a real hot node, bucket and key-value store, and real readers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.compactor.erase import Eraser
from services.compactor.retire import retire
from services.compactor.rewrite import ColdEraser
from services.compactor.roll import Roller
from tael.cluster.deletions import Deletions, Kind
from tael.cluster.lease import Lease
from tael.cluster.manifests import ManifestOwner, Manifests, cold_key
from tael.cluster.nats_kv import NatsKeyValue
from tael.cluster.shard import ShardAddress
from tael.cold.manifest import MOVING
from tael.cold.plan import Policy
from tael.errors import Damaged, Fenced, Rejected, Retryable, Unavailable
from tael.model.retention import Retention
from tael.model.signals import LOGS, METRICS, TRACES
from tael.model.time import DAY_NS, HOUR_NS
from tael.objects import MinioObjectStore
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.erase import ClickHouseErase
from tael.storage.clickhouse.erase_cold import ClickHouseColdErase
from tael.storage.clickhouse.rolling import ClickHouseRolling
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.stored_rows import ClickHouseRows
from tael.storage.erase import Erasure, Selection
from tael.storage.rolling import Pace
from tael.wal import codec
from tael.wal.api import WalState
from tests.support.cold import Crash
from tests.support.cold_ledger import Ledger, Row
from tests.support.cold_questions import EVER, FIRST, TABLES, TENANTS, Questions
from tests.support.key_value import MemoryKeyValue
from tests.support.objects import object_settings
from tests.support.series import StoredSeries
from tests.support.storage import START_NS, HotTier, logs_of, of_service, wire_log, wire_span

ALL = Policy(before_ns=1 << 62, quiet_ns=0)
SIGNALS = tuple(TABLES)
FOR_EVER_DAYS = 36_500.0
LEASE, ADDRESS = Lease(holder="here", epoch=1), ShardAddress(index=0, name="shard-0", url="http://127.0.0.1:1")
_SLOTS, _SLOT_MS = 11, 300_000
_SHARDS = itertools.count(10_000)


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
    """One shard, its compactors, its readers and the ledger. Every method that changes something leaves the ledger right at every moment in between.

    ``crash_at`` is where the compactor dies next: a fail point, or a key of ``Losing``.
    """

    def __init__(self, tier: HotTier, objects: MinioObjectStore, kv: Losing) -> None:
        self.ledger = Ledger()
        self.shard = next(_SHARDS)
        self.zombies: list[Roller] = []
        self.deletions: dict[str, tuple[Erasure, set[Row]]] = {}
        """What was asked for and is not done, and the rows that will be gone."""
        self.wanted: dict[tuple[str, str], int] = {}
        """The end of the last hour that a tenant's signal no longer keeps; "" is the default for all tenants."""
        self._tier, self._objects, self._kv = tier, objects, kv
        self._clickhouse: ClickHouse = tier.clickhouses[0]
        self._bucket_url = f"{object_settings()['TAEL_S3_URL']}/{object_settings()['TAEL_S3_BUCKET']}/"
        self._manifests = Manifests(kv, objects)
        self._rolling = ClickHouseRolling(self._clickhouse, self._bucket_url)
        self._erase, self._requests = ClickHouseErase(self._clickhouse), MemoryKeyValue()
        self._questions = Questions(self.shard, self._clickhouse, self._manifests, self._bucket_url, self.ledger)
        self._roller: Roller | None = None
        self._lease, self._epoch, self._crash_at = 0, 0, ""
        self._number, self._now_ns = 0, EVER.end_ns

    async def store(self, signal: str, tenant: str, hour: int, trace: int, count: int) -> None:
        """Insert ``count`` rows of an hour that came just now, unless the tenant no longer keeps that hour: then they would be refused."""
        if self._is_past(signal, tenant, hour) or (signal == METRICS and self._is_being_deleted(tenant)):
            return
        self._now_ns += 1_000_000
        numbers = range(self._number + 1, self._number + count + 1)
        self._number += count
        rows = [Row(signal, tenant, hour, number, 0 if signal == METRICS else trace, self._now_ns) for number in numbers]
        await {TRACES: self._store_spans, LOGS: self._store_logs, METRICS: self._store_samples}[signal](tenant, rows)
        self.ledger.write(rows)

    def _is_being_deleted(self, tenant: str) -> bool:
        # A sample does not say when it came, so a deletion of its tenant takes those that come while it is under way.
        return any((what.kind, what.tenant) == ("tenant", tenant) for what, _ in self.deletions.values())

    async def _store_spans(self, tenant: str, rows: list[Row]) -> None:
        spans = [
            wire_span(_offset(row), trace_id=row.trace_id or _lone(row), span_id=row.number.to_bytes(8), attributes={"user.id": row.user})
            for row in rows
        ]
        await self._write(TRACES, tenant, ExportTraceServiceRequest(resource_spans=[of_service("shop", *spans)]))

    async def _store_logs(self, tenant: str, rows: list[Row]) -> None:
        records = [wire_log(_offset(row), str(row.number), trace_id=row.trace_id, attributes={"user.id": row.user}) for row in rows]
        await self._write(LOGS, tenant, ExportLogsServiceRequest(resource_logs=[logs_of("shop", *records)]))

    async def _write(self, signal: str, tenant: str, request: ExportTraceServiceRequest | ExportLogsServiceRequest) -> None:
        body = codec.encode(tenant, self._now_ns, request.SerializeToString())
        await self._tier.writers[0].write(signal, body, secrets.token_hex(8))

    async def _store_samples(self, tenant: str, rows: list[Row]) -> None:
        series = StoredSeries(self._tier)
        for row in rows:
            # At most one in five minutes, at their end: then its rollup is a sample of the same time and value.
            at_ms = (FIRST + row.hour * HOUR_NS) // 1_000_000 + (1 + row.number % _SLOTS) * _SLOT_MS
            series.add({"__name__": "counted", "n": str(row.number // _SLOTS)}, [(at_ms, float(row.number))], tenant=tenant)
        await series.flush()

    def arm(self, crash_at: str) -> None:
        """Let the compactor die at this place; "" for no place."""
        self._crash_at = crash_at
        self._kv.loses = crash_at if crash_at.endswith("lost") else ""

    def _fail(self, place: str) -> None:
        if place == self._crash_at:
            self._crash_at = ""
            raise Crash

    async def take_over(self) -> None:
        """Grant the lease to another compactor; the one before does not know of it yet."""
        if self._roller is not None:
            self.zombies.append(self._roller)
        self._roller = None
        await self._owner()

    async def _owner(self) -> Roller:
        """The living owner, or another one in the place of a dead one."""
        if self._roller is None:
            self._lease += 1
            self._epoch += 1
            owner = ManifestOwner(self._kv, self._objects, self._manifests, self.shard, self._epoch)
            roller = Roller(owner, self._rolling, self._objects, partial(self._still_mine, self._lease), Pace(), self._fail, grace_ns=0)
            await roller.take()
            self._roller = roller
        return self._roller

    async def _still_mine(self, lease: int) -> None:
        if lease != self._lease:
            raise Fenced("another compactor holds the lease")

    async def roll(self, steps: int) -> None:
        """Do at most so many steps of the roll, while questions are asked."""

        async def work() -> None:
            roller = await self._owner()
            for _ in range(steps):
                if not await roller.step(ALL):
                    break

        await self._while_asked(work)

    async def keep_house(self) -> None:
        """Merge generations, and delete what nothing names."""

        async def work() -> None:
            roller = await self._owner()
            await roller.load()
            while await roller.merge():
                pass
            await roller.sweep()

        await self._while_asked(work)

    async def roll_up(self) -> None:
        """Roll up samples, and gather their days."""

        async def work() -> None:
            roller = await self._owner()
            await roller.load()
            while await roller.roll_up(1 << 62) or await roller.gather(1 << 62):
                pass

        await self._while_asked(work)

    async def cut_off(self) -> None:
        """The engine is killed while it moves hours: it has copied them, and removed nothing."""
        partitions = await self._rolling.partitions()
        rolling = {(one.table, one.hour_ns) for one in partitions.rolling}
        for hour in (await self._manifests.head(self.shard)).open:
            if hour.state == MOVING and (hour.table, hour.hour_ns) not in rolling:
                table = f"{self._clickhouse.database}.{hour.table}"
                sql = f"INSERT INTO {table}_rolling SELECT * FROM {table} WHERE _partition_id = '{hour.partition_id}'"  # names of ours
                await self._clickhouse.command(sql)

    async def lose_the_head(self) -> None:
        """The key-value store loses everything, and the next compactor restores the manifest from the bucket."""
        await self._owner()
        await self._kv.delete(cold_key(self.shard))
        self._epoch = 0
        await self.take_over()

    async def haunt(self, deed: str) -> None:
        """Let a compactor that has lost its lease try something: it must be refused, or find nothing to do, and change no head."""
        zombie = self.zombies.pop()
        before = await self._manifests.stored(self.shard)
        with contextlib.suppress(Retryable, Rejected, Damaged, Fenced):
            match deed:
                case "step":
                    await zombie.step(ALL)
                case "merge":
                    await zombie.load()
                    await zombie.merge()
                case "roll up":
                    await zombie.load()
                    await zombie.roll_up(1 << 62)
                case "sweep":
                    await zombie.sweep()
                case "retire":
                    await zombie.retire(self._retention())
                case _:
                    eraser = ColdEraser(zombie.owner, self._cold_erase(), self._objects, Pace(), self._fail)
                    for what, _ in self.deletions.values():
                        if what.kind != "user":
                            await eraser.erase(Selection(what, (bytes.fromhex(what.value),) if what.kind == "trace" else ()))
        assert await self._manifests.stored(self.shard) == before

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
        """Drop and delete what is past its retention."""

        async def work() -> None:
            roller = await self._owner()
            await retire(ClickHouseSchema(self._clickhouse), ClickHouseRows(self._clickhouse), self._retention(), self.shard)
            await roller.retire(self._retention())

        if await self._while_asked(work):
            await self._forget_what_is_past()

    async def _forget_what_is_past(self) -> None:
        manifest = await self._manifests.read(self.shard)
        # An hour on its way arrives first; a day goes when all of it is past.
        stay = {(one.table, one.hour_ns) for one in manifest.head.open}
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
        deletion = await Deletions(self._requests).request(tenant, kind, value, now_ns=self._now_ns, shards=1)
        self._now_ns += 1_000_000
        what = Erasure(tenant, kind, value, deletion.requested_ns)
        self.deletions[deletion.id] = what, self.ledger.taken_by(what)
        self.ledger.release(self.ledger.touched_by(what))

    async def erase(self) -> None:
        """Work on the deletions, in a compactor that has just started with them."""

        async def wal_state(_: int) -> WalState:
            return WalState(1, 0, 0)

        async def work() -> None:
            eraser = Eraser(self._requests, lambda _: self._erase, self._erasing, wal_state, HOUR_NS)
            await eraser.work(ADDRESS, LEASE)

        await self._while_asked(work)
        deletions = Deletions(self._requests)
        for deletion in await deletions.list(lambda one: one.id in self.deletions):
            if (await deletions.progress_of(deletion, 0)).state == "done":
                self.ledger.remove(self.deletions.pop(deletion.id)[1])

    @asynccontextmanager
    async def _erasing(self, *_: object) -> AsyncIterator[ColdEraser]:
        try:
            roller = await self._owner()
            await roller.confirm()
            yield ColdEraser(roller.owner, self._cold_erase(), self._objects, Pace(), self._fail)
        except BaseException:
            self._roller = None
            raise

    def _cold_erase(self) -> ClickHouseColdErase:
        return ClickHouseColdErase(self._clickhouse, self._bucket_url)

    async def check(self) -> None:
        """Compare what is readable with the ledger."""
        await self._questions.check()

    async def settle(self) -> None:
        """Finish everything that was begun: what is still in the ledger is all that there is."""
        self.arm("")
        for _ in range(8):
            await self.roll(10_000)
            await self.keep_house()
            await self.enforce()
            await self.erase()
            if not self.deletions:
                break
        assert not self.deletions, "a deletion is never done"
        assert (await self._manifests.head(self.shard)).open == ()
        await self._questions.check_all()

    async def _while_asked(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Let the compactor work while questions are asked; returns whether it lives afterwards."""
        asking = asyncio.create_task(self._questions.for_ever())
        try:
            await work()
        except (Crash, Unavailable):
            # Whether the last change took effect is not known: the next owner reads the manifest.
            self._roller = None
            return False
        finally:
            self.arm("")
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking
        return True


def _offset(row: Row) -> int:
    """From START_NS to the time of a row."""
    return FIRST + row.hour * HOUR_NS + row.number * 1_000_000 - START_NS


def _lone(row: Row) -> bytes:
    """The id of a trace with a single span."""
    return b"\xff" * 8 + row.number.to_bytes(8)
