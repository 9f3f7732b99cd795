"""The resource and scope of live spans or log records, decoded on first use. Pure."""

from __future__ import annotations

from functools import cached_property

from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs, ScopeLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from tael.model.span import Resource, Scope, service_of
from tael.otlp.decode import decode_resource, decode_scope


class Frame:
    """One resource and one scope of a request."""

    def __init__(self, group: ResourceSpans | ResourceLogs, scoped: ScopeSpans | ScopeLogs) -> None:
        self._group = group
        self._scoped = scoped

    @cached_property
    def resource(self) -> Resource:
        """The resource."""
        return decode_resource(self._group.resource, self._group.schema_url)

    @cached_property
    def scope(self) -> Scope:
        """The scope."""
        return decode_scope(self._scoped.scope, self._scoped.schema_url)

    @cached_property
    def service(self) -> str:
        """The resource's service."""
        return service_of(self.resource)
