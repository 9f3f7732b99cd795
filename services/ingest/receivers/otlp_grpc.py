"""OTLP over gRPC: Export calls as raw bytes, decompressed here within the limit, answered with the status codes that clients act on.

gRPC's core limits the decompressed size of one message, but not of all calls together, and it decompresses before anything can be counted.
So decompression in the core is off: a gzip message arrives compressed and is decompressed within the process's byte budget. It is
recognised by its first byte, 0x1f, which cannot begin a protobuf message. The core refuses other compressions, deflate with UNIMPLEMENTED
and those that it does not know (zstd, for example) with INTERNAL; clients retry neither.

The port is served by a listener that forwards gRPC connections to the core and tells plain HTTP clients where to send instead: the core
would answer them with a frame that they cannot read. This costs a copy of the bytes, and limits connections as every other listener does.

gRPC's standard health service answers for the server and for each signal's service, with NOT_SERVING once the drain begins.
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
# A bit for each of gRPC's compression algorithms: 0 is identity, 1 deflate, 2 gzip.
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
    """Listen while the block runs, then finish accepted calls. Yields the address bound."""
    handlers = {_names(signal)[0]: _service(signal, pipeline) for signal in SIGNALS.values()}
    server = rpc.Server(handlers, _options(settings), drain_seconds=settings.drain_seconds)
    # Under TLS the first bytes of gRPC and HTTP connections look the same, so the gRPC server then binds the port itself.
    direct = settings.tls_cert is not None
    bind = settings.otlp_grpc_addr if direct else _BEHIND
    async with server.listening(bind, settings, what=_WHAT, variable=OTLP_GRPC_ADDR) as bound:
        if direct:
            yield bound
            return
        async with _shared_with_http(settings, server) as address:
            yield address


def _shared_with_http(settings: ReceiverSettings, server: rpc.Server) -> contextlib.AbstractAsyncContextManager[Address]:
    """Serve the port: gRPC by ``server``, HTTP with a hint about the right port."""
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
        except Exception as error:  # noqa: BLE001  # an escaped exception would reach the client as UNKNOWN, on which it drops the data
            status = _status(error)
        del request  # free the request before the refusal is sent; the error's traceback must not hold it either
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
