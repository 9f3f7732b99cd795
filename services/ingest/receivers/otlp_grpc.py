"""OTLP over gRPC: Export calls as raw bytes, decompressed here within the limit, answered with the statuses that clients act on.

gRPC's core bounds what one message unpacks to, but not what all calls together do, and it unpacks before anything can be counted. So
decompression by the core is off and a gzip message arrives as it is on the wire, to be inflated within the bytes that the process may hold;
its first byte 0x1f can begin no protobuf message. Other compressions are for the core to refuse: deflate with UNIMPLEMENTED,
what it does not know, zstd among them, with INTERNAL; clients retry neither.

The address is answered by a listener that hands gRPC's connections on and tells a client of plain HTTP where to send instead: gRPC's core would
answer with a frame that such a client cannot read. It costs a copy of the bytes, and bounds connections as every other listener does.

gRPC's standard health service answers for the whole and for each signal's service, and says NOT_SERVING once the drain begins.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import grpc
from aiohttp import web
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status

from services.ingest.pipeline import Pipeline
from services.ingest.receivers.settings import OTLP_GRPC_ADDR, ReceiverSettings
from tael.auth import INGEST
from tael.model.tenant import TENANT_HEADER
from tael.otlp.inflate import GZIP
from tael.otlp.signals import SIGNALS, Signal
from tael.otlp.status import MAX_RESPONSE_BYTES, export_response, status_of
from tael.runtime import http, rpc
from tael.runtime.config import Address
from tael.runtime.observe import get_logger

log = get_logger("otlp-grpc")
_WHAT = "OTLP gRPC"
_BEHIND = Address("127.0.0.1", 0)
_GZIP_MAGIC = b"\x1f\x8b"
_IDENTITY_AND_GZIP = 0b101


def _options(settings: ReceiverSettings) -> list[tuple[str, int]]:
    return [
        *rpc.options(settings),
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_send_message_length", MAX_RESPONSE_BYTES),
        ("grpc.per_message_decompression", 0),
        ("grpc.compression_enabled_algorithms_bitset", _IDENTITY_AND_GZIP),
    ]


@contextlib.asynccontextmanager
async def serve(settings: ReceiverSettings, pipeline: Pipeline) -> AsyncIterator[Address]:
    """Listen while the block runs, then finish the calls that were accepted. Yields the address bound."""
    handlers = {_names(signal)[0]: _service(signal, pipeline) for signal in SIGNALS.values()}
    server = rpc.Server(handlers, _options(settings), drain_seconds=settings.drain_seconds)
    # Under TLS the first bytes of gRPC and HTTP look the same: the server then has the address for itself.
    direct = settings.tls_cert is not None
    bind = settings.otlp_grpc_addr if direct else _BEHIND
    async with server.listening(bind, settings, what=_WHAT, variable=OTLP_GRPC_ADDR) as bound:
        if direct:
            yield bound
            return
        async with _shared_with_http(settings, server) as address:
            yield address


def _shared_with_http(settings: ReceiverSettings, server: rpc.Server) -> contextlib.AbstractAsyncContextManager[Address]:
    """The address, answered in gRPC by ``server`` and in HTTP by a sentence."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", partial(_say_where, settings.otlp_http_addr))
    return http.serve(
        app, settings.otlp_grpc_addr, what=_WHAT, variable=OTLP_GRPC_ADDR, limits=settings, auto_decompress=False, http2=server
    )


async def _say_where(otlp_http: Address, _: web.Request) -> web.Response:
    text = (
        f"this port takes OTLP over gRPC; OTLP over HTTP is received on port {otlp_http.port}: set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or"
        f" OTEL_EXPORTER_OTLP_ENDPOINT to port {otlp_http.port} with OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf\n"
    )
    return web.Response(status=400, text=text)


def _service(signal: Signal, pipeline: Pipeline) -> Any:
    service, method = _names(signal)
    return grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(_export(signal, pipeline))})


def _names(signal: Signal) -> tuple[str, str]:
    service, method = signal.grpc_method.strip("/").split("/")
    return service, method


def _export(signal: Signal, pipeline: Pipeline) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def export(request: bytes, context: Any) -> bytes:
        try:
            with pipeline.telemetry.request(signal.name, "grpc"):
                return await receive(request, dict(context.invocation_metadata() or ()))
        except Exception as error:  # noqa: BLE001  # whatever escapes would reach the client as UNKNOWN, which it drops data for
            status = _status(error)
        del request  # nothing of it is held while the refusal is on its way, nor by the error's traceback
        await rpc.abort(context, status)
        return b""

    async def receive(request: bytes, metadata: dict[str, Any]) -> bytes:
        tenant = pipeline.access.tenant(INGEST, metadata.get("authorization"), metadata.get(TENANT_HEADER.lower()))
        pipeline.admission(signal)
        async with pipeline.reserve(tenant) as reservation:
            await reservation.take(len(request))
            if request[:2] == _GZIP_MAGIC:
                request = await pipeline.inflate(GZIP, request, reservation)
            outcome = await pipeline.admit(signal, tenant, request, reservation)
        return export_response(signal, outcome.rejected, outcome.message).SerializeToString() if outcome.message else b""

    return export


def _status(error: Exception) -> Status:
    status = status_of(error)
    if status.code == code_pb2.INTERNAL:
        log.error("unhandled error", exc_info=error)
    return status
