"""What a strictly parsed export request holds: its items, and those that must be refused one by one.

The ids are read from the parsed message, so that what was checked is what a reader decodes, whatever the order of the fields.
Refusals are partial success (OTLP specification, "Partial Success"): counted, explained, and never sent again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tael.errors import Rejected

_NO_TRACE_ID, _NO_SPAN_ID = bytes(16), bytes(8)
_EXAMPLES = 3


@dataclass(slots=True)
class Refusals:
    """Refused items: positions in the order of the request, and for each reason its count and first examples."""

    positions: set[int] = field(default_factory=set)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, position: int, reason: str, where: str) -> None:
        """Refuse the item at ``position``."""
        self.positions.add(position)
        self.counts[reason] = self.counts.get(reason, 0) + 1
        examples = self.reasons.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(where)

    def explain(self, items: int, noun: str) -> str:
        """The ``error_message``: why, how often and where; empty when nothing was refused."""
        if not self.positions:
            return ""
        why = (f"{reason} ({self.counts[reason]}: {_listed(places, self.counts[reason])})" for reason, places in self.reasons.items())
        return f"{len(self.positions)} of {items} {noun} rejected: {'; '.join(why)}"


def _listed(places: list[str], count: int) -> str:
    return ", ".join(places) + (", …" if count > len(places) else "")


@dataclass(frozen=True, slots=True)
class Scan:
    """``items`` counts all of them, refused ones too; ``warnings`` are what the client should know although nothing was refused for it."""

    items: int
    refusals: Refusals
    warnings: tuple[str, ...] = ()


def scan_spans(request: bytes) -> Scan:
    """Parse an ExportTraceServiceRequest strictly and check each span's ids. Raises Rejected when it is not one."""
    try:
        message = ExportTraceServiceRequest.FromString(request)
    except DecodeError as error:
        raise Rejected("the body is not a valid ExportTraceServiceRequest", where="body", accepted="OTLP protobuf") from error
    refusals, position = Refusals(), 0
    for resource_spans in message.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            spans = scope_spans.spans
            for span in spans:
                trace_id, span_id = span.trace_id, span.span_id
                if len(trace_id) != 16 or len(span_id) != 8 or trace_id == _NO_TRACE_ID or span_id == _NO_SPAN_ID:
                    refusals.add(position, _reason(trace_id, span_id), f"span {position} {span.name[:60]!r}")
                position += 1
    return Scan(position, refusals)


def _reason(trace_id: bytes, span_id: bytes) -> str:
    for name, value, size in (("trace_id", trace_id, 16), ("span_id", span_id, 8)):
        if len(value) != size:
            return f"{name} must have {size} bytes and has {len(value)}"
        if not any(value):
            return f"{name} is all zero"
    raise AssertionError(trace_id, span_id)


def scan_logs(request: bytes) -> Scan:
    """Parse an ExportLogsServiceRequest strictly. Raises Rejected when it is not one.

    No record is refused: one whose ids are no ids belongs to no trace, as the protocol has it (logs.proto, ``trace_id``), and the client
    is told.
    """
    try:
        message = ExportLogsServiceRequest.FromString(request)
    except DecodeError as error:
        raise Rejected("the body is not a valid ExportLogsServiceRequest", where="body", accepted="OTLP protobuf") from error
    items, odd, example = 0, 0, ""
    for resource_logs in message.resource_logs:
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                trace_id, span_id = record.trace_id, record.span_id
                if (trace_id and len(trace_id) != 16) or (span_id and len(span_id) != 8):
                    odd += 1
                    example = example or f"record {items} has a trace_id of {len(trace_id)} and a span_id of {len(span_id)} bytes"
                items += 1
    warnings = (
        (f"{odd} of {items} log records count as outside a trace or span, their ids are of a wrong length: {example}",) if odd else ()
    )
    return Scan(items, Refusals(), warnings)


def span_route(span: bytes, resource: bytes) -> bytes:  # noqa: ARG001  # a trace is on one shard, whoever sent its spans
    """What an encoded span is routed by."""
    return trace_id_of(span)


def log_route(record: bytes, resource: bytes) -> bytes:
    """What an encoded log record is routed by: its trace, or else its stream, which is all that one resource sends."""
    trace_id: bytes = LogRecord.FromString(record).trace_id
    return trace_id if len(trace_id) == 16 and trace_id != _NO_TRACE_ID else resource


def trace_id_of(span: bytes) -> bytes:
    """The trace id of an encoded span: its first field in all common encoders, else found by parsing."""
    if span[:2] == b"\n\x10" and span[18:20] == b"\x12\x08":
        return span[2:18]
    trace_id: bytes = Span.FromString(span).trace_id
    return trace_id
