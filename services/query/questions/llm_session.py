"""The conversation of a session, in order and across traces: the newest part of it, within the limits of one answer."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.query.backend import Backend
from services.query.parameters import Parameters
from services.query.questions.llm import Messages, by_span, messages_of
from services.query.questions.long_traces import bytes_of
from services.query.questions.page import RANGE
from services.query.questions.payloads import resolve_logs, resolve_spans
from services.query.turns import Turn
from tael.errors import NotFound
from tael.model.attributes import Attributes
from tael.model.log import LogRecord
from tael.model.predicate import Compare, Or, all_of, intrinsic
from tael.model.span import Span
from tael.model.time import TimeRange
from tael.otlp.conversation import Conversation, Message, call_messages
from tael.otlp.llm_usage import Usage, usage_of
from tael.storage.api import Answer, Cursor, SpanQuery, TraceTooLong
from tael.storage.merge import oldest_first

MAX_NAMED: Final = 2_000
"""How many spans that name a session are read to find its traces, the newest ones."""
MAX_TRACES: Final = 200
MAX_CALLS: Final = 2_000
MAX_BYTES: Final = 32 << 20
"""The limit of text in the calls of one answer; older calls are left out."""
MAX_WHOLE_SPANS: Final = 500
"""The most spans of a trace that is read as a whole; of a longer one only the calls are read."""
_PAGE: Final = 100
_WITH_TEXT: Final = ("chat", "completion")


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message of a session, and the call in which it first appears."""

    span: Span
    message: Message


@dataclass(frozen=True, slots=True)
class Session:
    """A session: its traces in order of time, the conversation, and the usage. Calls before ``older_ns`` are left out.

    ``unresolved`` counts references to payloads that were not resolved.
    """

    traces: list[bytes]
    messages: list[NewMessage]
    usage: Usage
    older_ns: int | None
    unresolved: int
    missing: tuple[str, ...]


@dataclass(slots=True)
class _Trace:
    """A session's part of a trace: its calls, oldest first, and their messages that came as log records. ``cut``: it has older calls."""

    trace_id: bytes
    calls: Sequence[Span]
    messages: Messages
    usage: Usage
    cut: bool


@dataclass(slots=True)
class _Reading:
    """A session that is being read, and how much more of it the answer may have."""

    backend: Backend
    turn: Turn
    tenant: str
    end_ns: int
    calls_left: int
    bytes_left: int
    payload_bytes_left: int
    unresolved: int = 0
    missing: dict[str, None] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Whether the answer has reached a limit."""
        return self.calls_left <= 0 or self.bytes_left <= 0

    def note_missing(self, missing: Iterable[str]) -> None:
        """Remember the shards that did not answer."""
        self.missing |= dict.fromkeys(missing)


@contextlib.asynccontextmanager
async def get_session(backend: Backend, tenant: str, session: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Session]:
    """The conversation of a session before the end of a range, each message once; of a long session the newest part.

    Raises NotFound, Rejected, and what the readers raise.
    """
    time_range = Parameters(pairs, known=RANGE).time_range(now_ns=time.time_ns())
    async with backend.turns.turn("llm", tenant) as turn:
        payload_bytes = int(backend.settings.max_inline_payload_bytes)
        reading = _Reading(backend, turn, tenant, time_range.end_ns, MAX_CALLS, MAX_BYTES, payload_bytes)
        traces, more = await _traces_of(reading, session, time_range)
        if not traces:
            raise NotFound(f"session {session!r} was not found")
        # A trace that was cut ends the reading: with older traces before it, the conversation would have a gap.
        read: list[_Trace] = []
        while len(read) < len(traces) and not reading.full and not (read and read[-1].cut):
            read.append(await _read(reading, traces[len(read)]))
        shortened = more or len(read) < len(traces) or read[-1].cut
        messages, conversation, usage = list[NewMessage](), Conversation(), Usage()
        for one in reversed(read):
            messages += _new_messages(conversation, one.calls, one.messages)
            usage = usage + one.usage
        shown = [one.trace_id for one in reversed(read)]
        yield Session(shown, messages, usage, _oldest(read, time_range) if shortened else None, reading.unresolved, tuple(reading.missing))


def _oldest(read: Sequence[_Trace], time_range: TimeRange) -> int:
    return min((span.start_ns for one in read for span in one.calls), default=time_range.start_ns)


async def _traces_of(reading: _Reading, session: str, time_range: TimeRange) -> tuple[list[bytes], bool]:
    """The traces that name a session, newest first, and whether there may be more."""
    traces: dict[bytes, None] = {}
    named, after = 0, None
    while named < MAX_NAMED and len(traces) <= MAX_TRACES:
        query = SpanQuery(time_range, Compare(intrinsic("llm_session_id"), "=", session), _PAGE, after)
        answer = await reading.turn.ask(reading.backend.spans.find_spans(reading.tenant, query))
        reading.note_missing(answer.missing)
        traces |= dict.fromkeys(span.trace_id for span in answer.value)
        if len(answer.value) < _PAGE:
            return list(traces)[:MAX_TRACES], len(traces) > MAX_TRACES
        named, after = named + len(answer.value), _behind(answer.value[-1])
    return list(traces)[:MAX_TRACES], True


def _behind(span: Span) -> Cursor:
    return Cursor(span.start_ns, span.trace_id, span.span_id)


async def _read(reading: _Reading, trace_id: bytes) -> _Trace:
    backend, turn, tenant = reading.backend, reading.turn, reading.tenant
    try:
        around, whole = await turn.ask(backend.spans.get_trace(tenant, trace_id, None, MAX_WHOLE_SPANS)), True
    except TraceTooLong:
        around, whole = await turn.ask(backend.long_traces.calls(tenant, trace_id)), False
    reading.note_missing(around.missing)
    usage, counted = usage_of(around.value)
    known = _calls_with_text(around.value, counted, reading.end_ns)
    # At least 1 here, because nothing is read once the answer is full: [-0:] would be all calls.
    wanted = known[-reading.calls_left :]
    found = Answer(wanted) if whole else await _texts_of(reading, trace_id, wanted)
    reading.note_missing(found.missing)
    calls, messages = await _resolved(reading, found.value)
    return _Trace(trace_id, calls, messages, usage, len(calls) < len(known))


async def _texts_of(reading: _Reading, trace_id: bytes, wanted: Sequence[Span]) -> Answer[list[Span]]:
    """The full spans of these calls, oldest first: the newest ones that fit into the answer."""
    ids = {span.span_id for span in wanted}
    if not ids:
        return Answer([])
    with_text = Or(tuple(Compare(intrinsic("llm_operation"), "=", kind) for kind in _WITH_TEXT))
    predicate = all_of((Compare(intrinsic("trace_id"), "=", trace_id), with_text))
    time_range = TimeRange(wanted[0].start_ns, wanted[-1].start_ns + 1)
    found: list[Span] = []
    size, after, missing = 0, None, dict[str, None]()
    while size < reading.bytes_left:
        query = SpanQuery(time_range, predicate, _PAGE, after)
        answer = await reading.turn.ask(reading.backend.spans.find_spans(reading.tenant, query))
        missing |= dict.fromkeys(answer.missing)
        page = [span for span in answer.value if span.span_id in ids]
        size, found = size + sum(map(bytes_of, page)), found + page
        if len(answer.value) < _PAGE:
            break
        after = _behind(answer.value[-1])
    return Answer(found[::-1], tuple(missing))


async def _resolved(reading: _Reading, calls: Sequence[Span]) -> tuple[Sequence[Span], Messages]:
    """The newest of these calls that fit into the answer, with payloads resolved, and their messages."""
    backend, turn, tenant = reading.backend, reading.turn, reading.tenant
    kept: list[Span] = []
    for span in reversed(calls):
        if reading.full:
            break
        kept.append(span)
        reading.calls_left -= 1
        reading.bytes_left -= bytes_of(span)
    messages = await messages_of(backend, turn, tenant, kept)
    spans = await resolve_spans(backend, turn, tenant, kept[::-1], reading.payload_bytes_left)
    records = [record for span in spans.items for record in messages.value.get(span.span_id, ())]
    logs = await resolve_logs(backend, turn, tenant, records, reading.payload_bytes_left - spans.taken_bytes)
    reading.payload_bytes_left -= spans.taken_bytes + logs.taken_bytes
    reading.unresolved += spans.left + logs.left
    reading.note_missing((*messages.missing, *spans.missing, *logs.missing))
    return spans.items, by_span(logs.items)


def _calls_with_text(spans: Sequence[Span], counted: frozenset[bytes], end_ns: int) -> list[Span]:
    """The calls of a trace that have messages, in order of time: those that count, or all where none reports usage."""
    calls = sorted((span for span in spans if span.llm is not None and span.llm.operation in _WITH_TEXT), key=oldest_first)
    counting = [span for span in calls if span.span_id in counted] or calls
    return [span for span in counting if span.start_ns < end_ns]


def _new_messages(conversation: Conversation, calls: Sequence[Span], messages: Messages) -> Iterator[NewMessage]:
    """The messages that are new in each call: each call repeats the conversation so far."""
    for span in calls:
        events: list[tuple[str, Any, Attributes]] = [(event.name, None, event.attributes) for event in span.events]
        records = [_event(record) for record in messages.get(span.span_id, ())]
        for message in conversation.add(call_messages(span.attributes, [*events, *records])):
            yield NewMessage(span, message)


def _event(record: LogRecord) -> tuple[str, Any, Attributes]:
    return record.event_name or str(record.attributes.get("event.name", "")), record.body, record.attributes
