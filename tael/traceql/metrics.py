"""Metrics of TraceQL: series over time of the spans that a pipeline leaves.

A sample at time t counts the spans that started in (t - step, t]. The times are the multiples of the step from the one at or before the
start to the one at or after the end (Tempo's rule), or one sample of the whole range for an instant query. While spans are read, only
additive sums are kept, so shards and slices of time can be evaluated separately and merged; no span is kept, except for a few exemplars.

Durations are in seconds in results. Histograms have a bucket for each power of two (of nanoseconds, for durations), and quantiles are
interpolated in them exponentially.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tael.model.predicate import RELATIONS
from tael.traceql.ast import MetricsAggregate, MetricsFilter, Named, SecondStage, Static, TopK, Type
from tael.traceql.columns import Column, Mask, Rows
from tael.traceql.spans import Block
from tael.traceql.text import show

Floats = NDArray[np.float64]
Labels = tuple[tuple[str, Static | None], ...]
NS = 1e9
_COUNTED = ("rate", "count_over_time")
_BUCKETED = ("quantile_over_time", "histogram_over_time")


@dataclass(frozen=True, slots=True)
class Grid:
    """The times of a query's samples: ``count`` of them from ``start_ns`` on, ``step_ns`` apart; an instant query has one at its end."""

    start_ns: int
    step_ns: int
    count: int

    @classmethod
    def over(cls, start_ns: int, end_ns: int, step_ns: int) -> Grid:
        """The multiples of the step that cover a range."""
        first = start_ns // step_ns * step_ns
        return cls(first, step_ns, -(-(end_ns - first) // step_ns) + 1)

    @classmethod
    def instant(cls, start_ns: int, end_ns: int) -> Grid:
        """One sample of the whole range."""
        return cls(end_ns, max(1, end_ns - start_ns), 1)

    @property
    def range_ns(self) -> tuple[int, int]:
        """The range of spans to read: those that start after the first time and not after the second."""
        return self.start_ns - self.step_ns, self.start_ns + (self.count - 1) * self.step_ns

    def slots(self, start_ns: Rows) -> Rows:
        """The sample that each span is counted in; it may lie outside of ``range(count)``."""
        # Rounded up: windows exclude their start, so a span that starts exactly at a sample's time is counted in that sample.
        return -((self.start_ns - start_ns) // self.step_ns)

    def times_ms(self) -> list[int]:
        """The times of the samples in milliseconds."""
        return [(self.start_ns + at * self.step_ns) // 1_000_000 for at in range(self.count)]


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A span that was counted: its time, its value, and the labels that the query names."""

    time_ns: int
    value: float
    trace_id: bytes
    labels: Labels = ()


@dataclass(slots=True)
class Sums:
    """The sums of one series' spans, by step: their number, and their values' sum, smallest, largest and counts by power of two."""

    counts: NDArray[np.int64]
    sums: Floats
    least: Floats
    most: Floats
    buckets: dict[float, NDArray[np.int64]] = field(default_factory=dict)
    exemplars: list[Exemplar] = field(default_factory=list)

    @classmethod
    def none(cls, size: int) -> Sums:
        """The sums of no spans."""
        return cls(np.zeros(size, dtype=np.int64), np.zeros(size), np.full(size, np.inf), np.full(size, -np.inf))

    def add(self, other: Sums, exemplars: int) -> None:
        """Add the sums of other spans of the series, keeping at most ``exemplars``."""
        self.counts += other.counts
        self.sums += other.sums
        self.least, self.most = np.minimum(self.least, other.least), np.maximum(self.most, other.most)
        for bucket, counts in other.buckets.items():
            self.buckets[bucket] = self.buckets[bucket] + counts if bucket in self.buckets else counts
        self.exemplars = (self.exemplars + other.exemplars)[:exemplars]


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer: a value a step, NaN where there is none."""

    labels: Labels
    values: Floats
    exemplars: Sequence[Exemplar] = ()


class Accumulator:
    """Adds up spans for one metrics function, and returns its series."""

    def __init__(self, function: MetricsAggregate, grid: Grid, *, max_series: int, exemplars: int = 0) -> None:
        self._function = function
        self._grid = grid
        self._max_series = max_series
        self._exemplars = exemplars
        self.groups: dict[Labels, Sums] = {}
        self.truncated = False
        """Whether a series was left out because there would have been more than ``max_series``."""

    def add(self, block: Block, mask: Mask) -> None:
        """Count the spans of ``mask`` that start within the grid."""
        slots = self._grid.slots(block.start_ns)
        # Whole traces are read, so spans outside the grid are in the block too.
        rows = np.flatnonzero(mask & (slots >= 0) & (slots < self._grid.count))
        value = None if self._function.of is None else _value_column(self._function.of, block).take(rows)
        if value is not None:
            kept = value.numbers().has
            rows, value = rows[kept], value.take(np.flatnonzero(kept))
        for labels, at in self._grouped(block, rows):
            self.add_sums(labels, self._sums(block, rows[at], slots, None if value is None else value.take(at)))

    def add_sums(self, labels: Labels, sums: Sums) -> None:
        """Add a shard's sums of one series."""
        if labels not in self.groups:
            if len(self.groups) >= self._max_series:
                self.truncated = True
                return
            self.groups[labels] = Sums.none(self._grid.count)
        self.groups[labels].add(sums, self._exemplars)

    def series(self) -> list[Series]:
        """The series of the function, without second stages, by their labels."""
        # A count of nothing is a series of zeros; sums, and groups without spans, have no series.
        if not self.groups and self._function.op in _COUNTED and not self._function.by:
            self.groups[()] = Sums.none(self._grid.count)
        found = [series for labels, sums in self.groups.items() for series in self._of_group(labels, sums)]
        return sorted(found, key=_order)

    def _grouped(self, block: Block, rows: Rows) -> Iterable[tuple[Labels, Rows]]:
        if not self._function.by:
            return [((), np.arange(len(rows)))] if len(rows) else []
        columns = [(show(named), _value_column(named, block).take(rows)) for named in self._function.by]
        codes, values = zip(*(_codes(column) for _, column in columns), strict=True)
        keys, inverse = np.unique(np.stack(codes), axis=1, return_inverse=True)
        names = [name for name, _ in columns]
        found: list[tuple[Labels, Rows]] = []
        for number, key in enumerate(keys.T.tolist()):
            labels = tuple((name, own[code]) for name, own, code in zip(names, values, key, strict=True))
            found.append((labels, np.flatnonzero(inverse.ravel() == number)))
        return found

    def _sums(self, block: Block, rows: Rows, slots: Rows, value: Column | None) -> Sums:
        found, own = Sums.none(self._grid.count), slots[rows]
        found.counts = np.bincount(own, minlength=self._grid.count).astype(np.int64)
        values = None if value is None else _seconds(value)
        if value is not None and values is not None:
            found.sums = np.bincount(own, weights=values, minlength=self._grid.count).astype(np.float64)
            np.minimum.at(found.least, own, values)
            np.maximum.at(found.most, own, values)
            if self._function.op in _BUCKETED:
                found.buckets = _buckets(value, own, self._grid.count)
        if self._exemplars:
            found.exemplars = _exemplars(block, rows, values, self._exemplars)
        return found

    def _of_group(self, labels: Labels, sums: Sums) -> Iterable[Series]:
        op = self._function.op
        labels = _shown(labels, alone=op not in _BUCKETED)
        own = labels or ((("__name__", Static(Type.STRING, op)),) if op not in _BUCKETED else ())
        if op == "histogram_over_time":
            for bucket, counts in sorted(sums.buckets.items()):
                yield Series((("__bucket", Static(Type.FLOAT, bucket)), *labels), counts.astype(float), _within(sums.exemplars, bucket))
        elif op == "quantile_over_time":
            for quantile in self._function.quantiles if sums.buckets else ():
                yield Series((("p", Static(Type.FLOAT, quantile)), *labels), _quantiles(quantile, sums), sums.exemplars)
        else:
            yield Series(own, self._values(sums), sums.exemplars)

    def _values(self, sums: Sums) -> Floats:
        op, none = self._function.op, sums.counts == 0
        match op:
            case "rate":
                return sums.counts / (self._grid.step_ns / NS)
            case "count_over_time":
                return sums.counts.astype(float)
            case "avg_over_time":
                return np.where(none, np.nan, sums.sums / np.maximum(sums.counts, 1))
            case _:
                return np.where(none, np.nan, {"sum_over_time": sums.sums, "min_over_time": sums.least, "max_over_time": sums.most}[op])


def second_stages(stages: Sequence[SecondStage], series: Sequence[Series]) -> list[Series]:
    """``topk``, ``bottomk`` and comparisons, in order; a series without any sample left is dropped."""
    found = list(series)
    for stage in stages:
        if isinstance(stage, MetricsFilter):
            found = [
                Series(one.labels, np.where(RELATIONS[stage.op](one.values, stage.value), one.values, np.nan), one.exemplars)
                for one in found
            ]
        else:
            found = _top(stage, found)
        found = [one for one in found if not np.isnan(one.values).all()]
    return found


def _top(stage: TopK, series: Sequence[Series]) -> list[Series]:
    """At each step the n largest (smallest) samples; of equal ones those of the series that ranks first (last)."""
    ordered = sorted(series, key=_rank, reverse=stage.op == "bottomk")
    if not ordered:
        return []
    matrix = np.stack([one.values for one in ordered])
    sign = -1.0 if stage.op == "topk" else 1.0
    # NaN sorts last under either sign. A stable sort ranks equal samples as the rows are ordered.
    ranks = np.argsort(np.where(np.isnan(matrix), np.inf, sign * matrix), axis=0, kind="stable")
    kept = np.full(matrix.shape, fill_value=False)
    np.put_along_axis(kept, ranks[: stage.n], values=True, axis=0)
    found = [Series(one.labels, np.where(keep, one.values, np.nan), one.exemplars) for one, keep in zip(ordered, kept, strict=True)]
    return sorted(found, key=_order)


def merge(into: Accumulator, groups: Mapping[Labels, Sums]) -> None:
    """Add the groups of another shard or slice of time."""
    for labels, sums in groups.items():
        into.add_sums(labels, sums)


def _shown(labels: Labels, *, alone: bool) -> Labels:
    """Labels without those that are nil; the first of them stays where nothing else tells what the series is."""
    return tuple(label for label in labels if label[1] is not None) or (labels[:1] if alone else ())


def _rank(series: Series) -> list[tuple[str, float]]:
    """Which of two series with equal samples ``topk`` takes: the one whose texts come first, or whose numbers are larger (Tempo's rule)."""
    grouped = sorted(series.labels, key=lambda label: label[0] in ("p", "__bucket"))
    values = [None if value is None else value.value for _, value in grouped]
    return [(value, 0.0) if isinstance(value, str) else ("", -float(value or 0)) for value in values]


def _order(series: Series) -> tuple[tuple[str, str], ...]:
    return tuple((name, "" if value is None else str(value.value)) for name, value in series.labels)


def _value_column(named: Named, block: Block) -> Column:
    """A field's value for each span; of an event's or link's field, the value in the span's first event or link."""
    for elements in (block.events, block.links):
        if named in elements.columns:
            first = dict(zip(elements.owner[::-1].tolist(), range(len(elements.owner) - 1, -1, -1), strict=True))
            at = np.array([first.get(row, -1) for row in range(block.size)], dtype=np.int64)
            return elements.columns[named].take(np.maximum(at, 0)).where(at >= 0)
    return block.column(named)


def _codes(column: Column) -> tuple[Rows, list[Static | None]]:
    """A code for each distinct value, 0 for nil (lists count as nil), and the values by code."""
    codes = np.zeros(column.size, dtype=np.int64)
    values: list[Static | None] = [None]
    for kind, typed in column.typed.items():
        rows = np.flatnonzero(typed.has)
        distinct, inverse = np.unique(typed.values[rows], return_inverse=True)
        codes[rows] = inverse.ravel() + len(values)
        values += [Static(kind, value if kind is Type.STRING else value.item()) for value in distinct]
    return codes, values


def _seconds(value: Column) -> Floats:
    numbers = value.numbers().values
    durations = value.typed.get(Type.DURATION)
    return numbers if durations is None else np.where(durations.has, numbers / NS, numbers)


def _buckets(value: Column, slots: Rows, size: int) -> dict[float, NDArray[np.int64]]:
    """Counts by the power of two at or above each value; values below 2 are in no bucket (Tempo's rule)."""
    raw = value.numbers().values
    durations = value.typed.get(Type.DURATION)
    unit = NS if durations is not None and durations.has.any() else 1.0
    large = raw >= 2
    # log2 of a power of two is exact, so a value on a bound falls into the bucket that ends there.
    powers = np.ceil(np.log2(raw[large]))
    found: dict[float, NDArray[np.int64]] = {}
    for power in np.unique(powers).tolist():
        counted = np.bincount(slots[large][powers == power], minlength=size)
        found[math.ldexp(1.0, int(power)) / unit] = counted.astype(np.int64)
    return found


def _quantiles(quantile: float, sums: Sums) -> Floats:
    """The quantile at each step, from the non-empty buckets: a bucket's upper bound where the rank is its last one, else interpolated in
    it.
    """
    bounds, steps = np.array(sorted(sums.buckets)), np.arange(len(sums.counts))
    if not len(bounds) or not 0 <= quantile <= 1:
        return np.zeros(len(steps))
    counts = np.stack([sums.buckets[bound] for bound in bounds.tolist()])
    until = counts.cumsum(axis=0)
    wanted = np.maximum(1, np.ceil(quantile * until[-1]))
    at = (until >= wanted).argmax(axis=0)
    here = counts[at, steps]
    filled = np.maximum.accumulate(np.where(counts > 0, np.arange(len(bounds))[:, None], -1), axis=0)
    previous = np.where(at > 0, filled[at - 1, steps], -1)
    # math and not numpy, whose logarithms may differ in the last digit by processor.
    powers = np.array([math.log2(bound) for bound in bounds.tolist()])
    high = powers[at]
    low = np.where(previous >= 0, powers[previous], high - 1)
    between = low + (high - low) * (wanted - until[at, steps] + here) / np.maximum(here, 1)
    found = np.where(until[at, steps] == wanted, bounds[at], [math.exp2(power) for power in between.tolist()])
    return np.where(until[-1] > 0, found, 0.0)


def _exemplars(block: Block, rows: Rows, values: Floats | None, limit: int) -> list[Exemplar]:
    # Spread evenly over the rows, and so over the traces, whose rows are consecutive: the first rows would all be of one trace.
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).astype(np.int64)) if len(rows) else np.zeros(0, dtype=np.int64)
    return [
        Exemplar(int(block.start_ns[rows[at]]), 1.0 if values is None else float(values[at]), block.trace_ids[block.trace[rows[at]]])
        for at in chosen.tolist()
    ]


def _within(exemplars: Sequence[Exemplar], bucket: float) -> list[Exemplar]:
    return [exemplar for exemplar in exemplars if bucket / 2 < exemplar.value <= bucket]
