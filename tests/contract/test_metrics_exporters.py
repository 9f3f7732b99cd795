"""The OpenTelemetry SDK's metrics exporters against the real receivers: every instrument, both temporalities, both transports."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import pytest
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from tests.support.metrics import Decoded, Reader, shop
from tests.support.otlp import Receivers, receiving

DELTA: dict[type, AggregationTemporality] = {Counter: AggregationTemporality.DELTA, Histogram: AggregationTemporality.DELTA}
EXPORTERS: Mapping[str, Callable[[Receivers, bool], MetricExporter]] = {
    "grpc": lambda r, delta: GrpcExporter(endpoint=str(r.grpc), insecure=True, preferred_temporality=DELTA if delta else None),
    "http": lambda r, delta: HttpExporter(endpoint=f"http://{r.http}/v1/metrics", preferred_temporality=DELTA if delta else None),
}
VIEWS = [
    View(instrument_name="latency", aggregation=ExplicitBucketHistogramAggregation([1.0, 10.0])),
    View(instrument_name="size", aggregation=ExponentialBucketHistogramAggregation(max_scale=4)),
]


def observe(_: CallbackOptions) -> list[Observation]:
    """What the observable gauge sees."""
    return [Observation(21.5, {"room": "a"})]


def work(exporter: MetricExporter) -> None:
    """Use each instrument, and send it all twice."""
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
    resource = Resource.create({"service.name": "shop", "service.instance.id": "i-1"})
    provider = MeterProvider([reader], resource, views=VIEWS, shutdown_on_exit=False)
    meter = provider.get_meter("tests", "1.0")
    hits, carts = meter.create_counter("hits", unit="{hit}"), meter.create_up_down_counter("carts")
    latency, size = meter.create_histogram("latency", unit="ms"), meter.create_histogram("size", unit="By")
    meter.create_observable_gauge("temperature", [observe], unit="Cel")
    for _ in range(2):
        hits.add(3, {"http.route": "/cart"})
        carts.add(-1)
        latency.record(5)
        latency.record(500)
        size.record(3.0)
        provider.force_flush()
    provider.shutdown()


async def exported(exporter: Callable[[Receivers, bool], MetricExporter], *, delta: bool) -> Decoded:
    """What the log holds of it."""
    async with receiving() as running:
        await asyncio.to_thread(work, exporter(running, delta))
        return Reader(time.time_ns() // 1_000_000).read(running.log.requests)


SCOPE = {"otel_scope_name": "tests", "otel_scope_version": "1.0"}


@pytest.mark.parametrize("exporter", EXPORTERS.values(), ids=list(EXPORTERS))
async def test_cumulative_instruments_are_series(exporter: Callable[[Receivers, bool], MetricExporter]) -> None:
    """As users configure them by default."""
    found = await exported(exporter, delta=False)
    values = {labels: [value for _, value in rows][:2] for labels, rows in found.samples.items()}
    assert values[shop(name="hits_total", http_route="/cart", **SCOPE)] == [3.0, 6.0]
    assert values[shop(name="carts", **SCOPE)] == [-1.0, -2.0]
    assert values[shop(name="temperature_celsius", room="a", **SCOPE)][0] == 21.5
    assert values[shop(name="latency_milliseconds_bucket", le="10", **SCOPE)] == [1.0, 2.0]
    assert values[shop(name="latency_milliseconds_sum", **SCOPE)] == [505.0, 1010.0]
    assert [(one.schema, one.count, list(one.positive_counts)) for one in found.histograms[shop(name="size_bytes", **SCOPE)]][:2] == [
        (4, 1.0, [1.0]),
        (4, 2.0, [2.0]),
    ]
    assert any(dict(labels)["__name__"] == "target_info" and dict(labels)["telemetry_sdk_language"] == "python" for labels in values)
    assert not found.deltas


@pytest.mark.parametrize("exporter", EXPORTERS.values(), ids=list(EXPORTERS))
async def test_delta_instruments_are_increments(exporter: Callable[[Receivers, bool], MetricExporter]) -> None:
    """What does not count up stays cumulative, as the SDK has it."""
    found = await exported(exporter, delta=True)
    assert [value for _, value in found.deltas[shop(name="hits_total", http_route="/cart", **SCOPE)]] == [3.0, 3.0]
    assert [value for _, value in found.deltas[shop(name="latency_milliseconds_count", **SCOPE)]] == [2.0, 2.0]
    assert [one.count for one in found.delta_histograms[shop(name="size_bytes", **SCOPE)]] == [1.0, 1.0]
    assert [value for _, value in found.samples[shop(name="carts", **SCOPE)]][:2] == [-1.0, -2.0]
