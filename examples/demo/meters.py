"""The metrics of the demo's services, named by OpenTelemetry's semantic conventions. Unlike the stories, they have the current time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import Counter, Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.types import AttributeValue

_EVERY_MS = 5_000
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
_HTTP = ("http.request.method", "http.route")


@dataclass(frozen=True)
class Meters:
    """One service's instruments, exported every five seconds; token counts as an exponential histogram."""

    provider: MeterProvider
    requests: Histogram
    orders: Counter
    tokens: Histogram

    @classmethod
    def of(cls, resource: Resource, endpoint: str) -> Meters:
        """The instruments of the service that ``resource`` describes."""
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=endpoint, insecure=True), export_interval_millis=_EVERY_MS)
        exponential = View(instrument_name="gen_ai.client.token.usage", aggregation=ExponentialBucketHistogramAggregation())
        provider = MeterProvider([reader], resource, shutdown_on_exit=False, views=[exponential])
        meter = provider.get_meter("examples.demo", "1.0.0")
        return cls(
            provider,
            meter.create_histogram(
                "http.server.request.duration", "s", "Duration of HTTP server requests.", explicit_bucket_boundaries_advisory=_SECONDS
            ),
            meter.create_counter("shop.orders", "{order}", "Orders by outcome."),
            meter.create_histogram("gen_ai.client.token.usage", "{token}", "Tokens of LLM calls."),
        )

    def served(self, attributes: Mapping[str, AttributeValue], seconds: float, error: str) -> None:
        """Record a request that a server has answered."""
        labels = {name: attributes[name] for name in _HTTP if name in attributes}
        self.requests.record(seconds, {**labels, "error.type": error} if error else labels)
