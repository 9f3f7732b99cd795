"""The native API's reads of traces, under ``/api/v1``.

A list answers ``{"spans", "cursor", "partial"}``, with ``missing_shards`` where it is partial; ``cursor`` is null on the last page. A
trace that is not found is 404 only when every shard answered: with one missing it may exist, and the answer is 503.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from services.query.api.family import Route
from services.query.api.native.long_trace_json import JSON, long_trace_json
from services.query.api.native.partial import partial_json
from services.query.api.native.span_json import Json, span_json
from services.query.api.native.trace_json import trace_json
from services.query.api.stream import stream
from services.query.api.tenant import tenant_of
from services.query.backend import Backend
from services.query.parameters import Parameters, parse_trace_id
from services.query.questions import spans
from services.query.questions.long_traces import open_long_trace
from services.query.questions.payloads import INLINE, PAYLOADS, REFERENCE
from tael.runtime.http import json_response
from tael.storage.api import ServiceStats, TraceTooLong

_INLINE_SPANS = 200


class NativeTraces:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """Every route."""
        return [
            Route("GET", "/api/v1/traces", self.find),
            Route("GET", "/api/v1/traces/{trace_id}", self.get),
            Route("GET", "/api/v1/services", self.services),
        ]

    async def find(self, request: web.Request) -> web.Response:
        """``GET /api/v1/traces``: spans that match every filter, newest first."""
        async with spans.find_spans(self._backend, tenant_of(request), list(request.query.items())) as page:
            head = {"cursor": page.cursor, **partial_json(page.missing, page.unresolved)}
            return await _answered(lambda: {**head, "spans": [span_json(span) for span in page.items]}, len(page.items))

    async def get(self, request: web.Request) -> web.StreamResponse:
        """``GET /api/v1/traces/{trace_id}``: every span, by start, with the messages and usage of its LLM calls."""
        wanted = Parameters(request.query.items(), known=(PAYLOADS,)).choice(PAYLOADS, (INLINE, REFERENCE))
        trace_id, inline = parse_trace_id(request.match_info["trace_id"]), wanted != REFERENCE
        try:
            async with spans.get_trace_with_messages(self._backend, tenant_of(request), trace_id, inline=inline) as found:
                head = {"trace_id": trace_id.hex(), "span_count": len(found.spans), **partial_json(found.missing, found.unresolved)}
                return await _answered(lambda: {**head, **trace_json(found.spans, found.messages)}, len(found.spans))
        except TraceTooLong:
            trace = await open_long_trace(self._backend, tenant_of(request), trace_id)
            return await stream(request, long_trace_json(trace, inline=inline), JSON)

    async def services(self, request: web.Request) -> web.Response:
        """``GET /api/v1/services``: counts, mean duration and error rate of each service in the range."""
        async with spans.list_services(self._backend, tenant_of(request), list(request.query.items())) as answer:
            return json_response({"services": [_service_json(stats) for stats in answer.value], **partial_json(answer.missing)})


def _service_json(stats: ServiceStats) -> dict[str, Json]:
    count = max(1, stats.span_count)
    return {
        "name": stats.name,
        "span_count": stats.span_count,
        "trace_count": stats.trace_count,
        "error_count": stats.error_count,
        "error_rate": stats.error_count / count,
        "avg_duration_ms": stats.duration_sum_ns / count / 1e6,
    }


async def _answered(body: Callable[[], Mapping[str, Any]], spans: int) -> web.Response:
    """The JSON of ``body``; for many spans it is made in a thread, so that other requests continue."""

    def render() -> web.Response:
        return json_response(body())

    return render() if spans <= _INLINE_SPANS else await asyncio.to_thread(render)
