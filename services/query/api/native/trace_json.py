"""A trace as JSON, pure: its spans, the messages of its LLM calls that came as log records, and the calls' total usage."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from services.query.api.native.span_json import Json, attributes_json, rfc3339, span_json, value_json
from tael.model.log import LogRecord
from tael.model.span import Span
from tael.otlp.genai import EVENTS
from tael.otlp.llm_usage import Usage, usage_of

if TYPE_CHECKING:
    from services.query.questions.llm import Messages


def llm_json(usage: Usage) -> Json:
    """The total usage of a trace's calls."""
    return {
        "calls": usage.calls,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": usage.cost_usd,
    }


def trace_json(spans: Sequence[Span], messages: Messages) -> dict[str, Json]:
    """``spans``, and ``llm`` where there are LLM calls."""
    if not any(span.llm for span in spans):
        return {"spans": [span_json(span) for span in spans]}
    usage, counted = usage_of(spans)
    return {"llm": llm_json(usage), "spans": [span_with_messages_json(span, messages, counted) for span in spans]}


def span_with_messages_json(span: Span, messages: Messages, counted: Collection[bytes]) -> dict[str, Json]:
    """A span; for an LLM call also its messages, and whether its usage counts."""
    value = span_json(span)
    llm = value.get("llm")
    if isinstance(llm, dict):
        llm["counted"] = span.span_id in counted
        llm["messages"] = [_message(record) for record in messages.get(span.span_id, ())]
    return value


def _message(record: LogRecord) -> Json:
    event = record.event_name or str(record.attributes.get("event.name", ""))
    return {
        "event": event,
        "role": EVENTS.get(event) or None,
        "timestamp": rfc3339(record.timestamp_ns),
        "body": value_json(record.body),
        "attributes": attributes_json(record.attributes),
    }
