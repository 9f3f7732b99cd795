"""The endpoints of Grafana's Logs Drilldown: the fields and patterns of lines, limits, and the server's version."""

from __future__ import annotations

from aiohttp import web

from services.query.api.family import OPEN, Handler, Route
from services.query.api.loki.answers import bare, json_of, refuse_loki, success
from services.query.api.loki.parameters import DEFAULT_LIMIT, Form, read
from services.query.api.tenant import tenant_of
from services.query.logql.engine import LogqlEngine, Wanted
from services.query.turns import Turns
from tael.errors import NotFound, Rejected, Unauthenticated
from tael.logql.fields import Fields
from tael.logql.parse import parse_log, parse_selector
from tael.logql.patterns import Patterns
from tael.logql.row import Row
from tael.model.signals import LOGS
from tael.model.tenant import TENANT_HEADER
from tael.model.time import DAY_NS, NS_PER_SECOND
from tael.runtime.retention import CurrentRetention
from tael.storage.api import Answer

MOST_FIELDS = 1000
PATTERN_LINES = 5_000
VERSION = "3.6.0"
"""The Loki version whose API this is, for clients that choose features by version."""


class Explore:
    """The handlers, over one engine; a query may run for ``timeout_seconds``."""

    def __init__(self, engine: LogqlEngine, turns: Turns, retention: CurrentRetention, timeout_seconds: float) -> None:
        self._engine, self._turns = engine, turns
        self._retention, self._timeout_seconds = retention, timeout_seconds

    def routes(self) -> list[Route]:
        """Every route; readiness needs no token."""
        handlers = {
            "detected_fields": self.fields,
            "detected_field/{name}/values": self.values,
            "patterns": self.patterns,
            "drilldown-limits": self.limits,
        }
        return [
            *(Route(method, f"/loki/api/v1/{path}", handler) for path, handler in handlers.items() for method in ("GET", "POST")),
            Route("GET", "/loki/api/v1/status/buildinfo", _buildinfo),
            Route("GET", "/ready", _ready, OPEN),
            Route("GET", "/loki/api/v1/rules", _no_ruler),
            Route("GET", "/api/prom/rules", _no_ruler),
            # Grafana's alerting asks for these below the data source's URL. At the root they are Prometheus', which is registered earlier.
            *(Route("GET", f"/prometheus/api/v1/{path}", _nothing(name)) for path, name in (("rules", "groups"), ("alerts", "alerts"))),
        ]

    async def fields(self, request: web.Request) -> web.StreamResponse:
        """The fields of the newest lines: metadata, and what JSON or logfmt holds."""
        form = await read(request)
        limit = form.count("limit", form.count("field_limit", MOST_FIELDS))
        form.step_ns(form.bounds())
        answer = await self._rows(request, form, form.count("line_limit", DEFAULT_LIMIT))
        found = Fields(answer.value, limit).described()
        return bare({"fields": found, "limit": limit} if found else {}, answer.missing)

    async def values(self, request: web.Request) -> web.StreamResponse:
        """The values of one field."""
        form = await read(request)
        limit = form.count("limit", MOST_FIELDS)
        answer = await self._rows(request, form, form.count("line_limit", DEFAULT_LIMIT))
        found = Fields(answer.value, MOST_FIELDS).values(request.match_info["name"], limit)
        return bare({"values": found, "limit": limit} if found else {}, answer.missing)

    async def patterns(self, request: web.Request) -> web.StreamResponse:
        """The shapes of the newest lines, with their frequencies."""
        form = await read(request)
        bounds = form.bounds()
        parse_selector(form.text("query"))
        answer = await self._rows(request, form, PATTERN_LINES)
        step = max(form.step_ns(bounds), 10_000_000_000)
        found = Patterns(step)
        for row in answer.value:
            found.add(row.timestamp_ns, row.line)
        return success(found.described(), answer.missing)

    async def limits(self, request: web.Request) -> web.StreamResponse:
        """The limits that Logs Drilldown respects; like Loki, only for requests that name a tenant."""
        if TENANT_HEADER not in request.headers:
            return refuse_loki(request, Unauthenticated("no org id"))
        options, days = self._engine.options, self._retention.read().days(tenant_of(request), LOGS)
        limits = {
            "discover_log_levels": True,
            "discover_service_name": ["service_name"],
            "log_level_fields": ["level", "severity_text"],
            "max_entries_limit_per_query": options.max_entries,
            "max_line_size_truncate": False,
            "max_query_series": options.max_series,
            "metric_aggregation_enabled": False,
            "otlp_config": {},
            "pattern_persistence_enabled": False,
            "query_timeout": _duration(self._timeout_seconds),
            "retention_period": _duration(days * DAY_NS / NS_PER_SECOND),
            "volume_enabled": True,
            "volume_max_series": MOST_FIELDS,
        }
        return json_of({"limits": limits, "pattern_ingester_enabled": True, "version": VERSION})

    async def _rows(self, request: web.Request, form: Form, lines: int) -> Answer[list[Row]]:
        bounds = form.bounds()
        if lines > self._engine.options.max_entries:
            raise Rejected(
                f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({lines} > {self._engine.options.max_entries})"
            )
        query = parse_log(form.text("query"))
        async with self._turns.turn("loki fields", tenant_of(request)) as turn:
            return await turn.ask(self._engine.lines(tenant_of(request), query, Wanted(bounds, lines)))


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms" if seconds % 1 else f"{seconds:.0f}s"


async def _buildinfo(_: web.Request) -> web.StreamResponse:
    return json_of({"version": VERSION, "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": ""})


async def _ready(_: web.Request) -> web.StreamResponse:
    return web.Response(text="ready\n")


def _nothing(name: str) -> Handler:
    """Answers that there are no rules, or alerts: the shape is that of Loki's ruler, errors included."""

    async def answer(_: web.Request) -> web.StreamResponse:
        return json_of({"status": "success", "data": {name: []}, "errorType": "", "error": ""})

    return answer


async def _no_ruler(_: web.Request) -> web.StreamResponse:
    raise NotFound("tael has no ruler")
