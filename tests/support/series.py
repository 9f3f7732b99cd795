"""A SeriesReader over lists in memory, and the same series written into a hot tier.

The one in memory is for tests of the port's users, and the simplest implementation to compare others with.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from tael.errors import TooLarge
from tael.metrics.identity import metric_id, series_id
from tael.model import histogram
from tael.model.histogram import Histograms
from tael.model.series import METRIC_NAME, Exemplar, Family, Grid, GridRequest, Labels, Matcher, Samples, Selection, labels_of
from tael.model.signals import METRICS
from tael.pb.metrics_pb2 import Histogram, MetricBatch
from tael.storage.api import Answer, SeriesReader
from tael.storage.clickhouse.series.reader import ClickHouseSeries
from tael.storage.merged_series import MergedSeries
from tael.wal import codec
from tests.support.storage import HotTier, lone

Sample = float | Histograms
"""A float, or one histogram."""

_HOUR_MS = 3_600_000


class SeriesStore(Protocol):
    """A store of series: the reader under test, and methods to write to it."""

    @property
    def reader(self) -> SeriesReader:
        """The reader under test."""
        ...

    def add(self, labels: Mapping[str, str] | Labels, samples: Iterable[tuple[int, Sample]], *, tenant: str = "t1") -> None:
        """Have ``(time in ms, value)`` pairs of one series written by the next ``flush``; of one time the last counts."""
        ...

    def add_family(self, family: Family, *, tenant: str = "t1") -> None:
        """Have metadata written by the next ``flush``."""
        ...

    def add_exemplar(self, exemplar: Exemplar, *, tenant: str = "t1") -> None:
        """Have an exemplar of a series that was added written by the next ``flush``."""
        ...

    async def flush(self) -> None:
        """Write what was added since the last flush."""
        ...


@dataclass
class MemorySeries:
    """A SeriesReader in memory. ``add`` writes; of samples with the same time the last one counts.

    It returns no grids, so that callers have to evaluate the samples, which is the subject of tests of evaluation.
    """

    _samples: dict[tuple[str, Labels], dict[int, Sample]] = field(default_factory=dict)
    _families: dict[str, list[Family]] = field(default_factory=dict)
    _exemplars: dict[str, list[Exemplar]] = field(default_factory=dict)

    def add(self, labels: Mapping[str, str] | Labels, samples: Iterable[tuple[int, Sample]], *, tenant: str = "t1") -> None:
        """Write ``(time in ms, value)`` pairs of one series."""
        series = labels if isinstance(labels, tuple) else labels_of(labels)
        self._samples.setdefault((tenant, series), {}).update(samples)

    def add_family(self, family: Family, *, tenant: str = "t1") -> None:
        """Write metadata."""
        self._families.setdefault(tenant, []).append(family)

    def add_exemplar(self, exemplar: Exemplar, *, tenant: str = "t1") -> None:
        """Write an exemplar."""
        self._exemplars.setdefault(tenant, []).append(exemplar)

    def clear(self) -> None:
        """Forget everything."""
        for held in (self._samples, self._families, self._exemplars):
            held.clear()

    @property
    def reader(self) -> SeriesReader:
        """Itself."""
        return self

    async def flush(self) -> None:
        """Does nothing, as ``add`` writes at once."""

    async def select(self, tenant: str, selection: Selection, max_samples: int) -> Answer[Samples]:
        """See SeriesReader."""
        found: list[tuple[Labels, list[tuple[int, Sample]]]] = []
        for labels, samples in self._matching(tenant, selection.matchers):
            inside = sorted((t, value) for t, value in samples.items() if selection.start_ms < t <= selection.end_ms)
            if inside:
                found.append((labels, inside))
        if sum(len(inside) for _, inside in found) > max_samples:
            raise TooLarge("query processing would load too many samples into memory in query execution")
        return Answer(samples_of(found))

    async def grid(self, tenant: str, request: GridRequest, max_series: int) -> Answer[Grid] | None:
        """None: see the class."""
        del tenant, request, max_series
        return None

    async def list_series(self, tenant: str, selection: Selection, limit: int) -> Answer[list[Labels]]:
        """See SeriesReader."""
        first, last = selection.start_ms // _HOUR_MS, selection.end_ms // _HOUR_MS
        found = (
            labels
            for labels, samples in self._matching(tenant, selection.matchers)
            if any(first <= time_ms // _HOUR_MS <= last for time_ms in samples)
        )
        return Answer(_first(found, limit))

    async def label_names(self, tenant: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader."""
        series = await self.list_series(tenant, selection, 0)
        return Answer(_first({name for labels in series.value for name, _ in labels}, limit))

    async def label_values(self, tenant: str, name: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader."""
        series = await self.list_series(tenant, selection, 0)
        return Answer(_first({value for labels in series.value for known, value in labels if known == name}, limit))

    async def families(self, tenant: str, metric: str, limit: int) -> Answer[list[Family]]:
        """See SeriesReader."""
        found = {family for family in self._families.get(tenant, []) if metric in ("", family.name)}
        kept = sorted(found, key=lambda family: (family.name, family.type, family.unit, family.help))
        return Answer(kept[:limit] if limit else kept)

    async def exemplars(self, tenant: str, matchers: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int) -> Answer[list[Exemplar]]:
        """See SeriesReader."""
        found = [
            exemplar
            for exemplar in self._exemplars.get(tenant, [])
            if start_ms <= exemplar.time_ms <= end_ms and any(matches(exemplar.series, several) for several in matchers)
        ]
        return Answer(sorted(found, key=lambda exemplar: (exemplar.series, exemplar.time_ms)))

    def _matching(self, tenant: str, matchers: Sequence[Matcher]) -> list[tuple[Labels, dict[int, Sample]]]:
        found = [(labels, samples) for (owner, labels), samples in self._samples.items() if owner == tenant and matches(labels, matchers)]
        return sorted(found, key=lambda item: item[0])


def matches(labels: Labels, matchers: Sequence[Matcher]) -> bool:
    """Whether a label set matches every matcher."""
    values = dict(labels)
    return all(matcher.matches(values.get(matcher.name, "")) for matcher in matchers)


def samples_of(series: Sequence[tuple[Labels, Sequence[tuple[int, Sample]]]]) -> Samples:
    """Samples in this order."""
    flat = [sample for _, samples in series for sample in samples]
    offsets = histogram.offsets_of(np.array([len(samples) for _, samples in series], np.int64))
    times = np.array([time_ms for time_ms, _ in flat], np.int64)
    values = np.array([value if isinstance(value, float | int) else np.nan for _, value in flat], np.float64)
    several = [value for _, value in flat if isinstance(value, Histograms)]
    labels = [labels for labels, _ in series]
    if not several:
        return Samples(labels, offsets, times, values)
    is_histogram = np.array([isinstance(value, Histograms) for _, value in flat])
    positions = np.where(is_histogram, np.cumsum(is_histogram) - 1, -1)
    return Samples(labels, offsets, times, values, positions, histogram.concatenate(several))


def _first(found: Iterable[Labels] | Iterable[str], limit: int) -> list:  # type: ignore[type-arg]  # either of the two
    ordered = sorted(found)
    return ordered[:limit] if limit else ordered


class StoredSeries:
    """Writes series into a hot tier as ingest does, each to one shard; ``add`` as for MemorySeries, and ``flush`` to write."""

    def __init__(self, tier: HotTier) -> None:
        self._tier = tier
        self._batches: dict[tuple[str, int], MetricBatch] = {}

    def add(
        self, labels: Mapping[str, str] | Labels, samples: Iterable[tuple[int, Sample]], *, tenant: str = "t1", number: int | None = None
    ) -> None:
        """Have ``(time in ms, value)`` pairs of one series written by the next ``flush``, under another ``number`` than its own where one
        is said.
        """
        series = labels if isinstance(labels, tuple) else labels_of(labels)
        metric, own = numbers_of(tenant, series)
        number = own if number is None else number
        batch = self._batches.setdefault((tenant, number % len(self._tier.clickhouses)), MetricBatch())
        hours = set()
        for time_ms, value in samples:
            hours.add(time_ms // _HOUR_MS * 3600)
            if isinstance(value, Histograms):
                batch.histograms.append(_message(value, metric, number, time_ms))
            else:
                batch.metric.append(metric)
                batch.series.append(number)
                batch.time_ms.append(time_ms)
                batch.value.append(value)
        names, values = zip(*series, strict=True) if series else ((), ())
        for hour in sorted(hours):
            batch.new_series.add(metric=metric, series=number, hour=hour, label_names=names, label_values=values)

    def add_family(self, family: Family, *, tenant: str = "t1") -> None:
        """Have metadata written by the next ``flush``."""
        batch = self._batches.setdefault((tenant, 0), MetricBatch())
        batch.families.add(name=family.name, type=family.type, unit=family.unit, help=family.help, hour=0)

    def add_exemplar(self, exemplar: Exemplar, *, tenant: str = "t1") -> None:
        """Have an exemplar of a series that was added written by the next ``flush``."""
        metric, number = numbers_of(tenant, exemplar.series)
        names, values = zip(*exemplar.labels, strict=True)
        self._batches[tenant, number % len(self._tier.clickhouses)].exemplars.add(
            metric=metric, series=number, time_ms=exemplar.time_ms, value=exemplar.value, label_names=names, label_values=values
        )

    @property
    def reader(self) -> SeriesReader:
        """The reader of a single shard, or the merged one of all shards."""
        shards = self._tier.shards(lambda clickhouse, source: ClickHouseSeries(clickhouse, source=source))
        return lone(shards) or MergedSeries(self._tier.gather(shards))

    async def flush(self) -> None:
        """Write what was added since the last flush."""
        writers = self._tier.writers
        for half in self._tier.halves:
            for (tenant, shard), batch in self._batches.items():
                body = batch if half is None else _half(batch, half)
                await writers[shard].write(METRICS, codec.encode(tenant, 1, body.SerializeToString()), secrets.token_hex(8))
            await self._tier.roll(half)
        self._batches.clear()


def _half(batch: MetricBatch, half: int) -> MetricBatch:
    """The samples, histograms and exemplars at even or odd places, with all series."""
    part = MetricBatch(new_series=batch.new_series, families=batch.families)
    for name in ("metric", "series", "time_ms", "value", "histograms", "exemplars"):
        getattr(part, name).extend(getattr(batch, name)[half::2])
    return part


def numbers_of(tenant: str, series: Labels) -> tuple[int, int]:
    """The ids of a series' metric and of the series."""
    return metric_id(dict(series).get(METRIC_NAME, "")), series_id(tenant, series)


def _message(histograms: Histograms, metric: int, series: int, time_ms: int) -> Histogram:
    bounds = int(histograms.bounds[0])
    return Histogram(
        metric=metric,
        series=series,
        time_ms=time_ms,
        schema=int(histograms.schema[0]),
        count=float(histograms.count[0]),
        sum=float(histograms.sum[0]),
        zero_threshold=float(histograms.zero_threshold[0]),
        zero_count=float(histograms.zero_count[0]),
        positive_index=histograms.positive.index.tolist(),
        positive_counts=histograms.positive.counts.tolist(),
        negative_index=histograms.negative.index.tolist(),
        negative_counts=histograms.negative.counts.tolist(),
        custom_bounds=[] if bounds < 0 else histograms.layouts[bounds],
        reset_hint=int(histograms.reset_hint[0]),
    )
