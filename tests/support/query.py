"""The query service's application on a free port, over real hot nodes or over spans in memory.

    async def test_x(api: Api) -> None:
        await api.store(of_service("shop", wire_span()))
        answer = await api.get("/api/v1/traces")

``api`` runs a test over each reader; ``serving`` is for tests that bring their own reader or settings.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Never

import aiohttp
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from services.query import rpc
from services.query.app import ACCESS, REFUSE_UNREAD, SERVICES, build_app
from services.query.settings import QuerySettings
from tael.cluster.api import KeyValue
from tael.cluster.cold import Cold, ShardCold
from tael.cold.manifest import Head, Held
from tael.cold.plan import Partition
from tael.model.llm_calls import LlmCalls
from tael.model.span import STATUS_ERROR, Span
from tael.model.tenant import DEFAULT_TENANT
from tael.model.time import ALL_TIME, HOUR_NS, TimeRange, signed_ns
from tael.otlp.matches import span_test
from tael.runtime.config import Address, load
from tael.runtime.http import serve
from tael.runtime.service import Readiness
from tael.storage.api import Answer, Cursor, LogReader, SeriesReader, ServiceStats, Shard, SpanQuery, SpanReader, TraceTooLong
from tael.storage.gather import Shards
from tael.storage.holdings import Holding, HoldingReader
from tael.storage.llm import LlmReader
from tael.storage.long_traces import Form, Key, LongTraceReader, Origin, Outline, Part, Slice, in_order
from tael.storage.merge import newest_first, oldest_first
from tael.storage.merged import MergedSpans
from tael.storage.payloads import PayloadReader
from tael.storage.readers import Readers
from tael.storage.spansets import SpansetReader
from tael.storage.topology import Calls, Operation, TopologyReader
from tael.wal.api import DeadLetters, LiveBus, WalAppender
from tests.support.dead_letters import MemoryLetters
from tests.support.key_value import MemoryKeyValue
from tests.support.live import MemoryBus
from tests.support.llm import calls_of
from tests.support.logs import MemoryLogs
from tests.support.otlp import MemoryLog
from tests.support.series import MemorySeries
from tests.support.storage import HotTier, composed, model_of
from tests.support.traceql import MemorySpansets

CLUSTER: dict[str, Any] = {
    "cluster_id": "tael",
    "node_id": "query",
    "leader": {"holder": "coordinator-0", "epoch": 3},
    "members": [
        {"node_id": "ingest-0", "target": "ingest", "alive": True, "seconds_since_beat": 0.4, "started_at": 1.0},
        {"node_id": "ingest-with-a-longer-name", "target": "ingest", "alive": False, "seconds_since_beat": 61.5, "started_at": 1.0},
    ],
    "shard_map_version": 2,
    "shards": [
        {
            "name": "shard-0",
            "url": "http://127.0.0.1:8123",
            "writer": {"holder": "ingest-0", "epoch": 7, "committed": 1234567, "intent": None, "lag_entries": 12},
            "compactor": {"holder": "compactor-0", "epoch": 1},
            "wal": {"first": 1, "last": 1234579, "bytes": 5_000_000},
        },
        {"name": "shard-1", "url": "http://127.0.0.1:8124", "writer": None, "compactor": None, "wal": None},
    ],
}
"""As ``tael.cluster.status`` answers: one shard at work, one that nobody writes yet."""


class MemorySpans:
    """See SpanReader: every span in a list, filtered as SpanQuery says."""

    def __init__(self, spans: Sequence[Span] = ()) -> None:
        self.spans = list(spans)

    async def find_spans(self, tenant: str, query: SpanQuery) -> Answer[list[Span]]:
        """See SpanReader."""
        found = sorted((span for span in self._of(tenant) if _matches(span, query)), key=newest_first)
        return Answer(found[: query.limit])

    async def get_trace(
        self, tenant: str, trace_id: bytes, time_range: TimeRange | None = None, most: int | None = None
    ) -> Answer[list[Span]]:
        """See SpanReader."""
        found = sorted((span for span in self._of(tenant) if span.trace_id == trace_id), key=oldest_first)
        if most is not None and len(found) > most:
            raise TraceTooLong(most)
        return Answer(found if time_range is None or any(span.start_ns < time_range.end_ns for span in found) else [])

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[list[ServiceStats]]:
        """See SpanReader."""
        services: dict[str, list[Span]] = {}
        for span in self._of(tenant):
            if time_range.start_ns <= signed_ns(span.start_ns) < time_range.end_ns:
                services.setdefault(span.service, []).append(span)
        return Answer([_stats(name, spans) for name, spans in sorted(services.items())])

    def _of(self, tenant: str) -> list[Span]:
        return self.spans if tenant == DEFAULT_TENANT else []


class MemoryLongTraces:
    """See LongTraceReader: over the spans of a list, none of which has bytes."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans

    def _of(self, trace_id: bytes) -> list[Span]:
        return in_order(span for span in self._spans if span.trace_id == trace_id)

    async def outline(self, tenant: str, trace_id: bytes, most: int, step: int) -> Answer[Outline]:
        """See LongTraceReader."""
        spans = self._of(trace_id)
        return Answer(Outline(len(spans), any(span.llm for span in spans), list(map(Key.of, spans[:most:step]))))

    async def read_spans(self, tenant: str, part: Part) -> Answer[list[Span]]:
        """See LongTraceReader."""
        own = [span for span in self._of(part.trace_id) if part.first <= Key.of(span) and (part.end is None or Key.of(span) < part.end)]
        return Answer(own[: part.limit])

    async def read_bytes(self, tenant: str, part: Part, form: Form, known: Collection[int] = ()) -> Answer[Slice]:
        """See LongTraceReader."""
        spans = (await self.read_spans(tenant, part)).value
        keys = list(map(Key.of, spans))
        origins = {hash(key): Origin(span.resource, span.scope) for key, span in zip(keys, spans, strict=True)}
        return Answer(Slice(keys, spans, list(map(hash, keys)), [()] * len(spans), origins))

    async def calls(self, tenant: str, trace_id: bytes) -> Answer[list[Span]]:
        """See LongTraceReader."""
        return Answer(self._of(trace_id))


class MemoryTopology:
    """See TopologyReader: over the spans of a list."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[set[str]]:
        """See TopologyReader."""
        return Answer({span.service for span in self._spans})

    async def list_operations(self, tenant: str, service: str, time_range: TimeRange) -> Answer[set[Operation]]:
        """See TopologyReader."""
        return Answer({(span.name, span.kind) for span in self._spans if span.service == service})

    async def count_calls(self, tenant: str, time_range: TimeRange) -> Answer[Calls]:
        """See TopologyReader."""
        services = {(span.trace_id, span.span_id): span.service for span in self._spans}
        parents = ((services.get((span.trace_id, span.parent_span_id)), span.service) for span in self._spans)
        return Answer(Counter((parent, child) for parent, child in parents if parent is not None))


class MemoryLlm:
    """See LlmReader: over the spans of a list."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans

    async def calls(self, tenant: str, time_range: TimeRange, max_rows: int) -> Answer[LlmCalls]:
        """See LlmReader."""
        return Answer(calls_of(self._spans if tenant == DEFAULT_TENANT else [], time_range))

    async def has_calls(self, tenant: str, time_range: TimeRange) -> Answer[bool]:
        """See LlmReader."""
        return Answer(len((await self.calls(tenant, time_range, 1 << 62)).value) > 0)


class MemoryHoldings:
    """See HoldingReader: what a test says is stored."""

    def __init__(self, *holdings: Holding) -> None:
        self._holdings = holdings

    async def holdings(self, tenant: str | None) -> Answer[list[Holding]]:
        """See HoldingReader."""
        return Answer([one for one in self._holdings if tenant in (None, one.tenant)])


def _stats(name: str, spans: Sequence[Span]) -> ServiceStats:
    errors = sum(span.status_code == STATUS_ERROR for span in spans)
    return ServiceStats(name, len(spans), len({span.trace_id for span in spans}), errors, sum(span.duration_ns for span in spans))


def _matches(span: Span, query: SpanQuery) -> bool:
    return (
        query.time_range.start_ns <= signed_ns(span.start_ns) < query.time_range.end_ns
        and span_test(query.predicate)(span)
        and (query.after is None or _follows(span, query.after))
    )


def _follows(span: Span, after: Cursor) -> bool:
    return newest_first(span) > (-signed_ns(after.start_ns), after.trace_id, after.span_id)


class Stalled:
    """See SpanReader: a shard that takes every question and never answers one."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def _never(self, *_: object, **__: object) -> Never:
        self.asked.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody resolves that future")

    find_spans = get_trace = list_services = _never


@dataclass
class Response:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body; NaN and Infinity are not JSON and fail."""
        return json.loads(self.body, parse_constant=_refuse)


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


@dataclass
class Api:
    """A running application, and what is behind it."""

    url: str
    session: aiohttp.ClientSession
    readiness: Readiness
    spans: SpanReader
    tier: HotTier | None = None
    paths: frozenset[str] = frozenset()
    grpc: str = ""
    stored: list[Span] = field(default_factory=list)

    async def store(self, *groups: ResourceSpans) -> list[Span]:
        """Make the spans readable; they come back as the model of what was written."""
        if self.tier is not None:
            return await self.tier.store(*groups, tenant=DEFAULT_TENANT)
        assert isinstance(self.spans, MemorySpans)
        spans = model_of(groups)
        self.spans.spans += spans
        return spans

    async def get(self, path: str, *pairs: tuple[str, str], headers: Mapping[str, str] | None = None, **parameters: Any) -> Response:
        """GET with these parameters, whatever the status."""
        query = [*pairs, *((name, str(value)) for name, value in parameters.items())]
        async with self.session.get(self.url + path, params=query, headers=headers) as response:
            return Response(response.status, response.headers, await response.read())

    async def json(self, path: str, *pairs: tuple[str, str], **parameters: Any) -> Any:
        """The JSON of an answer that must be a 200."""
        response = await self.get(path, *pairs, **parameters)
        assert response.status == 200, response.body
        return response.json()

    async def error(self, path: str, *pairs: tuple[str, str], **parameters: Any) -> tuple[int, str]:
        """Status and text of an answer that must be a refusal in the native shape."""
        response = await self.get(path, *pairs, **parameters)
        assert response.status >= 400, response.body
        return response.status, response.json()["error"]


class MemoryPayloads:
    """A PayloadReader over contents by tenant."""

    def __init__(self, contents: Mapping[str, Sequence[bytes]] | None = None) -> None:
        self._held = {tenant: {hashlib.sha256(one).digest(): one for one in several} for tenant, several in (contents or {}).items()}

    async def get_payloads(self, tenant: str, hashes: Collection[bytes], time_range: TimeRange = ALL_TIME) -> Answer[dict[bytes, bytes]]:
        held = self._held.get(tenant, {})
        return Answer({sha256: held[sha256] for sha256 in hashes if sha256 in held})


class _Cluster:
    async def read(self) -> Mapping[str, Any]:
        return CLUSTER


class MemoryCold:
    """See ColdTier of the query service: one shard with a file of spans, and what was asked of it."""

    def __init__(self) -> None:
        self.before_ns = 0

    async def look(self) -> Answer[Cold]:
        """See ColdTier."""
        head = Head(0, 7, 1, cold={"spans": (0, HOUR_NS)}, held={"spans": Held(2, 1000, 40_000)})
        hot = [one for one in [Partition("spans", 2 * HOUR_NS, 10, 900, 0)] if one.hour_ns + HOUR_NS > self.before_ns]
        return Answer(Cold([ShardCold(0, "ok", head, hot)], self.before_ns))

    async def roll(self, before_ns: int) -> None:
        """See ColdTier."""
        self.before_ns = before_ns

    async def rebuild(self, *, force: bool) -> list[int]:
        """See ColdTier."""
        return [0] if force else []


@asynccontextmanager
async def serving(
    spans: SpanReader,
    tier: HotTier | None = None,
    *,
    long_traces: LongTraceReader | None = None,
    logs: LogReader | None = None,
    series: SeriesReader | None = None,
    spansets: SpansetReader | None = None,
    topology: TopologyReader | None = None,
    holdings: HoldingReader | None = None,
    payloads: PayloadReader | None = None,
    llm: LlmReader | None = None,
    bus: LiveBus | None = None,
    kv: KeyValue | None = None,
    letters: DeadLetters | None = None,
    appender: WalAppender | None = None,
    behind: Callable[[], Mapping[str, float]] | None = None,
    **variables: Any,
) -> AsyncIterator[Api]:
    """The application over readers and, where a test watches, a live bus; ``variables`` are settings by name."""
    readiness = Readiness()
    held = spans.spans if isinstance(spans, MemorySpans) else []
    settings = load(QuerySettings, {"TAEL_GRPC_API_ADDR": "127.0.0.1:0", **variables})
    app = build_app(
        settings,
        readers=Readers(
            spans,
            long_traces or MemoryLongTraces(held),
            logs or MemoryLogs(),
            series or MemorySeries(),
            spansets or MemorySpansets(held),
            topology or MemoryTopology(held),
            holdings or MemoryHoldings(),
            payloads or MemoryPayloads(),
            llm or MemoryLlm(held),
        ),
        bus=bus or MemoryBus(),
        status=_Cluster(),
        cold=MemoryCold(),
        kv=kv or MemoryKeyValue(),
        letters=letters or MemoryLetters(),
        appender=appender or MemoryLog(),
        readiness=readiness,
        behind=behind or dict,
    )
    own: dict[str, Any] = {"what": "the test's", "variable": "-", "drain_seconds": 1, "refuse_unread": app[REFUSE_UNREAD]}
    async with (
        rpc.serve(settings, app[SERVICES], app[ACCESS]) as grpc,
        serve(app, Address("127.0.0.1", 0), **own, http2=grpc) as bound,
        aiohttp.ClientSession(auto_decompress=False, headers={"Accept-Encoding": "identity"}) as session,
    ):
        paths = frozenset(route.resource.canonical for route in app.router.routes() if route.resource is not None)
        yield Api(f"http://{bound}", session, readiness, spans, tier, paths, str(grpc and grpc.address))


@asynccontextmanager
async def with_a_stalled_shard(spans: Sequence[Span]) -> AsyncIterator[Api]:
    """The application over two shards: one holds the spans, ``shard-1`` never answers."""
    shards: list[Shard[SpanReader]] = [Shard("shard-0", MemorySpans(spans)), Shard("shard-1", Stalled())]
    async with serving(MergedSpans(Shards(shards, deadline_seconds=0.2))) as api:
        yield api


@pytest.fixture(params=["memory", "two-shards"])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """The application over spans in memory, then over two shards on hot nodes."""
    if request.param == "memory":
        async with serving(MemorySpans()) as running:
            yield running
        return
    async with (
        composed(request, request.param) as tier,
        serving(
            tier.reader,
            tier,
            long_traces=tier.long_traces,
            spansets=tier.spansets,
            topology=tier.topology,
            payloads=tier.payloads,
            llm=tier.llm,
        ) as running,
    ):
        yield running
