"""Loki's HTTP API, at the root and under ``/loki-api``."""

from __future__ import annotations

from services.query.api.family import Family, Route
from services.query.api.loki.answers import refuse_loki
from services.query.api.loki.explore import Explore
from services.query.api.loki.queries import Queries
from services.query.api.loki.streams import Streams
from services.query.api.loki.tail import Tail
from services.query.backend import Backend
from services.query.logql.engine import LogqlEngine


def family(backend: Backend) -> Family:
    """Loki's API over one engine; served at the root too, because Grafana's experimental tail ignores the data source's path."""
    engine = LogqlEngine(backend.logs, backend.settings.logql_options)
    tail = Tail(engine, backend.turns, backend.live_logs, heartbeat_seconds=backend.settings.live_heartbeat_seconds)
    explore = Explore(engine, backend.turns, backend.retention, backend.settings.query_timeout_seconds)
    parts = (Queries(engine, backend.turns), Streams(engine, backend.turns), explore, tail)
    routes: list[Route] = [route for part in parts for route in part.routes()]
    return Family(routes, prefixes=("", "/loki-api"), roots=("/loki/", "/loki-api/"), refuse=refuse_loki)
