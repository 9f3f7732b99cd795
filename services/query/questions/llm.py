"""The messages of a trace's LLM calls that came as log records, found by trace and span id."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from services.query.backend import Backend
from services.query.turns import Turn
from tael.errors import Retryable
from tael.model.log import LogRecord
from tael.model.predicate import Compare, Field, Or, all_of, intrinsic
from tael.model.span import Span
from tael.model.time import TimeRange
from tael.otlp.genai import EVENTS
from tael.storage.api import Answer, LogQuery

Messages: TypeAlias = "Mapping[bytes, list[LogRecord]]"
"""Messages by the id of their span, in order of time."""
MAX_MESSAGES = 2_000
"""The most messages of one trace that are read, the earliest ones."""
# A call's record may have a timestamp of another clock, or of when it was written, after the span had ended.
_LEEWAY_NS = 3_600 * 10**9
_IS_MESSAGE = Or(
    tuple(Compare(field, "=", name) for field in (intrinsic("event_name"), Field("attribute", "event.name")) for name in EVENTS)
)


async def messages_of(backend: Backend, turn: Turn, tenant: str, spans: Sequence[Span]) -> Answer[Messages]:
    """The messages of a trace's LLM calls; nothing is read where there is no call.

    Shards that did not answer are named; a trace does not fail because its messages cannot be read.
    """
    calls = [span for span in spans if span.llm is not None]
    if not calls:
        return Answer({})
    predicate = all_of((Compare(intrinsic("trace_id"), "=", calls[0].trace_id), _IS_MESSAGE))
    time_range = TimeRange(
        min(span.start_ns for span in calls) - _LEEWAY_NS, max(max(span.start_ns, span.end_ns) for span in calls) + _LEEWAY_NS
    )
    try:
        answer = await turn.ask(backend.logs.find_logs(tenant, LogQuery(time_range, predicate, MAX_MESSAGES, oldest_first=True)))
    except Retryable:
        return Answer({}, ("logs",))
    return Answer(by_span(answer.value), answer.missing)


def by_span(records: Iterable[LogRecord]) -> Messages:
    """Records in order of time, by the id of their span."""
    found: dict[bytes, list[LogRecord]] = {}
    for record in records:
        found.setdefault(record.span_id, []).append(record)
    return found
