"""A span as it was received, with its resource and scope."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tael.model.attributes import Attributes

UNKNOWN_SERVICE = "unknown_service"
"""The service of a resource without ``service.name``; the name that OpenTelemetry's SDKs use too."""

STATUS_UNSET, STATUS_OK, STATUS_ERROR = 0, 1, 2
KIND_NAMES = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUS_NAMES = ("unset", "ok", "error")


@dataclass(frozen=True, slots=True)
class Resource:
    """The entity that emitted the telemetry (opentelemetry.proto.resource.v1)."""

    attributes: Attributes = field(default_factory=dict)
    dropped_attributes_count: int = 0
    schema_url: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """The instrumentation that emitted the telemetry (InstrumentationScope)."""

    name: str = ""
    version: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes_count: int = 0
    schema_url: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened within a span."""

    time_ns: int
    name: str
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes_count: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A reference to another span; ids are kept as received, whatever their length."""

    trace_id: bytes
    span_id: bytes
    trace_state: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes_count: int = 0
    flags: int = 0


@dataclass(frozen=True, slots=True)
class LlmCall:
    """The LLM call that a gen_ai span describes, in whatever dialect; a number is None where the span does not report it.

    ``operation`` is one of chat, completion, embedding, tool, agent, workflow, chain, retriever, other; ``model`` is the requested one.
    ``cost_usd`` is the cost that the instrumentation reports, ``computed_cost_usd`` the one by list prices where none is reported. Input
    tokens include cached ones, output tokens include reasoning.
    """

    provider: str = ""
    model: str = ""
    operation: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cost_usd: float | None = None
    ttft_ms: float | None = None
    finish_reason: str = ""
    temperature: float | None = None
    response_model: str = ""
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    session_id: str = ""
    user_id: str = ""
    agent_name: str = ""
    tool_name: str = ""
    computed_cost_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """One span. ``trace_id`` is 16 bytes and ``span_id`` 8; ``parent_span_id`` is empty for a root. Times are ns since the epoch.

    ``kind`` and ``status_code`` keep OTLP's numbers, including unknown ones. ``end_ns`` is as received and may lie before
    ``start_ns``; ``duration_ns`` is never negative.
    """

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    name: str
    kind: int
    start_ns: int
    end_ns: int
    resource: Resource
    scope: Scope
    trace_state: str = ""
    flags: int = 0
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes_count: int = 0
    events: Sequence[Event] = ()
    dropped_events_count: int = 0
    links: Sequence[Link] = ()
    dropped_links_count: int = 0
    status_code: int = STATUS_UNSET
    status_message: str = ""
    llm: LlmCall | None = None

    @property
    def duration_ns(self) -> int:
        """Length of the span, 0 where it ended before it began."""
        return max(0, self.end_ns - self.start_ns)

    @property
    def service(self) -> str:
        """The resource's ``service.name``, or ``unknown_service``."""
        return service_of(self.resource)


def service_of(resource: Resource) -> str:
    """The resource's ``service.name``, or ``unknown_service``."""
    name = resource.attributes.get("service.name")
    return name if isinstance(name, str) and name else UNKNOWN_SERVICE
