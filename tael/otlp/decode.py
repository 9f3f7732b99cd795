"""Converts OTLP trace and log messages to the model; pure. ``llm`` stays None here: tael.otlp.genai fills it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as WireLogRecord
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as WireResource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.model.log import LogRecord, detect_level
from tael.model.span import Event, Link, Resource, Scope, Span
from tael.otlp.anyvalue import decode_attributes, decode_value


def decode_spans(groups: Iterable[ResourceSpans]) -> Iterator[Span]:
    """Every span in the order of the message, each with its resource and scope; ids are not checked."""
    for group in groups:
        resource = decode_resource(group.resource, group.schema_url)
        for scoped in group.scope_spans:
            scope = decode_scope(scoped.scope, scoped.schema_url)
            for span in scoped.spans:
                yield decode_span(span, resource, scope)


def decode_resource(resource: WireResource, schema_url: str) -> Resource:
    """The resource; ``schema_url`` is that of the enclosing message."""
    return Resource(decode_attributes(resource.attributes), resource.dropped_attributes_count, schema_url)


def decode_scope(scope: InstrumentationScope, schema_url: str) -> Scope:
    """The scope; ``schema_url`` is that of the enclosing message."""
    return Scope(scope.name, scope.version, decode_attributes(scope.attributes), scope.dropped_attributes_count, schema_url)


def decode_span(span: WireSpan, resource: Resource, scope: Scope) -> Span:
    """One span under its resource and scope."""
    return Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_span_id,
        name=span.name,
        kind=span.kind,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        resource=resource,
        scope=scope,
        trace_state=span.trace_state,
        flags=span.flags,
        attributes=decode_attributes(span.attributes),
        dropped_attributes_count=span.dropped_attributes_count,
        events=tuple(decode_event(event) for event in span.events),
        dropped_events_count=span.dropped_events_count,
        links=tuple(decode_link(link) for link in span.links),
        dropped_links_count=span.dropped_links_count,
        status_code=span.status.code,
        status_message=span.status.message,
    )


def decode_event(event: WireSpan.Event) -> Event:
    """One event."""
    return Event(event.time_unix_nano, event.name, decode_attributes(event.attributes), event.dropped_attributes_count)


def decode_link(link: WireSpan.Link) -> Link:
    """One link."""
    attributes = decode_attributes(link.attributes)
    return Link(link.trace_id, link.span_id, link.trace_state, attributes, link.dropped_attributes_count, link.flags)


def decode_logs(groups: Iterable[ResourceLogs], received_at_ns: int) -> Iterator[LogRecord]:
    """Every log record in the order of the message, each with its resource and scope."""
    for group in groups:
        resource = decode_resource(group.resource, group.schema_url)
        for scoped in group.scope_logs:
            scope = decode_scope(scoped.scope, scoped.schema_url)
            for record in scoped.log_records:
                yield decode_log(record, resource, scope, received_at_ns)


def decode_log(record: WireLogRecord, resource: Resource, scope: Scope, received_at_ns: int) -> LogRecord:
    """One log record with its resource and scope; invalid ids count as absent, per logs.proto."""
    attributes, body = decode_attributes(record.attributes), decode_value(record.body)
    return LogRecord(
        timestamp_ns=record.time_unix_nano or record.observed_time_unix_nano or received_at_ns,
        observed_ns=record.observed_time_unix_nano,
        resource=resource,
        scope=scope,
        body=body,
        trace_id=log_id(record.trace_id, 16),
        span_id=log_id(record.span_id, 8),
        severity_number=record.severity_number,
        severity_text=record.severity_text,
        event_name=record.event_name,
        attributes=attributes,
        dropped_attributes_count=record.dropped_attributes_count,
        flags=record.flags,
        level=detect_level(record.severity_number, record.severity_text, attributes, body),
    )


def log_id(value: bytes, size: int) -> bytes:
    """The trace or span id of a record; empty if it has the wrong size or is all zero, in which case the record belongs to no trace or
    span.
    """
    return value if len(value) == size and any(value) else b""
