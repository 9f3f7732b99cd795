"""Shards for tests of payload collection: requests pass through the receivers' own code, and the compactor's works on the result."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry

from services.compactor.collect import Collector, Ports, Times
from services.compactor.erase import Eraser
from services.compactor.rewrite import ColdEraser
from services.ingest.pipeline import Pipeline
from tael.cluster.deletions import Deletions, Kind, Progress
from tael.cluster.lease import Lease, writer_key
from tael.cluster.shard import Router, ShardAddress
from tael.model.lanes import shard_of_wal
from tael.model.payload import Reference
from tael.model.signals import LOGS, PAYLOADS, TRACES
from tael.model.time import HOUR_NS
from tael.otlp.anyvalue import encode_attributes
from tael.otlp.signals import SIGNALS
from tael.storage.clickhouse.collecting import ClickHouseCollect
from tael.storage.clickhouse.erase import CONDEMNED, ClickHouseErase
from tael.storage.clickhouse.erase_cold import ClickHouseColdErase
from tael.storage.clickhouse.references import KNOWN
from tael.storage.clickhouse.schema import KEPT, fill, read_migrations
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.storage.collecting import CollectStore
from tael.storage.erase import EraseStore
from tael.storage.rolling import Pace
from tael.wal.api import WalState
from tael.wal.payloads import Wanted, bodies
from tests.support.cold import Cold, Crash
from tests.support.dead_letters import MemoryLetters
from tests.support.key_value import MemoryKeyValue
from tests.support.memory_objects import MemoryObjects
from tests.support.otlp import MemoryLog, receiver_settings
from tests.support.storage import HotTier

RELIED_NS, GRACE_NS = HOUR_NS, 24 * HOUR_NS
LEASE = Lease(holder="here", epoch=1)


def hash_of(text: str) -> bytes:
    """The SHA-256 of a text."""
    return sha256(text.encode()).digest()


def attributes_of(*texts: str) -> Any:
    """The attributes of an LLM call, with one prompt each."""
    return encode_attributes({f"gen_ai.prompt.{place}.content": text for place, text in enumerate(texts)})


@dataclass
class Place:
    """Shards, the receiver and the compactor's code; ``now_ns`` is everybody's clock. What ``say`` and ``post`` append is stored by
    ``write``.

    ``hour_ns`` is the hour of all that is said; ``crash_at`` names the place where the compactor dies.
    """

    tier: HotTier
    cold: Cold
    now_ns: int = field(default_factory=time.time_ns)
    crash_at: str = ""
    kv: MemoryKeyValue = field(default_factory=MemoryKeyValue)
    letters: MemoryLetters = field(default_factory=MemoryLetters)
    last: int = 0

    def __post_init__(self) -> None:
        self.hour_ns = self.now_ns // HOUR_NS * HOUR_NS - 5 * HOUR_NS
        self.log = MemoryLog()
        self.restart()
        self.shards = [
            ShardAddress(index=number, name=f"shard-{number}", url="http://127.0.0.1:1") for number in range(len(self.tier.clickhouses))
        ]

    def restart(self) -> None:
        """Replace the receiver by one that remembers nothing."""
        settings, registry = receiver_settings(), CollectorRegistry()
        self._pipeline = Pipeline(self.log, Router(len(self.tier.clickhouses)), settings, registry=registry, now_ns=lambda: self.now_ns)
        self.log.seen.clear()

    async def index_since(self, time_ns: int) -> None:
        """Declare that the shards have an index of references since the given time, and had rows before."""
        for clickhouse in self.tier.clickhouses:
            await clickhouse.command(f"TRUNCATE TABLE {clickhouse.database}.{KNOWN}")
            sql = f"ALTER TABLE {clickhouse.database}.tael_migrations UPDATE applied_at = fromUnixTimestamp64Nano({{at:Int64}}, 'UTC') WHERE name LIKE '%payload_references'"
            await clickhouse.command(f"{sql} SETTINGS mutations_sync = 2", {"at": time_ns})

    async def migrate_again(self) -> None:
        """Have the shards look once more whether they are empty, as the migration does."""
        [statement] = [one for step in read_migrations() for one in step.statements if f"INSERT INTO {{{{database}}}}.{KNOWN}" in one]
        for clickhouse in self.tier.clickhouses:
            await clickhouse.command(fill(statement, clickhouse.database, "mergetree"))

    async def lose_the_disks(self) -> None:
        """Empty every hot table."""
        for clickhouse in self.tier.clickhouses:
            for table in (*KEPT, CONDEMNED, KNOWN):
                await clickhouse.command(f"TRUNCATE TABLE {clickhouse.database}.{table}")
        await self.migrate_again()

    async def _admit(self, signal: str, request: Any, tenant: str) -> None:
        async with self._pipeline.reserve(tenant) as reservation:
            await self._pipeline.admit(SIGNALS[signal], tenant, request.SerializeToString(), reservation)

    async def say(self, trace_id: bytes, *texts: str, tenant: str = "t1", hours_later: int = 0, user: str = "") -> None:
        """Send a span with prompts."""
        request, at_ns = ExportTraceServiceRequest(), self.hour_ns + hours_later * HOUR_NS
        span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=trace_id, span_id=trace_id[:8], start_time_unix_nano=at_ns)
        span.attributes.extend([*attributes_of(*texts), *encode_attributes({"user.id": user} if user else {})])
        await self._admit(TRACES, request, tenant)

    async def log_loose(self, text: str, user: str) -> None:
        """Send a log record outside of a trace, with a prompt."""
        request = ExportLogsServiceRequest()
        record = request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=self.hour_ns)
        record.attributes.extend([*attributes_of(text), *encode_attributes({"user.id": user})])
        await self._admit(LOGS, request, "t1")

    async def post(self, text: str) -> str:
        """Store a payload as ``POST /api/v1/blobs`` does; return a reference to it."""
        hour = self.now_ns // HOUR_NS * 3600
        for body in bodies("t1", 0, [Wanted(hour, hash_of(text), text.encode())], self.now_ns, 8 << 20):
            await self.log.append(0, PAYLOADS, body.body, body.items, body.dedup_id)
        return str(Reference(hash_of(text), len(text.encode())))

    async def write(self) -> None:
        """Write what was appended to the hot tier."""
        for wal, signal, body, _ in self.log.appended:
            self.last += 1
            await ClickHouseWriter(self.tier.clickhouses[shard_of_wal(wal)]).write(signal, body, f"{id(self)}:{self.last}")
        self.log.appended.clear()

    async def behind(self, last: int, committed: int) -> None:
        """Pretend that the first shard's WAL ends at ``last`` and is committed up to ``committed``."""
        self.last = last
        await self.kv.put(writer_key(0), Lease(holder="w", epoch=1, committed=committed).encode())
        self._told = last

    _told: int = 0

    async def _wal_state(self, wal: int) -> WalState:
        return WalState(1, self._told if wal == 0 else 0, 0)

    def _fail(self, place: str) -> None:
        if place == self.crash_at:
            raise Crash

    @asynccontextmanager
    async def _cold(self, shard: ShardAddress, _: Lease) -> AsyncIterator[ColdEraser]:
        cold = self.cold
        await cold.owners[shard.index].take()
        store = ClickHouseColdErase(self.tier.clickhouses[shard.index], cold.bucket_url)
        yield ColdEraser(cold.owners[shard.index], store, MemoryObjects(), Pace(), self._fail)

    def collector(self, store: CollectStore | None = None) -> Collector:
        """The collector of a compactor that has just started."""
        ports = Ports(
            self.kv,
            lambda shard: store or ClickHouseCollect(self.tier.clickhouses[shard.index]),
            lambda shard: ClickHouseWriter(self.tier.clickhouses[shard.index]),
            lambda _: self.tier.payloads,
            self._cold,
            self._wal_state,
            self.letters,
        )
        return Collector(ports, Times(RELIED_NS, GRACE_NS, 0), self._fail, now_ns=lambda: self.now_ns)

    async def collect(self, collector: Collector | None = None, *, hours: float = 0) -> None:
        """Collect once in every shard, after advancing the clock by ``hours``."""
        self.now_ns += int(hours * HOUR_NS)
        collector = collector or self.collector()
        for shard in self.shards:
            await collector.work(shard, LEASE, self.shards)

    async def delete(self, kind: Kind, value: str, store: EraseStore | None = None) -> str:
        """Request a deletion, and erase until no row is left; return its id."""
        deletion = await Deletions(self.kv).request("t1", kind, value, now_ns=self.now_ns, shards=len(self.shards))
        await self.erase(store)
        return deletion.id

    async def erase(self, store: EraseStore | None = None) -> None:
        """Continue every deletion, in a compactor that has just started."""

        def stores(shard: ShardAddress) -> EraseStore:
            return store or ClickHouseErase(self.tier.clickhouses[shard.index])

        eraser = Eraser(self.kv, stores, self._cold, self._wal_state, RELIED_NS, now_ns=lambda: self.now_ns)
        for _ in range(4):
            for shard in self.shards:
                await eraser.work(shard, LEASE)

    async def progress(self, deletion_id: str) -> Sequence[Progress]:
        """The progress of every shard."""
        deletions = Deletions(self.kv)
        found = await deletions.get(deletion_id)
        assert found is not None
        return [await deletions.progress_of(found, shard.index) for shard in self.shards]

    async def is_done(self, deletion_id: str) -> bool:
        """Whether every shard has finished the deletion."""
        return {one.state for one in await self.progress(deletion_id)} == {"done"}

    async def readable(self, *texts: str, tenant: str = "t1") -> list[bool]:
        """Whether each payload can be read by its hash."""
        found = await self.tier.payloads.get_payloads(tenant, [hash_of(text) for text in texts])
        assert not found.missing
        return [found.value.get(hash_of(text)) == text.encode() for text in texts]

    async def rows(self, text: str) -> dict[str, int]:
        """The number of remaining rows of a payload, or of the entries that list it: by table, and by ``files``."""
        found: dict[str, int] = {}
        for number, clickhouse in enumerate(self.tier.clickhouses):
            for table in ("payloads", "payloads_rolling", "payload_hours", "payload_references", "tael_condemned_payloads"):
                sql = f"SELECT count() FROM {clickhouse.database}.{table} WHERE hex(hash) = {{hash:String}}"
                [(count,)] = await clickhouse.query(sql, {"hash": hash_of(text).hex().upper()})
                found[table] = found.get(table, 0) + int(count)
            for file in (await self.cold.manifests.read(number)).files("payloads"):
                sql = f"SELECT count() FROM s3('{self.cold.bucket_url}{file.key}', 'Parquet') WHERE hex(hash) = {{hash:String}}"
                [(count,)] = await clickhouse.query(sql, {"hash": hash_of(text).hex().upper()})
                found["files"] = found.get("files", 0) + int(count)
        return {table: count for table, count in found.items() if count}
