"""The native JSON API, under ``/api/v1``."""

from __future__ import annotations

from services.query.api.family import Family
from services.query.api.native.blobs import Blobs
from services.query.api.native.cold import ColdApi
from services.query.api.native.dead_letters import DeadLetterApi
from services.query.api.native.deletions import DeletionApi
from services.query.api.native.index import Index
from services.query.api.native.live import Live
from services.query.api.native.llm import LlmApi
from services.query.api.native.logs import NativeLogs
from services.query.api.native.metrics import NativeMetrics
from services.query.api.native.partial import refuse_native
from services.query.api.native.retention import RetentionApi
from services.query.api.native.traces import NativeTraces
from services.query.backend import Backend


def family(backend: Backend) -> Family:
    """The API over every signal."""
    heartbeat_seconds = backend.settings.live_heartbeat_seconds
    routes = [
        *Live(backend.live_spans, backend.live_logs, heartbeat_seconds=heartbeat_seconds).routes(),
        *NativeTraces(backend).routes(),
        *NativeLogs(backend).routes(),
        *NativeMetrics(backend).routes(),
        *LlmApi(backend).routes(),
        *RetentionApi(backend).routes(),
        *DeletionApi(backend.kv).routes(),
        *Blobs(backend).routes(),
        *ColdApi(backend.cold).routes(),
        *DeadLetterApi(backend.letters, backend.appender).routes(),
    ]
    return Family([*Index(routes, otlp_port=backend.settings.otlp_http_addr.port).routes(), *routes], refuse=refuse_native)
