"""Jaeger's HTTP API, as its UI and Grafana's data source call it.

Source: Jaeger's HTTP API documentation and what Jaeger 2.20 answers. Error bodies are JSON but sent as text, as Jaeger sends them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from aiohttp import web

from services.query.api.family import Route
from services.query.api.jaeger import encode, parameters
from services.query.api.jaeger.parameters import Search, Unprocessable
from services.query.api.tenant import tenant_of
from services.query.backend import Backend
from services.query.questions.spans import get_trace
from tael.errors import NotFound, Rejected
from tael.model.span import UNKNOWN_SERVICE, Span
from tael.model.time import ALL_TIME
from tael.runtime.http import json_response, refuse
from tael.runtime.tasks import together
from tael.storage.api import Answer
from tael.storage.merge import oldest_first

T = TypeVar("T")
_AT_ONCE = 8
_KIND_NUMBERS = {name: number for number, name in encode.KINDS.items()}


def refuse_jaeger(request: web.Request, error: Exception) -> web.Response:
    """Any error in the shape of the API's version."""
    if isinstance(error, web.HTTPNotFound):
        return web.Response(status=404, text="404 page not found\n")
    plain = error.reason if isinstance(error, Rejected) else None
    status = 500 if isinstance(error, Unprocessable) else None

    def describe(found: int, text: str) -> web.Response:
        code, said = status or found, plain or text
        body = (
            {"error": {"httpCode": code, "message": said}}
            if "/api/v3/" in request.path
            else _envelope(None, errors=[{"code": code, "msg": said}])
        )
        return web.Response(status=code, text=json.dumps(body) + "\n")

    return refuse(request, error, describe)


def _envelope(data: Any, *, total: int = 0, errors: Any = None) -> dict[str, Any]:
    return {"data": data, "total": total, "limit": 0, "offset": 0, "errors": errors}


class Jaeger:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

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
        names, missing = await self._services(request)
        return _answer(_envelope(names, total=len(names)), missing)

    async def services_v3(self, request: web.Request) -> web.Response:
        """``GET /api/v3/services``."""
        names, missing = await self._services(request)
        return _answer({"services": names}, missing)

    async def operation_names(self, request: web.Request) -> web.Response:
        """``GET /api/services/{service}/operations``: names alone."""
        found, missing = await self._operations(request, request.match_info["service"], "")
        names = sorted({name for name, _ in found})
        return _answer(_envelope(names or None, total=len(names)), missing)

    async def operations(self, request: web.Request) -> web.Response:
        """``GET /api/operations``: names and kinds."""
        service = request.query.get("service", "")
        if not service:
            raise Rejected("parameter 'service' is required")
        found, missing = await self._operations(request, service, request.query.get("spanKind", ""))
        return _answer(_envelope(_operations(found), total=len(found)), missing)

    async def operations_v3(self, request: web.Request) -> web.Response:
        """``GET /api/v3/operations``."""
        kind = request.query.get("span_kind", "") or request.query.get("spanKind", "")
        found, missing = await self._operations(request, request.query.get("service", ""), kind)
        return _answer({"operations": _operations(found)}, missing)

    async def search(self, request: web.Request) -> web.Response:
        """``GET /api/traces``: traces with a span that matches, or by ``traceID``."""
        answer = await self._search(request, parameters.search(_values(request), time.time_ns()))
        body = await asyncio.to_thread(lambda: _envelope([encode.trace(spans) for spans in answer.value]))
        return _answer(body, answer.missing)

    async def search_v3(self, request: web.Request) -> web.Response:
        """``GET /api/v3/traces``: the same, as OTLP."""
        answer = await self._search(request, parameters.search_v3(_values(request)))
        if not answer.value:
            raise NotFound("No traces found")
        groups = await asyncio.to_thread(lambda: [group for spans in answer.value for group in encode.resource_spans(spans)])
        return _answer({"result": {"resourceSpans": groups}}, answer.missing)

    async def summaries_v3(self, request: web.Request) -> web.Response:
        """``GET /api/v3/trace-summaries``: roots, bounds and services alone."""
        answer = await self._search(request, parameters.search_v3(_values(request)))
        return _answer({"summaries": [encode.summary(spans) for spans in answer.value]}, answer.missing)

    async def trace(self, request: web.Request) -> web.Response:
        """``GET /api/traces/{id}``."""
        answer = await self._trace(request, parameters.parse_id(request.match_info["trace_id"]), "trace not found")
        return _answer(await asyncio.to_thread(lambda: _envelope([encode.trace(answer.value)])), answer.missing)

    async def trace_v3(self, request: web.Request) -> web.Response:
        """``GET /api/v3/traces/{id}``."""
        try:
            trace_id = parameters.parse_id(request.match_info["trace_id"])
        except Rejected as error:
            raise Rejected(f"malformed parameter trace_id: {error.reason}") from error
        answer = await self._trace(request, trace_id, "No traces found")
        groups = await asyncio.to_thread(encode.resource_spans, answer.value)
        return _answer({"result": {"resourceSpans": groups}}, answer.missing)

    async def dependencies(self, request: web.Request) -> web.Response:
        """``GET /api/dependencies``: calls from service to service, a service's own spans below each other included."""
        time_range = parameters.dependencies(_values(request), time.time_ns())
        answer = await self._ask(request, "jaeger dependencies", self._backend.topology.count_calls(tenant_of(request), time_range))
        links = [
            {"parent": _shown(parent), "child": _shown(child), "callCount": calls}
            for (parent, child), calls in sorted(answer.value.items())
        ]
        return _answer(_envelope(links), answer.missing)

    async def _services(self, request: web.Request) -> tuple[list[str], tuple[str, ...]]:
        answer = await self._ask(request, "jaeger services", self._backend.topology.list_services(tenant_of(request), ALL_TIME))
        return sorted(map(_shown, answer.value)), answer.missing

    async def _operations(self, request: web.Request, service: str, kind: str) -> tuple[list[tuple[str, int]], tuple[str, ...]]:
        stored = UNKNOWN_SERVICE if service == encode.NO_SERVICE else service
        answer = await self._ask(request, "jaeger operations", self._backend.topology.list_operations(tenant_of(request), stored, ALL_TIME))
        wanted = _KIND_NUMBERS.get(kind.lower())
        return sorted((name or encode.NO_NAME, number) for name, number in answer.value if not kind or number == wanted), answer.missing

    async def _search(self, request: web.Request, search: Search) -> Answer[list[list[Span]]]:
        """Whole traces, the newest first."""
        tenant, trace_ids = tenant_of(request), list(search.trace_ids)
        missing: tuple[str, ...] = ()
        async with self._backend.turns.turn("jaeger search", tenant) as turn:
            if not trace_ids:
                found = await turn.ask(self._backend.spansets.find_traces(tenant, search.query, search.time_range, search.limit, 1))
                trace_ids, missing = [trace.trace_id for trace in found.value], found.missing
            traces: list[list[Span]] = []
            for start in range(0, len(trace_ids), _AT_ONCE):
                ids = trace_ids[start : start + _AT_ONCE]
                answers = await turn.ask(
                    together((self._backend.spans.get_trace(tenant, trace_id) for trace_id in ids), name="read a trace")
                )
                traces += [sorted(answer.value, key=oldest_first) for answer in answers if answer.value]
                missing = tuple(dict.fromkeys((*missing, *(name for answer in answers for name in answer.missing))))
        return Answer(traces, missing)

    async def _trace(self, request: web.Request, trace_id: bytes, unknown: str) -> Answer[list[Span]]:
        try:
            async with get_trace(self._backend, tenant_of(request), trace_id) as answer:
                return Answer(sorted(answer.value, key=oldest_first), answer.missing)
        except NotFound:
            raise NotFound(unknown) from None

    async def _ask(self, request: web.Request, route: str, answer: Awaitable[T]) -> T:
        async with self._backend.turns.turn(route, tenant_of(request)) as turn:
            return await turn.ask(answer)


def _answer(body: Mapping[str, Any], missing: Sequence[str]) -> web.Response:
    """A body, with a warning where a shard is missing: Jaeger's shape has no place of its own for one."""
    said = f"{', '.join(missing)} did not answer; this answer is partial"
    return json_response({**body, "warnings": [said]} if missing else body)


def _operations(found: Sequence[tuple[str, int]]) -> list[dict[str, str]]:
    return [{"name": name, "spanKind": encode.KINDS.get(kind, "")} for name, kind in found]


def _shown(service: str) -> str:
    return encode.NO_SERVICE if service == UNKNOWN_SERVICE else service


def _values(request: web.Request) -> dict[str, list[str]]:
    return {name: request.query.getall(name) for name in request.query}
