"""A shard of which things are deleted, with its cold tier and requests of what came before a time."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.compactor.erase import Eraser
from services.compactor.rewrite import ColdEraser
from tael.cluster.deletions import Deletions, Kind
from tael.cluster.lease import Lease
from tael.cluster.shard import ShardAddress
from tael.model.signals import LOGS, TRACES
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.erase import ClickHouseErase
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.storage.erase import EraseStore
from tael.wal import codec
from tael.wal.api import WalState
from tests.support.cold_shard import Cold
from tests.support.key_value import MemoryKeyValue
from tests.support.storage import RECEIVED_NS, logs_of, of_service, wire_log, wire_span

LEASE = Lease(holder="here", epoch=1)
SHARD = ShardAddress(index=0, name="shard-0", url="http://127.0.0.1:1")
OLD, OTHER, AGAIN = (bytes([number]) * 16 for number in (1, 2, 3))
LATER_NS = RECEIVED_NS + 3600 * 10**9
BEFORE_NS = RECEIVED_NS + 60 * 10**9
RELIED_NS = 3600 * 10**9


@dataclass
class Place:
    """A shard with its deletions and its cold tier; ``last`` is the last sequence of its WAL, ``rolls`` what is to be cold once it is
    written.
    """

    clickhouse: ClickHouse
    cold: Cold
    rolls: Literal["nothing", "first", "all"] = "nothing"
    kv: MemoryKeyValue = field(default_factory=MemoryKeyValue)
    last: int = 0

    def eraser(self, store: EraseStore | None = None) -> Eraser:
        """A compactor that has just started."""

        async def wal_state(wal: int) -> WalState:
            return WalState(1, self.last if wal == 0 else 0, 0)

        @asynccontextmanager
        async def erasing(*_: object) -> AsyncIterator[ColdEraser]:
            yield await self.cold.eraser()

        return Eraser(self.kv, lambda _: store or ClickHouseErase(self.clickhouse), erasing, wal_state, RELIED_NS)

    async def ask(self, kind: Kind, value: str, tenant: str = "t1") -> str:
        """A request for what came up to BEFORE_NS."""
        return (await Deletions(self.kv).request(tenant, kind, value, now_ns=BEFORE_NS, shards=1)).id

    async def state(self, deletion_id: str) -> tuple[str, str]:
        """State and reason of the shard."""
        deletions = Deletions(self.kv)
        found = await deletions.get(deletion_id)
        assert found is not None
        progress = await deletions.progress_of(found, 0)
        return progress.state, progress.reason

    async def write(self, tenant: str, received_ns: int, *groups: Any) -> None:
        """Spans and log records that came at a time."""
        for signal, kind, many in (
            (TRACES, ExportTraceServiceRequest, {"resource_spans": [g for g in groups if hasattr(g, "scope_spans")]}),
            (LOGS, ExportLogsServiceRequest, {"resource_logs": [g for g in groups if hasattr(g, "scope_logs")]}),
        ):
            body = codec.encode(tenant, received_ns, kind(**many).SerializeToString())
            await ClickHouseWriter(self.clickhouse).write(signal, body, secrets.token_hex(8))

    async def fill(self, tenant: str = "t1") -> None:
        """A trace of a user and session with a plain span and log records, one of somebody else, one that goes on later, and
        loose records.
        """
        call = {"gen_ai.operation.name": "chat", "user.id": "u1", "session.id": "s1"}
        spans = [
            wire_span(1, trace_id=OLD, span_id=b"call----", attributes=call),  # the first of an insert is looked at for suggestions
            wire_span(0, trace_id=OLD, span_id=b"root----", attributes={"http.method": "GET"}),
            wire_span(2, trace_id=OTHER, span_id=b"other---", attributes={**call, "user.id": "u2", "session.id": "s2"}),
            wire_span(3, trace_id=AGAIN, span_id=b"again---", attributes={"enduser.id": "u1"}),
        ]
        records = [
            wire_log(0, "in the trace", trace_id=OLD),
            wire_log(1, "of the user", attributes={"user.id": "u1", "session.id": "s1"}),
            wire_log(2, "of nobody"),
            wire_log(3, "of the other", trace_id=OTHER),
        ]
        await self.write(tenant, RECEIVED_NS, of_service("bot", *spans), logs_of("bot", *records))
        if self.rolls != "nothing":
            await self.cold.roll()
        later = wire_span(4, trace_id=AGAIN, span_id=b"later---", attributes={"enduser.id": "u1"})
        await self.write(tenant, LATER_NS, of_service("bot", later), logs_of("bot", wire_log(5, "later", trace_id=AGAIN)))
        if self.rolls == "all":
            await self.cold.roll()

    async def texts(self, sql: str) -> list[str]:
        """The strings of one column."""
        return [bytes(text).decode() for (text,) in await self.clickhouse.query(sql.replace("db.", f"{self.clickhouse.database}."), {})]

    async def cold_rows(self, table: str, column: str, tenant: str = "t1") -> list[str]:
        """The same of the files of a tenant."""
        files = (await self.cold.manifest()).files(table, tenant)
        urls = [f"SELECT {column} FROM s3('{self.cold.bucket_url}{file.key}', 'Parquet')" for file in files]
        return sorted([text for url in urls for text in await self.texts(url)])

    async def left(self) -> tuple[list[str], list[str], list[str]]:
        """Span ids, bodies of log records, and traces of the index, of t1."""
        spans = await self.texts("SELECT toString(span_id) FROM db.spans WHERE tenant = 't1' ORDER BY 1")
        logs = await self.texts("SELECT body FROM db.logs WHERE tenant = 't1' ORDER BY 1")
        return (
            sorted(spans + await self.cold_rows("spans", "toString(span_id)")),
            sorted(logs + await self.cold_rows("logs", "body")),
            await self.texts("SELECT DISTINCT hex(trace_id) FROM db.trace_index WHERE tenant = 't1' ORDER BY 1"),
        )


@pytest.fixture(params=["first", "all"])
async def place(request: pytest.FixtureRequest, cold: Cold) -> Place:
    """An empty shard of which some or all is cold once it is written."""
    return Place(cold.clickhouse, cold, request.param)


@pytest.fixture
async def hot_place(cold: Cold) -> Place:
    """An empty shard, all of which stays hot."""
    return Place(cold.clickhouse, cold)


async def finish(place: Place, deletion_id: str, eraser: Eraser | None = None) -> None:
    """Until it is done, which takes a few looks."""
    eraser = eraser or place.eraser()
    for _ in range(4):
        await eraser.work(SHARD, LEASE)
    assert await place.state(deletion_id) == ("done", "")
