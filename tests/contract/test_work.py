"""What answers say of their cost, on two shards of real hot nodes: Loki's ``stats`` and Tempo's ``metrics``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from tael.model.tenant import DEFAULT_TENANT
from tael.model.time import TimeRange
from tael.otlp.encode import encode_spans
from tael.pb import tempo_query_pb2 as tempo
from tael.pb.tempo_pb2 import TraceByIDResponse
from tael.storage.api import LogQuery
from tael.storage.clickhouse.client import QUERY_LIMITS, ClickHouse
from tael.storage.work import Work, measured
from tests.support.hotnode import HotNode
from tests.support.query import Api, serving
from tests.support.storage import START_NS, composed, logs_of, wire_log
from tests.support.stubs import stubs
from tests.support.traceql_cases import SPANS, START

LOKI = "/loki/api/v1"
LINES = 40
TEMPO_RANGE: dict[str, Any] = {"start": START // 10**9 - 60, "end": START // 10**9 + 60}
LOKI_RANGE = {"start": START_NS, "end": START_NS + 100 * 10**9, "step": "10s"}
CACHES = {
    *("chunk", "index", "result", "statsResult", "volumeResult"),
    *("seriesResult", "labelResult", "instantMetricResult", "logResult", "taskResult"),
}


@pytest.fixture
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    async with composed(request, "two-shards") as tier:
        records = [wire_log(second * 10**9, f"line {second}", trace_id=bytes([second + 1]) * 16) for second in range(LINES)]
        await tier.store_logs(logs_of("shop", *records), tenant=DEFAULT_TENANT)
        await tier.store(*encode_spans(SPANS), tenant=DEFAULT_TENANT)
        async with serving(tier.reader, tier, logs=tier.logs, spansets=tier.spansets) as running:
            yield running


async def test_statements_add_what_they_read(shared_hot_node: HotNode) -> None:
    clickhouse = ClickHouse(shared_hot_node.url, "default")
    with measured() as work:
        await clickhouse.query("SELECT count() FROM numbers(1000)", {})
    assert work == Work(statements=1, rows=1000, bytes=8000)
    with measured() as work:
        await clickhouse.native("SELECT sum(number) FROM numbers({most:UInt64})", {"most": 500}, QUERY_LIMITS, {})
        await clickhouse.query("SELECT count() FROM numbers(1000)", {})
    assert work == Work(statements=2, rows=1500, bytes=12_000)
    with measured() as work:  # megabytes, which would otherwise begin to arrive before the server knows how much it reads
        await clickhouse.native("SELECT number FROM numbers(900000)", {}, QUERY_LIMITS, {})
    assert work == Work(statements=1, rows=900_000, bytes=7_200_000)
    await clickhouse.close()


async def loki_stats(api: Api, path: str, **parameters: Any) -> dict[str, Any]:
    body = await api.json(f"{LOKI}/{path}", **(LOKI_RANGE | parameters))
    stats: dict[str, Any] = body["data"]["stats"]
    assert stats.keys() == {"summary", "querier", "ingester", "cache", "index"}
    assert stats["cache"].keys() == CACHES
    summary: dict[str, Any] = stats["summary"]
    chunk = stats["querier"]["store"]["chunk"]
    assert (summary["totalBytesProcessed"], summary["totalLinesProcessed"]) == (chunk["decompressedBytes"], chunk["decompressedLines"])
    assert summary["execTime"] > 0 <= summary["queueTime"]
    return summary


async def test_lokis_statistics_are_what_the_hot_tier_read(api: Api) -> None:
    lines = await loki_stats(api, "query_range", query='{service_name="shop"} |= "line 3"', limit=5)
    assert (lines["totalEntriesReturned"], lines["totalPostFilterLines"]) == (5, 5)
    assert lines["totalLinesProcessed"] >= LINES
    assert lines["totalBytesProcessed"] > sum(len(f"line {second}") for second in range(LINES))
    assert lines["shards"] >= 2
    assert lines["bytesProcessedPerSecond"] == int(lines["totalBytesProcessed"] / lines["execTime"])
    counts = await loki_stats(api, "query_range", query='sum(count_over_time({service_name="shop"} |= "line" [10s]))')
    # The first line is at the end of a window of its own.
    assert (counts["totalEntriesReturned"], counts["totalPostFilterLines"]) == (LINES // 10 + 1, 0)
    assert counts["totalLinesProcessed"] >= LINES
    assert counts["linesProcessedPerSecond"] > 0
    for path, entries in (("index/volume", 1), ("index/volume_range", LINES // 10)):
        volume = await loki_stats(api, path, query='{service_name="shop"}')
        assert volume["totalEntriesReturned"] == entries, path
        assert volume["totalLinesProcessed"] > 0, path
        assert volume["shards"] >= 2, path


async def test_what_reads_nothing_says_so(api: Api) -> None:
    nothing = await loki_stats(api, "query", query="vector(1)", time=START_NS)
    assert nothing["totalEntriesReturned"] == 1
    assert (nothing["totalBytesProcessed"], nothing["totalLinesProcessed"], nothing["bytesProcessedPerSecond"], nothing["shards"]) == (
        *(0, 0),
        *(0, 0),
    )
    body = await api.json("/tempo/api/metrics/query_range", q="{ false } | rate()", **TEMPO_RANGE)
    assert body["metrics"] == {}


async def test_tempos_metrics_are_what_the_hot_tier_read(api: Api) -> None:
    """Over HTTP, and the same counts over gRPC."""
    asked = {"search": {"q": '{ resource.service.name = "db" }'}, "v2/search/tags": {}, "search/tags": {"scope": "span"}}
    asked |= {"v2/search/tag/name/values": {"q": "{ status = error }"}, "search/tag/span.size/values": {}}
    asked |= {"metrics/query_range": {"q": "{ } | rate()"}, "metrics/query": {"q": "{ } >> { } | count_over_time()"}}
    for path, parameters in asked.items():
        metrics = (await api.json(f"/tempo/api/{path}", **(TEMPO_RANGE | parameters)))["metrics"]
        assert int(metrics["inspectedBytes"]) > 0, path
        assert metrics["completedJobs"] == metrics["totalJobs"] >= 2, path
    search = await api.json("/tempo/api/search", q='{ resource.service.name = "db" }', **TEMPO_RANGE)
    assert search["metrics"]["inspectedTraces"] == 1
    related = await api.json("/tempo/api/search", q='{ resource.service.name = "shop" } >> { status = error }', **TEMPO_RANGE)
    assert related["metrics"]["inspectedTraces"] >= len(related["traces"]) >= 1
    trace = await api.json(f"/tempo/api/v2/traces/{SPANS[0].trace_id.hex()}")
    assert int(trace["metrics"]["inspectedBytes"]) > 0
    packed = await api.get(f"/tempo/api/v2/traces/{SPANS[0].trace_id.hex()}", headers={"Accept": "application/protobuf"})
    assert TraceByIDResponse.FromString(packed.body).metrics.inspected_bytes > 0
    async with grpc.aio.insecure_channel(api.grpc) as channel:
        querier = stubs("tempo_query").StreamingQuerierStub(channel)
        request = tempo.SearchRequest(Query='{ resource.service.name = "db" }', **TEMPO_RANGE)
        parts = [message.metrics async for message in querier.Search(request)]
        assert (parts[-1].completedJobs, parts[-1].totalJobs, parts[-1].inspectedTraces) == (2, 2, 1)
        assert parts[-1].inspectedBytes == max(part.inspectedBytes for part in parts) > 0
        async for message in querier.SearchTagsV2(tempo.SearchTagsRequest(**TEMPO_RANGE)):
            assert message.metrics.inspectedBytes > 0
            assert message.metrics.completedJobs == message.metrics.totalJobs >= 2


async def test_files_of_the_cold_tier_count(request: pytest.FixtureRequest) -> None:
    async with composed(request, "cold") as tier:
        records = [wire_log(second * 10**9, f"line {second}") for second in range(LINES)]
        await tier.store_logs(logs_of("shop", *records))
        with measured() as work:
            found = await tier.logs.read_lines("t1", LogQuery(TimeRange(START_NS, START_NS + 100 * 10**9), limit=100))
    assert (len(found.value), found.missing) == (LINES, ())
    assert work.rows >= LINES
    assert work.bytes > sum(len(f"line {second}") for second in range(LINES))
