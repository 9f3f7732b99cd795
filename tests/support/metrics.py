"""Concise OTLP metrics requests, and translations decoded by labels."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from tael.metrics.bodies import bodies
from tael.metrics.cache import SeriesCache
from tael.metrics.names import Names
from tael.metrics.otlp import OtlpTranslator
from tael.metrics.translation import AdmitSeries, Translation
from tael.model.attributes import Attributes
from tael.model.series import Labels
from tael.otlp.anyvalue import encode_attributes
from tael.pb.metrics_pb2 import Exemplar, Family, Histogram, MetricBatch

T0_MS = 1_790_000_000_000
T0_NS = T0_MS * 1_000_000
DELTA, CUMULATIVE = 1, 2
SHOP = {"service.name": "shop", "service.instance.id": "i-1"}


def admit_all(tenant: str, metric: str, labels: Labels) -> str:
    """An AdmitSeries without a limit."""
    return ""


def bits(value: float) -> int:
    """The bits of a double, which distinguish stale markers from other NaNs."""
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def labels(**pairs: str) -> Labels:
    """A label set; ``name`` is the metric's."""
    return tuple(sorted(("__name__" if key == "name" else key, value) for key, value in pairs.items()))


def shop(**pairs: str) -> Labels:
    """A label set of the default service of requests."""
    return labels(job="shop", instance="i-1", **pairs)


def request(*metrics: Metric, resource: Attributes = SHOP, scope: str = "") -> ExportMetricsServiceRequest:
    """Metrics under one resource and scope."""
    message = ExportMetricsServiceRequest()
    under = message.resource_metrics.add()
    under.resource.attributes.extend(encode_attributes(resource))
    scoped = under.scope_metrics.add()
    scoped.scope.name = scope
    scoped.metrics.extend(metrics)
    return message


def number(
    name: str,
    *values: float,
    attributes: Attributes | None = None,
    unit: str = "",
    kind: str = "gauge",
    temporality: int = CUMULATIVE,
    monotonic: bool = True,
    at_ns: int = T0_NS,
    start_ns: int = 0,
    step_ns: int = 1_000_000_000,
    **point: Any,
) -> Metric:
    """A gauge or a sum with a point for each value, a second apart."""
    metric = Metric(name=name, unit=unit)
    data = getattr(metric, kind)
    data.SetInParent()
    if kind == "sum":
        data.aggregation_temporality, data.is_monotonic = temporality, monotonic
    for at, value in enumerate(values):
        made = data.data_points.add(
            time_unix_nano=at_ns + at * step_ns, start_time_unix_nano=start_ns, attributes=encode_attributes(attributes or {}), **point
        )
        if isinstance(value, int):
            made.as_int = value
        else:
            made.as_double = value
    return metric


@dataclass
class Decoded:
    """The content of a translation, by labels."""

    samples: dict[Labels, list[tuple[int, float]]] = field(default_factory=dict)
    deltas: dict[Labels, list[tuple[int, float]]] = field(default_factory=dict)
    histograms: dict[Labels, list[Histogram]] = field(default_factory=dict)
    delta_histograms: dict[Labels, list[Histogram]] = field(default_factory=dict)
    exemplars: dict[Labels, list[Exemplar]] = field(default_factory=dict)
    families: list[Family] = field(default_factory=list)


class Reader:
    """Decodes bodies of the WAL as queries see them: samples by the labels announced before or with them.

    ``received_ms`` is the arrival time of the last body.
    """

    def __init__(self, received_ms: int = T0_MS) -> None:
        self.received_ms = received_ms
        self.labels: dict[int, Labels] = {}
        self.hours: set[tuple[int, int]] = set()

    def read(self, batches: Iterable[bytes]) -> Decoded:
        """Decode bodies. Raises KeyError for a sample of a series that was never announced for its hour."""
        decoded, parsed = Decoded(), [MetricBatch.FromString(body) for body in batches]
        for batch in parsed:
            for series in batch.new_series:
                self.labels[series.series] = tuple(zip(series.label_names, series.label_values, strict=True))
                self.hours.add((series.series, series.hour))
            decoded.families += batch.families
        for batch in parsed:
            for columns, into in ((batch, decoded.samples), (batch.deltas, decoded.deltas)):
                for series_id, time_ms, value in zip(columns.series, columns.time_ms, columns.value, strict=True):
                    # An increment that is ahead of its arrival counts at its arrival, and is announced for that hour.
                    counted_ms = time_ms if columns is batch else min(time_ms, self.received_ms)
                    into.setdefault(self._of(series_id, counted_ms), []).append((time_ms, value))
            for messages, listed in ((batch.histograms, decoded.histograms), (batch.deltas.histograms, decoded.delta_histograms)):
                for histogram in messages:
                    listed.setdefault(self._of(histogram.series, histogram.time_ms), []).append(histogram)
            for exemplar in batch.exemplars:
                decoded.exemplars.setdefault(self.labels[exemplar.series], []).append(exemplar)
        return decoded

    def _of(self, series: int, time_ms: int) -> Labels:
        if (series, time_ms // 3_600_000 * 3600) not in self.hours:
            raise KeyError(f"series {series} has a sample at {time_ms} and was not announced for its hour")
        return self.labels[series]


@dataclass
class Door:
    """A translator with its cache, and a reader of its output."""

    names: Names = field(default_factory=Names)
    promoted: tuple[str, ...] = ()
    admit_series: AdmitSeries = admit_all
    cache: SeriesCache = field(default_factory=lambda: SeriesCache(10_000))
    reader: Reader = field(default_factory=Reader)

    def __post_init__(self) -> None:
        self._translator = OtlpTranslator(self.cache, self.names, self.promoted)

    def translate(self, message: ExportMetricsServiceRequest, tenant: str = "t") -> Translation:
        """Translate a request, and update the cache as after a durable append."""
        translation = self._translator.translate(tenant, message.SerializeToString(), T0_MS, self.admit_series)
        self.cache.learn(translation.learned)
        return translation

    def read_back(self, *metrics: Metric, resource: Attributes = SHOP, scope: str = "") -> Decoded:
        """The translation of a request with these metrics."""
        return self.reader.read(encoded_bodies(self.translate(request(*metrics, resource=resource, scope=scope))))


def encoded_bodies(translation: Translation, shards: int = 1, max_bytes: int = 8 << 20) -> list[bytes]:
    """The bodies of a translation."""
    return [body.samples + body.series for body in bodies(translation, shards, max_bytes)]


def refusals(translation: Translation) -> Mapping[str, int]:
    """Counts by reason."""
    return translation.refusals.counts
