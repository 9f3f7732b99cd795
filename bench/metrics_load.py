"""Metrics for bench.load: OTLP over gRPC and Prometheus remote write; each sender has its own series, and each request a new sample of
each.

python -m bench.load --signal metrics --spans 1250 --connections 2 --in-flight 4        10,000 series
python -m bench.load --signal remote-write --endpoint 127.0.0.1:4318 --spans 1250 …
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import cramjam
import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from bench.marks import places_of
from tael.pb.remote_write_pb2 import RequestV1, SeriesV1

METHOD = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
REMOTE_WRITE_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
_POINTS_PER_METRIC = 50
_TIME, _VALUE = b"TIMETIME", b"VALUEVAL"
_MS_MARK = 0x2_1555_5555_55
_TIME_BYTES = 6
_ROUTES = ("/cart", "/checkout", "/product/{id}", "/search", "/login", "/health")


def _labels(index: int) -> Iterator[tuple[str, str]]:
    """Typical labels of services, distinguished by route and pod."""
    yield from (
        ("http_request_method", ("GET", "POST", "PUT")[index % 3]),
        ("http_response_status_code", ("200", "404", "500")[index // 3 % 3]),
        ("http_route", _ROUTES[index // 9 % len(_ROUTES)]),
        ("k8s_namespace_name", "shop"),
        ("k8s_pod_name", f"shop-5d9f7c6b8-{index:05d}"),
        ("server_address", f"10.0.{index // 250 % 250}.{index % 250}"),
    )


class _Places:
    """The positions of times and values in a request, to be overwritten."""

    def __init__(self, body: bytes, time_mark: bytes) -> None:
        self._bytes = np.frombuffer(body, np.uint8).copy()
        self._times, self._values = places_of(body, time_mark), places_of(body, _VALUE)
        self._base = np.random.default_rng().integers(0, 10_000, len(self._values)).astype(np.float64)
        self._sent = 0

    def stamped(self, time_bytes: bytes) -> bytes:
        """The request with another time and higher counters."""
        self._sent += 1
        self._bytes[self._times] = np.frombuffer(time_bytes, np.uint8)
        self._bytes[self._values] = (self._base + self._sent).view(np.uint8).reshape(-1, 8)
        return self._bytes.tobytes()


class OtlpSender:
    """Requests of ``points`` counters under one resource."""

    def __init__(self, points: int, instance: str) -> None:
        message = ExportMetricsServiceRequest()
        resource = message.resource_metrics.add()
        for key, value in (("service.name", "shop"), ("service.instance.id", instance), ("host.name", "node-7")):
            resource.resource.attributes.add(key=key).value.string_value = value
        scope = resource.scope_metrics.add()
        scope.scope.name = "bench"
        for index in range(points):
            if index % _POINTS_PER_METRIC == 0:
                metric = scope.metrics.add(name=f"shop.requests.{index // _POINTS_PER_METRIC}", unit="{request}")
                metric.sum.aggregation_temporality = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
                metric.sum.is_monotonic = True
            point = metric.sum.data_points.add(
                start_time_unix_nano=time.time_ns(), time_unix_nano=int.from_bytes(_TIME, "little"), as_double=np.frombuffer(_VALUE)[0]
            )
            for key, value in _labels(index):
                point.attributes.add(key=key).value.string_value = value
        self._places = _Places(message.SerializeToString(), _TIME)

    def make(self) -> bytes:
        """A request with the current time."""
        return self._places.stamped(time.time_ns().to_bytes(8, "little"))


class RemoteWriteSender:
    """Snappy bodies of ``points`` series with one sample each."""

    def __init__(self, points: int, instance: str) -> None:
        message = RequestV1()
        for index in range(points):
            series = SeriesV1()
            name = f"shop_requests_{index // _POINTS_PER_METRIC}_total"
            for key, value in (("__name__", name), *_labels(index), ("instance", instance), ("job", "shop")):
                series.labels.add(name=key, value=value)
            series.samples.add(value=np.frombuffer(_VALUE)[0], timestamp=_MS_MARK)
            message.timeseries.append(series.SerializeToString())
        self._places = _Places(message.SerializeToString(), _varint(_MS_MARK))
        self._last_ms = 0

    def make(self) -> bytes:
        """A request with the current time, or the next millisecond."""
        self._last_ms = max(self._last_ms + 1, time.time_ns() // 1_000_000)
        return bytes(cramjam.snappy.compress_raw(self._places.stamped(_varint(self._last_ms))))


def _varint(number: int) -> bytes:
    return bytes((number >> 7 * at) & 0x7F | (0x80 if at < _TIME_BYTES - 1 else 0) for at in range(_TIME_BYTES))
