"""The native JSON API, under ``/api/v1``."""

from __future__ import annotations

from services.query.api.family import Family
from services.query.api.native.dead_letters import DeadLetterApi
from services.query.api.native.live import Live
from services.query.api.native.logs import NativeLogs
from services.query.api.native.metrics import NativeMetrics
from services.query.api.native.traces import NativeTraces
from services.query.backend import Backend


def family(backend: Backend) -> Family:
    """The API over every signal."""
    settings, turns = backend.settings, backend.turns
    limit = settings.max_query_limit
    return Family(
        [
            *Live(backend.live_spans, backend.live_logs, heartbeat_seconds=settings.live_heartbeat_seconds).routes(),
            *NativeTraces(backend.spans, turns, max_limit=limit, max_trace_spans=settings.max_trace_spans).routes(),
            *NativeLogs(backend.logs, turns, max_limit=limit).routes(),
            *NativeMetrics(backend.engine, turns, max_limit=limit).routes(),
            *DeadLetterApi(backend.letters, backend.appender).routes(),
        ]
    )
