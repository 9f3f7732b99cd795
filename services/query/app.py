"""The query service: every API out, on one port, over a reader that is given to it. It keeps no state of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from aiohttp import web

from services.query.api.compress import compressed
from services.query.api.native.dead_letters import DeadLetterApi
from services.query.api.native.live import Live
from services.query.api.native.logs import NativeLogs
from services.query.api.native.metrics import NativeMetrics
from services.query.api.native.traces import NativeTraces
from services.query.api.prometheus.errors import describe_prometheus
from services.query.api.prometheus.routes import Prometheus, PrometheusOptions
from services.query.api.prometheus.status import Described
from services.query.api.tempo.traces import Tempo, describe_tempo
from services.query.api.tenant import authentication
from services.query.promql.engine import PromqlEngine
from services.query.settings import QuerySettings
from services.query.turns import Turns
from tael.cluster.api import KeyValue
from tael.cluster.lease import Member
from tael.cluster.membership import heartbeat
from tael.runtime.access import Access
from tael.runtime.http import add_cluster_route, add_process_routes, errors_to_status, serve
from tael.runtime.observe import get_logger
from tael.runtime.service import Readiness, Stop
from tael.storage.api import LogReader, SeriesReader, SpanReader
from tael.wal.api import DeadLetters, LiveBus, WalAppender

log = get_logger("query")
_LISTENER = "listener"
_FAMILIES = {
    "/tempo/": describe_tempo,
    **dict.fromkeys(("/prometheus/", "/api/v1/query", "/api/v1/series", "/api/v1/label"), describe_prometheus),
}
"""Path prefixes of the API families that have a shape of errors of their own."""


class Status(Protocol):
    """Reads the cluster's state for ``/internal/cluster``."""

    def read(self) -> Awaitable[Mapping[str, Any]]:
        """A JSON object. Raises Unavailable."""
        ...


async def run(
    settings: QuerySettings,
    stop: Stop,
    *,
    kv: KeyValue,
    spans: SpanReader,
    logs: LogReader,
    series: SeriesReader,
    bus: LiveBus,
    status: Status,
    letters: DeadLetters,
    appender: WalAppender,
    readiness: Readiness,
) -> None:
    """Listen until ``stop``, then answer what was asked."""
    app = build_app(
        settings,
        spans=spans,
        logs=logs,
        series=series,
        bus=bus,
        status=status,
        letters=letters,
        appender=appender,
        readiness=readiness,
    )
    address, internal = str(settings.rest_api_addr), str(settings.internal_addr)
    member = Member(node_id=settings.node_id, target="query", address=address, internal=internal, started_at=time.time())
    async with asyncio.TaskGroup() as group:
        group.create_task(heartbeat(kv, member, stop, settings.lease_ttl_seconds), name="heartbeat")
        async with serve(app, settings.rest_api_addr, what="the REST API's", variable="TAEL_REST_API_ADDR") as bound:
            readiness.set(_LISTENER)
            log.info("listening", rest=str(bound))
            await stop.wait()
            readiness.set(_LISTENER, "draining")


def build_app(
    settings: QuerySettings,
    *,
    spans: SpanReader,
    logs: LogReader,
    series: SeriesReader,
    bus: LiveBus,
    status: Status,
    letters: DeadLetters,
    appender: WalAppender,
    readiness: Readiness,
) -> web.Application:
    """Every API family over one reader a signal and one set of turns."""
    turns = Turns(concurrency=settings.query_concurrency, queue=settings.query_queue, timeout_seconds=settings.query_timeout_seconds)
    guard = authentication(Access(settings.tokens_file), _FAMILIES)
    app = web.Application(middlewares=[compressed, errors_to_status(), guard])
    add_process_routes(app, readiness)
    add_cluster_route(app, status.read)
    live = Live(bus, max_streams=settings.max_live_streams, heartbeat_seconds=settings.live_heartbeat_seconds)
    app.on_shutdown.append(live.close)
    app.add_routes(live.routes())
    app.add_routes(DeadLetterApi(letters, appender).routes())
    app.add_routes(NativeTraces(spans, turns, max_limit=settings.max_query_limit, max_trace_spans=settings.max_trace_spans).routes())
    app.add_routes(NativeLogs(logs, turns, max_limit=settings.max_query_limit).routes())
    engine = PromqlEngine(series, settings.engine_options)
    app.add_routes(NativeMetrics(engine, turns, max_limit=settings.max_query_limit).routes())
    app.add_routes(_prometheus(settings, engine, turns).routes())
    app.add_subapp("/tempo", Tempo(spans, turns, max_trace_spans=settings.max_trace_spans).app())
    return app


def _prometheus(settings: QuerySettings, engine: PromqlEngine, turns: Turns) -> Prometheus:
    flags = {
        "query.lookback-delta": f"{settings.promql_lookback_seconds:g}s",
        "query.max-concurrency": str(settings.query_concurrency),
        "query.max-samples": str(settings.promql_max_samples),
        "query.timeout": f"{settings.query_timeout_seconds:g}s",
    }
    options = PrometheusOptions(settings.query_timeout_seconds, Described(time.time(), flags))
    return Prometheus(engine, turns, options)
