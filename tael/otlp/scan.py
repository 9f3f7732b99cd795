"""Parses an export request strictly, and checks its items one by one.

Ids are read from the parsed message, so that what is checked is what a reader decodes, whatever the order of the fields. Refused items are
partial success (OTLP specification, "Partial Success"): they are counted, explained, and not sent again by the client.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tael.errors import Rejected
from tael.model.lanes import Near
from tael.otlp.twins import opened

_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
_NO_TRACE_ID, _NO_SPAN_ID = bytes(_TRACE_ID_BYTES), bytes(_SPAN_ID_BYTES)
_EXAMPLES = 3
_WHOLE_BYTES = 512 << 10


@dataclass(slots=True)
class Refusals:
    """The refused items: their positions in the request, and for each reason its count and first examples."""

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
        """The ``error_message`` of a partial success: reasons, counts and examples; empty when nothing was refused."""
        if not self.positions:
            return ""
        why = (f"{reason} ({self.counts[reason]}: {_listed(places, self.counts[reason])})" for reason, places in self.reasons.items())
        return f"{len(self.positions)} of {items} {noun} rejected: {'; '.join(why)}"


def _listed(places: list[str], count: int) -> str:
    return ", ".join(places) + (", …" if count > len(places) else "")


@dataclass(frozen=True, slots=True)
class Scan:
    """The result of a scan. ``items`` counts all items, including refused ones; ``warnings`` are for the client, about items that were
    accepted.

    ``far`` holds the positions of items whose time is far from now.
    """

    items: int
    refusals: Refusals
    warnings: tuple[str, ...] = ()
    far: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Kept:
    """The retention: items from before ``since_ns`` are refused. ``set_by`` names the setting."""

    since_ns: int = 0
    set_by: str = ""


ALWAYS, EVERYTHING = Near(0, 1 << 64), Kept()


def scan_spans(request: bytes, kept: Kept = EVERYTHING, near: Near = ALWAYS) -> Scan:
    """Parse an ExportTraceServiceRequest strictly, and check each span's ids and time; spans that started before the retention are refused.

    Raises Rejected for an invalid request.
    """
    refusals, far, position = Refusals(), set[int](), -1
    since_ns, until_ns = max(kept.since_ns, near.since_ns), near.until_ns
    try:
        for position, span in enumerate(_spans(request)):
            trace_id, span_id, start_ns = span.trace_id, span.span_id, span.start_time_unix_nano
            # Nearly every span passes, so this is a single condition; what is wrong with the others is determined below.
            if (
                since_ns <= start_ns < until_ns
                and len(trace_id) == _TRACE_ID_BYTES
                and len(span_id) == _SPAN_ID_BYTES
                and trace_id != _NO_TRACE_ID
                and span_id != _NO_SPAN_ID
            ):
                continue
            where = f"span {position} {span.name[:60]!r}"
            if reason := _reason(trace_id, span_id):
                refusals.add(position, reason, where)
            elif start_ns < kept.since_ns:
                refusals.add(position, too_old("start time", kept.set_by), f"{where} at {_shown(start_ns)}")
            else:
                far.add(position)
    except DecodeError as error:
        raise Rejected("the body is not a valid ExportTraceServiceRequest", where="body", accepted="OTLP protobuf") from error
    return Scan(position + 1, refusals, far=frozenset(far))


def too_old(what: str, set_by: str) -> str:
    """The reason for refusing an item older than the retention, with the setting that defines it."""
    return f"{what} is older than the retention ({set_by})"


def _shown(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _spans(request: bytes) -> Iterator[Span]:
    if len(request) > _WHOLE_BYTES:
        return _one_by_one(request, ExportTraceServiceRequest, Span)
    whole = ExportTraceServiceRequest.FromString(request)
    return chain.from_iterable(scope_spans.spans for resource_spans in whole.resource_spans for scope_spans in resource_spans.scope_spans)


def _one_by_one(request: bytes, kind: type[Message], item: type[Message]) -> Iterator[Any]:
    """The items of a large request, parsed one at a time and as strictly as the whole: parsed items take many times their encoded size."""
    whole: Any = opened(kind.DESCRIPTOR.full_name).FromString(request)
    for group in getattr(whole, whole.DESCRIPTOR.fields_by_number[1].name):
        for scoped in getattr(group, group.DESCRIPTOR.fields_by_number[2].name):
            yield from map(item.FromString, getattr(scoped, scoped.DESCRIPTOR.fields_by_number[2].name))


def _reason(trace_id: bytes, span_id: bytes) -> str:
    """What is wrong with the ids; empty when nothing is."""
    for name, value, size in (("trace_id", trace_id, _TRACE_ID_BYTES), ("span_id", span_id, _SPAN_ID_BYTES)):
        if len(value) != size:
            return f"{name} must have {size} bytes and has {len(value)}"
        if not any(value):
            return f"{name} is all zero"
    return ""


def scan_logs(request: bytes, kept: Kept = EVERYTHING, near: Near = ALWAYS) -> Scan:
    """Parse an ExportLogsServiceRequest strictly. Records from before the retention are refused. Raises Rejected for an invalid request.

    A record with invalid ids belongs to no trace, per the protocol (logs.proto, ``trace_id``), and the client gets a warning; a record
    without a time has that of its arrival.
    """
    refusals, far, position, odd, example = Refusals(), set[int](), -1, 0, ""
    try:
        for position, record in enumerate(_records(request)):
            trace_id, span_id = record.trace_id, record.span_id
            if (trace_id and len(trace_id) != 16) or (span_id and len(span_id) != 8):
                odd += 1
                example = example or f"record {position} has a trace_id of {len(trace_id)} and a span_id of {len(span_id)} bytes"
            time_ns = record.time_unix_nano or record.observed_time_unix_nano
            # A record without a time has that of its arrival, which is always within the retention.
            if 0 < time_ns < kept.since_ns:
                refusals.add(position, too_old("time", kept.set_by), f"record {position} at {_shown(time_ns)}")
            elif time_ns and not near.since_ns <= time_ns < near.until_ns:
                far.add(position)
    except DecodeError as error:
        raise Rejected("the body is not a valid ExportLogsServiceRequest", where="body", accepted="OTLP protobuf") from error
    items = position + 1
    warnings = (
        (f"{odd} of {items} log records count as outside a trace or span, their ids are of a wrong length: {example}",) if odd else ()
    )
    return Scan(items, refusals, warnings, frozenset(far))


def _records(request: bytes) -> Iterator[LogRecord]:
    if len(request) > _WHOLE_BYTES:
        yield from _one_by_one(request, ExportLogsServiceRequest, LogRecord)
        return
    for resource_logs in ExportLogsServiceRequest.FromString(request).resource_logs:
        for scope_logs in resource_logs.scope_logs:
            yield from scope_logs.log_records


def span_route(span: bytes, resource: bytes) -> bytes:  # noqa: ARG001  # a trace is on one shard, whoever sent its spans
    """The routing key of an encoded span: its trace id."""
    return trace_id_of(span)


def log_route(record: bytes, resource: bytes) -> bytes:
    """The routing key of an encoded log record: its trace id, or else its encoded resource."""
    trace_id: bytes = LogRecord.FromString(record).trace_id
    # By trace, so that records are on their trace's shard; without one by resource, so that a stream stays on one shard and in order.
    return trace_id if len(trace_id) == 16 and trace_id != _NO_TRACE_ID else resource


def trace_id_of(span: bytes) -> bytes:
    """The trace id of an encoded span: read in place if it is the first field, as all common encoders write it, else by parsing."""
    # Field 1 with 16 bytes, directly followed by field 2 with 8 bytes: no other layout has these four bytes there.
    if span[:2] == b"\n\x10" and span[18:20] == b"\x12\x08":
        return span[2:18]
    trace_id: bytes = Span.FromString(span).trace_id
    return trace_id
