"""Tempo's API under ``/tempo``, as Grafana's data source and Tempo's own clients call it.

Source: Tempo's HTTP API documentation and its ``tempopb`` messages. ``Accept: application/protobuf`` gets protobuf,
``application/vnd.grafana.llm`` version 2's compact JSON, anything else JSON. JSON is protobuf's standard mapping, as in Tempo: ids are
base64 (not hex as in OTLP/JSON), enums are names, 64-bit integers are strings. Version 1 is the bare trace, with ``batches`` for
``resourceSpans`` in JSON; version 2 wraps it and can say that it is partial. In version 1 an answer without some shard has status 206, and
a trace over the size limit is refused.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp import web
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from services.query.api.family import Route
from services.query.api.stream import stream
from services.query.api.tempo import long_traces
from services.query.api.tempo.llm import ACCEPT, LLM_JSON, llm_trace
from services.query.api.tempo.long_traces import missing_text
from services.query.api.tenant import tenant_of
from services.query.backend import Backend
from services.query.parameters import Parameters, parse_instant_ns, parse_trace_id
from services.query.questions.long_traces import LongTrace, open_long_trace
from services.query.questions.spans import get_trace
from tael import __version__
from tael.errors import NotFound, Rejected, TooLarge
from tael.model.span import Span
from tael.model.time import ALL_TIME, NS_PER_SECOND, TimeRange
from tael.otlp.encode import encode_spans
from tael.pb.tempo_pb2 import PARTIAL, Trace, TraceByIDMetrics, TraceByIDResponse
from tael.runtime.http import json_response, refuse
from tael.storage.api import Answer, TraceTooLong
from tael.storage.work import measured

PROTOBUF, JSON = "application/protobuf", "application/json; charset=utf-8"
API_VERSION = "3.0.3"
"""The Tempo version whose API this is."""
_HINTS = ("start", "end")
"""The range in which to look. Parameters for parts of Tempo that have no counterpart here are ignored, as Tempo ignores unknown ones."""


def describe_tempo(status: int, text: str) -> web.Response:
    """Tempo's error body: only the text."""
    return web.Response(status=status, text=text + "\n")


def refuse_tempo(request: web.Request, error: Exception) -> web.Response:
    """Answer any error in Tempo's form."""
    return refuse(request, error, describe_tempo)


class Tempo:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._max_trace_spans = backend.settings.max_trace_spans

    def routes(self) -> list[Route]:
        """Every route, below the family's prefix."""
        return [
            Route("GET", "/api/echo", self.echo),
            Route("GET", "/api/traces/{trace_id}", self.trace_v1),
            Route("GET", "/api/v2/traces/{trace_id}", self.trace_v2),
            Route("GET", "/api/status/buildinfo", self.buildinfo),
            Route("GET", "/status/version", self.version),
            Route("GET", "/ready", self.ready),
        ]

    async def echo(self, _: web.Request) -> web.Response:
        """The endpoint of Grafana's health check."""
        return web.Response(text="echo")

    async def ready(self, _: web.Request) -> web.Response:
        """Readiness: queries are answered whenever this is."""
        return web.Response(text="ready\n")

    async def buildinfo(self, _: web.Request) -> web.Response:
        """The version of Tempo's API, by which Grafana enables features."""
        return json_response({"version": API_VERSION, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""})

    async def version(self, _: web.Request) -> web.Response:
        """The version as text."""
        return web.Response(text=f"tempo, version {API_VERSION} (tael {__version__})\n")

    async def trace_v1(self, request: web.Request) -> web.StreamResponse:
        """``GET /api/traces/{id}``: ``tempopb.Trace``."""

        def build(answer: Answer[list[Span]]) -> web.Response:
            status = 206 if answer.missing else 200
            groups = encode_spans(answer.value)
            return (
                _protobuf(_trace(groups), status) if _wants_protobuf(request) else json_response({"batches": _json(groups)}, status=status)
            )

        async def build_long(trace: LongTrace) -> web.StreamResponse:
            if trace.shown < trace.spans:
                raise TooLarge(f"the trace has {trace.spans} spans", accepted=f"{self._limit_text()}; version 2 gives the first of them")
            status = 206 if trace.missing else 200
            if _wants_protobuf(request):
                return await stream(request, long_traces.protobuf_v1(trace), PROTOBUF, status=status)
            return await stream(request, long_traces.json_v1(trace), JSON, status=status)

        return await self._answer(request, build, build_long)

    async def trace_v2(self, request: web.Request) -> web.StreamResponse:
        """``GET /api/v2/traces/{id}``: ``tempopb.TraceByIDResponse``. A trace that nobody sent is an empty one, as in Tempo."""

        def build(answer: Answer[list[Span]]) -> web.Response:
            groups = encode_spans(answer.value)
            reason = missing_text(answer.missing)
            partial = {"status": "PARTIAL", "message": reason} if reason else {}
            if wants_llm(request):
                return llm_response(llm_trace(groups) | partial)
            if _wants_protobuf(request):
                response = TraceByIDResponse(trace=_trace(groups), metrics=TraceByIDMetrics(inspected_bytes=work.bytes))
                if reason:
                    response.status, response.message = PARTIAL, reason
                return _protobuf(response)
            inspected = {"inspectedBytes": str(work.bytes)} if work.bytes else {}
            body: dict[str, Any] = {"trace": {"resourceSpans": _json(groups)} if groups else {}, "metrics": inspected}
            return json_response(body | partial)

        async def build_long(trace: LongTrace) -> web.StreamResponse:
            if wants_llm(request):
                return await stream(request, long_traces.llm(trace, self._limit_text()), LLM_JSON)
            if _wants_protobuf(request):
                return await stream(request, long_traces.protobuf_v2(trace, self._limit_text()), PROTOBUF)
            return await stream(request, long_traces.json_v2(trace, self._limit_text()), JSON)

        with measured() as work:
            try:
                return await self._answer(request, build, build_long)
            except NotFound:
                return build(Answer([]))

    async def _answer(
        self,
        request: web.Request,
        build: Callable[[Answer[list[Span]]], web.Response],
        build_long: Callable[[LongTrace], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        trace_id = parse_tempo_trace_id(request.match_info["trace_id"])
        time_range = _hint(Parameters([pair for pair in request.query.items() if pair[0] in _HINTS], known=_HINTS))
        try:
            async with get_trace(self._backend, tenant_of(request), trace_id, time_range) as answer:
                return await asyncio.to_thread(build, answer)
        except TraceTooLong:
            return await build_long(await open_long_trace(self._backend, tenant_of(request), trace_id))

    def _limit_text(self) -> str:
        return f"at most {self._max_trace_spans} spans, see TAEL_MAX_TRACE_SPANS"


def parse_tempo_trace_id(text: str) -> bytes:
    """A trace id of up to 32 hex digits: like Tempo, accepts ids without leading zeros, as Grafana sends them.

    Raises Rejected, and NotFound for zero, which no trace has.
    """
    if 0 < len(text) <= 32 and not text.strip("0"):
        raise NotFound(f"trace {text} was not found")
    if re.fullmatch("[0-9a-fA-F]{1,32}", text) is None:
        raise Rejected(f"{text[:80]!r} is not a trace id", where="trace id", accepted="up to 32 hexadecimal digits")
    return parse_trace_id(text.rjust(32, "0"))


def _hint(parameters: Parameters) -> TimeRange | None:
    """The range of ``start`` and ``end``, None without them. ``end`` is a whole second, which is included."""
    start, end = parameters.text("start"), parameters.text("end")
    start_ns = parse_instant_ns(start, where="start") if start not in ("", "0") else ALL_TIME.start_ns
    end_ns = parse_instant_ns(end, where="end") if end not in ("", "0") else ALL_TIME.end_ns
    if start_ns > end_ns:
        raise Rejected(f"{end} is before start", where="end", accepted="an instant that is not before start")
    return (
        None
        if (start_ns, end_ns) == (ALL_TIME.start_ns, ALL_TIME.end_ns)
        else TimeRange(start_ns, min(end_ns + NS_PER_SECOND, ALL_TIME.end_ns))
    )


def wants_llm(request: web.Request) -> bool:
    """Whether the client asks for the form for language models."""
    return ACCEPT in request.headers.get("Accept", "")


def llm_response(body: dict[str, Any]) -> web.Response:
    """An answer in the form for language models."""
    response = json_response(body)
    response.headers["Content-Type"] = LLM_JSON
    return response


def _wants_protobuf(request: web.Request) -> bool:
    return PROTOBUF in request.headers.get("Accept", "")


def _trace(groups: Sequence[ResourceSpans]) -> Trace:
    return Trace(resource_spans=[group.SerializeToString() for group in groups])


def _json(groups: Sequence[ResourceSpans]) -> list[dict[str, Any]]:
    return [MessageToDict(group) for group in groups]


def _protobuf(message: Trace | TraceByIDResponse, status: int = 200) -> web.Response:
    return web.Response(body=message.SerializeToString(), status=status, content_type=PROTOBUF)
