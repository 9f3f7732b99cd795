"""Tempo's and Jaeger's services over gRPC, by generated clients. Spans are in memory; tests/system asks real processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.timestamp_pb2 import Timestamp
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from services.query.rpc import MISSING
from tael.pb import jaeger_query_pb2 as v2
from tael.pb import jaeger_query_v3_pb2 as v3
from tael.pb import tempo_query_pb2 as tempo
from tael.storage.api import Shard
from tael.storage.gather import Shards
from tael.storage.spansets import MergedSpansets, SpansetReader
from tests.support.doubles import MemorySpans
from tests.support.query import Api, serving
from tests.support.stubs import stubs
from tests.support.traceql import MemorySpansets
from tests.support.traceql_cases import SPANS, START

SECOND = START // 10**9
RANGE: dict[str, Any] = {"start": SECOND - 60, "end": SECOND + 60}
CART = bytes(15) + b"\xaa"


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """The application over spans in memory: how a shard finds them is not asked here."""
    async with serving(MemorySpans(SPANS)) as running:
        yield running


@pytest.fixture(params=["own port", "port of HTTP"])
async def channel(request: pytest.FixtureRequest, api: Api) -> AsyncIterator[Any]:
    """A channel to the services; Grafana takes the port of HTTP for both."""
    target = api.grpc if request.param == "own port" else api.url.removeprefix("http://")
    async with grpc.aio.insecure_channel(target) as open_channel:
        yield open_channel


async def messages(call: Any) -> list[Any]:
    return [message async for message in call]


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    answer = messages(call) if hasattr(call, "__aiter__") else call
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await answer
    return error.value.code(), str(error.value.details())


async def test_a_search_over_grpc_is_the_one_over_http(api: Api, channel: Any) -> None:
    """The same traces, each once."""
    querier = stubs("tempo_query").StreamingQuerierStub(channel)
    for query, limit in (
        ('{ resource.service.name = "db" }', 20),
        ("{ } | select(name, span.size)", 20),
        ("{ }", 1),
        ("{ .nothing = 1 }", 20),
    ):
        body = await api.json("/tempo/api/search", q=query, limit=limit, **RANGE)
        found = await messages(querier.Search(tempo.SearchRequest(Query=query, Limit=limit, **RANGE)))
        traces = [MessageToDict(trace) for message in found for trace in message.traces]
        if limit > 1:
            wanted = [MessageToDict(trace) for trace in ParseDict({"traces": body["traces"]}, tempo.SearchResponse()).traces]
            assert sorted(traces, key=lambda trace: trace["traceID"]) == sorted(wanted, key=lambda trace: trace["traceID"])
        assert len(traces) == len({trace["traceID"] for trace in traces}) == len(body["traces"])
        assert found[-1].metrics.completedJobs == found[-1].metrics.totalJobs


async def test_the_newest_are_sent_when_every_shard_has_answered() -> None:
    """By default each shard's traces come when it answers; with ``most_recent`` none comes that a later answer may push out."""

    class Late(MemorySpansets):
        async def find_traces(self, *given: Any, **named: Any) -> Any:
            await release.wait()
            return await super().find_traces(*given, **named)

    release = asyncio.Event()
    shards: list[Shard[SpansetReader]] = [
        Shard("shard-0", MemorySpansets([span for span in SPANS if span.trace_id == CART])),
        Shard("shard-1", Late([span for span in SPANS if span.trace_id != CART])),
    ]
    async with (
        serving(MemorySpans(), spansets=MergedSpansets(Shards(shards))) as api,
        grpc.aio.insecure_channel(api.grpc) as open_channel,
    ):
        querier = stubs("tempo_query").StreamingQuerierStub(open_channel)
        for hint, first in (("", ["aa"]), (" with(most_recent=true)", [])):
            release.clear()
            call = querier.Search(tempo.SearchRequest(Query="{ }" + hint, Limit=2, **RANGE))
            parts = aiter(call)
            part = await anext(parts)
            assert ([trace.traceID for trace in part.traces], part.metrics.completedJobs, part.metrics.totalJobs) == (first, 1, 2)
            release.set()
            rest = [trace.traceID for message in await messages(parts) for trace in message.traces]
            assert len(first + rest) == 2
        assert first + rest == [trace["traceID"] for trace in (await api.json("/tempo/api/search", q="{ }", limit=2, **RANGE))["traces"]]


async def test_tags_and_values(api: Api, channel: Any) -> None:
    querier = stubs("tempo_query").StreamingQuerierStub(channel)
    scopes = (await api.json("/tempo/api/v2/search/tags", scope="resource", **RANGE))["scopes"]
    (told,) = await messages(querier.SearchTagsV2(tempo.SearchTagsRequest(scope="resource", **RANGE)))
    assert [(scope.name, list(scope.tags)) for scope in told.scopes] == [(scope["name"], scope["tags"]) for scope in scopes]
    (told,) = await messages(querier.SearchTags(tempo.SearchTagsRequest(maxTagsPerScope=2, **RANGE)))
    assert list(told.tagNames) == (await api.json("/tempo/api/search/tags", limit=2, **RANGE))["tagNames"]
    assert len(told.tagNames) == 2
    (told,) = await messages(querier.SearchTagValues(tempo.SearchTagValuesRequest(tagName="service.name", **RANGE)))
    assert set(told.tagValues) == {"", "shop", "db", "agent"}
    request = tempo.SearchTagValuesRequest(tagName="resource.service.name", query='{ name = "auth" }', **RANGE)
    (told,) = await messages(querier.SearchTagValuesV2(request))
    assert [(value.type, value.value) for value in told.tagValues] == [("string", "shop")]


async def test_metrics(api: Api, channel: Any) -> None:
    """Times and steps are nanoseconds; samples are those of the HTTP API, zeros included."""
    querier = stubs("tempo_query").StreamingQuerierStub(channel)
    query, start, end = "{ } | rate() by (resource.service.name)", SECOND - 20, SECOND + 20
    body = await api.json("/tempo/api/metrics/query_range", q=query, start=start, end=end, step="10s", exemplars=2)
    request = tempo.QueryRangeRequest(query=query, start=start * 10**9, end=end * 10**9, step=10**10, exemplars=2)
    (told,) = await messages(querier.MetricsQueryRange(request))
    assert MessageToDict(told)["series"] == [_without_zeros(series) for series in body["series"]]
    (told,) = await messages(querier.MetricsQueryInstant(tempo.QueryInstantRequest(query=query, start=start * 10**9, end=end * 10**9)))
    assert {one.labels[0].value.string_value for one in told.series} == {"", "shop", "db", "agent"}
    assert all(one.value > 0 for one in told.series)


def _without_zeros(series: dict[str, Any]) -> dict[str, Any]:
    """As protobuf's JSON has them when it writes them."""
    return series | {"samples": [sample if sample.get("value") else {"timestampMs": sample["timestampMs"]} for sample in series["samples"]]}


async def test_jaeger_v3(channel: Any) -> None:
    """OTLP, a trace in one message or more."""
    jaeger = stubs("jaeger_query_v3").QueryServiceStub(channel)
    assert list((await jaeger.GetServices(v3.GetServicesRequest())).services) == ["agent", "db", "missing-service-name", "shop"]
    operations = (await jaeger.GetOperations(v3.GetOperationsRequest(service="shop", span_kind="server"))).operations
    assert [(operation.name, operation.span_kind) for operation in operations] == [("GET /cart", "server")]
    assert await names_v3(jaeger.GetTrace(v3.GetTraceRequest(trace_id=CART.hex()))) == {
        "GET /cart",
        "auth",
        "render",
        "query db",
        "read row",
    }
    query = v3.TraceQueryParameters(service_name="shop", attributes={"http.status_code": "200"}, **times())
    assert "render" in await names_v3(jaeger.FindTraces(v3.FindTracesRequest(query=query)))
    (found,) = await messages(jaeger.FindTraceSummaries(v3.FindTraceSummariesRequest(query=query)))
    assert [(one.trace_id, one.root_service_name, one.span_count) for one in found.summaries] == [(CART.hex(), "shop", 5)]
    links = (await jaeger.GetDependencies(v3.GetDependenciesRequest(**range_of()))).dependencies
    assert ("shop", "db") in {(link.parent, link.child) for link in links}
    unknown = v3.GetTraceRequest(trace_id="f" * 32)
    assert await refused(jaeger.GetTrace(unknown)) == (grpc.StatusCode.NOT_FOUND, "No traces found")
    without_times = v3.FindTracesRequest(query=v3.TraceQueryParameters(service_name="shop"))
    assert (await refused(jaeger.FindTraces(without_times)))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def names_v3(call: Any) -> set[str]:
    groups = [ResourceSpans.FromString(group) for message in await messages(call) for group in message.resource_spans]
    return {span.name for group in groups for scope in group.scope_spans for span in scope.spans}


def times() -> dict[str, Any]:
    return {"start_time_min": Timestamp(seconds=SECOND - 60), "start_time_max": Timestamp(seconds=SECOND + 60)}


def range_of() -> dict[str, Any]:
    return {"start_time": Timestamp(seconds=SECOND - 60), "end_time": Timestamp(seconds=SECOND + 60)}


async def test_jaeger_v2(channel: Any) -> None:
    """Jaeger's own model: tags of each type, logs, references, the process with each span."""
    jaeger = stubs("jaeger_query").QueryServiceStub(channel)
    assert "shop" in (await jaeger.GetServices(v2.GetServicesRequest())).services
    found = await jaeger.GetOperations(v2.GetOperationsRequest(service="shop"))
    assert list(found.operationNames) == ["GET /cart", "auth", "render"]
    spans = {span.operation_name: span for span in await spans_v2(jaeger.GetTrace(v2.GetTraceRequest(trace_id=CART)))}
    root, row = spans["GET /cart"], spans["read row"]
    assert (root.start_time.ToNanoseconds(), root.duration.ToMilliseconds(), root.process.service_name) == (START, 100, "shop")
    tags = {tag.key: tag for tag in (*root.tags, *row.tags)}
    assert (tags["http.status_code"].v_type, tags["http.status_code"].v_int64) == (v2.INT64, 200)
    assert (tags["raw"].v_type, tags["raw"].v_binary) == (v2.BINARY, b"\x00\xff")
    assert (tags["error"].v_type, tags["error"].v_bool) == (v2.BOOL, True)
    assert [log.fields[0].v_str for log in row.logs] == ["exception", "retry"]
    assert [(reference.ref_type, reference.span_id) for reference in row.references] == [(v2.CHILD_OF, spans["query db"].span_id)]
    query = v2.TraceQueryParameters(service_name="db", tags={"error": "true"}, **times())
    assert {span.trace_id for span in await spans_v2(jaeger.FindTraces(v2.FindTracesRequest(query=query)))} == {CART}
    links = (await jaeger.GetDependencies(v2.GetDependenciesRequest(**range_of()))).dependencies
    assert ("shop", "db") in {(link.parent, link.child) for link in links}
    assert await refused(jaeger.GetTrace(v2.GetTraceRequest(trace_id=b"\xff" * 16))) == (grpc.StatusCode.NOT_FOUND, "trace not found")
    assert (await refused(jaeger.GetOperations(v2.GetOperationsRequest())))[0] is grpc.StatusCode.INVALID_ARGUMENT


async def spans_v2(call: Any) -> list[v2.Span]:
    return [span for message in await messages(call) for span in message.spans]


async def test_invalid_requests_are_refused_with_a_reason(channel: Any) -> None:
    querier = stubs("tempo_query").StreamingQuerierStub(channel)
    code, text = await refused(querier.Search(tempo.SearchRequest(Query="{ status = }", **RANGE)))
    assert (code, "invalid TraceQL query" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    code, text = await refused(querier.MetricsQueryRange(tempo.QueryRangeRequest(query="{ }")))
    assert (code, "not a metrics query" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    garbled = channel.unary_stream("/tempopb.StreamingQuerier/Search", request_serializer=lambda _: b"\xff\xff")
    assert (await refused(garbled(None)))[0] is grpc.StatusCode.INVALID_ARGUMENT
    unknown = channel.unary_unary("/tempopb.StreamingQuerier/Nothing", request_serializer=lambda _: b"")
    assert (await refused(unknown(None)))[0] is grpc.StatusCode.UNIMPLEMENTED


OUT_OF_RANGE = [
    pytest.param({"start_time_min": Timestamp(seconds=-(10**15))}, id="a time before the year 1"),
    pytest.param({"start_time_max": Timestamp(seconds=3 * 10**11)}, id="a time after the year 9999"),
    pytest.param({"start_time_max": Timestamp(seconds=20 * 10**9)}, id="a time beyond 64 bits of nanoseconds"),
    pytest.param({"start_time_min": Timestamp(seconds=SECOND, nanos=-5)}, id="negative nanoseconds"),
    pytest.param({"duration_max": Duration(seconds=1 << 62)}, id="a duration beyond 64 bits"),
]


@pytest.mark.parametrize("wrong", OUT_OF_RANGE)
async def test_times_out_of_range_are_refused(channel: Any, wrong: dict[str, Any]) -> None:
    for name, messages_of in (("jaeger_query", v2), ("jaeger_query_v3", v3)):
        query = messages_of.TraceQueryParameters(service_name="shop", **(times() | wrong))
        call = stubs(name).QueryServiceStub(channel).FindTraces(messages_of.FindTracesRequest(query=query))
        code, text = await refused(call)
        assert (code, next(iter(wrong)) in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_a_query_that_is_too_deep_is_refused(channel: Any) -> None:
    querier = stubs("tempo_query").StreamingQuerierStub(channel)
    code, text = await refused(querier.Search(tempo.SearchRequest(Query=f"{{ .a = {' + '.join('1' * 2_000)} }}", **RANGE)))
    assert (code, "nested too deeply" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_tokens_and_tenants(tmp_path: Path) -> None:
    """Bearer tokens and X-Scope-OrgID as in the HTTP API."""
    tokens = tmp_path / "tokens.json"
    tokens.write_text(
        json.dumps(
            [
                {"token": "reads-the-default-tenant", "tenant": "default", "scopes": ["query"]},
                {"token": "sends-only-spans", "tenant": "default", "scopes": ["ingest"]},
            ]
        )
    )
    async with (
        serving(MemorySpans(SPANS), TAEL_TOKENS_FILE=str(tokens)) as api,
        grpc.aio.insecure_channel(api.grpc) as open_channel,
    ):
        jaeger = stubs("jaeger_query_v3").QueryServiceStub(open_channel)

        async def ask(*metadata: tuple[str, str]) -> Any:
            return await jaeger.GetServices(v3.GetServicesRequest(), metadata=metadata)

        assert (await refused(ask()))[0] is grpc.StatusCode.UNAUTHENTICATED
        assert (await refused(ask(("authorization", "Bearer sends-only-spans"))))[0] is grpc.StatusCode.PERMISSION_DENIED
        other = ask(("authorization", "Bearer reads-the-default-tenant"), ("x-scope-orgid", "another"))
        assert (await refused(other))[0] is grpc.StatusCode.PERMISSION_DENIED
        assert "shop" in (await ask(("authorization", "Bearer reads-the-default-tenant"))).services


class Slow(MemorySpansets):
    """A reader that answers when it is told to, and notes when it is cancelled."""

    def __init__(self) -> None:
        super().__init__(SPANS)
        self.asked, self.cancelled = asyncio.Event(), asyncio.Event()

    async def find_traces(self, *_: Any, **__: Any) -> Any:
        self.asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


async def test_a_call_that_ends_early_ends_the_query() -> None:
    """Cancelled by the client or past its deadline, the turn is free for the next call."""
    slow = Slow()
    async with (
        serving(MemorySpans(), spansets=slow, TAEL_QUERY_CONCURRENCY="1", TAEL_QUERY_QUEUE="0") as api,
        grpc.aio.insecure_channel(api.grpc) as open_channel,
    ):
        querier = stubs("tempo_query").StreamingQuerierStub(open_channel)
        for deadline in (None, 0.5):
            slow.asked.clear()
            slow.cancelled.clear()
            call = querier.Search(tempo.SearchRequest(Query="{ }", **RANGE), timeout=deadline)
            await asyncio.wait_for(slow.asked.wait(), 20)
            if deadline is None:
                again = querier.Search(tempo.SearchRequest(Query="{ }", **RANGE))
                assert (await refused(again))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
                call.cancel()
            else:
                assert (await refused(call))[0] is grpc.StatusCode.DEADLINE_EXCEEDED
            await asyncio.wait_for(slow.cancelled.wait(), 20)


class Gated(MemorySpansets):
    """A reader that answers once it may."""

    def __init__(self) -> None:
        super().__init__(SPANS)
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    async def find_traces(self, *asked: Any, **options: Any) -> Any:
        self.asked.set()
        await self.gate.wait()
        return await super().find_traces(*asked, **options)


async def test_the_drain_finishes_calls_over_the_port_of_http() -> None:
    """Their connections were handed on, and end after the calls on them."""
    gated = Gated()
    async with contextlib.AsyncExitStack() as stack:
        api = await stack.enter_async_context(serving(MemorySpans(), spansets=gated))
        async with grpc.aio.insecure_channel(api.url.removeprefix("http://")) as open_channel:
            call = stubs("tempo_query").StreamingQuerierStub(open_channel).Search(tempo.SearchRequest(Query="{ }", **RANGE))
            await asyncio.wait_for(gated.asked.wait(), 20)
            leaving = asyncio.ensure_future(stack.aclose())
            await asyncio.sleep(0.3)
            gated.gate.set()
            assert sum(len(message.traces) for message in await messages(call)) == 3
            await leaving


async def test_a_shard_that_does_not_answer_is_named() -> None:
    shards: list[Shard[SpansetReader]] = [Shard("shard-0", MemorySpansets(SPANS)), Shard("shard-1", Slow())]
    async with (
        serving(MemorySpans(), spansets=MergedSpansets(Shards(shards, deadline_seconds=0.5))) as api,
        grpc.aio.insecure_channel(api.grpc) as open_channel,
    ):
        querier = stubs("tempo_query").StreamingQuerierStub(open_channel)
        call = querier.Search(tempo.SearchRequest(Query="{ }", **RANGE))
        found = await messages(call)
        assert (found[-1].metrics.completedJobs, found[-1].metrics.totalJobs) == (1, 2)
        assert dict(await call.trailing_metadata())[MISSING] == "shard-1"
        assert sum(len(message.traces) for message in found) == 3
