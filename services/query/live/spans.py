"""Spans as they are appended to the WAL, for live feeds. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from services.query.live.frame import Frame
from tael.model.span import Span
from tael.otlp.decode import decode_span
from tael.otlp.genai import llm_call
from tael.otlp.prices import Prices, with_cost


class LiveSpan:
    """One span, decoded and rendered at most once, however many watchers it has; it has the attributes of a Span.

    The fields that filters use most are read from the wire message, so that few spans of a busy stream are decoded; any other field decodes
    the span.
    """

    def __init__(self, wire: WireSpan, frame: Frame, prices: Prices) -> None:
        self._prices = prices
        self.wire = wire
        self.frame = frame
        self.name = wire.name
        self.trace_id = wire.trace_id
        self._rendered: dict[Callable[[Span], bytes], bytes] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.span, name)

    @property
    def service(self) -> str:
        """See Span."""
        return self.frame.service

    @property
    def status_code(self) -> int:
        """See Span."""
        return self.wire.status.code

    @property
    def start_ns(self) -> int:
        """See Span."""
        return self.wire.start_time_unix_nano

    @property
    def end_ns(self) -> int:
        """See Span."""
        return self.wire.end_time_unix_nano

    @cached_property
    def span(self) -> Span:
        """The decoded span, as a reader of the hot tier returns it."""
        span = decode_span(self.wire, self.frame.resource, self.frame.scope)
        return with_cost(replace(span, llm=llm_call(span.attributes, span.start_ns)), self._prices)

    def rendered(self, render: Callable[[Span], bytes]) -> bytes:
        """``render(span)``, computed once; ``render`` MUST live as long as the process, because results are kept by function."""
        if (made := self._rendered.get(render)) is None:
            made = self._rendered[render] = render(self.span)
        return made


def read_spans(request: bytes, _received_at_ns: int, prices: Prices) -> list[LiveSpan]:
    """The spans of an admitted request, in order; LLM calls that report no cost get one from ``prices``."""
    message = ExportTraceServiceRequest.FromString(request)
    return [
        LiveSpan(span, frame, prices)
        for group in message.resource_spans
        for scoped in group.scope_spans
        for frame in (Frame(group, scoped),)
        for span in scoped.spans
    ]
