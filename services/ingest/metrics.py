"""Metrics on their way into the log: translated to series at the door, so that no Python touches a sample behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Protocol

from pydantic import Field

from services.ingest.admission import Admitted, Cut
from tael.metrics.bodies import Body, bodies
from tael.metrics.cache import SeriesCache
from tael.metrics.names import Names, NameStyle
from tael.metrics.otlp import OtlpTranslator
from tael.metrics.remote_write_v1 import RemoteWriteV1
from tael.metrics.remote_write_v2 import RemoteWriteV2
from tael.metrics.translation import AdmitSeries, Translation
from tael.otlp.split import Part
from tael.runtime.config import CommaList, Settings

NS_PER_MS = 1_000_000


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
        description="Series that a receiver remembers, about 400 bytes each; beyond it the least recently used are announced again.",
    )


class Translator(Protocol):
    """One form of requests, translated."""

    def translate(self, tenant: str, request: bytes, now_ms: int, admit_series: AdmitSeries) -> Translation:
        """See tael.metrics. Raises Rejected when the request is malformed."""
        ...


@dataclass(frozen=True, slots=True)
class TranslatedAdmission:
    """Admission of requests that a translator understands. ``admit_series`` is asked for series that are not known, once an hour or more."""

    translator: Translator
    cache: SeriesCache
    admit_series: AdmitSeries

    def admit(self, tenant: str, request: bytes, cut: Cut) -> Admitted:
        """See Admission."""
        return self.cut(self.translate(tenant, request, cut), cut)

    def translate(self, tenant: str, request: bytes, cut: Cut) -> Translation:
        """The request's translation. Raises Rejected when it is malformed."""
        return self.translator.translate(tenant, request, cut.now_ns // NS_PER_MS, self.admit_series)

    def cut(self, translation: Translation, cut: Cut) -> Admitted:
        """A translation as parts. Its series are known once these are in the log."""
        parts = [_part(body) for body in bodies(translation, cut.router.shard_count, cut.max_bytes)]
        return Admitted(translation.items, translation.refusals, parts, partial(self.cache.learn, translation.learned))


def _part(body: Body) -> Part:
    identity = b"told" + body.told if body.told else b"announced" + body.announced
    return Part(body.shard, body.items, body.told + body.announced, identity)


class MetricAdmissions:
    """The forms that metrics come in, with one memory of series."""

    def __init__(self, settings: MetricSettings, admit_series: AdmitSeries) -> None:
        cache = SeriesCache(settings.series_cache)
        translator = OtlpTranslator(cache, Names(settings.metric_names), settings.metric_resource_labels)
        self.otlp = TranslatedAdmission(translator, cache, admit_series)
        self.remote_write = {
            1: TranslatedAdmission(RemoteWriteV1(cache), cache, admit_series),
            2: TranslatedAdmission(RemoteWriteV2(cache), cache, admit_series),
        }
