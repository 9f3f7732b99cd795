"""Translates Datadog's spans to an OTLP export request, like the OpenTelemetry collector's receiver for them; docs/formats.md has the
table.

Nothing is lost: what has no field in OTLP becomes an attribute under Datadog's name for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.datadog.extras import read_events, read_links, read_struct
from tael.datadog.sampling import PRIORITY
from tael.datadog.span import DatadogSpan
from tael.errors import Rejected, TooLarge
from tael.model.attributes import AttributeValue
from tael.model.span import Event, Link
from tael.otlp.anyvalue import encode_attributes, write_attributes
from tael.otlp.encode import encode_event, encode_link

SCOPE = "Datadog"
RESOURCE_NAME, SPAN_TYPE = "resource.name", "span.type"
_HIGH_BITS, _HOSTNAME, _KIND = "_dd.p.tid", "_dd.hostname", "span.kind"
_LINKS, _EVENTS = "_dd.span_links", "events"
_ERROR_TEXTS = ("error.message", "error.msg")
_KINDS = {
    "internal": WireSpan.SPAN_KIND_INTERNAL,
    "server": WireSpan.SPAN_KIND_SERVER,
    "client": WireSpan.SPAN_KIND_CLIENT,
    "producer": WireSpan.SPAN_KIND_PRODUCER,
    "consumer": WireSpan.SPAN_KIND_CONSUMER,
}
_KIND_OF_TYPE = {"web": WireSpan.SPAN_KIND_SERVER, "http": WireSpan.SPAN_KIND_CLIENT}
_ENV, _VERSION = "env", "version"
_ORIGIN = (
    ("telemetry.sdk.language", "Datadog-Meta-Lang"),
    ("telemetry.sdk.version", "Datadog-Meta-Tracer-Version"),
    ("process.runtime.name", "Datadog-Meta-Lang-Interpreter"),
    ("process.runtime.version", "Datadog-Meta-Lang-Version"),
    ("container.id", "Datadog-Container-ID"),
)
_SAMPLED = 1
_SPAN_BYTES, _ATTRIBUTE_BYTES = 96, 12
_U64, _I64 = (1 << 64) - 1, (1 << 63) - 1


def origin_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The resource attributes that describe a tracer, from its headers; ``headers`` must look up names case-insensitively."""
    origin = {name: headers.get(header, "") for name, header in _ORIGIN}
    origin["telemetry.sdk.language"] = {".net": "dotnet"}.get(origin["telemetry.sdk.language"].lower(), origin["telemetry.sdk.language"])
    return {"telemetry.sdk.name": SCOPE} | {name: value for name, value in origin.items() if value}


def translate(
    traces: Iterable[Sequence[DatadogSpan]], origin: Mapping[str, str], *, limit_bytes: int, variable: str
) -> ExportTraceServiceRequest:
    """One request with every span, in order; ``origin`` has the resource attributes that describe the tracer.

    Raises TooLarge before the request exceeds about ``limit_bytes``, which ``variable`` sets: texts to which a v0.5 body refers many times
    are written out many times.
    """
    building = _Building(origin, limit_bytes, variable)
    for trace in traces:
        building.add(trace)
    return building.request


class _Building:
    """The request under construction; spans of one service, environment, version and host share a resource."""

    def __init__(self, origin: Mapping[str, str], limit_bytes: int, variable: str) -> None:
        self.request = ExportTraceServiceRequest()
        self._origin = origin
        self._left = limit_bytes
        self._refusal = TooLarge(f"the spans have more than {limit_bytes} bytes as OTLP, the limit that {variable} sets", where="body")
        self._scopes: dict[tuple[str, ...], ScopeSpans] = {}

    def add(self, trace: Sequence[DatadogSpan]) -> None:
        """Add the spans of one trace that were flushed together."""
        # Tracers write the upper half of the trace id on one span of a flush; it applies to all spans with the same lower half.
        high = {span.trace_id: bits for span in trace if (bits := _high_bits(span)) is not None}
        flags = _SAMPLED if any(span.metrics.get(PRIORITY, 0) > 0 for span in trace) else 0
        shared = {"deployment.environment.name": _first(trace, _ENV), "host.name": _first(trace, _HOSTNAME)}
        # Reversed, so that the first span of a service takes precedence, as for the other values of a flush.
        versions = {span.service: str(span.meta[_VERSION]) for span in reversed(trace) if span.meta.get(_VERSION)}
        for span in trace:
            self._spend(_size_bytes(span))
            scope = self._scope({"service.name": span.service, "service.version": versions.get(span.service, ""), **shared})
            wire = scope.spans.add(
                trace_id=high.get(span.trace_id, 0).to_bytes(8, "big") + span.trace_id.to_bytes(8, "big"), flags=flags, name=span.name
            )
            _fill(wire, span)

    def _scope(self, emitter: Mapping[str, str]) -> ScopeSpans:
        key = tuple(emitter.values())
        scope = self._scopes.get(key)
        if scope is None:
            resource = {**emitter, **self._origin}
            group = self.request.resource_spans.add()
            group.resource.attributes.extend(encode_attributes({name: value for name, value in resource.items() if value}))
            scope = self._scopes[key] = group.scope_spans.add()
            scope.scope.name = SCOPE
            scope.scope.version = self._origin.get("telemetry.sdk.version", "")
            self._spend(_SPAN_BYTES + sum(map(_length, resource.values())))
        return scope

    def _spend(self, size_bytes: int) -> None:
        self._left -= size_bytes
        if self._left < 0:
            raise self._refusal


def _fill(wire: WireSpan, span: DatadogSpan) -> None:
    """Fill in the fields that depend only on the span itself."""
    attributes, links, events = _attributes(span)
    write_attributes(attributes, wire.attributes)
    wire.links.extend(map(encode_link, links))
    wire.events.extend(map(encode_event, events))
    wire.span_id = span.span_id.to_bytes(8, "big")
    if span.parent_id:
        wire.parent_span_id = span.parent_id.to_bytes(8, "big")
    wire.kind = _KINDS.get(str(span.meta.get(_KIND)), _KIND_OF_TYPE.get(span.type, WireSpan.SPAN_KIND_UNSPECIFIED))
    wire.start_time_unix_nano = _clamp(span.start)
    wire.end_time_unix_nano = _clamp(span.start + span.duration)
    if span.error:
        wire.status.code = Status.STATUS_CODE_ERROR
        wire.status.message = next((str(span.meta[key]) for key in _ERROR_TEXTS if span.meta.get(key)), "")


def _attributes(span: DatadogSpan) -> tuple[dict[str, AttributeValue], list[Link], list[Event]]:
    """The attributes, links and events; the latter two from their own fields and from text in ``meta``."""
    attributes: dict[str, AttributeValue] = {key: text for key, text in ((RESOURCE_NAME, span.resource), (SPAN_TYPE, span.type)) if text}
    attributes.update((key, _number(value)) for key, value in span.meta.items())
    attributes.update((key, _number(value)) for key, value in span.metrics.items())
    attributes.update((key, read_struct(value)) for key, value in span.meta_struct.items())
    links, events = read_links(span.links), read_events(span.events)
    if links is None or events is None:
        what = "span_links" if links is None else "span_events"
        raise Rejected(f"span {span.name[:60]!r} has {what} that are not valid", where="body", accepted=f"{what} as the agent takes them")
    if (found := read_links(attributes.get(_LINKS))) is not None:
        del attributes[_LINKS]
        links += found
    if (happened := read_events(attributes.get(_EVENTS))) is not None:
        del attributes[_EVENTS]
        events += happened
    if span.meta.get(_KIND) in _KINDS:
        del attributes[_KIND]
    if _high_bits(span) is not None:
        del attributes[_HIGH_BITS]
    return attributes, links, events


def _high_bits(span: DatadogSpan) -> int | None:
    """The upper half of the 128-bit trace id, if this span has it."""
    text = span.meta.get(_HIGH_BITS)
    return int(text, 16) if isinstance(text, str) and re.fullmatch("[0-9a-fA-F]{16}", text) else None


def _first(trace: Sequence[DatadogSpan], key: str) -> str:
    return next((str(span.meta[key]) for span in trace if span.meta.get(key)), "")


def _number(value: str | float) -> str | float:
    """The value; an integer that does not fit into OTLP's becomes a double, infinite beyond the range of doubles."""
    if not isinstance(value, int) or -_I64 - 1 <= value <= _I64:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _clamp(time_ns: int) -> int:
    return min(max(time_ns, 0), _U64)


def _size_bytes(span: DatadogSpan) -> int:
    """The approximate size of the span in OTLP, computed before it is written."""
    fields = sum(map(_length, (span.name, span.resource, span.type)))
    tables = (span.meta, span.metrics, span.meta_struct)
    return _SPAN_BYTES + fields + sum(_ATTRIBUTE_BYTES + _length(key) + _length(value) for table in tables for key, value in table.items())


def _length(value: object) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    return len(value) if isinstance(value, bytes) else 8
