"""Converts the model to OTLP trace messages; pure. ``tael.otlp.decode`` restores every field.

Spans are grouped under one ResourceSpans for each distinct resource, and one ScopeSpans for each distinct scope in it, in the order of
first appearance; within a scope the spans keep their order. Resources and scopes are compared by their encodings, as for Python's ``==``
the values 1, 1.0 and True are equal.
"""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource as WireResource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.model.span import Event, Link, Resource, Scope, Span
from tael.otlp.anyvalue import encode_attributes


def encode_spans(spans: Iterable[Span]) -> list[ResourceSpans]:
    """The spans, grouped."""
    groups: dict[bytes, ResourceSpans] = {}
    scopes: dict[tuple[bytes, bytes], ScopeSpans] = {}
    for span in spans:
        group = encode_resource(span.resource)
        resource_key = group.SerializeToString()
        scoped = encode_scope(span.scope)
        scope_key = scoped.SerializeToString()
        into = scopes.get((resource_key, scope_key))
        if into is None:
            into = groups.setdefault(resource_key, group).scope_spans.add()
            into.CopyFrom(scoped)
            scopes[resource_key, scope_key] = into
        into.spans.append(encode_span(span))
    return list(groups.values())


def encode_resource(resource: Resource) -> ResourceSpans:
    """A ResourceSpans with the resource and its schema URL, without spans."""
    wire = WireResource(attributes=encode_attributes(resource.attributes), dropped_attributes_count=resource.dropped_attributes_count)
    return ResourceSpans(resource=wire, schema_url=resource.schema_url)


def encode_scope(scope: Scope) -> ScopeSpans:
    """A ScopeSpans with the scope and its schema URL, without spans."""
    wire = InstrumentationScope(
        name=scope.name,
        version=scope.version,
        attributes=encode_attributes(scope.attributes),
        dropped_attributes_count=scope.dropped_attributes_count,
    )
    return ScopeSpans(scope=wire, schema_url=scope.schema_url)


def encode_span(span: Span) -> WireSpan:
    """One span without its resource and scope."""
    wire = WireSpan(
        trace_id=span.trace_id,
        span_id=span.span_id,
        trace_state=span.trace_state,
        parent_span_id=span.parent_span_id,
        flags=span.flags,
        name=span.name,
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        attributes=encode_attributes(span.attributes),
        dropped_attributes_count=span.dropped_attributes_count,
        events=[encode_event(event) for event in span.events],
        dropped_events_count=span.dropped_events_count,
        links=[encode_link(link) for link in span.links],
        dropped_links_count=span.dropped_links_count,
        kind=span.kind,  # type: ignore[arg-type]  # an open enum: numbers without a name are kept
    )
    if span.status_code or span.status_message:
        wire.status.CopyFrom(Status(code=span.status_code, message=span.status_message))  # type: ignore[arg-type]  # likewise
    return wire


def encode_event(event: Event) -> WireSpan.Event:
    """One event."""
    return WireSpan.Event(
        time_unix_nano=event.time_ns,
        name=event.name,
        attributes=encode_attributes(event.attributes),
        dropped_attributes_count=event.dropped_attributes_count,
    )


def encode_link(link: Link) -> WireSpan.Link:
    """One link."""
    return WireSpan.Link(
        trace_id=link.trace_id,
        span_id=link.span_id,
        trace_state=link.trace_state,
        attributes=encode_attributes(link.attributes),
        dropped_attributes_count=link.dropped_attributes_count,
        flags=link.flags,
    )
