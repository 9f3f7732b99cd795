"""The query service: serves every query API over the given readers. It keeps no state of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from aiohttp import web

from services.query import rpc
from services.query.api.compress import compressed
from services.query.api.forms import MAX_FORM_BYTES
from services.query.api.routing import Router
from services.query.api.rpc import Service
from services.query.apis import APIS
from services.query.backend import Backend, ColdTier, Status
from services.query.freshness import Freshness, lags_middleware
from services.query.live.feed import LiveFeed, LiveLimits
from services.query.live.logs import read_logs
from services.query.live.spans import read_spans
from services.query.promql.engine import PromqlEngine
from services.query.settings import QuerySettings
from services.query.turns import Turns
from tael.cluster.api import KeyValue
from tael.cluster.lease import Member
from tael.cluster.membership import heartbeat
from tael.model.signals import LOGS, TRACES
from tael.runtime.access import Access
from tael.runtime.connections import Refuse
from tael.runtime.http import require_local, serve
from tael.runtime.observe import get_logger
from tael.runtime.retention import CurrentRetention
from tael.runtime.service import Readiness, Stop
from tael.storage.readers import Readers
from tael.wal.api import DeadLetters, LiveBus, WalAppender

log = get_logger("query")
_LISTENER = "listener"
REFUSE_UNREAD: web.AppKey[Refuse] = web.AppKey("refuse_unread")
"""The application's key for the function that answers requests that could not be read."""
SERVICES: web.AppKey[Iterable[Service]] = web.AppKey("services")
"""The application's key for the gRPC services of its families."""
ACCESS: web.AppKey[Access] = web.AppKey("access")
"""The application's key for its access control."""


async def run(
    settings: QuerySettings,
    stop: Stop,
    *,
    kv: KeyValue,
    readers: Readers,
    bus: LiveBus,
    status: Status,
    cold: ColdTier,
    letters: DeadLetters,
    appender: WalAppender,
    readiness: Readiness,
    freshness: Freshness,
) -> None:
    """Serve until ``stop``, then finish the requests that were accepted."""
    app = build_app(
        settings,
        readers=readers,
        bus=bus,
        status=status,
        cold=cold,
        kv=kv,
        letters=letters,
        appender=appender,
        readiness=readiness,
        behind=freshness.lags,
    )
    address, internal = str(settings.rest_api_addr), str(settings.internal_addr)
    member = Member(node_id=settings.node_id, target="query", address=address, internal=internal, started_at=time.time())
    async with asyncio.TaskGroup() as group:
        group.create_task(heartbeat(kv, member, stop, settings.lease_ttl_seconds), name="heartbeat")
        group.create_task(freshness.run(stop), name="freshness")
        async with (
            rpc.serve(settings, app[SERVICES], app[ACCESS]) as grpc,
            serve(
                app,
                settings.rest_api_addr,
                what="the REST API's",
                variable="TAEL_REST_API_ADDR",
                limits=settings,
                refuse_unread=app[REFUSE_UNREAD],
                http2=grpc if settings.tls_cert is None else None,  # with TLS, only the gRPC listener itself speaks HTTP/2
            ) as rest,
        ):
            readiness.set(_LISTENER)
            log.info("listening", rest=str(rest), grpc=str(grpc.address if grpc else "off"))
            await stop.wait()
            readiness.set(_LISTENER, "draining")


def build_app(
    settings: QuerySettings,
    *,
    readers: Readers,
    bus: LiveBus,
    status: Status,
    cold: ColdTier,
    kv: KeyValue,
    letters: DeadLetters,
    appender: WalAppender,
    readiness: Readiness,
    behind: Callable[[], Mapping[str, float]],
) -> web.Application:
    """An application that serves every API in ``APIS``; ``behind`` returns how many seconds shards are behind their WAL."""
    live = LiveLimits(settings.max_live_streams, settings.max_tenant_live_streams, settings.live_waiting_bytes)
    backend = Backend(
        settings=settings,
        turns=Turns(concurrency=settings.query_concurrency, queue=settings.query_queue, timeout_seconds=settings.query_timeout_seconds),
        spans=readers.spans,
        long_traces=readers.long_traces,
        logs=readers.logs,
        spansets=readers.spansets,
        topology=readers.topology,
        holdings=readers.holdings,
        llm=readers.llm,
        retention=CurrentRetention(settings),
        payloads=readers.payloads,
        engine=PromqlEngine(readers.series, settings.engine_options),
        live_spans=LiveFeed(bus, TRACES, partial(read_spans, prices=settings.read_prices()), live),
        live_logs=LiveFeed(bus, LOGS, read_logs, live),
        kv=kv,
        letters=letters,
        appender=appender,
        status=status,
        cold=cold,
        readiness=readiness,
    )
    check = require_local(settings.rest_api_addr, settings.allowed_hosts)
    families, access = [api(backend) for api in APIS], Access(settings.tokens_file)
    router = Router(families, access, check)
    app = web.Application(middlewares=[compressed, lags_middleware(behind), router.middleware], client_max_size=MAX_FORM_BYTES)
    router.register(app)

    async def end_streams(_: web.Application) -> None:
        """End the live streams, so that the drain does not wait for them."""
        backend.live_spans.close()
        backend.live_logs.close()

    app[REFUSE_UNREAD], app[ACCESS] = router.refuse_unread, access
    app[SERVICES] = [service for family in families for service in family.services]
    app.on_shutdown.append(end_streams)
    return app
