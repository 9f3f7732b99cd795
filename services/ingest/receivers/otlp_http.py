"""OTLP over HTTP/1.1: protobuf and JSON on one port, answered in the request's encoding, errors as ``google.rpc.Status``."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from google.protobuf.message import Message
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status

from services.ingest.budget import Reservation
from services.ingest.pipeline import Pipeline
from services.ingest.receivers import jaeger, loki, remote_write, zipkin
from services.ingest.receivers.body import read_body, tenant_of
from services.ingest.receivers.cors import allow_origin, preflight
from services.ingest.receivers.settings import OTLP_HTTP_ADDR, ReceiverSettings
from tael.errors import TaelError
from tael.model.signals import TRACES
from tael.otlp.json import decode_request, dump_json, weigh_json
from tael.otlp.signals import SIGNALS, Signal
from tael.otlp.status import export_response, status_json, status_of
from tael.runtime import http
from tael.runtime.config import Address
from tael.runtime.observe import get_logger

log = get_logger("otlp-http")
LANGFUSE_PATH = "/api/public/otel/v1/traces"
"""The path to which Langfuse's SDKs send OTLP traces, on whatever host they are configured with."""
TRANSLATED = {loki.PATH: loki.LOKI, zipkin.PATH: zipkin.ZIPKIN, jaeger.PATH: jaeger.JAEGER}
"""The other protocols received on this port, by path."""
PROTOBUF, JSON = "application/x-protobuf", "application/json"
_COMPRESS_ABOVE_BYTES, _JSON_INLINE_BYTES = 1 << 10, 2 << 20


@contextlib.asynccontextmanager
async def serve(settings: ReceiverSettings, pipeline: Pipeline) -> AsyncIterator[Address]:
    """Listen while the block runs, then finish accepted requests. Yields the address bound."""
    receiver = _Receiver(settings, pipeline)
    app = web.Application(middlewares=[_middleware(receiver)])
    for path in receiver.signals:
        app.router.add_post(path, receiver.export)
    app.router.add_post(remote_write.PATH, remote_write.route(settings, pipeline))
    for path, protocol in TRANSLATED.items():
        app.router.add_post(path, protocol.route(settings, pipeline))
    async with http.serve(
        app,
        settings.otlp_http_addr,
        what="OTLP HTTP",
        variable=OTLP_HTTP_ADDR,
        drain_seconds=settings.drain_seconds,
        auto_decompress=False,
        limits=settings,
        refuse_unread=_unread,
    ) as address:
        yield address


def _middleware(receiver: _Receiver) -> Any:
    @web.middleware
    async def answer(request: web.Request, handler: http.Route) -> web.StreamResponse:
        return await receiver.answer(request, handler)

    return answer


class _Receiver:
    """The OTLP routes and the middleware of every route."""

    def __init__(self, settings: ReceiverSettings, pipeline: Pipeline) -> None:
        self._settings, self._pipeline = settings, pipeline
        self._check = http.require_local(settings.otlp_http_addr, settings.allowed_hosts, settings.cors_origins)
        self.signals = {signal.http_path: signal for signal in SIGNALS.values()} | {LANGFUSE_PATH: SIGNALS[TRACES]}

    async def export(self, request: web.Request) -> web.Response:
        """Receive one request."""
        signal = self.signals[request.path]
        with self._pipeline.telemetry.request(signal.name, "http"):
            return await self._export(request, signal)

    async def _export(self, request: web.Request, signal: Signal) -> web.Response:
        # Whatever can be refused without the body is refused before any of it is read.
        tenant = tenant_of(request, self._pipeline)
        self._pipeline.admission(signal)
        if request.content_type not in (PROTOBUF, JSON) or "Content-Type" not in request.headers:
            raise web.HTTPUnsupportedMediaType(reason=f"unsupported Content-Type (accepted: {PROTOBUF}, {JSON})")
        async with self._pipeline.reserve(tenant) as reservation:
            body = await read_body(request, self._pipeline, reservation, self._settings.max_request_bytes)
            warnings: tuple[str, ...] = ()
            if request.content_type == JSON:
                body, warnings = await self._from_json(signal, body, reservation)
            outcome = await self._pipeline.admit(signal, tenant, body, reservation)
        message = "; ".join(text for text in (outcome.message, *warnings) if text)
        return _message(request, 200, export_response(signal, outcome.rejected, message))

    async def _from_json(self, signal: Signal, text: bytes, reservation: Reservation) -> tuple[bytes, tuple[str, ...]]:
        """A JSON request as protobuf, with warnings for its sender; the memory for the conversion is reserved meanwhile."""
        size_bytes = weigh_json(text, self._settings.max_request_messages)
        async with reservation.more(size_bytes):
            return await self._pipeline.compute(_from_json, signal, text, small=size_bytes <= _JSON_INLINE_BYTES)

    async def answer(self, request: web.Request, route: http.Route) -> web.StreamResponse:
        """Middleware: answers preflights, turns errors into answers in the request's encoding, and adds the CORS headers."""
        origin = allow_origin(request.headers.get("Origin"), self._settings.cors_origins)
        if request.method == "OPTIONS" and request.path in self.signals:
            return preflight(origin, request.headers.get("Access-Control-Request-Headers", ""))
        try:
            # Within the try: these refusals too are answered in the request's encoding, with the CORS headers.
            self._check(request)
            response: web.StreamResponse = await route(request)
        except Exception as error:  # noqa: BLE001  # clients act on the status of every answer
            response = _refusal(request, error)
        if self._settings.cors_origins:
            response.headers["Vary"] = "Origin"
        if origin:
            response.headers["Access-Control-Allow-Origin"] = origin
        return response


def _from_json(signal: Signal, text: bytes) -> tuple[bytes, tuple[str, ...]]:
    message, warnings = decode_request(signal.request, text)
    return message.SerializeToString(), warnings


def _refusal(request: web.Request, error: Exception) -> web.Response:
    if isinstance(error, web.HTTPException):
        return _http_refusal(request, error)
    if isinstance(error, web.RequestPayloadError):
        return _message(request, 400, Status(code=code_pb2.INVALID_ARGUMENT, message="the body's transfer encoding is broken"))
    status = status_of(error)
    code = http.status_of(error) if isinstance(error, TaelError) else 503 if status.code == code_pb2.UNAVAILABLE else 500
    if code == 500:
        log.error("unhandled error", path=request.path, exc_info=error)
    response = _message(request, code, status)
    response.headers.update({"Retry-After": "1"} if code == 503 else {})
    response.headers.update(http.headers_of(error))
    return response


def _unread(request: web.Request, path: str, error: web.HTTPException) -> web.Response:
    """The answer to a request that could not be parsed as HTTP, in the format of the path's protocol."""
    return http.describe_text(error.status, error.reason) if _answers_in_text(path) else _http_refusal(request, error)


def _answers_in_text(path: str) -> bool:
    """Whether the protocol of a path answers in text, and in messages of OTLP otherwise."""
    return path == remote_write.PATH or path in TRANSLATED


def _http_refusal(request: web.Request, error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPMethodNotAllowed):
        text, in_text = f"{request.method} is not allowed here (accepted: POST)", _answers_in_text(request.path)
        response = http.describe_text(405, text) if in_text else _message(request, 405, Status(code=code_pb2.UNIMPLEMENTED, message=text))
        response.headers["Allow"] = "POST" if in_text else "POST, OPTIONS"
        return response
    if isinstance(error, web.HTTPNotFound):
        paths = (*(signal.http_path for signal in SIGNALS.values()), remote_write.PATH, *TRANSLATED)
        text = f"path not found: {request.path} (accepted: {', '.join(paths)})"
        return _message(request, 404, Status(code=code_pb2.NOT_FOUND, message=text))
    return _message(request, error.status, Status(code=code_pb2.INVALID_ARGUMENT, message=error.reason))


def _message(request: web.Request, status: int, message: Message) -> web.Response:
    """A message in the request's encoding; if that is neither protobuf nor JSON, in protobuf if the client accepts it, else in JSON."""
    kind = request.content_type
    if kind not in (PROTOBUF, JSON):
        kind = PROTOBUF if PROTOBUF in request.headers.get("Accept", "") else JSON
    as_json = status_json if isinstance(message, Status) else dump_json
    body = message.SerializeToString() if kind == PROTOBUF else as_json(message)
    response = web.Response(status=status, body=body, headers={"Content-Type": kind})
    if len(body) > _COMPRESS_ABOVE_BYTES and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
    return response
