"""Spans on their way into the log, as those who watch ask for them. Pure.

A filter looks at the wire's fields first, so that of a busy stream only what matches is decoded and rendered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from services.query.live.frame import Frame
from services.query.live.match import has_attribute
from services.query.parameters import Parameters, parse_trace_id
from tael.errors import Rejected
from tael.model.span import STATUS_NAMES, Span
from tael.otlp.decode import decode_span
from tael.otlp.genai import llm_call


class LiveSpan:
    """One span, decoded and rendered at most once, however many watch."""

    def __init__(self, wire: WireSpan, frame: Frame) -> None:
        self.wire = wire
        self.frame = frame
        self._rendered: dict[Callable[[Span], bytes], bytes] = {}

    @cached_property
    def span(self) -> Span:
        """As a reader of the hot tier returns it."""
        span = decode_span(self.wire, self.frame.resource, self.frame.scope)
        return replace(span, llm=llm_call(span.attributes))

    def rendered(self, render: Callable[[Span], bytes]) -> bytes:
        """What ``render``, a function that lives as long as the process, makes of the span; made once."""
        if (made := self._rendered.get(render)) is None:
            made = self._rendered[render] = render(self.span)
        return made


def read_spans(request: bytes, _received_at_ns: int) -> list[LiveSpan]:
    """The spans of an admitted request, in order."""
    message = ExportTraceServiceRequest.FromString(request)
    return [
        LiveSpan(span, frame)
        for group in message.resource_spans
        for scoped in group.scope_spans
        for frame in (Frame(group, scoped),)
        for span in scoped.spans
    ]


@dataclass(frozen=True, slots=True)
class SpanFilter:
    """What a watcher asked for; everything that is set must match, each as in SpanQuery."""

    service: str = ""
    operation: str = ""
    status_code: int | None = None
    min_duration_ns: int | None = None
    max_duration_ns: int | None = None
    trace_id: bytes = b""
    attributes: tuple[tuple[str, str], ...] = ()
    model: str = ""
    min_cost_usd: float | None = None

    def matches(self, item: LiveSpan) -> bool:
        """Whether the watcher wants to see it."""
        wire = item.wire
        if self.service and item.frame.service != self.service:
            return False
        if self.status_code is not None and wire.status.code != self.status_code:
            return False
        if self.operation not in wire.name or (self.trace_id and wire.trace_id != self.trace_id):
            return False
        duration = max(0, wire.end_time_unix_nano - wire.start_time_unix_nano)
        if self.min_duration_ns is not None and duration < self.min_duration_ns:
            return False
        if self.max_duration_ns is not None and duration > self.max_duration_ns:
            return False
        return self._matches_decoded(item)

    def _matches_decoded(self, item: LiveSpan) -> bool:
        tables = (item.span.attributes, item.span.resource.attributes) if self.attributes else ()
        if not all(has_attribute(tables, key, value) for key, value in self.attributes):
            return False
        if not self.model and self.min_cost_usd is None:
            return True
        llm = item.span.llm
        if llm is None or (self.model and llm.model != self.model):
            return False
        return self.min_cost_usd is None or (llm.cost_usd is not None and llm.cost_usd >= self.min_cost_usd)


def read_span_filter(pairs: Iterable[tuple[str, str]]) -> SpanFilter:
    """The filter that these parameters ask for. Raises Rejected."""
    names = ("service", "operation", "status", "min_duration_ms", "max_duration_ms", "trace_id", "model", "min_cost_usd")
    parameters = Parameters(pairs, known=names, repeatable=("attribute",))
    status = parameters.choice("status", STATUS_NAMES)
    low, high = parameters.milliseconds("min_duration_ms"), parameters.milliseconds("max_duration_ms")
    if low is not None and high is not None and low > high:
        raise Rejected("it is below min_duration_ms", where="max_duration_ms", accepted="milliseconds, at least min_duration_ms")
    return SpanFilter(
        service=parameters.text("service"),
        operation=parameters.text("operation"),
        status_code=STATUS_NAMES.index(status) if status else None,
        min_duration_ns=low,
        max_duration_ns=high,
        trace_id=parse_trace_id(parameters.text("trace_id")) if parameters.text("trace_id") else b"",
        attributes=parameters.key_values("attribute"),
        model=parameters.text("model"),
        min_cost_usd=parameters.number("min_cost_usd"),
    )
