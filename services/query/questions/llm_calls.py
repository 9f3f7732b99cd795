"""LLM calls one by one, and what was said in a session, in order and across traces."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.query.backend import Backend
from services.query.parameters import Parameters
from services.query.questions.cursor import decode_cursor
from services.query.questions.llm import Messages, by_span, messages_of
from services.query.questions.llm_usage import FILTERS
from services.query.questions.page import RANGE, Page, read_page
from services.query.questions.payloads import resolve_logs, resolve_spans
from services.query.questions.spans import page_of_spans
from tael.errors import NotFound
from tael.model.attributes import Attributes
from tael.model.log import LogRecord
from tael.model.predicate import Compare, Or, Predicate, all_of, intrinsic
from tael.model.search import find_spans
from tael.model.span import STATUS_NAMES, Span
from tael.otlp.conversation import Conversation, Message, said_in
from tael.otlp.llm_usage import Usage, usage_of
from tael.otlp.prices import PRICED_OPERATIONS
from tael.storage.api import SpanQuery
from tael.storage.merge import oldest_first

_OPERATIONS: Final = ("chat", "completion", "embedding", "tool", "agent", "workflow", "chain", "retriever", "other")
ANY: Final = "any"
MAX_SESSION_SPANS: Final = 2_000
"""Spans that name a session of which its traces are found; the newest."""
MAX_SESSION_TRACES: Final = 200


@contextlib.asynccontextmanager
async def find_calls(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Page[Span]]:
    """Spans of calls of a model (``operation`` says of what else, or ``any``), newest first, that match FILTERS, ``status``, ``min_cost_usd``
    and ``text``. Raises Rejected, and as the reader does.
    """
    page = read_page(
        pairs,
        (*FILTERS, "status", "min_cost_usd", "text"),
        decode_cursor,
        now_ns=time.time_ns(),
        max_limit=backend.settings.max_query_limit,
    )
    query = SpanQuery(page.time_range, _predicate(page.parameters), page.limit, page.after)
    async with backend.turns.turn("llm", tenant) as turn:
        yield await page_of_spans(backend, turn, tenant, query, page.digest)


def _predicate(parameters: Parameters) -> Predicate:
    operation = parameters.choice("operation", (*_OPERATIONS, ANY))
    kinds = (operation,) if operation else PRICED_OPERATIONS
    is_call = Compare(intrinsic("llm_operation"), "!=", "") if operation == ANY else _one_of("llm_operation", kinds)
    status = parameters.choice("status", STATUS_NAMES)
    words = {name: parameters.text(name) for name in ("provider", "session", "user", "agent", "tool") if parameters.text(name)}
    return all_of(
        (
            is_call,
            find_spans(
                service=parameters.text("service"),
                status_code=STATUS_NAMES.index(status) if status else None,
                model=parameters.text("model"),
                min_cost_usd=parameters.number("min_cost_usd"),
                text=parameters.text("text"),
                attributes=parameters.key_values("attribute"),
            ),
            *(Compare(intrinsic(f"llm_{FILTERS[name][0]}"), "=", text) for name, text in words.items()),
        )
    )


def _one_of(name: str, values: Sequence[str]) -> Predicate:
    return Or(tuple(Compare(intrinsic(name), "=", value) for value in values))


@dataclass(frozen=True, slots=True)
class Turned:
    """A message of a session, and the call that it was new in."""

    span: Span
    message: Message


@dataclass(frozen=True, slots=True)
class SessionTold:
    """A session: its traces in order of time, the conversation, and what was used. ``shortened`` says that older traces are not here,
    ``unresolved`` counts payloads whose references stand in their place.
    """

    traces: list[bytes]
    turns: list[Turned]
    usage: Usage
    shortened: bool
    unresolved: int
    missing: tuple[str, ...]


@contextlib.asynccontextmanager
async def get_session(backend: Backend, tenant: str, session: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[SessionTold]:
    """What was said in a session, each thing once. Raises NotFound, Rejected, and as the readers do."""
    time_range = Parameters(pairs, known=RANGE).time_range(now_ns=time.time_ns())
    async with backend.turns.turn("llm", tenant) as turn:
        named = SpanQuery(time_range, Compare(intrinsic("llm_session_id"), "=", session), MAX_SESSION_SPANS)
        answer = await turn.ask(backend.spans.find_spans(tenant, named))
        if not answer.value:
            raise NotFound(f"session {session!r} was not found")
        traces = list(dict.fromkeys(span.trace_id for span in answer.value))
        shown, missing = traces[:MAX_SESSION_TRACES][::-1], dict.fromkeys(answer.missing)
        turns, used, unresolved = list[Turned](), Usage(), 0
        conversation = Conversation()
        for trace_id in shown:
            whole = await turn.ask(backend.spans.get_trace(tenant, trace_id))
            messages = await messages_of(backend, turn, tenant, whole.value)
            missing |= dict.fromkeys((*whole.missing, *messages.missing))
            usage, counted = usage_of(whole.value)
            used = used + usage
            speaking = _speaking(whole.value, counted)
            told = await resolve_spans(backend, turn, tenant, speaking)
            records = [record for span in speaking for record in messages.value.get(span.span_id, ())]
            said = await resolve_logs(backend, turn, tenant, records)
            missing |= dict.fromkeys((*told.missing, *said.missing))
            unresolved += told.left + said.left
            turns += _turns(conversation, told.items, by_span(said.items))
        shortened = len(traces) > len(shown) or len(answer.value) == MAX_SESSION_SPANS
        yield SessionTold(shown, turns, used, shortened, unresolved, tuple(missing))


def _speaking(spans: Sequence[Span], counted: frozenset[bytes]) -> list[Span]:
    """The calls of a trace that say something, in order of time: those that count, or all where none has usage."""
    calls = sorted((span for span in spans if span.llm is not None and span.llm.operation in ("chat", "completion")), key=oldest_first)
    return [span for span in calls if span.span_id in counted] or calls


def _turns(conversation: Conversation, calls: Sequence[Span], messages: Messages) -> Iterator[Turned]:
    """What is new in each call."""
    for span in calls:
        events: list[tuple[str, Any, Attributes]] = [(event.name, None, event.attributes) for event in span.events]
        records = [_event(record) for record in messages.get(span.span_id, ())]
        for message in conversation.add(said_in(span.attributes, [*events, *records])):
            yield Turned(span, message)


def _event(record: LogRecord) -> tuple[str, Any, Attributes]:
    return record.event_name or str(record.attributes.get("event.name", "")), record.body, record.attributes
