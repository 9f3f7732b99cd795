"""Questions about spans: search, a trace by id, services."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from services.query.backend import Backend
from services.query.parameters import Parameters
from services.query.questions.cursor import decode_cursor, encode_cursor
from services.query.questions.filters import SPAN_FILTERS, read_span_filters
from services.query.questions.llm import Messages, messages_of
from services.query.questions.page import RANGE, Page, read_page
from services.query.turns import Turn
from tael.errors import NotFound, Unavailable
from tael.model.span import Span
from tael.model.time import TimeRange
from tael.storage.api import MAX_FIND_LIMIT, Answer, Cursor, ServiceStats, SpanQuery


class TraceUnknown(Unavailable):
    """No shard that answered has the trace, but one of ``missing`` may have it."""

    def __init__(self, trace_id: bytes, missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(f"trace {trace_id.hex()} was not found, but it may be on {', '.join(missing)}, which did not answer")


@contextlib.asynccontextmanager
async def find_spans(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Page[Span]]:
    """Spans that match every filter: ``SPAN_FILTERS``, ``attribute``, ``text``, a range, ``limit`` and ``cursor``.

    Raises Rejected, and as the reader does.
    """
    query, digest = read_span_query(pairs, now_ns=time.time_ns(), max_limit=backend.settings.max_query_limit)
    async with backend.turns.turn("traces", tenant) as turn:
        # One more than the page says whether there is another; at the reader's own limit a full page may be followed by an empty one.
        wanted = min(query.limit + 1, MAX_FIND_LIMIT)
        answer = await turn.ask(backend.spans.find_spans(tenant, replace(query, limit=wanted)))
        page, cursor = answer.value[: query.limit], None
        if len(answer.value) == wanted:
            last = page[-1]
            cursor = encode_cursor(Cursor(last.start_ns, last.trace_id, last.span_id), query.time_range, digest)
        yield Page(page, cursor, answer.missing)


@contextlib.asynccontextmanager
async def get_trace(
    backend: Backend, tenant: str, trace_id: bytes, time_range: TimeRange | None = None
) -> AsyncIterator[Answer[list[Span]]]:
    """Every span of a trace, by start; a time range is a hint where to look.

    Raises NotFound when every shard was asked, TraceUnknown when one is missing, and as the reader does.
    """
    async with backend.turns.turn("trace", tenant) as turn:
        yield await _ask_for_trace(backend, turn, tenant, trace_id, time_range)


@contextlib.asynccontextmanager
async def get_told_trace(backend: Backend, tenant: str, trace_id: bytes) -> AsyncIterator[tuple[Answer[list[Span]], Messages]]:
    """The same, and what was said in its LLM calls where that came as log records. The answer names shards of either that are missing."""
    async with backend.turns.turn("trace", tenant) as turn:
        answer = await _ask_for_trace(backend, turn, tenant, trace_id, None)
        messages = await messages_of(backend, turn, tenant, answer.value)
        yield Answer(answer.value, tuple(dict.fromkeys((*answer.missing, *messages.missing)))), messages.value


async def _ask_for_trace(backend: Backend, turn: Turn, tenant: str, trace_id: bytes, time_range: TimeRange | None) -> Answer[list[Span]]:
    answer = await turn.ask(backend.spans.get_trace(tenant, trace_id, time_range))
    if not answer.value:
        raise TraceUnknown(trace_id, answer.missing) if answer.missing else NotFound(f"trace {trace_id.hex()} was not found")
    return answer


@contextlib.asynccontextmanager
async def list_services(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Answer[list[ServiceStats]]]:
    """Counts, durations and errors of each service in a range. Raises Rejected, and as the reader does."""
    time_range = Parameters(pairs, known=RANGE).time_range(now_ns=time.time_ns())
    async with backend.turns.turn("services", tenant) as turn:
        yield await turn.ask(backend.spans.list_services(tenant, time_range))


def read_span_query(pairs: Sequence[tuple[str, str]], *, now_ns: int, max_limit: int) -> tuple[SpanQuery, bytes]:
    """The query that these parameters ask for, and the digest that its cursors carry. Raises Rejected. Pure."""
    page = read_page(pairs, (*SPAN_FILTERS, "text"), decode_cursor, now_ns=now_ns, max_limit=max_limit)
    return SpanQuery(page.time_range, read_span_filters(page.parameters), page.limit, page.after), page.digest
