"""Metrics on their way into the log: translated to series at the door, so that no Python touches a sample behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from services.ingest.admission import Admitted, Cut
from tael.metrics.bodies import Body, bodies
from tael.metrics.cache import SeriesCache
from tael.metrics.translation import AdmitSeries, Translation
from tael.model.series import Labels
from tael.otlp.split import Part

NS_PER_MS = 1_000_000


class Translator(Protocol):
    """One form of requests, translated."""

    def translate(self, tenant: str, request: bytes, now_ms: int, admit_series: AdmitSeries) -> Translation:
        """See tael.metrics. Raises Rejected when the request is malformed."""
        ...


def admit_all(tenant: str, metric_name: str, labels: Labels) -> str:  # noqa: ARG001
    """No limit of series."""
    return ""


@dataclass(slots=True)
class TranslatedAdmission:
    """Admission of requests that a translator understands. ``admit_series`` may be replaced: it is asked for series that are not known."""

    translator: Translator
    cache: SeriesCache
    admit_series: AdmitSeries = admit_all

    def admit(self, tenant: str, request: bytes, cut: Cut) -> Admitted:
        """See Admission."""
        translation = self.translator.translate(tenant, request, cut.now_ns // NS_PER_MS, self.admit_series)
        return self.admitted(translation, cut)

    def admitted(self, translation: Translation, cut: Cut) -> Admitted:
        """A translation as parts. Its series are known once these are in the log."""
        parts = [_part(body) for body in bodies(translation, cut.router.shard_count, cut.max_bytes)]
        return Admitted(translation.items, translation.refusals, parts, self._learn(translation))

    def _learn(self, translation: Translation) -> Callable[[], None]:
        return lambda: self.cache.learn(translation.learned)


def _part(body: Body) -> Part:
    identity = b"told" + body.told if body.told else b"announced" + body.announced
    return Part(body.shard, body.items, body.told + body.announced, identity)
