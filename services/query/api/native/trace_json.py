"""A trace as JSON, pure: its spans, and of its LLM calls what was said in log records and what they used together, each call once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.query.api.native.span_json import Json, attributes_json, rfc3339, span_json, value_json
from tael.model.log import LogRecord
from tael.model.span import Span
from tael.otlp.genai import EVENTS
from tael.otlp.llm_usage import usage_of

if TYPE_CHECKING:
    from services.query.questions.llm import Messages


def trace_json(spans: Sequence[Span], messages: Messages, most: int) -> dict[str, Json]:
    """``spans``, the first ``most`` of them, and ``llm`` where there are calls, of all spans."""
    if not any(span.llm for span in spans):
        return {"spans": [span_json(span) for span in spans[:most]]}
    usage, counted = usage_of(spans)
    told = [_told(span_json(span), messages.get(span.span_id, ()), counted=span.span_id in counted) for span in spans[:most]]
    llm: Json = {
        "calls": usage.calls,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_usd": usage.cost_usd,
    }
    return {"llm": llm, "spans": list(told)}


def _told(value: dict[str, Json], messages: Sequence[LogRecord], *, counted: bool) -> dict[str, Json]:
    llm = value.get("llm")
    if isinstance(llm, dict):
        llm["counted"] = counted
        llm["messages"] = [_message(record) for record in messages]
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
