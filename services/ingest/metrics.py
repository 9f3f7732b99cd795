"""Admission of metrics: translated to Prometheus series on arrival, so that no Python code touches a sample after the WAL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest as ExportMetrics
from pydantic import Field

from services.ingest.admission import Admitted, Census, Cut
from tael.metrics.bodies import Body, bodies
from tael.metrics.cache import SeriesCache
from tael.metrics.identity import MAX_TIME_MS
from tael.metrics.names import Names, NameStyle
from tael.metrics.otlp import OtlpTranslator
from tael.metrics.remote_write_v1 import V1_TREE, RemoteWriteV1
from tael.metrics.remote_write_v2 import V2_TREE, RemoteWriteV2
from tael.metrics.translation import Accepts, AdmitSeries, Translation
from tael.model.lanes import aside_of, near
from tael.otlp.census import ENVELOPE_TREE, Node, allowed, request_tree
from tael.otlp.scan import Kept
from tael.otlp.split import Part
from tael.runtime.config import CommaList, Settings

NS_PER_MS = 1_000_000
_SERIES_COUNTED_ABOVE_BYTES = 256 << 10
"""Smaller remote-write requests are parsed so quickly that their series are counted during translation."""


class MetricSettings(Settings):
    """How metrics become Prometheus series."""

    metric_names: NameStyle = Field(
        default="underscores",
        alias="TAEL_METRIC_NAMES",
        description="How OTLP's names of metrics and attributes become Prometheus': `underscores` replaces what Prometheus did not allow before UTF-8"
        " names and appends unit and `_total`, `utf8` only appends them, `underscores-without-suffixes` and `untranslated` append nothing.",
    )
    metric_resource_labels: CommaList = Field(
        default=(),
        alias="TAEL_METRIC_RESOURCE_LABELS",
        description="Resource attributes that become labels of every series, besides `job` and `instance`; the others are in `target_info`.",
    )
    series_cache: int = Field(
        default=500_000,
        ge=1,
        le=100_000_000,
        alias="TAEL_SERIES_CACHE",
        description="Series that a receiver remembers, about 400 bytes each; forgotten ones (the least recently used) are announced again.",
    )


class Translator(Protocol):
    """Translates requests of one format."""

    def translate(self, tenant: str, request: bytes, now_ms: int, admit_series: AdmitSeries, accepts: Accepts) -> Translation:
        """See tael.metrics. Raises Rejected when the request is malformed."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """Which samples are accepted: within the tenant's retention (``kept``), at most ``ahead_ms`` in the future, and up to ``most_points`` a
    request.

    Samples more than ``near_hours`` from now go to their shard's second WAL.
    """

    kept: Callable[[str, int], Kept]
    most_points: int
    near_hours: int
    ahead_ms: int | None = None

    def accepts(self, tenant: str, request: bytes, now_ns: int) -> Accepts:
        """The samples accepted from one request."""
        kept = self.kept(tenant, now_ns)
        newest_ms = MAX_TIME_MS - 1 if self.ahead_ms is None else now_ns // NS_PER_MS + self.ahead_ms
        return Accepts(kept.since_ns // NS_PER_MS, newest_ms, allowed(len(request), self.most_points), kept.set_by)


@dataclass(frozen=True, slots=True)
class TranslatedAdmission:
    """Admission of requests through a translator. ``admit_series`` is called for series that are not in the cache, at least once an hour
    each.
    """

    translator: Translator
    cache: SeriesCache
    admit_series: AdmitSeries
    bounds: Bounds
    census: Census

    def is_light(self, request: bytes) -> bool:
        """See Admission."""
        return self.census.holds_few(request)

    def weigh(self, request: bytes) -> int:
        """See Admission."""
        return self.census.count(request)

    def admit(self, tenant: str, request: bytes, cut: Cut) -> Admitted:
        """See Admission."""
        return self.cut(self.translate(tenant, request, cut), cut)

    def translate(self, tenant: str, request: bytes, cut: Cut) -> Translation:
        """The request's translation. Raises Rejected when it is malformed."""
        accepts = self.bounds.accepts(tenant, request, cut.now_ns)
        return self.translator.translate(tenant, request, cut.now_ns // NS_PER_MS, self.admit_series, accepts)

    def cut(self, translation: Translation, cut: Cut) -> Admitted:
        """A translation cut into parts. Its series are added to the cache once all parts are in the WAL."""
        here, aside = translation.apart(near(cut.now_ns, self.bounds.near_hours))
        parts = [_part(body, body.shard) for body in bodies(here, cut.router.shard_count, cut.max_bytes)]
        if aside is not None:
            parts += [_part(body, aside_of(body.shard)) for body in bodies(aside, cut.router.shard_count, cut.max_bytes)]
        return Admitted(translation.items, translation.refusals, parts, partial(self.cache.learn, translation.learned))


def _part(body: Body, wal: int) -> Part:
    # Announced series are left out of the identity, as they depend on this receiver's cache: a resend must be recognised
    # whichever receiver takes it (ADR 0005). The prefixes enter the digests by which other versions recognise resends: never change them.
    identity = b"told" + body.samples if body.samples else b"announced" + body.series
    return Part(wal, body.items, body.samples + body.series, identity)


class MetricAdmissions:
    """The admissions of every metrics format, sharing one cache of series. Remote write may send samples up to ``ahead_seconds`` in the
    future.
    """

    def __init__(self, settings: MetricSettings, admit_series: AdmitSeries, bounds: Bounds, ahead_seconds: float) -> None:
        cache, most = SeriesCache(settings.series_cache), bounds.most_points
        translator = OtlpTranslator(cache, Names(settings.metric_names), settings.metric_resource_labels)
        self.otlp = TranslatedAdmission(translator, cache, admit_series, bounds, Census(ENVELOPE_TREE, request_tree(ExportMetrics), most))
        written = replace(bounds, ahead_ms=int(ahead_seconds * 1000))
        self.remote_write = {
            version: TranslatedAdmission(made(cache), cache, admit_series, written, Census(Node(), root, most, _SERIES_COUNTED_ABOVE_BYTES))
            for version, made, root in ((1, RemoteWriteV1, V1_TREE), (2, RemoteWriteV2, V2_TREE))
        }
