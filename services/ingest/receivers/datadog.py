"""The API of Datadog's trace agent, on its own port: Datadog's tracers send to it by default. Traces are translated to OTLP.

Like any other request, traces are acknowledged once they are durable. What only Datadog's own backend needs (statistics computed from the
spans, telemetry of the tracers) is accepted and dropped. Endpoints whose data would be lost silently (profiles, remote configuration, the
event proxy) answer 404, as an agent does that has them switched off.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from aiohttp import web

from services.ingest.pipeline import Pipeline
from services.ingest.receivers.body import read_body, tenant_of
from services.ingest.receivers.settings import DD_AGENT_ADDR, MAX_REQUEST_BYTES, ReceiverSettings
from tael import __version__
from tael.datadog import wire
from tael.datadog.sampling import kept
from tael.datadog.translate import origin_of, translate
from tael.model.signals import TRACES
from tael.otlp.signals import SIGNALS
from tael.runtime import http
from tael.runtime.config import Address
from tael.runtime.observe import get_logger
from tael.runtime.service import PortTaken

log = get_logger("datadog")
V03, V04, V05 = "/v0.3/traces", "/v0.4/traces", "/v0.5/traces"
_DROPPED = ("/v0.6/stats", "/telemetry/proxy/{path:.*}")
_MSGPACK, _JSON = ("application/msgpack", "application/x-msgpack"), ("application/json", "text/json")
_INLINE_BYTES = 32 << 10


@contextlib.asynccontextmanager
async def serve(settings: ReceiverSettings, pipeline: Pipeline) -> AsyncIterator[Address | None]:
    """Listen while the block runs, then finish accepted requests. Yields the address bound; None when it is off or already in use.

    A port in use is not fatal: Datadog's own agent may be running on the same machine.
    """
    async with contextlib.AsyncExitStack() as stack:
        bound = None
        if settings.dd_agent_addr is not None:
            agent = _Agent(settings, settings.dd_agent_addr, pipeline)
            listener = http.serve(
                agent.app(),
                settings.dd_agent_addr,
                what="the Datadog agent's",
                variable=DD_AGENT_ADDR,
                drain_seconds=settings.drain_seconds,
                auto_decompress=False,
                limits=settings,
            )
            try:
                bound = await stack.enter_async_context(listener)
            except PortTaken as error:
                log.warning("Datadog's tracers are not received", reason=str(error))
        yield bound


class _Agent:
    """The agent's routes."""

    def __init__(self, settings: ReceiverSettings, address: Address, pipeline: Pipeline) -> None:
        self._settings, self._address, self._pipeline = settings, address, pipeline
        self._check = http.require_local(address, settings.allowed_hosts)

    def app(self) -> web.Application:
        """The application."""
        app = web.Application(middlewares=[http.errors_to_status(), http.checked(self._check)])
        app.router.add_get("/info", self.info)
        for path in (V03, V04, V05):
            app.router.add_post(path, self.traces)
            app.router.add_put(path, self.traces)
        for path in _DROPPED:
            app.router.add_post(path, self.drop)
            app.router.add_put(path, self.drop)
        return app

    async def info(self, _: web.Request) -> web.Response:
        """``GET /info``: the features that a tracer needs to know of to send every span."""
        return http.json_response(
            {
                "version": __version__,
                "endpoints": [V03, V04, V05],
                # True would let tracers send only statistics for the spans that they do not sample.
                "client_drop_p0s": False,
                "span_meta_structs": True,
                "long_running_spans": False,
                "span_events": True,
                "peer_tags": [],
                "span_kinds_stats_computed": [],
                "config": {
                    "default_env": "none",
                    "receiver_port": self._address.port,
                    "max_request_bytes": self._settings.max_request_bytes,
                },
            }
        )

    async def traces(self, request: web.Request) -> web.Response:
        """``PUT`` or ``POST`` of traces. The answer sets no sampling rates, so a tracer keeps everything that its own rules do not drop."""
        with self._pipeline.telemetry.request(TRACES, "datadog"):
            return await self._traces(request)

    async def _traces(self, request: web.Request) -> web.Response:
        tenant = self._settings.dd_agent_tenant or tenant_of(request, self._pipeline)
        origin, limit = origin_of(request.headers), self._settings.max_request_bytes
        async with self._pipeline.reserve(tenant) as reservation:
            body = await read_body(request, self._pipeline, reservation, limit)
            read = _reader(request, body)

            def convert() -> bytes:
                traces = read(body, self._settings.max_request_messages)
                if self._settings.dd_agent_drop_rejected:
                    traces = map(kept, traces)
                return translate(traces, origin, limit_bytes=limit, variable=MAX_REQUEST_BYTES).SerializeToString()

            converted = await self._pipeline.compute(convert, small=len(body) <= _INLINE_BYTES)
            # A v0.5 body may grow to many times its size, as texts that it refers to are written out.
            await reservation.take(max(0, len(converted) - len(body)))
            await self._pipeline.admit(SIGNALS[TRACES], tenant, converted, reservation)
        return http.json_response({"rate_by_service": {}})

    async def drop(self, request: web.Request) -> web.Response:
        """Read the body and discard it; the real agent would forward it."""
        async for _ in request.content.iter_any():
            pass
        return http.json_response({})


def _reader(request: web.Request, body: bytes) -> Callable[[bytes, int], Iterator[Any]]:
    """The reader for the body: by its content type if there is one, else by its first byte, as the agent does."""
    kind = request.content_type if "Content-Type" in request.headers else ""
    if request.path == V05:
        if kind in _JSON:
            raise web.HTTPUnsupportedMediaType(reason=f"{V05} takes {_MSGPACK[0]}")
        return wire.read_v05
    if kind in _JSON:
        return wire.read_json
    if kind in _MSGPACK:
        return wire.read_msgpack
    return wire.read_json if body.lstrip()[:1] == b"[" else wire.read_msgpack
