"""Increments made into running totals, which is what Prometheus' functions expect; pure.

A series' increments are added in the order of their times, one batch of the log after the other. What is not later than the total that it
would be added to is left out: that makes a batch that is repeated add nothing, and costs an increment that overtook another.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import TypeAlias

from tael.metrics.accumulate import add_histogram
from tael.pb.metrics_pb2 import Histogram, MetricBatch, OnlyDeltas
from tael.wal import codec

Increment: TypeAlias = "tuple[int, int, int, float]"
"""Time in ms, metric id, series id, amount."""
Total: TypeAlias = "tuple[int, float]"
"""Time in ms and value of a series' last sample."""


@dataclass(slots=True)
class Increments:
    """What a batch adds to one tenant's series, ordered by time; of one time, as the log has it."""

    tenant: str
    received_at_ns: int
    samples: list[Increment] = field(default_factory=list)
    histograms: list[Histogram] = field(default_factory=list)


def read_increments(bodies: Iterable[bytes]) -> list[Increments]:
    """The increments in bodies of the log, by tenant; nothing for bodies without any, which is cheap to see."""
    found: dict[str, Increments] = {}
    for body in bodies:
        for record in codec.decode(body):
            message = OnlyDeltas.FromString(record.request)
            if message.HasField("deltas"):
                deltas = message.deltas
                tenant = found.setdefault(record.tenant, Increments(record.tenant, record.received_at))
                tenant.samples += zip(deltas.time_ms, deltas.metric, deltas.series, deltas.value, strict=True)
                tenant.histograms += deltas.histograms
    for increments in found.values():
        increments.samples.sort(key=itemgetter(0))
        increments.histograms.sort(key=attrgetter("time_ms"))
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Unknown:
    """Metric and series ids whose totals are to be looked up."""

    samples: Sequence[tuple[int, int]]
    histograms: Sequence[tuple[int, int]]


class Totals:
    """The running totals of one shard's series, at most ``max_series`` of each kind; those used longest ago are forgotten first."""

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._samples: OrderedDict[int, Total] = OrderedDict()
        self._histograms: OrderedDict[int, Histogram] = OrderedDict()

    def unknown(self, increments: Increments) -> Unknown:
        """The series that nothing is known of."""
        samples = {(metric, series) for _, metric, series, _ in increments.samples if series not in self._samples}
        histograms = {(item.metric, item.series) for item in increments.histograms if item.series not in self._histograms}
        return Unknown(sorted(samples), sorted(histograms))

    def learn(self, samples: Iterable[tuple[int, Total]], histograms: Iterable[Histogram]) -> None:
        """Take in what the hot tier has; a series that it does not have begins at zero."""
        self._samples.update(samples)
        self._histograms.update((histogram.series, histogram) for histogram in histograms)

    def add(self, increments: Increments) -> tuple[MetricBatch, int]:
        """The totals after each increment, as samples and histograms, and how many increments were left out."""
        batch, dropped = MetricBatch(), 0
        rows: list[Increment] = []
        for time_ms, metric, series, amount in increments.samples:
            last_ms, total = self._samples.get(series, (-1, 0.0))
            if time_ms <= last_ms or not math.isfinite(amount):
                dropped += 1
                continue
            total += amount
            self._samples[series] = (time_ms, total)
            self._samples.move_to_end(series)
            rows.append((time_ms, metric, series, total))
        for increment in increments.histograms:
            last = self._histograms.get(increment.series)
            if last is not None and increment.time_ms <= last.time_ms:
                dropped += 1
                continue
            grown = increment if last is None else add_histogram(last, increment)
            self._histograms[increment.series] = grown
            self._histograms.move_to_end(increment.series)
            batch.histograms.append(grown)
        for name, column in zip(("time_ms", "metric", "series", "value"), zip(*rows, strict=True), strict=False):
            getattr(batch, name).extend(column)
        self._forget()
        return batch, dropped

    def _forget(self) -> None:
        for kept in (self._samples, self._histograms):
            while len(kept) > self._max_series:
                kept.popitem(last=False)
