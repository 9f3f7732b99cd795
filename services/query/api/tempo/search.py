"""Tempo's search, tags and metrics: TraceQL over HTTP.

Source: Tempo's HTTP API documentation, and the answers of Tempo 3.0. Parameters that steer parts of Tempo that have no counterpart here are ignored,
as Tempo ignores what it does not know. An answer that lacks a shard has ``status: PARTIAL`` and a ``message`` that names it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from aiohttp import web

from services.query.api.family import Route
from services.query.api.tempo import encode
from services.query.api.tempo.parameters import grid_of, legacy_query, range_of, search_request
from services.query.api.tempo.tags import INTRINSIC_TAGS, scopes_of, tag_of, wanted
from services.query.api.tenant import tenant_of
from services.query.backend import Backend
from tael.errors import Rejected
from tael.runtime.http import json_response
from tael.storage.api import Answer
from tael.traceql import comparison
from tael.traceql.ast import Compare, MetricsAggregate, Query, Scope, Static
from tael.traceql.metrics import Accumulator, Grid, Series, second_stages
from tael.traceql.parse import parse
from tael.traceql.results import FoundTrace

T = TypeVar("T")
MAX_TAGS = 10_000
MAX_SERIES = 1000
"""Series of a metrics query, as Tempo bounds them."""
_V1_FIELDS = {"name": "name", "service.name": "resource.service.name"}
"""Tags without a scope that are not any attribute of their name."""


class TempoSearch:
    """The handlers, over one reader."""

    def __init__(self, backend: Backend, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._reader = backend.spansets
        self._turns = backend.turns
        self._now_ns = now_ns

    def routes(self) -> list[Route]:
        """Every route, below the family's prefix."""
        return [
            Route("GET", "/api/search", self.search),
            Route("GET", "/api/search/tags", self.tags_v1),
            Route("GET", "/api/v2/search/tags", self.tags_v2),
            Route("GET", "/api/search/tag/{tag}/values", self.values_v1),
            Route("GET", "/api/v2/search/tag/{tag}/values", self.values_v2),
            Route("GET", "/api/metrics/query_range", self.metrics_range),
            Route("GET", "/api/metrics/query", self.metrics_instant),
        ]

    async def search(self, request: web.Request) -> web.Response:
        """``GET /api/search``: by ``q``, or by ``tags`` and durations."""
        asked, legacy = search_request(request.query, self._now_ns()), not request.query.get("q", "").strip()
        query = legacy_query(request.query) if legacy else _parse(request.query["q"], prefix="invalid TraceQL query: ")
        if query.metrics is not None:
            raise Rejected("a metrics query has no traces", where="q", accepted="a search; /api/metrics/query_range takes metrics")
        answer: Answer[list[FoundTrace]] = await self._ask(
            request,
            "tempo search",
            lambda tenant: self._reader.find_traces(tenant, query, asked.time_range, asked.limit, asked.max_spans),
        )
        body: dict[str, Any] = {"traces": encode.traces(answer.value, legacy=legacy), "metrics": {}}
        return json_response(body | _partial(answer.missing))

    async def metrics_range(self, request: web.Request) -> web.Response:
        """``GET /api/metrics/query_range``."""
        return await self._metrics(request, instant=False)

    async def metrics_instant(self, request: web.Request) -> web.Response:
        """``GET /api/metrics/query``: one value a series, of the whole range."""
        return await self._metrics(request, instant=True)

    async def _metrics(self, request: web.Request, *, instant: bool) -> web.Response:
        query = _parse(request.query.get("q", ""))
        if query.metrics is None:
            raise Rejected("not a metrics query", where="q", accepted="a query that ends in a metrics function, such as { } | rate()")
        grid = grid_of(request.query, self._now_ns(), instant=instant)
        if isinstance(query.metrics, Compare):
            found, missing = await self._compared(request, query, query.metrics, grid)
        else:
            found, missing = await self._series(request, query, query.metrics, grid)
        body: dict[str, Any] = {"series": encode.series(found, grid, instant=instant), "metrics": {}}
        return json_response(body | _partial(missing))

    async def _series(
        self, request: web.Request, query: Query, function: MetricsAggregate, grid: Grid
    ) -> tuple[list[Series], tuple[str, ...]]:
        exemplars = min(int(request.query.get("exemplars", "0") or 0), 100) if request.query.get("exemplars", "").isdigit() else 0
        most = MAX_SERIES
        answer = await self._ask(
            request,
            "tempo metrics",
            lambda tenant: self._reader.sum_spans(tenant, query, function, grid, most, exemplars),
        )
        into = Accumulator(function, grid, max_series=most, exemplars=exemplars)
        for labels, sums in answer.value.items():
            into.add_sums(labels, sums)
        return await asyncio.to_thread(lambda: second_stages(query.second, into.series())), answer.missing

    async def _compared(self, request: web.Request, query: Query, compare: Compare, grid: Grid) -> tuple[list[Series], tuple[str, ...]]:
        answer = await self._ask(request, "tempo metrics", lambda tenant: self._reader.compare_spans(tenant, query, compare, grid))
        return await asyncio.to_thread(comparison.series, answer.value, compare.top), answer.missing

    async def tags_v2(self, request: web.Request) -> web.Response:
        """``GET /api/v2/search/tags``: names by scope."""
        names, missing = await self._names(request)
        scopes = scopes_of(request.query.get("scope", ""))
        body: list[dict[str, Any]] = [{"name": scope.value, "tags": sorted(names[scope])} for scope in scopes if names.get(scope)]
        if request.query.get("scope", "") in ("", "none", "intrinsic"):
            body.append({"name": "intrinsic", "tags": list(INTRINSIC_TAGS)})
        return json_response({"scopes": body, "metrics": {}} | _partial(missing))

    async def tags_v1(self, request: web.Request) -> web.Response:
        """``GET /api/search/tags``: names of every scope."""
        names, missing = await self._names(request)
        return json_response({"tagNames": sorted(set().union(*names.values())), "metrics": {}} | _partial(missing))

    async def _names(self, request: web.Request) -> tuple[dict[Scope, set[str]], tuple[str, ...]]:
        scopes, predicate = scopes_of(request.query.get("scope", "")), wanted(request.query.get("q", ""))
        time_range = range_of(request.query, self._now_ns())
        answer = await self._ask(
            request, "tempo tags", lambda tenant: self._reader.tag_names(tenant, predicate, time_range, scopes, MAX_TAGS)
        )
        return answer.value, answer.missing

    async def values_v2(self, request: web.Request) -> web.Response:
        """``GET /api/v2/search/tag/{tag}/values``: typed, on the spans that ``q`` matches."""
        values, missing = await self._values(request, request.match_info["tag"])
        return json_response({"tagValues": [encode.tag_value(value) for value in values], "metrics": {}} | _partial(missing))

    async def values_v1(self, request: web.Request) -> web.Response:
        """``GET /api/search/tag/{tag}/values``: as text; a name without a scope is an attribute's."""
        tag = request.match_info["tag"]
        values, missing = await self._values(request, _V1_FIELDS.get(tag, f".{tag}"))
        return json_response({"tagValues": [encode.text_of(value) for value in values], "metrics": {}} | _partial(missing))

    async def _values(self, request: web.Request, tag: str) -> tuple[list[Static], tuple[str, ...]]:
        fields, predicate = tag_of(tag)
        narrowed, time_range = wanted(request.query.get("q", ""), predicate), range_of(request.query, self._now_ns())
        found: set[Static] = set()
        missing: tuple[str, ...] = ()
        for named in fields:
            ask = partial(self._reader.tag_values, predicate=narrowed, time_range=time_range, named=named, limit=MAX_TAGS)
            answer = await self._ask(request, "tempo tags", ask)
            found |= answer.value
            missing = answer.missing
        return sorted(found, key=lambda value: (value.type.value, value.value)), missing

    async def _ask(self, request: web.Request, route: str, ask: Callable[[str], Awaitable[T]]) -> T:
        tenant = tenant_of(request)
        async with self._turns.turn(route, tenant) as turn:
            return await turn.ask(ask(tenant))


def _parse(text: str, prefix: str = "") -> Query:
    try:
        return parse(text)
    except Rejected as error:
        raise Rejected(f"{prefix}{error}", where="q") from error


def _partial(missing: Sequence[str]) -> dict[str, Any]:
    return {"status": "PARTIAL", "message": f"{', '.join(missing)} did not answer"} if missing else {}
