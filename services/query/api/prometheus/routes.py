"""Prometheus' HTTP API, under ``/prometheus/api/v1`` and ``/api/v1``, as Grafana's data source and promtool call it.

Source: Prometheus' HTTP API documentation. Queries take GET, and POST with a form. Errors are ``bad_data`` (400) for a wrong request,
``execution`` (422) for a query that fails on the data, ``timeout`` and ``unavailable`` (503), ``not_found`` (404), ``internal`` (500). A
missing shard becomes a warning.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import web

from services.query.api.family import OPEN, Handler, Route
from services.query.api.prometheus.answers import evaluated, listed, missing_warnings, stats_of, success
from services.query.api.prometheus.errors import executed
from services.query.api.prometheus.parameters import Form, invalid, label_name, read
from services.query.api.prometheus.remote_read import RemoteRead
from services.query.api.prometheus.status import STATUS, Described
from services.query.api.tenant import tenant_of
from services.query.promql.engine import PromqlEngine, Query
from services.query.turns import Turns
from tael.errors import Rejected
from tael.model.series import Exemplar, Family, Labels, Matcher, Selection
from tael.promql.ast import Expr, VectorSelector, walk
from tael.promql.print import pretty
from tael.promql.tree import document
from tael.storage.api import Answer, SeriesReader
from tael.syntax.literals import decimal, quoted
from tael.vectors.values import Steps

T = TypeVar("T", Labels, str)


@dataclass(frozen=True, slots=True)
class PrometheusOptions:
    """``described`` fills the status pages; ``timeout_seconds`` is the longest timeout that a query may request."""

    timeout_seconds: float
    described: Described


class Prometheus:
    """The handlers, over one engine."""

    def __init__(self, engine: PromqlEngine, turns: Turns, options: PrometheusOptions) -> None:
        self._engine = engine
        self._turns = turns
        self._options = options
        self._remote = RemoteRead(engine.reader, turns, engine.options.max_samples)

    def routes(self) -> list[Route]:
        """Every route; queries take GET, and POST with a form."""
        get_or_post: dict[str, Handler] = {
            "query": self.query,
            "query_range": self.query_range,
            "query_exemplars": self.exemplars,
            "series": self.series,
            "labels": self.labels,
            "format_query": self.format_query,
            "parse_query": self.parse_query,
        }
        read_only: dict[str, Handler] = {"label/{name}/values": self.label_values, "metadata": self.metadata, "rules": self.rules}
        read_only |= {path: self._status(build) for path, build in STATUS.items()}
        return [
            *(Route("GET", f"/api/v1/{path}", handler) for path, handler in (get_or_post | read_only).items()),
            *(Route("POST", f"/api/v1/{path}", handler) for path, handler in get_or_post.items()),
            Route("POST", "/api/v1/read", self._remote.read),
            *(Route("GET", f"/-/{word}", _plainly(word), OPEN) for word in ("healthy", "ready")),
        ]

    async def query(self, request: web.Request) -> web.StreamResponse:
        """An instant query, by default at the current time."""
        form = await read(request)
        at = form.instant_ms("time", time.time_ns() // 1_000_000)
        return await self._evaluate(request, form, Steps(at, at, 0))

    async def query_range(self, request: web.Request) -> web.StreamResponse:
        """A query at every step of a range."""
        form = await read(request)
        return await self._evaluate(request, form, form.range())

    async def _evaluate(self, request: web.Request, form: Form, steps: Steps) -> web.StreamResponse:
        limit, timeout = form.count("limit"), self._timeout(form)
        query = Query(form.text("query"), steps, form.lookback_ms())
        expr = self._parsed(form, instant=query.instant)
        async with self._turns.turn("promql", tenant_of(request)) as turn:
            outcome = await turn.ask(executed(self._engine.run(tenant_of(request), query, expr)), timeout)
            stats = stats_of(outcome, turn.waited_seconds, turn.seconds) if form.text("stats") else None
            return await evaluated(request, outcome, steps, limit, stats)

    def _timeout(self, form: Form) -> float:
        timeout_ms = form.duration_ms("timeout")
        return self._options.timeout_seconds if timeout_ms is None else min(timeout_ms / 1000, self._options.timeout_seconds)

    def _parsed(self, form: Form, *, instant: bool = True) -> Expr:
        try:
            return self._engine.parse(form.text("query"), instant=instant)
        except Rejected as problem:
            raise invalid("query", str(problem)) from None

    async def series(self, request: web.Request) -> web.StreamResponse:
        """The label sets of the series that match any ``match[]``."""
        form = await read(request)
        selectors = form.selectors()
        if not selectors:
            raise Rejected("no match[] parameter provided")
        limit = self._listed(form)
        answer = await self._each(request, form, selectors, limit, self._reader.list_series)
        return await listed(request, answer, limit, dict)

    async def labels(self, request: web.Request) -> web.StreamResponse:
        """Label names, only of matching series where ``match[]`` is given."""
        form = await read(request)
        limit = self._listed(form)
        answer = await self._each(request, form, form.selectors() or [()], limit, self._reader.label_names)
        return await listed(request, answer, limit, str)

    async def label_values(self, request: web.Request) -> web.StreamResponse:
        """Values of one label, only of matching series where ``match[]`` is given."""
        name, form = label_name(request.match_info["name"]), await read(request)
        limit = self._listed(form)
        answer = await self._each(
            request,
            form,
            form.selectors() or [()],
            limit,
            lambda tenant, chosen, most: self._reader.label_values(tenant, name, chosen, most),
        )
        return await listed(request, answer, limit, str)

    @property
    def _reader(self) -> SeriesReader:
        return self._engine.reader

    def _listed(self, form: Form) -> int:
        """The most series, names or values to list: the requested limit, up to the engine's."""
        most = self._engine.options.max_series
        return min(form.count("limit") or most, most)

    async def _each(
        self,
        request: web.Request,
        form: Form,
        selectors: Sequence[tuple[Matcher, ...]],
        limit: int,
        ask: Callable[[str, Selection, int], Awaitable[Answer[list[T]]]],
    ) -> Answer[list[T]]:
        """Everything that any selector matches, sorted and without duplicates; more items than ``limit`` mean that there are more."""
        start, end = form.between()
        tenant = tenant_of(request)
        found: list[T] = []
        missing: dict[str, None] = {}
        async with self._turns.turn("prometheus series", tenant) as turn:
            for matchers in selectors:
                # The reader's ranges exclude the start, the API's include it.
                selection = Selection(matchers, start - 1, end)
                answer = await turn.ask(executed(ask(tenant, selection, limit + 1)))
                found += answer.value
                missing |= dict.fromkeys(answer.missing)
        return Answer(found if len(selectors) == 1 else sorted(set(found)), tuple(missing))

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        """Types, units and help texts by metric."""
        form = await read(request)
        limit, per_metric = form.count("limit"), form.count("limit_per_metric")
        async with self._turns.turn("prometheus metadata", tenant_of(request)) as turn:
            answer: Answer[list[Family]] = await turn.ask(self._reader.families(tenant_of(request), form.text("metric"), 0))
        found: dict[str, list[dict[str, str]]] = {}
        for family in answer.value:
            known = found.get(family.name)
            if known is None and limit and len(found) == limit:
                break
            known = found.setdefault(family.name, [])
            if not per_metric or len(known) < per_metric:
                known.append({"type": family.type, "unit": family.unit, "help": family.help})
        return success(found, missing_warnings(answer.missing))

    async def exemplars(self, request: web.Request) -> web.StreamResponse:
        """Exemplars of every series that a query selects."""
        form = await read(request)
        start, end = form.between()
        selectors = [node.matchers for node in walk(self._parsed(form)) if isinstance(node, VectorSelector)]
        if not selectors or end < start:
            return success([])
        async with self._turns.turn("prometheus exemplars", tenant_of(request)) as turn:
            answer: Answer[list[Exemplar]] = await turn.ask(self._reader.exemplars(tenant_of(request), selectors, start, end))
        found: dict[Labels, list[dict[str, Any]]] = {}
        for exemplar in answer.value:
            found.setdefault(exemplar.series, []).append(_exemplar(exemplar))
        data = [{"seriesLabels": dict(series), "exemplars": several} for series, several in found.items()]
        return success(data, missing_warnings(answer.missing))

    async def format_query(self, request: web.Request) -> web.StreamResponse:
        """The query, pretty-printed."""
        return success(pretty(self._parsed(await read(request))))

    async def parse_query(self, request: web.Request) -> web.StreamResponse:
        """The query's syntax tree."""
        return success(document(self._parsed(await read(request))))

    async def rules(self, request: web.Request) -> web.StreamResponse:
        """An empty list: there are no rules."""
        kind = (await read(request)).text("type")
        if kind.lower() not in ("", "alert", "record"):
            raise invalid("type", f"not supported value {quoted(kind)}")
        return success({"groups": []})

    def _status(self, build: Callable[[Described], Any]) -> Handler:
        async def handler(_: web.Request) -> web.StreamResponse:
            return success(build(self._options.described))

        return handler


def _plainly(word: str) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text=f"tael is {word}.\n")

    return handler


def _exemplar(exemplar: Exemplar) -> dict[str, Any]:
    return {"labels": dict(exemplar.labels), "value": decimal(exemplar.value), "timestamp": exemplar.time_ms / 1000}
