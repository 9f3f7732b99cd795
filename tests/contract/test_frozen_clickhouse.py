"""A ClickHouse that hangs: it takes connections and answers nothing. Whoever asks it sees Retryable, and goes on by itself when
it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from nats.aio.client import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.compactor.app import Stores, enforce
from services.compactor.setbacks import Setbacks
from services.compactor.settings import CompactorSettings
from services.coordinator import sizes
from services.coordinator.migrate import Migrations
from services.ingest.writer.prepare import DeltaPreparation
from tael.cluster.lease import Lease, compactor_key
from tael.cluster.shard import SHARD_MAP_KEY, SchemaState, ShardAddress, ShardMap, schema_key
from tael.errors import Retryable, Unavailable
from tael.model.predicate import EVERYTHING
from tael.model.series import GridRequest, Matcher, Selection
from tael.model.signals import METRICS, TRACES
from tael.model.time import TimeRange
from tael.pb.metrics_pb2 import Deltas, MetricBatch
from tael.runtime.retention import CurrentRetention
from tael.runtime.service import Stop
from tael.storage.api import LogCounts, LogQuery, SpanQuery
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.collecting import ClickHouseCollect
from tael.storage.clickhouse.erase import ClickHouseErase
from tael.storage.clickhouse.holdings import TableHoldings
from tael.storage.clickhouse.llm_calls import ClickHouseLlm
from tael.storage.clickhouse.logs import ClickHouseLogs
from tael.storage.clickhouse.long_traces import ClickHouseLongTraces
from tael.storage.clickhouse.payloads import ClickHousePayloads
from tael.storage.clickhouse.pulse import Pulse
from tael.storage.clickhouse.rolling import ClickHouseRolling
from tael.storage.clickhouse.schema import KEPT, ClickHouseSchema
from tael.storage.clickhouse.series.reader import ClickHouseSeries
from tael.storage.clickhouse.span_counts import ClickHouseSpanCounts
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.clickhouse.stored_rows import ClickHouseRows
from tael.storage.clickhouse.topology import ClickHouseTopology
from tael.storage.clickhouse.totals import ClickHouseTotals
from tael.storage.clickhouse.traceql.reader import ClickHouseSpansets
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.storage.erase import Erasure
from tael.storage.long_traces import BEGIN, Part
from tael.storage.partitions import PartitionSize
from tael.traceql.ast import Attribute, Compare, MetricsAggregate, Scope
from tael.traceql.metrics import Grid
from tael.traceql.parse import parse
from tael.wal import codec
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.streams import JetStreamStreams
from tests.support.databases import MIGRATED, MakeNode
from tests.support.hotnode import HotNode
from tests.support.nats import NatsServer
from tests.support.storage import START_NS, of_service, wire_span
from tests.support.writing import open_cluster, writing

PATIENCE_SECONDS = 2.0
ADDRESS = ShardAddress(index=0, url="")
RANGE = TimeRange(START_NS, START_NS + 3600 * 10**9)
UP = Selection((Matcher("__name__", "=", "up"),), START_NS // 10**6, START_NS // 10**6 + 1000)


@pytest.fixture
async def shard(migrated_nodes: MakeNode) -> AsyncIterator[tuple[HotNode, ClickHouse]]:
    """A migrated shard in a hot node of its own, and a client of little patience."""
    node = migrated_nodes()
    clickhouse = ClickHouse(node.url, MIGRATED, patience_seconds=PATIENCE_SECONDS)
    yield node, clickhouse
    await clickhouse.close()


@contextlib.contextmanager
def frozen(node: HotNode) -> Iterator[None]:
    """The process hangs while the block runs."""
    node.kill(signal.SIGSTOP)
    try:
        yield
    finally:
        node.kill(signal.SIGCONT)


def body(name: str) -> bytes:
    """A body of the WAL with one span."""
    return codec.encode(
        "default", 1, ExportTraceServiceRequest(resource_spans=[of_service("shop", wire_span(name=name))]).SerializeToString()
    )


def calls(clickhouse: ClickHouse) -> list[Coroutine[Any, Any, object]]:
    """A call of every method of every reader, and of those of the other storage ports that need no files."""
    spans, logs, series = ClickHouseSpans(clickhouse), ClickHouseLogs(clickhouse), ClickHouseSeries(clickhouse)
    totals, counts, schema = ClickHouseTotals(clickhouse), ClickHouseSpanCounts(clickhouse), ClickHouseSchema(clickhouse)
    grid = GridRequest(UP.matchers, "rate", UP.start_ms, UP.end_ms, 1000, 60_000)
    return [
        spans.find_spans("default", SpanQuery(RANGE)),
        spans.get_trace("default", bytes(16)),
        spans.list_services("default", RANGE),
        logs.find_logs("default", LogQuery(RANGE)),
        series.select("default", UP, 100),
        series.grid("default", grid, 100),
        series.list_series("default", UP, 0),
        series.label_names("default", UP, 0),
        series.label_values("default", "job", UP, 0),
        series.families("default", "up", 0),
        series.exemplars("default", [UP.matchers], UP.start_ms, UP.end_ms),
        totals.last_samples("default", [(1, 1)], 0),
        totals.last_histograms("default", [(1, 1)], 0),
        counts.count_calls("default", 0, 60_000, 60_000, 100),
        counts.count_edges("default", 0, 60_000, 60_000, 100),
        counts.span_kinds("default", 0, 60_000),
        logs.read_lines("default", LogQuery(RANGE)),
        logs.count_logs("default", LogCounts(RANGE, slot_ns=10**9), 100),
        logs.list_streams("default", UP, 0),
        *_calls_by_trace(clickhouse),
        *_calls_of_loops(clickhouse),
        ClickHouseWriter(clickhouse).write(TRACES, body("any"), "token"),
        schema.migrate(),
        schema.is_migrated(),
        schema.list_partitions(),
        schema.list_detached(),
        schema.drop_partition(PartitionSize("spans", 0, 0, 0, 0, "traces")),
    ]


def _calls_by_trace(clickhouse: ClickHouse) -> list[Coroutine[Any, Any, object]]:
    spansets, topology, long_traces = ClickHouseSpansets(clickhouse), ClickHouseTopology(clickhouse), ClickHouseLongTraces(clickhouse)
    llm, part = ClickHouseLlm(clickhouse), Part(bytes(16), BEGIN, None, 10)
    rate, compared = parse("{ } | rate()"), parse("{ } | compare({ status = error })")
    assert isinstance(rate.metrics, MetricsAggregate)
    assert isinstance(compared.metrics, Compare)
    steps = Grid(START_NS, 60 * 10**9, 2)
    return [
        spansets.find_traces("default", parse("{ } >> { status = error }"), RANGE, 10, 3),
        spansets.sum_spans("default", rate, rate.metrics, steps, 10, 0),
        spansets.compare_spans("default", compared, compared.metrics, steps),
        spansets.tag_names("default", EVERYTHING, RANGE, [Scope.SPAN], 10),
        spansets.tag_values("default", EVERYTHING, RANGE, Attribute(Scope.SPAN, "a"), 10),
        topology.list_services("default", RANGE),
        topology.list_operations("default", "shop", RANGE),
        topology.count_calls("default", RANGE),
        long_traces.outline("default", bytes(16), 10, 10),
        long_traces.read_spans("default", part),
        long_traces.read_bytes("default", part, "otlp"),
        long_traces.calls("default", bytes(16)),
        llm.calls("default", RANGE, 10),
        llm.has_calls("default", RANGE),
        ClickHousePayloads(clickhouse).get_payloads("default", [bytes(32)]),
    ]


def _calls_of_loops(clickhouse: ClickHouse) -> list[Coroutine[Any, Any, object]]:
    rolling, collect, erase = (
        ClickHouseRolling(clickhouse, "http://127.0.0.1:9/"),
        ClickHouseCollect(clickhouse),
        ClickHouseErase(clickhouse),
    )
    user, tenant = Erasure("nobody", "user", "someone", START_NS), Erasure("nobody", "tenant", "", START_NS)
    return [
        *(TableHoldings(clickhouse).holdings(table, None) for table in KEPT),
        rolling.partitions(),
        rolling.free_bytes(),
        collect.seen_empty(),
        collect.changed_days(0),
        collect.due(0, 1),
        collect.needed("default", [bytes(32)]),
        erase.next_traces(user, 1),
        erase.erase_rest(tenant),
        erase.loose_items(user),
        erase.condemned("any"),
    ]


async def test_every_call_raises_retryable_and_works_again_afterwards(shard: tuple[HotNode, ClickHouse]) -> None:
    """Connected before or not, reading or writing; the error names the server."""
    node, clickhouse = shard
    with frozen(node):
        for _ in range(2):
            answers = await asyncio.gather(*calls(clickhouse), return_exceptions=True)
            assert [type(answer) for answer in answers] == [Unavailable] * len(answers)
            assert all(f"ClickHouse at {node.url} did not answer within {PATIENCE_SECONDS:g} s" in str(answer) for answer in answers)
    patient = ClickHouse(node.url, MIGRATED)
    try:
        await asyncio.gather(*calls(patient))
    finally:
        await patient.close()


async def test_a_read_of_a_server_that_hangs_is_given_up_early_and_of_a_slow_one_is_not(shard: tuple[HotNode, ClickHouse]) -> None:
    """It answers no ping, and that shows long before the statement's own limit; a slow server does answer."""
    node, _ = shard
    clickhouse = ClickHouse(node.url, MIGRATED, pulse=Pulse(every_seconds=0.1, answer_seconds=2.5))
    try:
        with frozen(node):
            for _ in range(2):
                with pytest.raises(Unavailable, match=f"ClickHouse at {node.url} hangs: it answers no ping"):
                    await clickhouse.query("SELECT 1", {})

        async def awake() -> bool:
            return await clickhouse.query("SELECT 1", {}) == [(1,)]

        await until(awake)
        assert await clickhouse.query("SELECT sleep(3)", {}) == [(0,)]
    finally:
        await clickhouse.close()


async def test_only_an_unanswered_ping_means_that_a_server_hangs() -> None:
    """A refusal is an answer, and so is a connection that is closed; the fourth ping is kept waiting."""
    asked = 0

    async def answer(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise ConnectionResetError
        if asked == 4:
            await asyncio.sleep(60)
        return web.Response(status=403)

    app = web.Application()
    app.router.add_get("/ping", answer)
    server = TestServer(app, host="127.0.0.1")
    await server.start_server(shutdown_timeout=0)
    try:
        await Pulse(every_seconds=0.01, answer_seconds=1.5).lost(str(server.make_url("/")), None)
    finally:
        await server.close()
    assert asked == 4


async def test_busy_threads_are_not_mistaken_for_a_server_that_hangs() -> None:
    """Names are resolved by threads of this process."""
    server, done = TestServer(web.Application(), host="127.0.0.1"), threading.Event()
    await server.start_server()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    busy = asyncio.create_task(asyncio.to_thread(done.wait, 60))
    watching = asyncio.create_task(Pulse(every_seconds=0.01, answer_seconds=0.2).lost(f"http://localhost:{server.port}", None))
    try:
        assert await asyncio.wait([watching], timeout=1) == (set(), {watching})
    finally:
        watching.cancel()
        done.set()
        await busy
        await server.close()


@contextlib.asynccontextmanager
async def running(loop: Callable[[Stop], Coroutine[Any, Any, None]]) -> AsyncIterator[asyncio.Task[None]]:
    """A service's loop while the block runs; it must end well when it is asked to."""
    stop = Stop()
    task = asyncio.create_task(loop(stop))
    try:
        yield task
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


async def count(clickhouse: ClickHouse, table: str) -> int:
    """Rows of a table."""
    [[rows]] = await clickhouse.query(f"SELECT count() FROM {MIGRATED}.{table}", {})  # a table's name, ours
    return int(rows)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds. A server that is thawing on a busy machine may be slower than the client is patient."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Retryable):
                if await condition():
                    return
            await asyncio.sleep(0.05)


async def test_the_writer_resumes_by_itself(shard: tuple[HotNode, ClickHouse], nats_server: NatsServer, nats_client: Client) -> None:
    """What waited is written once, however often the insert was given up; so are increments, whose totals are read from the shard."""
    node, clickhouse = shard
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    appender = JetStreamAppender(nats_client, "tael")
    prepare = {METRICS: DeltaPreparation(ClickHouseTotals(clickhouse), 100)}
    deltas = MetricBatch(deltas=Deltas(metric=[1], series=[1], time_ms=[START_NS // 10**6], value=[1.0]))
    async with writing(nats_client, kv, ClickHouseWriter(clickhouse), prepare) as metrics:
        with frozen(node):
            await appender.append(0, TRACES, body("a"), 1, "a")
            await appender.append(0, METRICS, codec.encode("default", 1, deltas.SerializeToString()), 1, "b")
            await asyncio.sleep(3 * PATIENCE_SECONDS)
        assert metrics.retries.labels("0")._value.get() >= 1

        async def written() -> bool:
            return (await count(clickhouse, "spans"), await count(clickhouse, "samples")) == (1, 1)

        await until(written)


async def test_the_coordinators_loops_go_on_by_themselves(
    shard: tuple[HotNode, ClickHouse], nats_server: NatsServer, nats_client: Client
) -> None:
    """Migrations say why a shard waits and finish later; sizes are looked at again."""
    node, clickhouse = shard
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    migrations = Migrations(kv, lambda _: ClickHouseSchema(clickhouse))
    shard_map = ShardMap(version=1, shards=(ADDRESS,))

    async def migrated() -> bool:
        return await migrations.step(shard_map) == {0}

    async def failed() -> bool:
        await migrations.step(shard_map)
        found = await kv.get(schema_key(0))
        return found is not None and "did not answer" in SchemaState.decode(found).reason

    async def shards() -> list[ShardAddress]:
        return [ADDRESS]

    letters = JetStreamStreams(nats_client, "tael", [nats_server.monitor_url], replicas=1, max_bytes=64 << 20)
    await ClickHouseWriter(clickhouse).write(TRACES, body("a"), "token")
    looking = running(lambda stop: sizes.watch_sizes(shards, lambda _: ClickHouseSchema(clickhouse), letters, stop, every_seconds=0.1))
    with frozen(node):
        await until(failed)
        async with looking as task:
            await asyncio.sleep(2 * PATIENCE_SECONDS)
            assert not task.done()
            node.kill(signal.SIGCONT)
            await until(migrated)

            async def seen() -> bool:
                return bool(sizes.ROWS.labels("0", "spans")._value.get() == 1)

            await until(seen)
    await migrations.close()


async def test_the_compactor_resumes_by_itself(shard: tuple[HotNode, ClickHouse], nats_server: NatsServer, nats_client: Client) -> None:
    """Retention that could not be enforced is enforced as soon as the shard answers, not at the next interval."""
    node, clickhouse = shard
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    await kv.put(SHARD_MAP_KEY, ShardMap(version=1, shards=(ADDRESS,)).encode())
    await kv.put(compactor_key(0), Lease(holder="me", epoch=1).encode())
    await ClickHouseWriter(clickhouse).write(TRACES, body("a"), "token")
    settings = CompactorSettings.model_validate({"TAEL_NODE_ID": "me", "TAEL_TRACE_RETENTION_DAYS": "0", "TAEL_LEASE_TTL_SECS": "1"})
    stores = Stores(lambda _: ClickHouseSchema(clickhouse), lambda _: ClickHouseRows(clickhouse), lambda _: Setbacks(0, 3600))
    with frozen(node):
        async with running(lambda stop: enforce(settings, stop, kv, stores, CurrentRetention(settings))) as task:
            await asyncio.sleep(2 * PATIENCE_SECONDS)
            assert not task.done()
            node.kill(signal.SIGCONT)

            async def dropped() -> bool:
                return await count(clickhouse, "spans") == 0

            await until(dropped)
