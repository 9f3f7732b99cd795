"""Shards of a hot tier on real hot nodes, with a database for each shard and test, and requests to fill them."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, Literal, TypeVar

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as WireLogRecord
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.cluster.shard import Router
from tael.model.attributes import Attributes, AttributeValue
from tael.model.log import LogRecord
from tael.model.search import find_logs, find_spans
from tael.model.signals import LOGS, PAYLOADS, TRACES
from tael.model.span import Span
from tael.model.time import TimeRange
from tael.otlp.anyvalue import encode_attributes, encode_value
from tael.otlp.decode import decode_logs, decode_spans
from tael.otlp.genai import llm_call
from tael.otlp.prices import read_prices, with_cost
from tael.otlp.scan import log_route
from tael.storage.api import AskedShard, Cursor, LogCursor, LogQuery, LogReader, Shard, SpanQuery, SpanReader
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.llm_calls import ClickHouseLlm
from tael.storage.clickhouse.logs import ClickHouseLogs
from tael.storage.clickhouse.long_traces import ClickHouseLongTraces
from tael.storage.clickhouse.payloads import ClickHousePayloads
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.clickhouse.topology import ClickHouseTopology
from tael.storage.clickhouse.traceql.reader import ClickHouseSpansets
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.storage.gather import Shards
from tael.storage.llm import LlmReader, MergedLlm
from tael.storage.long_traces import LongTraceReader
from tael.storage.merged import MergedLogs, MergedLongTraces, MergedSpans
from tael.storage.payloads import MergedPayloads, PayloadReader
from tael.storage.spansets import MergedSpansets, SpansetReader
from tael.storage.topology import MergedTopology, TopologyReader
from tael.wal import codec
from tael.wal.payloads import Wanted, bodies
from tests.support.cold import Cold
from tests.support.databases import empty_shard
from tests.support.hotnode import HotNode

R = TypeVar("R")
START_NS = 1_790_000_000_000_000_000
"""A full second some way into an hour of 2026."""
RECEIVED_NS = START_NS + 5


class HotTier:
    """The shards under test and their readers; a single shard without a cold tier is read without the sharded reader.

    With a ``cold`` tier, what is stored is rolled at once: all of it, or with ``mixed`` every other item.
    """

    def __init__(
        self, clickhouses: list[ClickHouse], cold: Cold | None = None, *, mixed: bool = False, deadline_seconds: float = 60.0
    ) -> None:
        self.clickhouses = clickhouses
        self.cold = cold
        self.mixed = mixed
        self.rolls = True
        self._deadline_seconds = deadline_seconds
        spans = self.shards(lambda clickhouse, source: ClickHouseSpans(clickhouse, source=source))
        logs = self.shards(ClickHouseLogs)
        spansets = self.shards(ClickHouseSpansets)
        self.reader: SpanReader = lone(spans) or MergedSpans(self.gather(spans))
        self.logs: LogReader = lone(logs) or MergedLogs(self.gather(logs))
        self.spansets: SpansetReader = lone(spansets) or MergedSpansets(self.gather(spansets))
        self.long_traces: LongTraceReader = MergedLongTraces(
            self.gather(self.shards(lambda clickhouse, source: ClickHouseLongTraces(clickhouse, source=source)))
        )
        self.topology: TopologyReader = MergedTopology(self.gather(self.shards(ClickHouseTopology)))
        self.llm: LlmReader = MergedLlm(self.gather(self.shards(lambda clickhouse, source: ClickHouseLlm(clickhouse, source=source))))
        self.payloads: PayloadReader = MergedPayloads(self.gather(self.shards(ClickHousePayloads)))

    def shards(self, build: Callable[[ClickHouse, Source | None], R]) -> Sequence[AskedShard[R]]:
        """The shards, with readers that ``build`` creates from a client and a source."""
        if self.cold is not None:
            return self.cold.shards(build)
        return [Shard(f"shard-{index}", build(clickhouse, None)) for index, clickhouse in enumerate(self.clickhouses)]

    def gather(self, shards: Sequence[AskedShard[R]]) -> Shards[R]:
        """The readers of all shards."""
        return Shards(shards, deadline_seconds=self._deadline_seconds)

    @property
    def writers(self) -> list[ClickHouseWriter]:
        """A writer for each shard."""
        return [ClickHouseWriter(clickhouse) for clickhouse in self.clickhouses]

    async def store(self, *groups: ResourceSpans, tenant: str = "t1", token: str = "") -> list[Span]:
        """Write the spans, each to its trace's shard, in one batch per shard; return the model of what was written."""
        router = Router(len(self.clickhouses))
        for half in self.halves:
            for index, writer in enumerate(self.writers):
                kept = [_only(group, router, index, half) for group in groups]
                # An insert without a row costs as much as one of a few.
                if any(scoped.spans for group in kept for scoped in group.scope_spans):
                    body = ExportTraceServiceRequest(resource_spans=kept).SerializeToString()
                    await writer.write(TRACES, codec.encode(tenant, RECEIVED_NS, body), token or secrets.token_hex(8))
            await self.roll(half)
        return model_of(groups)

    @property
    def halves(self) -> Sequence[int | None]:
        """The parts to write one after the other: everything, or the items at even and then those at odd positions."""
        return (0, 1) if self.mixed else (None,)

    async def roll(self, half: int | None) -> None:
        """Roll what was written, if it is to be cold."""
        if self.cold is not None and self.rolls and half in (None, 0):
            await self.cold.roll()

    async def store_logs(self, *groups: ResourceLogs, tenant: str = "t1", token: str = "") -> list[LogRecord]:
        """Write the log records, each to the shard of its trace or stream, in one batch per shard; return the model of what was written."""
        router = Router(len(self.clickhouses))
        for half in self.halves:
            for index, writer in enumerate(self.writers):
                kept = [_only_logs(group, router, index, half) for group in groups]
                if any(scoped.log_records for group in kept for scoped in group.scope_logs):
                    body = ExportLogsServiceRequest(resource_logs=kept).SerializeToString()
                    await writer.write(LOGS, codec.encode(tenant, RECEIVED_NS, body), token or secrets.token_hex(8))
            await self.roll(half)
        return list(decode_logs(groups, RECEIVED_NS))

    async def store_payloads(self, *contents: bytes, tenant: str = "t1", shard: int = 0, max_body_bytes: int = 8 << 20) -> list[bytes]:
        """Write payloads to the hour of START_NS on one shard; return their hashes."""
        hour = START_NS // 10**9 // 3600 * 3600
        wanted = [Wanted(hour, hashlib.sha256(content).digest(), content) for content in contents]
        for place, body in enumerate(bodies(tenant, shard, wanted, RECEIVED_NS, max_body_bytes)):
            await self.writers[shard].write(PAYLOADS, body.body, body.dedup_id)
            if place == 0 and self.mixed:
                await self.roll(0)
        if not self.mixed:
            await self.roll(None)
        return [one.sha256 for one in wanted]


def lone(shards: Sequence[AskedShard[R]]) -> R | None:
    """The reader of a single shard, without gathering."""
    return shards[0].reader if len(shards) == 1 and isinstance(shards[0], Shard) else None


def _only(group: ResourceSpans, router: Router, index: int, half: int | None) -> ResourceSpans:
    kept = ResourceSpans()
    kept.CopyFrom(group)
    for scoped in kept.scope_spans:
        spans = [span for place, span in enumerate(scoped.spans) if router.shard_of(span.trace_id) == index and half in (None, place % 2)]
        del scoped.spans[:]
        scoped.spans.extend(spans)
    return kept


def _only_logs(group: ResourceLogs, router: Router, index: int, half: int | None) -> ResourceLogs:
    kept, resource = ResourceLogs(), group.resource.SerializeToString()
    kept.CopyFrom(group)
    for scoped in kept.scope_logs:
        records = [
            record
            for place, record in enumerate(scoped.log_records)
            if router.shard_of(log_route(record.SerializeToString(), resource)) == index and half in (None, place % 2)
        ]
        del scoped.log_records[:]
        scoped.log_records.extend(records)
    return kept


def wire_log(
    offset_ns: int = 0, body: AttributeValue = "hello", *, trace_id: bytes = b"", attributes: Attributes | None = None, **fields: Any
) -> WireLogRecord:
    """A log record of ``offset_ns`` after START_NS; ``fields`` are the message's."""
    wire = WireLogRecord(time_unix_nano=START_NS + offset_ns, trace_id=trace_id, attributes=encode_attributes(attributes or {}), **fields)
    wire.body.CopyFrom(encode_value(body))
    return wire


def logs_of(service: str, *records: WireLogRecord, **resource: str | float | bool) -> ResourceLogs:
    """A request with the log records under a resource with this service name."""
    group = ResourceLogs(scope_logs=[ScopeLogs(log_records=records)])
    group.resource.attributes.extend(encode_attributes({"service.name": service, **resource}))
    return group


def model_of(groups: Iterable[ResourceSpans]) -> list[Span]:
    """The spans as the hot tier must return them, in the order of the message."""
    prices = read_prices()
    return [with_cost(replace(span, llm=llm_call(span.attributes, span.start_ns)), prices) for span in decode_spans(groups)]


def span_query(time_range: TimeRange, *, limit: int = 100, after: Cursor | None = None, **filters: Any) -> SpanQuery:
    """Spans by the filters of ``tael.model.search.find_spans``."""
    return SpanQuery(time_range, find_spans(**filters), limit, after)


def log_query(
    time_range: TimeRange, *, limit: int = 100, after: LogCursor | None = None, oldest_first: bool = False, **filters: Any
) -> LogQuery:
    """Log records by the filters of ``tael.model.search.find_logs``."""
    return LogQuery(time_range, find_logs(**filters), limit, after, oldest_first)


def new_trace_id() -> bytes:
    """A random trace id."""
    return os.urandom(16)


def wire_span(
    offset_ns: int = 0,
    *,
    duration_ns: int = 1_000,
    name: str = "GET /cart",
    status: int = 0,
    trace_id: bytes = b"",
    span_id: bytes = b"",
    attributes: Attributes | None = None,
) -> WireSpan:
    """A span that starts ``offset_ns`` after START_NS."""
    return WireSpan(
        trace_id=trace_id or os.urandom(16),
        span_id=span_id or os.urandom(8),
        name=name,
        start_time_unix_nano=START_NS + offset_ns,
        end_time_unix_nano=START_NS + offset_ns + duration_ns,
        attributes=encode_attributes(attributes or {}),
        status=Status(code=status),  # type: ignore[arg-type]  # any number, as on the wire
    )


def of_service(service: str, *spans: WireSpan, **resource: str | float | bool) -> ResourceSpans:
    """A request with the spans under a resource with this service name."""
    group = ResourceSpans(scope_spans=[ScopeSpans(spans=spans)])
    group.resource.attributes.extend(encode_attributes({"service.name": service, **resource}))
    return group


Tiering = Literal["hot", "cold", "mixed"]
"""Where rows are when they are asked for: in the hot table, in Parquet files, or every other one in each."""


@asynccontextmanager
async def open_tier(nodes: list[HotNode], *, tiering: Tiering = "hot", deadline_seconds: float = 60.0) -> AsyncIterator[HotTier]:
    """A migrated, empty shard in each node; ``cold`` and ``mixed`` need a running object store."""
    async with AsyncExitStack() as databases:
        clickhouses = [await databases.enter_async_context(empty_shard(node, ClickHouse)) for node in nodes]
        yield HotTier(
            clickhouses, Cold(clickhouses) if tiering != "hot" else None, mixed=tiering == "mixed", deadline_seconds=deadline_seconds
        )


COMPOSITIONS: Mapping[str, tuple[int, Tiering]] = {
    "one-shard": (1, "hot"),
    "two-shards": (2, "hot"),
    "cold": (2, "cold"),
    "mixed": (2, "mixed"),
}
"""What every reader's battery runs against: how many shards, and where their rows are.

A tier with files asks its shards through the gathering reader even where it has one shard, so that two of them show all that one would.
"""


@asynccontextmanager
async def composed(request: pytest.FixtureRequest, name: str) -> AsyncIterator[HotTier]:
    """An empty tier of the given composition."""
    shards, tiering = COMPOSITIONS[name]
    nodes = [request.getfixturevalue(node) for node in ("shared_hot_node", "second_hot_node")[:shards]]
    if tiering != "hot":
        request.getfixturevalue("object_server")
    async with open_tier(nodes, tiering=tiering, deadline_seconds=60.0) as tier:
        yield tier


@pytest.fixture(params=["one-shard", "two-shards"])
async def hot_tier(request: pytest.FixtureRequest) -> AsyncIterator[HotTier]:
    """The hot tier with one shard, then with two; for tests to which the tier makes no difference."""
    async with composed(request, request.param) as tier:
        yield tier


@pytest.fixture(params=COMPOSITIONS)
async def any_tier(request: pytest.FixtureRequest) -> AsyncIterator[HotTier]:
    """Each composition of shards and tiers in turn."""
    async with composed(request, request.param) as tier:
        yield tier
