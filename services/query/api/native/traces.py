"""The native API's reads of traces, under ``/api/v1``.

A list answers ``{"spans", "cursor", "partial"}``, with ``missing_shards`` where it is partial; ``cursor`` is null on the last page. A
trace that is not found is 404 only when every shard was asked: with one missing it may well exist, and the answer is 503.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import web

from services.query.api.family import Route
from services.query.api.native.filters import SPAN_FILTERS, read_span_filters
from services.query.api.native.span_json import Json, span_json
from services.query.api.tenant import tenant_of
from services.query.cursor import decode_cursor, encode_cursor, query_digest
from services.query.parameters import Parameters, parse_trace_id
from services.query.turns import Turns
from tael.errors import NotFound
from tael.model.span import Span
from tael.runtime.http import json_response
from tael.storage.api import MAX_FIND_LIMIT, Cursor, ServiceStats, SpanQuery, SpanReader

_RANGE = ("last", "start", "end")
_DEFAULT_LIMIT = 100
_INLINE_SPANS = 200
RETRY_AFTER_SECONDS = 1


class NativeTraces:
    """The handlers, over one reader."""

    def __init__(self, spans: SpanReader, turns: Turns, *, max_limit: int, max_trace_spans: int) -> None:
        self._spans = spans
        self._turns = turns
        self._max_limit = max_limit
        self._max_trace_spans = max_trace_spans

    def routes(self) -> list[Route]:
        """Every route."""
        return [
            Route("GET", "/api/v1/traces", self.find),
            Route("GET", "/api/v1/traces/{trace_id}", self.get),
            Route("GET", "/api/v1/services", self.services),
        ]

    async def find(self, request: web.Request) -> web.Response:
        """``GET /api/v1/traces``: spans that match every filter, newest first."""
        query, digest = read_span_query(list(request.query.items()), now_ns=time.time_ns(), max_limit=self._max_limit)
        async with self._turns.turn("traces", tenant_of(request)) as turn:
            # One more than the page says whether there is another; at the reader's own limit a full page may be followed by an empty one.
            wanted = min(query.limit + 1, MAX_FIND_LIMIT)
            answer = await turn.ask(self._spans.find_spans(tenant_of(request), replace(query, limit=wanted)))
            page = answer.value[: query.limit]
            cursor = None
            if len(answer.value) == wanted:
                last = page[-1]
                cursor = encode_cursor(Cursor(last.start_ns, last.trace_id, last.span_id), query.time_range, digest)
            return await _json({"cursor": cursor, **partial_json(answer.missing)}, spans=page)

    async def get(self, request: web.Request) -> web.Response:
        """``GET /api/v1/traces/{trace_id}``: every span, by start."""
        Parameters(request.query.items(), known=())
        trace_id = parse_trace_id(request.match_info["trace_id"])
        async with self._turns.turn("trace", tenant_of(request)) as turn:
            answer = await turn.ask(self._spans.get_trace(tenant_of(request), trace_id))
            if not answer.value:
                if answer.missing:
                    body = {"error": not_found_text(trace_id, answer.missing), **partial_json(answer.missing)}
                    return json_response(body, status=503, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
                raise NotFound(f"trace {trace_id.hex()} was not found")
            head = {"trace_id": trace_id.hex(), "span_count": len(answer.value), **partial_json(answer.missing)}
            if len(answer.value) > self._max_trace_spans:
                head["truncated"] = f"only the first {self._max_trace_spans} spans are here (TAEL_MAX_TRACE_SPANS)"
            return await _json(head, spans=answer.value[: self._max_trace_spans])

    async def services(self, request: web.Request) -> web.Response:
        """``GET /api/v1/services``: counts, mean duration and error rate of each service in the range."""
        time_range = Parameters(request.query.items(), known=_RANGE).time_range(now_ns=time.time_ns())
        async with self._turns.turn("services", tenant_of(request)) as turn:
            answer = await turn.ask(self._spans.list_services(tenant_of(request), time_range))
        return json_response({"services": [_service_json(stats) for stats in answer.value], **partial_json(answer.missing)})


def read_span_query(pairs: Sequence[tuple[str, str]], *, now_ns: int, max_limit: int) -> tuple[SpanQuery, bytes]:
    """The query that these parameters ask for, and the digest that its cursors carry. Raises Rejected. Pure."""
    parameters = Parameters(pairs, known=(*SPAN_FILTERS, "text", *_RANGE, "limit", "cursor"), repeatable=("attribute",))
    limit = parameters.whole("limit", default=_DEFAULT_LIMIT, low=1, high=max_limit, high_from="TAEL_MAX_QUERY_LIMIT")
    predicate = read_span_filters(parameters)
    time_range = parameters.time_range(now_ns=now_ns)
    digest = query_digest([(name, value) for name, value in pairs if value and name not in ("limit", "cursor")])
    after = None
    if parameters.text("cursor"):
        after, time_range = decode_cursor(parameters.text("cursor"), digest)
    return SpanQuery(time_range, predicate, limit, after), digest


def partial_json(missing: Sequence[str]) -> dict[str, Any]:
    """``partial``, and the names behind it."""
    return {"partial": True, "missing_shards": list(missing)} if missing else {"partial": False}


def not_found_text(trace_id: bytes, missing: Sequence[str]) -> str:
    """Why an empty answer is not yet a 404."""
    return f"trace {trace_id.hex()} was not found, but it may be on {', '.join(missing)}, which did not answer"


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


async def _json(head: Mapping[str, Any], *, spans: Sequence[Span]) -> web.Response:
    """``head`` with the spans; a long list is rendered in a thread, so that other requests go on."""

    def render() -> web.Response:
        return json_response({**head, "spans": [span_json(span) for span in spans]})

    return render() if len(spans) <= _INLINE_SPANS else await asyncio.to_thread(render)
