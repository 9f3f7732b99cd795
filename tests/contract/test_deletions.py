"""Deletions over real tables: all that belongs to a trace, a user, a session or a tenant goes, and nothing else, whatever dies in between."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.compactor.erase import Eraser
from tael.cluster.deletions import Deletions, Kind
from tael.cluster.lease import Lease, writer_key
from tael.cluster.shard import SHARD_MAP_KEY, ShardAddress, ShardMap
from tael.cold.manifest import Head
from tael.errors import Unavailable
from tael.model.signals import LOGS, METRICS, TRACES
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.erase import ClickHouseErase
from tael.storage.clickhouse.schema import KEPT
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.storage.erase import EraseStore, Erasure
from tael.wal import codec
from tael.wal.api import WalState
from tests.contract.test_cli import tael
from tests.contract.test_metric_tables import batch
from tests.contract.test_retention import rows_of
from tests.support.hotnode import HotNode
from tests.support.key_value import MemoryKeyValue
from tests.support.query import MemorySpans, serving
from tests.support.storage import RECEIVED_NS, logs_of, of_service, open_tier, wire_log, wire_span

SHARD = ShardAddress(index=0, name="shard-0", url="http://127.0.0.1:1")
OLD, OTHER, AGAIN = (bytes([number]) * 16 for number in (1, 2, 3))
LATER_NS = RECEIVED_NS + 3600 * 10**9
BEFORE_NS = RECEIVED_NS + 60 * 10**9


@dataclass
class Place:
    """A shard with its deletions; ``ends`` are the last sequences of its WALs, ``head`` what is in the cold tier."""

    clickhouse: ClickHouse
    kv: MemoryKeyValue = field(default_factory=MemoryKeyValue)
    last: int = 0
    head: Head = field(default_factory=lambda: Head(0))

    def eraser(self, store: EraseStore | None = None) -> Eraser:
        """A compactor that has just started."""

        async def wal_state(wal: int) -> WalState:
            return WalState(1, self.last if wal == 0 else 0, 0)

        async def head(_: int) -> Head:
            return self.head

        return Eraser(self.kv, lambda _: store or ClickHouseErase(self.clickhouse), wal_state, head)

    async def ask(self, kind: Kind, value: str, tenant: str = "t1") -> str:
        """A request for what came up to BEFORE_NS."""
        return (await Deletions(self.kv).ask(tenant, kind, value, now_ns=BEFORE_NS, shards=1)).id

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
        """A trace of a user and session with a plain span and log records, one of somebody else, one that goes on later, and loose records."""
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
        later = wire_span(4, trace_id=AGAIN, span_id=b"later---", attributes={"enduser.id": "u1"})
        await self.write(tenant, LATER_NS, of_service("bot", later), logs_of("bot", wire_log(5, "later", trace_id=AGAIN)))

    async def texts(self, sql: str) -> list[str]:
        """The strings of one column."""
        return [bytes(text).decode() for (text,) in await self.clickhouse.query(sql.replace("db.", f"{self.clickhouse.database}."), {})]

    async def left(self) -> tuple[list[str], list[str], list[str]]:
        """Span ids, bodies of log records, and traces of the index, of t1."""
        return (
            await self.texts("SELECT toString(span_id) FROM db.spans WHERE tenant = 't1' ORDER BY 1"),
            await self.texts("SELECT body FROM db.logs WHERE tenant = 't1' ORDER BY 1"),
            await self.texts("SELECT DISTINCT hex(trace_id) FROM db.trace_index WHERE tenant = 't1' ORDER BY 1"),
        )


@pytest.fixture
async def place(shared_hot_node: HotNode) -> AsyncIterator[Place]:
    """An empty shard."""
    async with open_tier([shared_hot_node]) as tier:
        yield Place(tier.clickhouses[0])


async def finish(place: Place, deletion_id: str, eraser: Eraser | None = None) -> None:
    """Until it is done, which takes a few looks."""
    eraser = eraser or place.eraser()
    for _ in range(4):
        await eraser.work(SHARD)
    assert await place.state(deletion_id) == ("done", "")


HEX = {name: (trace_id.hex().upper()) for name, trace_id in (("old", OLD), ("other", OTHER), ("again", AGAIN))}
EVERY_LOG = ["in the trace", "later", "of nobody", "of the other", "of the user"]


async def test_a_trace_goes_with_its_logs_and_its_index(place: Place) -> None:
    """Nothing of another trace, nothing of another tenant."""
    await place.fill()
    await place.fill("t2")
    await finish(place, await place.ask("trace", OLD.hex()))
    spans, logs, index = await place.left()
    assert spans == ["again---", "later---", "other---"]
    assert logs == ["later", "of nobody", "of the other", "of the user"]
    assert index == [HEX["other"], HEX["again"]]
    assert (await rows_of(place.clickhouse, "t2"))["spans"] == 5


async def test_what_came_after_the_request_stays(place: Place) -> None:
    """With the index that says where it is."""
    await place.fill()
    await finish(place, await place.ask("trace", AGAIN.hex()))
    spans, logs, index = await place.left()
    assert spans == ["call----", "later---", "other---", "root----"]
    assert (logs, index) == (EVERY_LOG, [HEX["old"], HEX["other"], HEX["again"]])


@pytest.mark.parametrize(("kind", "value", "again"), [("user", "u1", []), ("session", "s1", ["again---"])])
async def test_a_user_or_session_goes_with_its_traces(place: Place, kind: Kind, value: str, again: list[str]) -> None:
    """Whole, with records that name it elsewhere and with what suggestions remember."""
    await place.fill()
    key = "session.id" if kind == "session" else "user.id"
    remembered = f"SELECT DISTINCT pair.2 FROM db.span_attribute_keys ARRAY JOIN attribute_string_values AS pair WHERE pair.1 = '{key}'"
    assert value in await place.texts(remembered)
    await finish(place, await place.ask(kind, value))
    spans, logs, _ = await place.left()
    assert sorted(set(spans)) == sorted([*again, "later---", "other---"])
    assert sorted(set(logs)) == ["later", "of nobody", "of the other"]
    assert value not in await place.texts(remembered)


async def test_a_tenant_goes_out_of_every_table(place: Place) -> None:
    """And no other tenant."""
    for tenant in ("t1", "t2"):
        await place.fill(tenant)
        await ClickHouseWriter(place.clickhouse).write(METRICS, codec.encode(tenant, 1, batch().SerializeToString()), secrets.token_hex(8))
    before = await rows_of(place.clickhouse, "t2")
    assert set(before) >= set(KEPT) - {"payloads"}
    deletion = (await Deletions(place.kv).ask("t1", "tenant", "t1", now_ns=time.time_ns() + 10**18, shards=1)).id
    await finish(place, deletion)
    assert await rows_of(place.clickhouse, "t1") == {}
    assert await rows_of(place.clickhouse, "t2") == before


class Dying:
    """A store whose process dies with the nth statement that changes something."""

    def __init__(self, clickhouse: ClickHouse, after: int) -> None:
        self._store = ClickHouseErase(clickhouse)
        self._after = after
        inner = self._store._mutate

        async def mutate(*arguments: Any) -> None:
            self._after -= 1
            if self._after < 0:
                raise Unavailable("it died")
            await inner(*arguments)

        self._store._mutate = mutate  # type: ignore[assignment, method-assign]  # where a process dies is between two of these

    async def next_traces(self, what: Erasure, limit: int) -> Sequence[bytes]:
        """See EraseStore."""
        return await self._store.next_traces(what, limit)

    async def erase_traces(self, what: Erasure, traces: Sequence[bytes]) -> int:
        """See EraseStore."""
        return await self._store.erase_traces(what, traces)

    async def erase_rest(self, what: Erasure) -> int:
        """See EraseStore."""
        return await self._store.erase_rest(what)


async def test_whatever_dies_where_it_is_finished(place: Place) -> None:
    """After each statement, by another compactor."""
    await place.fill()
    deletion = await place.ask("user", "u1")
    for after in range(3):
        await place.eraser(Dying(place.clickhouse, after)).work(SHARD)
    await finish(place, deletion)
    spans, logs, index = await place.left()
    assert (spans, logs) == (["later---", "other---"], ["later", "of nobody", "of the other"])
    assert index == [HEX["other"], HEX["again"]]


async def test_it_is_not_done_before_the_wal_is_written(place: Place) -> None:
    """What arrived before the request may be behind it in the WAL; nor while hours are in the cold tier."""
    place.last = 7
    deletion = await place.ask("trace", OLD.hex())
    eraser = place.eraser()
    await eraser.work(SHARD)
    assert (await place.state(deletion))[0] == "running"
    assert "reaches to 7" in (await place.state(deletion))[1]
    await place.fill()
    place.last = 9
    await place.kv.put(writer_key(0), Lease(holder="w", epoch=1, committed=7).encode())
    place.head = Head(0, cold={"spans": (0, 1)})
    for _ in range(3):
        await eraser.work(SHARD)
    state, reason = await place.state(deletion)
    assert (state, "cold tier" in reason) == ("running", True)
    assert (await place.left())[0] == ["again---", "later---", "other---"]
    place.head = Head(0)
    await finish(place, deletion, place.eraser())


async def test_deletions_are_asked_for_and_shown(place: Place) -> None:
    """By the API and by the command; each tenant sees its own, and asks for its own."""
    await place.fill("default")
    await place.kv.put(SHARD_MAP_KEY, ShardMap(version=1, shards=(SHARD,)).encode())
    async with serving(MemorySpans(), kv=place.kv) as api:
        asked = (await tael("--server", api.url, "delete", "trace", OLD.hex(), "--yes")).json()
        assert (asked["state"], asked["kind"], asked["tenant"]) == ("waiting", "trace", "default")
        [listed] = (await api.json("/api/v1/deletions"))["deletions"]
        assert listed == asked
        for _ in range(3):
            await place.eraser().work(SHARD)
        shown = await api.json(f"/api/v1/deletions/{asked['id']}")
        assert (shown["state"], shown["rows"], shown["shards"][0]["reason"]) == ("done", 4, None)
        table = await tael("--server", api.url, "deletions", "--format", "table")
        assert "done" in table.out, table.err
        assert OLD.hex() in table.out
        other = await api.get(f"/api/v1/deletions/{asked['id']}", headers={"X-Scope-OrgID": "shop"})
        assert other.status == 404
        assert (await api.get("/api/v1/deletions", headers={"X-Scope-OrgID": "shop"})).json() == {"deletions": []}
        for query, status in (("", 400), ("?user=a&session=b", 400), ("?trace=xyz", 400), ("?tenant=a/b", 400), ("?user=u9", 202)):
            async with api.session.post(f"{api.url}/api/v1/deletions{query}") as response:
                assert response.status == status, await response.text()
        async with api.session.post(f"{api.url}/api/v1/deletions?tenant=bank", headers={"X-Scope-OrgID": "shop"}) as response:
            assert response.status == 400
        refused = await tael("--server", api.url, "delete", "tenant", "default")
        assert refused.code == 1
        assert len((await api.json("/api/v1/deletions"))["deletions"]) == 2
