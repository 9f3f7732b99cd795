"""Tempo's compact JSON for language models, pure: a trace by service and scope with attributes as plain JSON, values of a tag by type.

Source: Tempo 3.0's answers to ``Accept: application/vnd.grafana.llm``. Ids are hex, bytes too; times are nanoseconds in strings, durations
milliseconds. Missing service names and empty values are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

ACCEPT: Final = "application/vnd.grafana.llm"
LLM_JSON: Final = "application/vnd.grafana.llm+json"


def llm_trace(groups: Sequence[ResourceSpans]) -> dict[str, Any]:
    """The body for a trace; empty for one without spans."""
    first = next((span for group in groups for scope in group.scope_spans for span in scope.spans), None)
    return {} if first is None else {"trace": {"traceId": first.trace_id.hex(), "services": llm_services(groups)}}


def llm_services(groups: Sequence[ResourceSpans]) -> list[dict[str, Any]]:
    """The ``services`` of a trace."""
    return [_service(group) for group in groups]


def llm_values(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body for a tag's values, made from the body for other clients."""
    values: dict[str, list[str]] = {}
    for value in body["tagValues"]:
        values.setdefault(value["type"], []).append(value.get("value", ""))
    return {**body, "tagValues": values}


def _service(group: ResourceSpans) -> dict[str, Any]:
    resource = _attributes(group.resource.attributes)
    name = resource.pop("service.name", "")
    service = name if isinstance(name, str) else ""
    return _filled({"serviceName": service, "resource": resource, "scopes": [_scope(scope) for scope in group.scope_spans]})


def _scope(scope: ScopeSpans) -> dict[str, Any]:
    return _filled({"name": scope.scope.name, "version": scope.scope.version, "spans": [_span(span) for span in scope.spans]})


def _span(span: Span) -> dict[str, Any]:
    ids = {"spanId": span.span_id.hex(), "name": span.name}
    rest = {
        "parentSpanId": span.parent_span_id.hex(),
        "kind": Span.SpanKind.Name(span.kind) if span.kind else "",
        "startTimeUnixNano": _time(span.start_time_unix_nano),
        "endTimeUnixNano": _time(span.end_time_unix_nano),
        "durationMs": _milliseconds(span.end_time_unix_nano - span.start_time_unix_nano),
        "attributes": _attributes(span.attributes),
        "events": [
            {"name": event.name, **_filled({"timeUnixNano": _time(event.time_unix_nano), "attributes": _attributes(event.attributes)})}
            for event in span.events
        ],
        "links": [
            {"traceId": link.trace_id.hex(), "spanId": link.span_id.hex(), **_filled({"attributes": _attributes(link.attributes)})}
            for link in span.links
        ],
    }
    status = {"code": Status.StatusCode.Name(span.status.code), "message": span.status.message}
    return {**ids, **_filled(rest), "status": status}


def _filled(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value}


def _time(ns: int) -> str:
    return str(ns) if ns else ""


def _milliseconds(ns: int) -> float | int:
    return ns // 1_000_000 if ns % 1_000_000 == 0 else ns / 1_000_000


def _attributes(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {attribute.key: _plain(attribute.value) for attribute in attributes}


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    match kind:
        case "bytes_value":
            return value.bytes_value.hex()
        case "array_value":
            return [_plain(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case "double_value":
            return _number(value.double_value)
        case _:
            return None if kind is None else getattr(value, kind)


def _number(value: float) -> float | int | str:
    if not math.isfinite(value):
        return str(value)
    return int(value) if value.is_integer() and abs(value) < 1 << 53 else value
