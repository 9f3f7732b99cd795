"""Spans in Jaeger's JSON, pure.

Source: Jaeger's ``ui`` JSON model and its translation from OTLP, as Jaeger 2.20 answers. Times are microseconds. Attributes are tags of
five types; lists and maps are JSON in a string, and so are numbers that JSON or JavaScript cannot represent.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.model.attributes import AttributeValue
from tael.model.json_text import finite, to_bytes, to_text
from tael.model.span import STATUS_ERROR, STATUS_OK, Event, Resource, Span
from tael.otlp.encode import encode_spans
from tael.storage.long_traces import Origin, Slice

NO_SERVICE, NO_NAME = "missing-service-name", "empty-span-name"
KINDS: Final = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}
_EXACT: Final = 1 << 53
_REF_TYPE: Final = "opentracing.ref_type"
_IDS: Final = ("traceId", "spanId", "parentSpanId")


def service_of(resource: Resource) -> str:
    """The resource's service, or Jaeger's name for a missing one."""
    name = resource.attributes.get("service.name")
    return name if isinstance(name, str) and name else NO_SERVICE


def trace(spans: Sequence[Span]) -> dict[str, Any]:
    """An element of ``data``: the spans of a trace in the given order, and each process once."""
    processes = Processes()
    encoded = processes.encode(spans)
    return {"traceID": spans[0].trace_id.hex(), "spans": encoded, "processes": processes.bodies, "warnings": None}


class Processes:
    """The processes of a trace by name, in order of appearance; ``bodies`` are the processes of all spans encoded so far."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._endings: dict[int, bytes] = {}
        self.bodies: dict[str, dict[str, Any]] = {}

    def encode(self, spans: Iterable[Span]) -> list[dict[str, Any]]:
        """Spans as JSON objects, each with the name of its process."""
        return [_span(span, self._name(span.resource)) for span in spans]

    def encode_slice(self, block: Slice) -> bytes:
        """Spans as the elements of a JSON array; those that are bytes are JSON up to their logs and only get the ending."""
        return b",".join(
            body + self._ending(number, block.origins) if isinstance(body, bytes) else to_bytes(self.encode((body,))[0])
            for body, number in zip(block.bodies, block.origin_ids, strict=True)
        )

    def _ending(self, number: int, origins: Mapping[int, Origin]) -> bytes:
        if number not in self._endings:
            self._endings[number] = b"," + to_bytes({"processID": self._name(origins[number].resource), "warnings": None})[1:]
        return self._endings[number]

    def _name(self, resource: Resource) -> str:
        process = _process(resource)
        key = json.dumps(process, sort_keys=True)
        if key not in self._names:
            self._names[key] = f"p{len(self._names) + 1}"
            self.bodies[self._names[key]] = process
        return self._names[key]


def resource_spans(spans: Iterable[Span]) -> list[dict[str, Any]]:
    """``ResourceSpans`` in OTLP's JSON: ids in hex, enums as numbers."""
    return [_hex_ids(MessageToDict(group, use_integers_for_enums=True)) for group in encode_spans(list(spans))]


def span_dict(span: WireSpan) -> dict[str, Any]:
    """A span in OTLP's JSON."""
    encoded: dict[str, Any] = _hex_ids(MessageToDict(span, use_integers_for_enums=True))
    return encoded


def summary(spans: Sequence[Span]) -> dict[str, Any]:
    """An element of ``summaries``."""
    services: dict[str, list[Span]] = {}
    for span in spans:
        services.setdefault(service_of(span.resource), []).append(span)
    root = next((span for span in spans if not span.parent_span_id), None)
    named = {} if root is None else {"rootServiceName": service_of(root.resource), "rootOperationName": root.name or NO_NAME}
    return {
        "traceId": spans[0].trace_id.hex(),
        **named,
        "minStartTimeUnixNano": str(min(span.start_ns for span in spans)),
        "maxEndTimeUnixNano": str(max(span.end_ns for span in spans)),
        "spanCount": len(spans),
        **_errors(spans),
        "services": [{"name": name, "spanCount": len(own), **_errors(own)} for name, own in services.items()],
    }


def _errors(spans: Sequence[Span]) -> dict[str, int]:
    errors = sum(span.status_code == STATUS_ERROR for span in spans)
    return {"errorSpanCount": errors} if errors else {}


def _span(span: Span, process: str) -> dict[str, Any]:
    return {
        "traceID": span.trace_id.hex(),
        "spanID": span.span_id.hex(),
        "operationName": span.name or NO_NAME,
        "references": _references(span),
        "startTime": span.start_ns // 1000,
        "duration": span.duration_ns // 1000,
        "tags": [*_scope_tags(span), *tags(span.attributes), *_kind_and_status(span)],
        "logs": [_log(event) for event in span.events],
        "processID": process,
        "warnings": None,
    }


def _references(span: Span) -> list[dict[str, str]]:
    """The parent and the links; a link to the parent itself stands for both, as in Jaeger."""
    parent = (span.trace_id, span.parent_span_id)
    links = [
        _reference("CHILD_OF" if link.attributes.get(_REF_TYPE) == "child_of" else "FOLLOWS_FROM", link.trace_id, link.span_id)
        for link in span.links
    ]
    linked = any((link.trace_id, link.span_id) == parent for link in span.links)
    return links if linked or not span.parent_span_id else [_reference("CHILD_OF", *parent), *links]


def _reference(kind: str, trace_id: bytes, span_id: bytes) -> dict[str, str]:
    return {"refType": kind, "traceID": trace_id.hex(), "spanID": span_id.hex()}


def _scope_tags(span: Span) -> list[dict[str, Any]]:
    pairs = (("otel.scope.name", span.scope.name), ("otel.scope.version", span.scope.version))
    return [_tag(key, value) for key, value in pairs if value]


def _kind_and_status(span: Span) -> list[dict[str, Any]]:
    found: list[tuple[str, AttributeValue]] = []
    if span.kind in KINDS:
        found.append(("span.kind", KINDS[span.kind]))
    if span.status_code == STATUS_ERROR:
        found += [("otel.status_code", "ERROR"), ("error", True)]
    elif span.status_code == STATUS_OK:
        found.append(("otel.status_code", "OK"))
    if span.status_message:
        found.append(("otel.status_description", span.status_message))
    if span.trace_state:
        found.append(("w3c.tracestate", span.trace_state))
    return [_tag(key, value) for key, value in found]


def _log(event: Event) -> dict[str, Any]:
    name = [_tag("event", event.name)] if event.name else []
    return {"timestamp": event.time_ns // 1000, "fields": [*name, *tags(event.attributes)]}


def _process(resource: Resource) -> dict[str, Any]:
    return {
        "serviceName": service_of(resource),
        "tags": tags({key: value for key, value in resource.attributes.items() if key != "service.name"}),
    }


def tags(attributes: Mapping[str, AttributeValue]) -> list[dict[str, Any]]:
    """Attributes as tags, by key; one without a value is left out."""
    return [_tag(key, value) for key, value in sorted(attributes.items()) if value is not None]


def _tag(key: str, value: AttributeValue) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"key": key, "type": "bool", "value": value}
    if isinstance(value, int):
        return {"key": key, "type": "int64", "value": value if -_EXACT <= value <= _EXACT else str(value)}
    if isinstance(value, float):
        return {"key": key, "type": "float64", "value": finite(value)}
    if isinstance(value, bytes):
        return {"key": key, "type": "binary", "value": base64.b64encode(value).decode()}
    return {"key": key, "type": "string", "value": value if isinstance(value, str) else as_json(value)}


def as_json(value: AttributeValue) -> str:
    """A list or a map as compact JSON; bytes in it are base64."""
    return to_text(value, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, Sequence) else str(value)


def _hex_ids(value: Any) -> Any:
    """JSON with ids in hex, as OTLP requires, instead of protobuf's base64."""
    if isinstance(value, list):
        return [_hex_ids(item) for item in value]
    if isinstance(value, dict):
        return {
            key: base64.b64decode(item).hex() if key in _IDS and isinstance(item, str) else _hex_ids(item) for key, item in value.items()
        }
    return value
