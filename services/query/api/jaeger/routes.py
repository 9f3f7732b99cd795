"""Jaeger's HTTP API, as its UI and Grafana's data source call it.

Source: Jaeger's HTTP API documentation and what Jaeger 2.20 answers. Error bodies are JSON with a text content type, as Jaeger sends them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from services.query.api.family import Route
from services.query.api.jaeger import encode, long_traces, parameters
from services.query.api.jaeger.answers import JaegerAnswers
from services.query.api.jaeger.parameters import Search, Unprocessable
from services.query.api.stream import stream
from services.query.api.tenant import tenant_of
from tael.errors import NotFound, Rejected
from tael.model.span import Span
from tael.runtime.http import json_response, refuse
from tael.storage.api import Answer, TraceTooLong

_JSON = "application/json; charset=utf-8"


def refuse_jaeger(request: web.Request, error: Exception) -> web.Response:
    """Answer any error in the form of the API's version."""
    if isinstance(error, web.HTTPNotFound):
        return web.Response(status=404, text="404 page not found\n")
    status = 500 if isinstance(error, Unprocessable) else None

    def describe(found: int, text: str) -> web.Response:
        code, message = status or found, text
        body = (
            {"error": {"httpCode": code, "message": message}}
            if "/api/v3/" in request.path
            else _envelope(None, errors=[{"code": code, "msg": message}])
        )
        return web.Response(status=code, text=json.dumps(body) + "\n")

    return refuse(request, error, describe)


def _envelope(data: Any, *, total: int = 0, errors: Any = None) -> dict[str, Any]:
    return {"data": data, "total": total, "limit": 0, "offset": 0, "errors": errors}


class Jaeger:
    """The handlers."""

    def __init__(self, answers: JaegerAnswers) -> None:
        self._answers = answers

    def routes(self) -> list[Route]:
        """Every route, below the family's prefix."""
        return [
            Route("GET", "/api/services", self.services),
            Route("GET", "/api/services/{service}/operations", self.operation_names),
            Route("GET", "/api/operations", self.operations),
            Route("GET", "/api/traces", self.search),
            Route("GET", "/api/traces/{trace_id}", self.trace),
            Route("GET", "/api/dependencies", self.dependencies),
            Route("GET", "/api/v3/services", self.services_v3),
            Route("GET", "/api/v3/operations", self.operations_v3),
            Route("GET", "/api/v3/traces", self.search_v3),
            Route("GET", "/api/v3/trace-summaries", self.summaries_v3),
            Route("GET", "/api/v3/traces/{trace_id}", self.trace_v3),
        ]

    async def services(self, request: web.Request) -> web.Response:
        """``GET /api/services``."""
        names = await self._answers.services(tenant_of(request))
        return _answer(_envelope(names.value, total=len(names.value)), names.missing)

    async def services_v3(self, request: web.Request) -> web.Response:
        """``GET /api/v3/services``."""
        names = await self._answers.services(tenant_of(request))
        return _answer({"services": names.value}, names.missing)

    async def operation_names(self, request: web.Request) -> web.Response:
        """``GET /api/services/{service}/operations``: only names."""
        found = await self._answers.operations(tenant_of(request), request.match_info["service"], "")
        names = sorted({name for name, _ in found.value})
        return _answer(_envelope(names or None, total=len(names)), found.missing)

    async def operations(self, request: web.Request) -> web.Response:
        """``GET /api/operations``: names and kinds."""
        service = request.query.get("service", "")
        if not service:
            raise Rejected("parameter 'service' is required")
        found = await self._answers.operations(tenant_of(request), service, request.query.get("spanKind", ""))
        return _answer(_envelope(_operations(found.value), total=len(found.value)), found.missing)

    async def operations_v3(self, request: web.Request) -> web.Response:
        """``GET /api/v3/operations``."""
        kind = request.query.get("span_kind", "") or request.query.get("spanKind", "")
        found = await self._answers.operations(tenant_of(request), request.query.get("service", ""), kind)
        return _answer({"operations": _operations(found.value)}, found.missing)

    async def search(self, request: web.Request) -> web.Response:
        """``GET /api/traces``: traces with a span that matches, or by ``traceID``."""
        answer = await self._search(request, parameters.search(_values(request), time.time_ns()))
        body = await asyncio.to_thread(lambda: _envelope([encode.trace(spans) for spans in answer.value]))
        return _answer(body, answer.missing)

    async def search_v3(self, request: web.Request) -> web.Response:
        """``GET /api/v3/traces``: traces with a span that matches, as OTLP."""
        answer = await self._search(request, parameters.search_v3(_values(request)))
        if not answer.value:
            raise NotFound("No traces found")
        groups = await asyncio.to_thread(lambda: [group for spans in answer.value for group in encode.resource_spans(spans)])
        return _answer({"result": {"resourceSpans": groups}}, answer.missing)

    async def summaries_v3(self, request: web.Request) -> web.Response:
        """``GET /api/v3/trace-summaries``: only roots, bounds and services."""
        answer = await self._search(request, parameters.search_v3(_values(request)))
        return _answer({"summaries": [encode.summary(spans) for spans in answer.value]}, answer.missing)

    async def trace(self, request: web.Request) -> web.StreamResponse:
        """``GET /api/traces/{id}``."""
        trace_id = parameters.parse_id(request.match_info["trace_id"])
        try:
            answer = await self._answers.trace(tenant_of(request), trace_id, "trace not found")
        except TraceTooLong:
            trace = await self._answers.long_trace(tenant_of(request), trace_id)
            return await stream(request, long_traces.ui_json(trace), _JSON)
        return _answer(await asyncio.to_thread(lambda: _envelope([encode.trace(answer.value)])), answer.missing)

    async def trace_v3(self, request: web.Request) -> web.StreamResponse:
        """``GET /api/v3/traces/{id}``."""
        trace_id = parameters.parse_id_v3(request.match_info["trace_id"])
        try:
            answer = await self._answers.trace(tenant_of(request), trace_id, "No traces found")
        except TraceTooLong:
            trace = await self._answers.long_trace(tenant_of(request), trace_id)
            return await stream(request, long_traces.otlp_json(trace), _JSON)
        groups = await asyncio.to_thread(encode.resource_spans, answer.value)
        return _answer({"result": {"resourceSpans": groups}}, answer.missing)

    async def dependencies(self, request: web.Request) -> web.Response:
        """``GET /api/dependencies``."""
        answer = await self._answers.dependencies(tenant_of(request), parameters.dependencies(_values(request), time.time_ns()))
        links = [{"parent": parent, "child": child, "callCount": calls} for parent, child, calls in answer.value]
        return _answer(_envelope(links), answer.missing)

    async def _search(self, request: web.Request, search: Search) -> Answer[list[list[Span]]]:
        traces: list[list[Span]] = []
        missing: tuple[str, ...] = ()
        async with contextlib.aclosing(self._answers.search(tenant_of(request), search)) as parts:
            async for part in parts:
                traces += part.value
                missing = part.missing
        return Answer(traces, missing)


def _answer(body: Mapping[str, Any], missing: Sequence[str]) -> web.Response:
    """A body with a warning where a shard is missing; Jaeger's form has no field of its own for that."""
    return json_response({**body, "warnings": [long_traces.missing_text(missing)]} if missing else body)


def _operations(found: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "spanKind": kind} for name, kind in found]


def _values(request: web.Request) -> dict[str, list[str]]:
    return {name: request.query.getall(name) for name in request.query}
