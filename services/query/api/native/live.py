"""The native API's live streams, under ``/api/v1``: server-sent events of the items that are appended to the WAL.

Each ``data:`` is a JSON array of spans or log records in the form of the native API. ``event: dropped`` says how many items a slow client
may have missed, ``event: end`` that the server ends the stream; a comment every few seconds keeps it open. docs/formats.md shows the
frames.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import TypeVar

from aiohttp import web

from services.query.api.family import Route
from services.query.api.live import events
from services.query.api.native import sse
from services.query.api.native.log_json import log_json
from services.query.api.native.span_json import span_json
from services.query.api.tenant import tenant_of
from services.query.live.feed import LiveFeed
from services.query.live.logs import LiveRecord
from services.query.live.spans import LiveSpan
from services.query.parameters import Parameters
from services.query.questions.filters import LOG_FILTERS, SPAN_FILTERS, read_log_filters, read_span_filters
from tael.model.json_text import to_bytes
from tael.model.log import LogRecord
from tael.model.span import Span
from tael.otlp.matches import Test, log_test, span_test

T = TypeVar("T", LiveSpan, LiveRecord)
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class Live:
    """The handlers, over one feed for each signal."""

    def __init__(self, spans: LiveFeed[LiveSpan], logs: LiveFeed[LiveRecord], *, heartbeat_seconds: float) -> None:
        self._spans = spans
        self._logs = logs
        self._heartbeat_seconds = heartbeat_seconds

    def routes(self) -> list[Route]:
        """Every route. They must be registered before those with an id in the path, which would match ``live``."""
        return [Route("GET", "/api/v1/traces/live", self.spans), Route("GET", "/api/v1/logs/live", self.logs)]

    async def spans(self, request: web.Request) -> web.StreamResponse:
        """``GET /api/v1/traces/live``: spans that match every filter, as they arrive."""
        return await self._stream(request, self._spans, _span_filter(request.query.items()), sse.Events(_span))

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """``GET /api/v1/logs/live``: log records that match every filter, as they arrive."""
        return await self._stream(request, self._logs, _log_filter(request.query.items()), sse.Events(_record))

    async def _stream(
        self, request: web.Request, feed: LiveFeed[T], matches: Callable[[T], bool], framing: sse.Events[T]
    ) -> web.StreamResponse:
        async with feed.watch(tenant_of(request), matches, framing) as watcher:
            response = web.StreamResponse(headers=_HEADERS)
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):  # the client is gone; most streams end like this
                await response.write(sse.PREAMBLE)
                async for event in events(request, watcher, self._heartbeat_seconds):
                    await response.write(event)
        return response


def _span(item: LiveSpan) -> bytes:
    return item.rendered(_span_bytes)


def _record(item: LiveRecord) -> bytes:
    return item.rendered(_record_bytes)


def _span_bytes(span: Span) -> bytes:
    return to_bytes(span_json(span))


def _record_bytes(record: LogRecord) -> bytes:
    return to_bytes(log_json(record))


def _span_filter(pairs: Iterable[tuple[str, str]]) -> Test:
    return span_test(read_span_filters(Parameters(pairs, known=(*SPAN_FILTERS, "trace_id"), repeatable=("attribute",))))


def _log_filter(pairs: Iterable[tuple[str, str]]) -> Test:
    return log_test(read_log_filters(Parameters(pairs, known=LOG_FILTERS, repeatable=("attribute",))))
