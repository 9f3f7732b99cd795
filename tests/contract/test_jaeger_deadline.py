"""Jaeger's searches, which take several turns, have the time of one query: over HTTP and gRPC, with shards that do not answer."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from services.query.rpc import MISSING
from tael.model.span import Span
from tael.model.tenant import DEFAULT_TENANT
from tael.model.time import TimeRange
from tael.pb import jaeger_query_pb2 as v2
from tael.storage.api import Answer, Shard, SpanReader
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.clickhouse.traceql.reader import ClickHouseSpansets
from tael.storage.gather import Shards
from tael.storage.merged import MergedSpans
from tael.storage.spansets import MergedSpansets, SpansetReader
from tests.support.doubles import MemorySpans
from tests.support.hotnode import HotNode
from tests.support.query import Api, Stalled, serving
from tests.support.storage import START_NS, composed, model_of, of_service, wire_span
from tests.support.stubs import stubs
from tests.support.traceql import MemorySpansets

TRACES = 20
"""So many take three batches."""
RANGE: dict[str, Any] = {"start": START_NS // 1000 - 1_000_000, "end": START_NS // 1000 + 60_000_000}
WIRE = of_service("shop", *(wire_span(second * 10**9, trace_id=bytes([second + 1]) * 16) for second in range(TRACES)))


class Unanswered(MemorySpansets):
    """A shard that never answers a search."""

    async def find_traces(self, *_: Any, **__: Any) -> Any:
        return await Stalled().find_spans()


async def search(api: Api) -> tuple[list[str], list[str]]:
    """The ids of the traces, and the warnings."""
    body = await api.json("/jaeger/api/traces", service="shop", limit=100, **RANGE)
    return sorted(trace["traceID"] for trace in body["data"]), body.get("warnings", [])


@asynccontextmanager
async def call(api: Api) -> AsyncIterator[Any]:
    query = v2.TraceQueryParameters(
        service_name="shop",
        search_depth=100,
        start_time_min=Timestamp(seconds=START_NS // 10**9 - 1),
        start_time_max=Timestamp(seconds=START_NS // 10**9 + 60),
    )
    async with grpc.aio.insecure_channel(api.grpc) as channel:
        yield stubs("jaeger_query").QueryServiceStub(channel).FindTraces(v2.FindTracesRequest(query=query))


async def test_a_search_that_is_not_read_in_time_ends_with_a_timeout() -> None:
    """Its batches do not have the full time each."""
    spansets = MemorySpansets(model_of([WIRE]))
    async with serving(Stalled(), spansets=spansets, TAEL_QUERY_TIMEOUT_SECS="0.2") as api:
        answer = await api.get("/jaeger/api/traces", service="shop", **RANGE)
        assert (answer.status, answer.json()["errors"][0]["code"]) == (504, 504)
        async with call(api) as chunks:
            with pytest.raises(grpc.aio.AioRpcError) as error:
                [chunk async for chunk in chunks]
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_shard_that_did_not_answer_the_search_is_not_waited_for_with_each_batch() -> None:
    """The traces are those of the others, and the answer names it."""
    spans, stalled = model_of([WIRE]), Stalled()
    readers: list[Shard[SpanReader]] = [Shard("shard-0", MemorySpans(spans)), Shard("shard-1", stalled)]
    searchers: list[Shard[SpansetReader]] = [Shard("shard-0", MemorySpansets(spans)), Shard("shard-1", Unanswered())]
    spansets = MergedSpansets(Shards(searchers, deadline_seconds=0.5))
    async with serving(MergedSpans(Shards(readers, deadline_seconds=0.5)), spansets=spansets) as api:
        found, (warning,) = await search(api)
        assert (found, "shard-1" in warning) == (_ids(spans), True)
        async with call(api) as chunks:
            assert len({span.trace_id async for chunk in chunks for span in chunk.spans}) == TRACES
            assert dict(await chunks.trailing_metadata())[MISSING] == "shard-1"
    assert not stalled.asked.is_set()


async def test_a_hot_node_that_hangs_costs_its_own_traces(request: pytest.FixtureRequest, second_hot_node: HotNode) -> None:
    asked = list[str]()

    class Counted(ClickHouseSpans):
        async def get_trace(
            self, tenant: str, trace_id: bytes, time_range: TimeRange | None = None, most: int | None = None
        ) -> Answer[list[Span]]:
            asked.append(self._clickhouse.url)
            return await super().get_trace(tenant, trace_id, time_range, most)

    async with composed(request, "two-shards") as tier:
        spans = await tier.store(WIRE, tenant=DEFAULT_TENANT)
        reader = MergedSpans(Shards(tier.shards(lambda clickhouse, source: Counted(clickhouse, source=source)), deadline_seconds=5))
        spansets = MergedSpansets(Shards(tier.shards(ClickHouseSpansets), deadline_seconds=5))
        async with serving(reader, tier, spansets=spansets) as api:
            assert await search(api) == (_ids(spans), [])
            asked.clear()
            second_hot_node.kill(signal.SIGSTOP)
            try:
                found, (warning,) = await search(api)
            finally:
                second_hot_node.kill(signal.SIGCONT)
            assert 0 < len(found) < TRACES
            assert "shard-1" in warning
            assert set(asked) == {tier.clickhouses[0].url}
            assert await search(api) == (_ids(spans), [])


def _ids(spans: Sequence[Span]) -> list[str]:
    return sorted(span.trace_id.hex() for span in spans)
