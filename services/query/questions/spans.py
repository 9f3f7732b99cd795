"""Queries of spans: search, a trace by id, services."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.query.backend import Backend
from services.query.parameters import Parameters
from services.query.questions.cursor import decode_cursor, encode_cursor
from services.query.questions.filters import SPAN_FILTERS, read_span_filters
from services.query.questions.llm import Messages, by_span, messages_of
from services.query.questions.page import RANGE, Page, read_page
from services.query.questions.payloads import INLINE, PAYLOADS, REFERENCE, resolve_logs, resolve_spans
from services.query.turns import Turn
from tael.errors import NotFound, Unavailable
from tael.model.span import Span
from tael.model.time import TimeRange
from tael.storage.api import MAX_FIND_LIMIT, Answer, Cursor, ServiceStats, SpanQuery

WHOLE_SPANS: Final = 2_000
"""The most spans of a trace that is read as a whole; longer ones are read in blocks (``long_traces``)."""


class TraceUnknown(Unavailable):
    """No shard that answered has the trace, but one of ``missing`` may have it."""

    def __init__(self, trace_id: bytes, missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        super().__init__(f"trace {trace_id.hex()} was not found, but it may be on {', '.join(missing)}, which did not answer")


@dataclass(frozen=True, slots=True)
class TraceWithMessages:
    """The spans of a trace and its messages; ``unresolved`` as in Page."""

    spans: Sequence[Span]
    messages: Messages
    missing: tuple[str, ...]
    unresolved: int = 0


@contextlib.asynccontextmanager
async def find_spans(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Page[Span]]:
    """Spans that match every filter: ``SPAN_FILTERS``, ``attribute``, ``text``, a range, ``limit`` and ``cursor``.

    Payloads are resolved where ``payloads`` is ``inline``. Raises Rejected, and what the reader raises.
    """
    query, digest = read_span_query(pairs, now_ns=time.time_ns(), max_limit=backend.settings.max_query_limit)
    async with backend.turns.turn("traces", tenant) as turn:
        page = await page_of_spans(backend, turn, tenant, query, digest)
        if dict(pairs).get(PAYLOADS) != INLINE:
            yield page
            return
        found = await resolve_spans(backend, turn, tenant, page.items)
        yield Page(found.items, page.cursor, _all_missing(page.missing, found.missing), found.left)


async def page_of_spans(backend: Backend, turn: Turn, tenant: str, query: SpanQuery, digest: bytes) -> Page[Span]:
    """The page of a query; its cursor has the digest of the filters. Raises what the reader raises."""
    # One more item than the page has tells whether there is another page; at the reader's own limit a full page may be followed by an empty
    # one.
    wanted = min(query.limit + 1, MAX_FIND_LIMIT)
    answer = await turn.ask(backend.spans.find_spans(tenant, replace(query, limit=wanted)))
    page, cursor = answer.value[: query.limit], None
    if len(answer.value) == wanted:
        last = page[-1]
        cursor = encode_cursor(Cursor(last.start_ns, last.trace_id, last.span_id), query.time_range, digest)
    return Page(page, cursor, answer.missing)


@contextlib.asynccontextmanager
async def get_trace(
    backend: Backend, tenant: str, trace_id: bytes, time_range: TimeRange | None = None
) -> AsyncIterator[Answer[list[Span]]]:
    """Every span of a trace, by start, with payloads resolved; a time range is a hint where to look.

    Raises TraceTooLong for more than ``WHOLE_SPANS`` spans (see long_traces.py), NotFound when every shard answered, TraceUnknown when one
    is missing, and what the reader raises.
    """
    async with backend.turns.turn("trace", tenant) as turn:
        answer = await _ask_for_trace(backend, turn, tenant, trace_id, time_range)
        found = await resolve_spans(backend, turn, tenant, answer.value)
        yield Answer(list(found.items), _all_missing(answer.missing, found.missing))


@contextlib.asynccontextmanager
async def get_trace_with_messages(backend: Backend, tenant: str, trace_id: bytes, *, inline: bool) -> AsyncIterator[TraceWithMessages]:
    """Every span of a trace, and the messages of its LLM calls that came as log records; payloads are resolved where ``inline``.

    The answer names the shards missing from any of these reads. Raises as ``get_trace`` does.
    """
    async with backend.turns.turn("trace", tenant) as turn:
        answer = await _ask_for_trace(backend, turn, tenant, trace_id, None)
        messages = await messages_of(backend, turn, tenant, answer.value)
        missing = _all_missing(answer.missing, messages.missing)
        if not inline:
            yield TraceWithMessages(answer.value, messages.value, missing)
            return
        found = await resolve_spans(backend, turn, tenant, answer.value)
        originals = [record for records in messages.value.values() for record in records]
        records = await resolve_logs(backend, turn, tenant, originals)
        missing = _all_missing(missing, found.missing, records.missing)
        yield TraceWithMessages(found.items, by_span(records.items), missing, found.left + records.left)


def _all_missing(*missing: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in missing for name in names))


async def _ask_for_trace(backend: Backend, turn: Turn, tenant: str, trace_id: bytes, time_range: TimeRange | None) -> Answer[list[Span]]:
    most = min(WHOLE_SPANS, backend.settings.max_trace_spans)
    answer = await turn.ask(backend.spans.get_trace(tenant, trace_id, time_range, most))
    if not answer.value:
        raise TraceUnknown(trace_id, answer.missing) if answer.missing else NotFound(f"trace {trace_id.hex()} was not found")
    return answer


@contextlib.asynccontextmanager
async def list_services(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Answer[list[ServiceStats]]]:
    """Counts, durations and errors of each service in a range. Raises Rejected, and what the reader raises."""
    time_range = Parameters(pairs, known=RANGE).time_range(now_ns=time.time_ns())
    async with backend.turns.turn("services", tenant) as turn:
        yield await turn.ask(backend.spans.list_services(tenant, time_range))


def read_span_query(pairs: Sequence[tuple[str, str]], *, now_ns: int, max_limit: int) -> tuple[SpanQuery, bytes]:
    """The query of these parameters, and the digest for its cursors. Raises Rejected. Pure."""
    page = read_page(pairs, (*SPAN_FILTERS, "text", PAYLOADS), decode_cursor, now_ns=now_ns, max_limit=max_limit)
    page.parameters.choice(PAYLOADS, (INLINE, REFERENCE))
    return SpanQuery(page.time_range, read_span_filters(page.parameters), page.limit, page.after), page.digest
