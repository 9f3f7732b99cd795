"""A span as JSON, pure and without loss.

Ids are hex, instants RFC 3339 with nine digits and ``Z``, durations milliseconds. Attribute values are JSON's own types: an integer is
written in full, even beyond 2^53 (a reader that only has doubles loses its last digits), a double always with a point or an exponent
(``5.0``), an unset value is null. JSON has no bytes, NaN or infinities, so these are objects with one key: ``{"$bytes": base64}`` and
``{"$double": "NaN" | "Infinity" | "-Infinity"}``; a map whose only key starts with ``$`` is ``{"$map": {...}}``, so that it cannot be
mistaken for one of these. A map's order is kept.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from tael.model.attributes import Attributes, AttributeValue
from tael.model.span import KIND_NAMES, STATUS_NAMES, Event, Link, LlmCall, Resource, Scope, Span
from tael.model.time import NS_PER_MS, NS_PER_SECOND

Json: TypeAlias = "str | bool | int | float | list[Json] | dict[str, Json] | None"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def span_json(span: Span) -> dict[str, Json]:
    """The span, with its resource and scope. ``kind`` is ``llm`` where ``llm`` is set; ``span_kind`` is always OTLP's."""
    span_kind = _name(KIND_NAMES, span.kind)
    value: dict[str, Json] = {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_span_id": span.parent_span_id.hex() or None,
        "service": span.service,
        "operation": span.name,
        "start_time": rfc3339(span.start_ns),
        "end_time": rfc3339(span.end_ns),
        "duration_ms": span.duration_ns / NS_PER_MS,
        "status": _name(STATUS_NAMES, span.status_code),
        "status_message": span.status_message,
        "kind": "llm" if span.llm else span_kind,
        "span_kind": span_kind,
        "attributes": attributes_json(span.attributes),
        "dropped_attributes_count": span.dropped_attributes_count,
        "events": [_event_json(event) for event in span.events],
        "dropped_events_count": span.dropped_events_count,
        "links": [_link_json(link) for link in span.links],
        "dropped_links_count": span.dropped_links_count,
        "trace_state": span.trace_state,
        "flags": span.flags,
        "resource": resource_json(span.resource),
        "scope": scope_json(span.scope),
    }
    if span.llm:
        value["llm"] = _llm_json(span.llm)
    return value


def rfc3339(time_ns: int) -> str:
    """Nanoseconds since the epoch as ``2026-01-31T09:30:00.000000001Z``."""
    seconds, ns = divmod(time_ns, NS_PER_SECOND)
    return f"{(_EPOCH + timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%S')}.{ns:09d}Z"


def attributes_json(attributes: Attributes) -> dict[str, Json]:
    """Attributes by key."""
    return {key: value_json(value) for key, value in attributes.items()}


def value_json(value: AttributeValue) -> Json:
    """One value, encoded by its type as the module describes."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"$double": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        entries = attributes_json(value)
        return {"$map": entries} if len(entries) == 1 and next(iter(entries)).startswith("$") else entries
    return [value_json(item) for item in value]


def _name(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else str(number)


def _event_json(event: Event) -> dict[str, Json]:
    return {
        "name": event.name,
        "timestamp": rfc3339(event.time_ns),
        "attributes": attributes_json(event.attributes),
        "dropped_attributes_count": event.dropped_attributes_count,
    }


def _link_json(link: Link) -> dict[str, Json]:
    return {
        "trace_id": link.trace_id.hex(),
        "span_id": link.span_id.hex(),
        "trace_state": link.trace_state,
        "flags": link.flags,
        "attributes": attributes_json(link.attributes),
        "dropped_attributes_count": link.dropped_attributes_count,
    }


def resource_json(resource: Resource) -> dict[str, Json]:
    """A resource, with its schema URL."""
    return {
        "attributes": attributes_json(resource.attributes),
        "dropped_attributes_count": resource.dropped_attributes_count,
        "schema_url": resource.schema_url,
    }


def scope_json(scope: Scope) -> dict[str, Json]:
    """A scope, with its schema URL."""
    return {
        "name": scope.name,
        "version": scope.version,
        "attributes": attributes_json(scope.attributes),
        "dropped_attributes_count": scope.dropped_attributes_count,
        "schema_url": scope.schema_url,
    }


def _llm_json(llm: LlmCall) -> dict[str, Json]:
    return {
        "provider": llm.provider or None,
        "model": llm.model or None,
        "response_model": llm.response_model or None,
        "operation": llm.operation or None,
        "input_tokens": llm.input_tokens,
        "output_tokens": llm.output_tokens,
        "total_tokens": llm.total_tokens,
        "cache_read_tokens": llm.cache_read_tokens,
        "cache_write_tokens": llm.cache_write_tokens,
        "reasoning_tokens": llm.reasoning_tokens,
        "cost_usd": _finite(llm.computed_cost_usd if llm.cost_usd is None else llm.cost_usd),
        "reported_cost_usd": _finite(llm.cost_usd),
        "computed_cost_usd": _finite(llm.computed_cost_usd),
        "ttft_ms": _finite(llm.ttft_ms),
        "finish_reason": llm.finish_reason or None,
        "temperature": _finite(llm.temperature),
        "session_id": llm.session_id or None,
        "user_id": llm.user_id or None,
        "agent_name": llm.agent_name or None,
        "tool_name": llm.tool_name or None,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
