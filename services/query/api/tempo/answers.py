"""Tempo's search, tags and metrics for both transports: takes parameters by name, and returns the JSON of the answer.

Source: Tempo's HTTP API documentation, and the answers of Tempo 3.0. Parameters for parts of Tempo that have no counterpart here are
ignored, as Tempo ignores unknown ones. An answer without some shard has ``status: PARTIAL`` and a ``message`` that names it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, ParamSpec, TypeAlias, TypeVar

from services.query.api.tempo import encode
from services.query.api.tempo.parameters import MAX_TAGS, grid_of, legacy_query, range_of, search_request, tag_limit
from services.query.api.tempo.tags import COMMON, ENUMERATED, INTRINSIC_TAGS, scopes_of, tag_of, wanted
from services.query.backend import Backend
from services.query.turns import Allowance
from tael.errors import Rejected
from tael.model.predicate import EVERYTHING, Predicate
from tael.storage.work import measured
from tael.traceql import comparison
from tael.traceql.ast import Compare, MetricsAggregate, Query, Scope, Static
from tael.traceql.metrics import Accumulator, Grid, Series, second_stages
from tael.traceql.parse import parse
from tael.traceql.results import FoundTrace
from tael.traceql.spansets import finds_nothing

P = ParamSpec("P")
T = TypeVar("T")
Given: TypeAlias = "Mapping[str, str]"
"""Parameters by name."""
MAX_SERIES = 1000
"""The most series of a metrics query, Tempo's limit."""
_V1_FIELDS = {
    "name": "name",
    "service.name": "resource.service.name",
    "status.code": "status",
    "root.name": "rootName",
    "root.service.name": "rootServiceName",
    "rootName": "rootName",
    "rootServiceName": "rootServiceName",
}
"""Tags without a scope that do not stand for the attribute of that name."""


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """An answer's JSON, and the shards missing from it."""

    body: dict[str, Any]
    missing: tuple[str, ...] = ()

    @property
    def json(self) -> dict[str, Any]:
        """The body, with Tempo's fields for a partial answer."""
        return self.body | ({"status": "PARTIAL", "message": f"{', '.join(self.missing)} did not answer"} if self.missing else {})


def _with_metrics(ask: Callable[P, Awaitable[JsonAnswer]]) -> Callable[P, Awaitable[JsonAnswer]]:
    """Add ``metrics``, by which an answer says what was read for it."""

    @wraps(ask)
    async def answer(*args: P.args, **kwargs: P.kwargs) -> JsonAnswer:
        with measured() as work:
            found = await ask(*args, **kwargs)
        return JsonAnswer(found.body | {"metrics": encode.metrics(work)}, found.missing)

    return answer


class TempoAnswers:
    """The queries, over one reader. Each raises Rejected for invalid parameters, and what the reader raises."""

    def __init__(self, backend: Backend, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._reader = backend.spansets
        self._turns = backend.turns
        self._now_ns = now_ns

    async def search(self, tenant: str, given: Given, on_part: Callable[[dict[str, Any]], None] | None = None) -> JsonAnswer:
        """Search traces by ``q``, or by ``tags`` and durations.

        ``on_part`` gets the same JSON for parts of the answer as they arrive. They have no traces with the hint ``most_recent``, because
        the newest traces are known only at the end.
        """
        request, legacy = search_request(given, self._now_ns()), not given.get("q", "")
        query = legacy_query(given) if legacy else _parse(given["q"], prefix="invalid TraceQL query: ")
        if query.metrics is not None:
            raise Rejected("a metrics query has no traces", where="q", accepted="a search; /api/metrics/query_range takes metrics")
        newest = (hint := query.hints.get("most_recent")) is not None and bool(hint.value)

        def show(part: list[FoundTrace]) -> None:
            if on_part is not None:
                found = [] if newest else encode.traces(part, legacy=legacy)
                on_part({"traces": found, "metrics": encode.metrics(work)})

        ask = partial(
            self._reader.find_traces,
            query=query,
            time_range=request.time_range,
            limit=request.limit,
            max_spans=request.max_spans,
            on_part=show,
        )
        with measured() as work:
            answer = await self._ask(tenant, "tempo search", ask)
        return JsonAnswer({"traces": encode.traces(answer.value, legacy=legacy), "metrics": encode.metrics(work)}, answer.missing)

    @_with_metrics
    async def metrics(self, tenant: str, given: Given, *, instant: bool) -> JsonAnswer:
        """Series over a range, or with ``instant`` one value each for the whole range."""
        query = _parse(given.get("q") or given.get("query", ""))
        if query.metrics is None:
            raise Rejected("not a metrics query", where="q", accepted="a query that ends in a metrics function, such as { } | rate()")
        grid = grid_of(given, self._now_ns(), instant=instant)
        if finds_nothing(query.pipeline):
            return JsonAnswer({"series": []})
        if isinstance(query.metrics, Compare):
            found, missing = await self._compared(tenant, query, query.metrics, grid)
        else:
            exemplars = min(int(given["exemplars"]), 100) if given.get("exemplars", "").isdigit() else 0
            found, missing = await self._series(tenant, query, query.metrics, grid, exemplars)
        return JsonAnswer({"series": encode.series(found, grid, instant=instant)}, missing)

    async def _series(
        self, tenant: str, query: Query, function: MetricsAggregate, grid: Grid, exemplars: int
    ) -> tuple[list[Series], tuple[str, ...]]:
        ask = partial(self._reader.sum_spans, query=query, function=function, grid=grid, max_series=MAX_SERIES, exemplars=exemplars)
        answer = await self._ask(tenant, "tempo metrics", ask)
        into = Accumulator(function, grid, max_series=MAX_SERIES, exemplars=exemplars)
        for labels, sums in answer.value.items():
            into.add_sums(labels, sums)
        return await asyncio.to_thread(lambda: second_stages(query.second, into.series())), answer.missing

    async def _compared(self, tenant: str, query: Query, compare: Compare, grid: Grid) -> tuple[list[Series], tuple[str, ...]]:
        ask = partial(self._reader.compare_spans, query=query, compare=compare, grid=grid)
        answer = await self._ask(tenant, "tempo metrics", ask)
        return await asyncio.to_thread(comparison.series, answer.value, compare.top), answer.missing

    @_with_metrics
    async def tags_v2(self, tenant: str, given: Given) -> JsonAnswer:
        """Names of tags by scope."""
        names, missing = await self._names(tenant, given)
        scopes, most = scopes_of(given.get("scope", "")), tag_limit(given)
        body: list[dict[str, Any]] = [{"name": scope.value, "tags": sorted(names[scope])[:most]} for scope in scopes if names.get(scope)]
        if given.get("scope", "") in ("", "none", "intrinsic"):
            body.append({"name": "intrinsic", "tags": list(INTRINSIC_TAGS)})
        return JsonAnswer({"scopes": body}, missing)

    @_with_metrics
    async def tags_v1(self, tenant: str, given: Given) -> JsonAnswer:
        """Names of tags of all scopes together."""
        names, missing = await self._names(tenant, given)
        found = INTRINSIC_TAGS if given.get("scope", "") == "intrinsic" else sorted(set().union(*names.values()))
        return JsonAnswer({"tagNames": list(found[: tag_limit(given)])}, missing)

    async def _names(self, tenant: str, given: Given) -> tuple[dict[Scope, set[str]], tuple[str, ...]]:
        scopes, predicate = scopes_of(given.get("scope", "")), wanted(given.get("q", ""))
        allowance = self._turns.allowance()
        names, missing = await self._names_on(tenant, given, predicate, scopes, allowance)
        common = [scope for scope in scopes if scope in COMMON]
        if predicate == EVERYTHING or not common:
            return names, missing
        every, also_missing = await self._names_on(tenant, given, EVERYTHING, common, allowance)
        for scope in common:
            names.setdefault(scope, set()).update(every.get(scope, set()) & COMMON[scope])
        return names, tuple(sorted({*missing, *also_missing}))

    async def _names_on(
        self, tenant: str, given: Given, predicate: Predicate, scopes: Sequence[Scope], allowance: Allowance
    ) -> tuple[dict[Scope, set[str]], tuple[str, ...]]:
        ask = partial(
            self._reader.tag_names, predicate=predicate, time_range=range_of(given, self._now_ns()), scopes=scopes, limit=MAX_TAGS
        )
        answer = await self._ask(tenant, "tempo tags", ask, allowance)
        return answer.value, answer.missing

    @_with_metrics
    async def values_v2(self, tenant: str, given: Given, tag: str) -> JsonAnswer:
        """Values of a tag, typed, on the spans that ``q`` matches."""
        values, missing = await self._values(tenant, given, tag)
        return JsonAnswer({"tagValues": [encode.tag_value(value) for value in values]}, missing)

    @_with_metrics
    async def values_v1(self, tenant: str, given: Given, tag: str) -> JsonAnswer:
        """Values of a tag as text; a name without a scope is an attribute's."""
        values, missing = await self._values(tenant, given, _V1_FIELDS.get(tag, f".{tag}"))
        return JsonAnswer({"tagValues": [encode.text_of(value) for value in values]}, missing)

    async def _values(self, tenant: str, given: Given, tag: str) -> tuple[Sequence[Static], tuple[str, ...]]:
        predicate, time_range = wanted(given.get("q", "")), range_of(given, self._now_ns())
        fields, allowance = tag_of(tag, narrowed=predicate != EVERYTHING), self._turns.allowance()
        found: set[Static] = set()
        missing: dict[str, None] = {}
        for named in fields:
            if named in ENUMERATED:
                found.update(ENUMERATED[named])
                continue
            ask = partial(self._reader.tag_values, predicate=predicate, time_range=time_range, named=named, limit=MAX_TAGS)
            answer = await self._ask(tenant, "tempo tags", ask, allowance)
            found |= answer.value
            missing |= dict.fromkeys(answer.missing)
        return sorted(found, key=lambda value: (value.type.value, value.value))[: tag_limit(given)], tuple(missing)

    async def _ask(self, tenant: str, route: str, ask: Callable[[str], Awaitable[T]], allowance: Allowance | None = None) -> T:
        async with self._turns.turn(route, tenant, allowance) as turn:
            return await turn.ask(ask(tenant))


def _parse(text: str, prefix: str = "") -> Query:
    try:
        return parse(text)
    except Rejected as error:
        raise Rejected(f"{prefix}{error}", where="q") from error
