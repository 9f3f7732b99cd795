"""The query service's application on a free port, over real hot nodes or over spans in memory.

    async def test_x(api: Api) -> None:
        await api.store(of_service("shop", wire_span()))
        answer = await api.get("/api/v1/traces")

``api`` runs a test over each reader; ``serving`` is for tests that bring their own reader or settings.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
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
from tael.model.span import Span
from tael.model.tenant import DEFAULT_TENANT
from tael.runtime.config import Address, load
from tael.runtime.http import serve
from tael.runtime.service import Readiness
from tael.storage.api import LogReader, SeriesReader, Shard, SpanReader
from tael.storage.gather import Shards
from tael.storage.holdings import HoldingReader
from tael.storage.llm import LlmReader
from tael.storage.long_traces import LongTraceReader
from tael.storage.merged import MergedSpans
from tael.storage.payloads import PayloadReader
from tael.storage.readers import Readers
from tael.storage.spansets import SpansetReader
from tael.storage.topology import TopologyReader
from tael.wal.api import DeadLetters, LiveBus, WalAppender
from tests.support.dead_letters import MemoryLetters
from tests.support.doubles import MemoryCold, MemoryHoldings, MemoryLlm, MemoryLongTraces, MemoryPayloads, MemorySpans, MemoryTopology
from tests.support.key_value import MemoryKeyValue
from tests.support.live import MemoryBus
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


class Stalled:
    """A SpanReader of a shard that accepts every query and never answers."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def _never(self, *_: object, **__: object) -> Never:
        self.asked.set()
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody resolves that future")

    find_spans = get_trace = list_services = _never


@dataclass
class Response:
    """A complete answer."""

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
    """A running application, and its stores."""

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
        """The JSON of an answer that must have status 200."""
        response = await self.get(path, *pairs, **parameters)
        assert response.status == 200, response.body
        return response.json()

    async def error(self, path: str, *pairs: tuple[str, str], **parameters: Any) -> tuple[int, str]:
        """Status and text of an answer that must be an error in the native form."""
        response = await self.get(path, *pairs, **parameters)
        assert response.status >= 400, response.body
        return response.status, response.json()["error"]


class _Cluster:
    async def read(self) -> Mapping[str, Any]:
        return CLUSTER


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
    """The application over readers and, for tests that watch, a live bus; ``variables`` are settings by name."""
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
    """The application over two shards: one has the spans, ``shard-1`` never answers."""
    shards: list[Shard[SpanReader]] = [Shard("shard-0", MemorySpans(spans)), Shard("shard-1", Stalled())]
    async with serving(MergedSpans(Shards(shards, deadline_seconds=0.5))) as api:
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
