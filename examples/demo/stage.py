"""Several services in one process: each has its own resource, all share one exporter, and time is simulated.

A story advances a clock instead of sleeping, so that a trace of two seconds is made in a millisecond.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from opentelemetry import trace
from opentelemetry._logs import Logger, LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from examples.demo.meters import Meters

SERVICES: Mapping[str, Mapping[str, AttributeValue]] = {
    "frontend": {"service.version": "3.1.0", "telemetry.distro.name": "shop"},
    "cart": {"service.version": "1.8.2"},
    "checkout": {"service.version": "2.4.1"},
    "payment": {"service.version": "5.0.0", "cloud.region": "eu-central-1"},
    "catalog": {"service.version": "1.2.7"},
    "fulfilment": {"service.version": "0.9.3"},
    "assistant": {"service.version": "0.3.0"},
}


REMEMBERED_TRACES = 1000


class Acknowledged(SpanExporter):
    """Exports spans and counts those that the receiver acknowledged, for the newest traces also by trace."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self.spans_by_trace: dict[int, int] = {}
        self.spans = self.traces = self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export, and count."""
        result = self._inner.export(spans)
        with self._lock:
            if result is SpanExportResult.SUCCESS:
                for span in spans:
                    self._count(span)
            else:
                self.lost += len(spans)
        return result

    def _count(self, span: ReadableSpan) -> None:
        assert span.context is not None
        before = self.spans_by_trace.get(span.context.trace_id, 0)
        self.spans_by_trace[span.context.trace_id] = before + 1
        self.spans += 1
        self.traces += before == 0
        while len(self.spans_by_trace) > REMEMBERED_TRACES:
            del self.spans_by_trace[next(iter(self.spans_by_trace))]

    def shutdown(self) -> None:
        """Close the connection."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the inner exporter; nothing is buffered here."""
        return self._inner.force_flush(timeout_millis)


class Telemetry:
    """The SDK, set up as seven services would each do it; ``endpoint`` is OTLP over gRPC."""

    def __init__(self, endpoint: str) -> None:
        self.exporter = Acknowledged(OTLPSpanExporter(endpoint=endpoint, insecure=True, timeout=30))
        self._processor = BatchSpanProcessor(self.exporter, max_queue_size=100_000, schedule_delay_millis=500)
        resources = {name: _resource(name, attributes) for name, attributes in SERVICES.items()}
        self.tracers = {name: self._tracer(resource) for name, resource in resources.items()}
        self.meters = {name: Meters.of(resource, endpoint) for name, resource in resources.items()}
        self._records = BatchLogRecordProcessor(OTLPLogExporter(endpoint=endpoint, insecure=True, timeout=30))
        self.loggers = {name: self._logger(resource) for name, resource in resources.items()}

    def flush(self) -> None:
        """Return when everything that was made is acknowledged or given up."""
        self._processor.force_flush(60_000)
        self._records.force_flush(60_000)
        for meters in self.meters.values():
            meters.provider.force_flush()

    def close(self) -> None:
        """Flush and close."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK leaves it without types
        self._records.shutdown()  # type: ignore[no-untyped-call]  # likewise
        for meters in self.meters.values():
            meters.provider.shutdown()

    def _logger(self, resource: Resource) -> Logger:
        provider = LoggerProvider(resource, shutdown_on_exit=False)
        provider.add_log_record_processor(self._records)
        return provider.get_logger("examples.demo", "1.0.0")

    def _tracer(self, resource: Resource) -> trace.Tracer:
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        return provider.get_tracer("examples.demo", "1.0.0", schema_url="https://opentelemetry.io/schemas/1.41.0")


def _resource(name: str, attributes: Mapping[str, AttributeValue]) -> Resource:
    return Resource.create(
        {
            "service.name": name,
            "service.namespace": "shop",
            "service.instance.id": f"{name}-1",
            "deployment.environment.name": "demo",
            **attributes,
        }
    )


@dataclass
class Story:
    """One trace being made: its clock and its random source. It starts in the past, so that nothing ends in the future."""

    telemetry: Telemetry
    chance: Random
    at_ns: int = field(default_factory=lambda: time.time_ns() - 15 * 10**9)

    def spend(self, low_ms: float, high_ms: float) -> None:
        """Advance the clock by a random time between the two."""
        self.at_ns += int(self.chance.uniform(low_ms, high_ms) * 1e6)

    def say(self, service: str, severity: SeverityNumber, text: str, attributes: Mapping[str, AttributeValue] | None = None) -> None:
        """Emit a log record of ``service`` within the current step."""
        record = LogRecord(
            timestamp=self.at_ns, severity_number=severity, severity_text=severity.name, body=text, attributes=dict(attributes or {})
        )
        self.telemetry.loggers[service].emit(record)

    @contextlib.contextmanager
    def step(
        self,
        service: str,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, AttributeValue] | None = None,
        links: Sequence[Link] = (),
    ) -> Iterator[Span]:
        """A span of ``service`` around the block, a child of the enclosing one. A Failed raised inside marks the span and propagates."""
        span = self.telemetry.tracers[service].start_span(name, kind=kind, attributes=attributes, links=links, start_time=self.at_ns)
        began_ns, error = self.at_ns, ""
        try:
            with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
                yield span
        except Failed as failure:
            if not failure.recorded:
                span.record_exception(failure, timestamp=self.at_ns)
                with trace.use_span(span, end_on_exit=False):
                    self.say(service, SeverityNumber.ERROR, f"{name} failed: {failure}", {"error.type": failure.kind})
                failure.recorded = True
            error = failure.kind
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR, str(failure)))
            raise
        finally:
            span.end(self.at_ns)
            if kind is SpanKind.SERVER:
                self.telemetry.meters[service].served(attributes or {}, (self.at_ns - began_ns) / 1e9, error)


class Failed(Exception):
    """A failure in the story; ``kind`` is its ``error.type``."""

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.recorded = False
        super().__init__(text)
