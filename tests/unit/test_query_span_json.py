"""A span as JSON, with every field."""

from __future__ import annotations

import pytest

from services.query.api.native.span_json import Json, rfc3339, span_json, value_json
from tael.model.attributes import AttributeValue
from tael.model.span import Event, Link, LlmCall, Resource, Scope, Span

SPAN = Span(
    trace_id=b"\x01" * 16,
    span_id=b"\x02" * 8,
    parent_span_id=b"",
    name="chat",
    kind=3,
    start_ns=1_790_000_000_000_000_001,
    end_ns=1_790_000_000_001_500_001,
    resource=Resource({"service.name": "agent"}, 1, "https://r"),
    scope=Scope("lib", "1.0", {"a": 1}, 2, "https://s"),
    trace_state="a=1",
    flags=0x301,
    attributes={"k": [1, None]},
    dropped_attributes_count=3,
    events=(Event(1, "e", {"x": True}, 4),),
    dropped_events_count=5,
    links=(Link(b"\x03" * 16, b"\x04" * 8, "b=2", {"y": "z"}, 6, 7),),
    dropped_links_count=8,
    status_code=2,
    status_message="went wrong",
    llm=LlmCall("openai", "m-1", "chat", 10, 5, 15, 0.25, float("nan"), "stop", None),
)


def test_every_field_is_there() -> None:
    """In the documented form; an LLM call has kind llm and keeps its OTLP kind as well."""
    assert span_json(SPAN) == {
        "trace_id": "01" * 16,
        "span_id": "02" * 8,
        "parent_span_id": None,
        "service": "agent",
        "operation": "chat",
        "start_time": "2026-09-21T14:13:20.000000001Z",
        "end_time": "2026-09-21T14:13:20.001500001Z",
        "duration_ms": 1.5,
        "status": "error",
        "status_message": "went wrong",
        "kind": "llm",
        "span_kind": "client",
        "attributes": {"k": [1, None]},
        "dropped_attributes_count": 3,
        "events": [{"name": "e", "timestamp": "1970-01-01T00:00:00.000000001Z", "attributes": {"x": True}, "dropped_attributes_count": 4}],
        "dropped_events_count": 5,
        "links": [
            {
                "trace_id": "03" * 16,
                "span_id": "04" * 8,
                "trace_state": "b=2",
                "flags": 7,
                "attributes": {"y": "z"},
                "dropped_attributes_count": 6,
            }
        ],
        "dropped_links_count": 8,
        "trace_state": "a=1",
        "flags": 0x301,
        "resource": {"attributes": {"service.name": "agent"}, "dropped_attributes_count": 1, "schema_url": "https://r"},
        "scope": {"name": "lib", "version": "1.0", "attributes": {"a": 1}, "dropped_attributes_count": 2, "schema_url": "https://s"},
        "llm": {
            "provider": "openai",
            "model": "m-1",
            "response_model": None,
            "operation": "chat",
            "input_tokens": 10,
            "output_tokens": 5,
            "total_tokens": 15,
            "cache_read_tokens": None,
            "cache_write_tokens": None,
            "reasoning_tokens": None,
            "cost_usd": 0.25,
            "reported_cost_usd": 0.25,
            "computed_cost_usd": None,
            "ttft_ms": None,
            "finish_reason": "stop",
            "temperature": None,
            "session_id": None,
            "user_id": None,
            "agent_name": None,
            "tool_name": None,
        },
    }


def test_numbers_without_a_name_are_kept() -> None:
    """OTLP's enums are open."""
    bare = Span(b"\x01" * 16, b"\x02" * 8, b"\x03" * 8, "x", 99, 0, 0, Resource(), Scope(), status_code=7)
    shown = span_json(bare)
    assert (shown["kind"], shown["status"], shown["parent_span_id"], shown["service"]) == ("99", "7", "03" * 8, "unknown_service")
    assert "llm" not in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"$bytes": "AA=="}, {"$map": {"$bytes": "AA=="}}),
        ({"$map": {}}, {"$map": {"$map": {}}}),
        ({"$a": 1, "b": 2}, {"$a": 1, "b": 2}),
        ({"a": b""}, {"a": {"$bytes": ""}}),
        (float("inf"), {"$double": "Infinity"}),
        ({}, {}),
    ],
)
def test_a_map_is_distinct_from_values_that_json_lacks(value: AttributeValue, shown: Json) -> None:
    assert value_json(value) == shown


def test_the_latest_instant_of_64_bits() -> None:
    assert rfc3339((1 << 64) - 1) == "2554-07-21T23:34:33.709551615Z"
