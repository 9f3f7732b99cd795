"""A service that measures with OpenTelemetry's SDK for Python: otel_sdk_metrics.py grpc|http/protobuf; two exports of each instrument."""

from __future__ import annotations

import json
import sys

from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

reader = PeriodicExportingMetricReader(GrpcExporter() if sys.argv[1] == "grpc" else HttpExporter(), export_interval_millis=60_000)
exponential = View(instrument_name="peers.wait", aggregation=ExponentialBucketHistogramAggregation())
provider = MeterProvider([reader], Resource.create({"service.instance.id": "one"}), views=[exponential])
meter = provider.get_meter("peers", "1.2")
requests = meter.create_counter("peers.requests", "{request}", "Requests by route.")
open_orders = meter.create_up_down_counter("peers.orders.open")
temperature = meter.create_gauge("peers.temperature", "Cel")
size = meter.create_histogram("peers.size", "By", explicit_bucket_boundaries_advisory=(10, 100))
wait = meter.create_histogram("peers.wait", "ms")
for turn in (1, 2):
    requests.add(3, {"route": "/cart", "note": "grüße"})
    requests.add(turn, {"route": "/pay"})
    open_orders.add(5 - 2 * turn)
    temperature.set(20.5 + turn)
    for value in (5, 50, 500):
        size.record(value)
        wait.record(value)
    provider.force_flush()
provider.shutdown()
json.dump({}, sys.stdout)
