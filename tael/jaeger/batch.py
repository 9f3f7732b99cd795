"""Translates Jaeger's batches in Thrift to an OTLP trace request (jaeger-idl ``jaeger.thrift``; docs/formats.md, "Jaeger's batches").

    Batch    1 process  2 spans                       Process  1 serviceName  2 tags
    Span     1 traceIdLow  2 traceIdHigh  3 spanId  4 parentSpanId  5 operationName  6 references  7 flags
             8 startTime (µs)  9 duration (µs)  10 tags  11 logs
    SpanRef  1 refType (0 child of, 1 follows from)  2 traceIdLow  3 traceIdHigh  4 spanId
    Tag      1 key  2 vType (text, double, bool, long, binary)  3 … 7 the value of each type
    Log      1 timestamp (µs)  2 fields

Malformed spans are left out and counted.
"""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tael.errors import Rejected
from tael.jaeger.thrift import Fields, read_struct
from tael.model.attributes import AttributeValue
from tael.model.span import UNKNOWN_SERVICE, Event, Link, Resource, Span
from tael.otlp.encode import encode_spans
from tael.otlp.tags import lift
from tael.otlp.translated import Translated

_U64: Final = (1 << 64) - 1
_NS_PER_US: Final = 1000
# Start and duration are each below this, so that the end in nanoseconds fits into OTLP's 64 bits.
_MAX_US: Final = (1 << 63) // _NS_PER_US
_SAMPLED: Final = 1
_REF_TYPES: Final = ("child_of", "follows_from")
_TAG_FIELDS: Final = ((3, bytes), (4, float), (5, bool), (6, int), (7, bytes))
"""By a tag's type: the field that holds its value, and the value's Python type."""
_RESOURCE_NAMES: Final = {"hostname": "host.name"}


def read_batch(body: bytes, most: int) -> Translated[ExportTraceServiceRequest]:
    """The spans of a batch; ``most`` limits its content. Raises Rejected or TooLarge."""
    batch = read_struct(body, most)
    process = _struct(batch.get(1), "process")
    tags = {_RESOURCE_NAMES.get(name, name): value for name, value in _tags(process.get(2)).items()}
    resource = Resource({"service.name": _text(process.get(1), "serviceName") or UNKNOWN_SERVICE, **tags})
    translated, spans = Translated(ExportTraceServiceRequest()), list[Span]()
    for raw in _list(batch.get(2), "spans"):
        with translated.tolerating():
            spans.append(_span(_struct(raw, "a span"), resource))
    translated.request.resource_spans.extend(encode_spans(spans))
    return translated


def _span(raw: Fields, resource: Resource) -> Span:
    tags = _tags(raw.get(10))
    lifted, trace_id = lift(tags), _trace_id(raw.get(1), raw.get(2))
    start_us, parent = _microseconds(raw.get(8), "startTime"), _whole(raw.get(4), "parentSpanId")
    references = [_struct(reference, "a reference") for reference in _list(raw.get(6), "references")]
    if not parent:
        # A child-of reference (refType 0) within the trace names the parent; one into another trace is a link.
        parent = next((_whole(r.get(4), "spanId") for r in references if not r.get(1) and _trace_id(r.get(2), r.get(3)) == trace_id), 0)
    parent_id = _span_id(parent) if parent else b""
    links = (_link(reference) for reference in references)
    return Span(
        trace_id=trace_id,
        span_id=_span_id(_whole(raw.get(3), "spanId")),
        parent_span_id=parent_id,
        name=_text(raw.get(5), "operationName"),
        kind=lifted.kind,
        start_ns=start_us * _NS_PER_US,
        end_ns=(start_us + _microseconds(raw.get(9), "duration")) * _NS_PER_US,
        resource=resource,
        scope=lifted.scope,
        trace_state=lifted.trace_state,
        flags=_whole(raw.get(7), "flags") & _SAMPLED,
        attributes=tags,
        events=tuple(_event(_struct(log, "a log")) for log in _list(raw.get(11), "logs")),
        links=tuple(link for link in links if (link.trace_id, link.span_id) != (trace_id, parent_id)),
        status_code=lifted.status_code,
        status_message=lifted.status_message,
    )


def _event(raw: Fields) -> Event:
    """A log as an event, named by its field ``event``, else by ``message``."""
    fields = _tags(raw.get(2))
    key = next((key for key in ("event", "message") if isinstance(fields.get(key), str)), "")
    name = str(fields.pop(key)) if key else ""
    return Event(_microseconds(raw.get(1), "a log's timestamp") * _NS_PER_US, name, fields)


def _link(raw: Fields) -> Link:
    kind = _REF_TYPES[1 if raw.get(1) == 1 else 0]
    return Link(_trace_id(raw.get(2), raw.get(3)), _span_id(_whole(raw.get(4), "spanId")), attributes={"opentracing.ref_type": kind})


def _tags(value: Any) -> dict[str, AttributeValue]:
    """Values by key; a tag without a value of its type is empty text, and binary values stay bytes."""
    found: dict[str, AttributeValue] = {}
    for raw in _list(value, "tags"):
        tag = _struct(raw, "a tag")
        kind = _whole(tag.get(2), "vType")
        number, wanted = _TAG_FIELDS[kind if 0 <= kind < len(_TAG_FIELDS) else 0]
        held = tag.get(number, b"")
        if not isinstance(held, wanted | bytes):
            raise Rejected("its value has another type", where=f"tag {_text(tag.get(1), 'key')[:60]!r}", accepted="that of vType")
        found[_text(tag.get(1), "key")] = (
            held.decode(errors="replace") if isinstance(held, bytes) and number != _TAG_FIELDS[-1][0] else held
        )
    return found


def _trace_id(low: Any, high: Any) -> bytes:
    return ((_whole(high, "traceIdHigh") & _U64) << 64 | _whole(low, "traceIdLow") & _U64).to_bytes(16, "big")


def _span_id(number: int) -> bytes:
    return (number & _U64).to_bytes(8, "big")


def _microseconds(value: Any, where: str) -> int:
    number = _whole(value, where)
    if not 0 <= number < _MAX_US:
        raise Rejected("not a number of microseconds", where=where, accepted="a whole number from 0 on")
    return number


def _whole(value: Any, where: str) -> int:
    if value is None:
        return 0
    if not isinstance(value, int):
        raise Rejected("not an integer", where=where)
    return value


def _text(value: Any, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, bytes):
        raise Rejected("not a string", where=where)
    return value.decode(errors="replace")


def _struct(value: Any, where: str) -> Fields:
    if not isinstance(value, dict):
        raise Rejected("not a struct", where=where)
    return value


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Rejected("not a list", where=where)
    return value
