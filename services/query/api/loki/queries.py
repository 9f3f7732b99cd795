"""Loki's queries: ``query``, ``query_range`` and ``format_query``."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from services.query.api.family import Route
from services.query.api.loki.answers import categorized, json_of, streams, success, value_data
from services.query.api.loki.parameters import DEFAULT_LIMIT, Form, read
from services.query.api.loki.stats import stats
from services.query.api.tenant import tenant_of
from services.query.logql.engine import LogqlEngine, Wanted
from services.query.turns import Turn, Turns
from tael.errors import Rejected
from tael.logql.ast import LogQuery, Metric, aggregates_by
from tael.logql.parse import parse, parse_unchecked
from tael.logql.pretty import pretty
from tael.model.time import TimeRange
from tael.storage.work import Work, measured
from tael.vectors.values import Steps, Vector

INSTANT_LINES = "log queries are not supported as an instant query type, please change your query to a range query type"


class Queries:
    """The handlers, over one engine."""

    def __init__(self, engine: LogqlEngine, turns: Turns) -> None:
        self._engine, self._turns = engine, turns

    def routes(self) -> list[Route]:
        """Every route takes GET, and POST with a form."""
        handlers = {"query": self.query, "query_range": self.query_range, "format_query": self.format_query}
        return [Route(method, f"/loki/api/v1/{path}", handler) for path, handler in handlers.items() for method in ("GET", "POST")]

    async def query(self, request: web.Request) -> web.StreamResponse:
        """A metric query at one time."""
        form = await read(request)
        self.limit(form)
        form.oldest_first()
        at = form.instant_ns("time", form.now_ns)
        expr = parse(form.text("query"))
        if isinstance(expr, LogQuery):
            raise Rejected(INSTANT_LINES)
        return await self._metric(request, expr, Steps(at, at, 0))

    async def query_range(self, request: web.Request) -> web.StreamResponse:
        """Lines of a range, or a metric query at every step of it."""
        form = await read(request)
        bounds = form.bounds()
        limit = self.limit(form)
        oldest_first, step = form.oldest_first(), form.step_ns(bounds)
        interval, expr = form.interval_ns(), parse(form.text("query"))
        if isinstance(expr, LogQuery):
            return await self._lines(request, expr, Wanted(bounds, limit, oldest_first, interval))
        if aggregates_by(expr, "approx_topk"):
            raise Rejected("approx_topk is only supported on instant queries")
        return await self._metric(request, expr, aligned(bounds, step))

    async def format_query(self, request: web.Request) -> web.StreamResponse:
        """The query, pretty-printed."""
        form = await read(request)
        try:
            return success(pretty(parse_unchecked(form.text("query"))))
        except Rejected as problem:
            response = json_of({"status": "invalid-query", "error": str(problem)})
            response.set_status(400)
            return response

    def limit(self, form: Form) -> int:
        """The number of lines to return. Raises Rejected beyond the engine's limit."""
        limit, most = form.count("limit", DEFAULT_LIMIT), self._engine.options.max_entries
        if limit > most:
            raise Rejected(f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {most})")
        return limit

    async def _lines(self, request: web.Request, query: LogQuery, wanted: Wanted) -> web.StreamResponse:
        with measured() as work:
            async with self._turns.turn("loki lines", tenant_of(request)) as turn:
                answer = await turn.ask(self._engine.lines(tenant_of(request), query, wanted))
                found = _stats(work, turn, len(answer.value), lines=len(answer.value))
        return success(streams(answer.value, categorize=categorized(request)) | {"stats": found}, answer.missing)

    async def _metric(self, request: web.Request, expr: Metric, steps: Steps) -> web.StreamResponse:
        with measured() as work:
            async with self._turns.turn("loki metric", tenant_of(request)) as turn:
                answer = await turn.ask(self._engine.value(tenant_of(request), expr, steps))
                found = _stats(work, turn, int(answer.value.present.sum()) if isinstance(answer.value, Vector) else 0)
        return success(value_data(answer.value, steps, instant=not steps.step_ms) | {"stats": found}, answer.missing)


def _stats(work: Work, turn: Turn, entries: int, lines: int = 0) -> dict[str, Any]:
    return stats(work, queued_seconds=turn.waited_seconds, ran_seconds=turn.seconds, entries=entries, lines=lines)


def aligned(bounds: TimeRange, step_ns: int) -> Steps:
    """Steps at multiples of the step since the epoch, from the one at or before the start to the one at or after the end."""
    return Steps(bounds.start_ns // step_ns * step_ns, -(-bounds.end_ns // step_ns) * step_ns, step_ns)
