"""Columns as ClickHouse answers them, put together as samples and grids; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tael.model.histogram import Buckets, Histograms, from_columns, offsets_of
from tael.model.series import STALE, Bools, Floats, Grid, GridFunction, Longs, Samples, is_stale
from tael.storage.clickhouse.native import Column, lists, numbers, optional
from tael.storage.clickhouse.series.labels import Ordered
from tael.storage.clickhouse.series.query_builder import HISTOGRAM_COLUMNS
from tael.storage.clickhouse.series.runs import Numbers, Runs, runs
from tael.vectors.ranges import rollups
from tael.vectors.ranges.rollups import Places


@dataclass(frozen=True, slots=True)
class Numbered:
    """Samples whose series are known by their numbers only, as rows in ``runs``; see Samples."""

    runs: Runs
    times_ms: Longs
    values: Floats
    histogram: Longs | None = None
    histograms: Histograms | None = None
    weights: Floats | None = None


@dataclass(frozen=True, slots=True)
class NumberedGrid:
    """A grid whose series are known by their numbers only; see Grid."""

    series: Numbers
    values: Floats
    present: Bools


def samples(floats: Sequence[Sequence[Column]], histograms: Sequence[Column]) -> Numbered | None:
    """Samples of the rows that ``select_samples`` and ``select_histograms`` ask for, the former by blocks.

    None when some overlap, so that they are to be asked for merged.
    """
    blocks = [[numbers(column) for column in block] for block in floats] or [[np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0)]]
    found = runs([(series, times) for series, times, _ in blocks])
    if found is None:
        return None
    if histograms:
        return _mixed([np.concatenate(parts) for parts in zip(*blocks, strict=True)], histograms)
    return Numbered(found, np.concatenate([times for _, times, _ in blocks]), np.concatenate([values for *_, values in blocks]))


def _mixed(floats: Sequence[npt.NDArray[Any]], columns: Sequence[Column]) -> Numbered | None:
    """Floats and histograms by series and time; where both are at one time, the histogram."""
    series, times = (np.concatenate((floats[column], numbers(columns[column]))) for column in (0, 1))
    read = _histograms(columns)
    ended = is_stale(read.sum)
    # A histogram with a stale sum is no histogram but the same marker that ends a series of floats.
    values = np.concatenate((floats[2], np.where(ended, STALE, np.nan)))
    position = np.concatenate((np.full(len(floats[0]), -1, np.int64), np.where(ended, -1, np.arange(len(read)))))
    # Histograms were put behind floats, so of two rows at one time the last is the histogram.
    order = np.lexsort((np.arange(len(series)), times, series))
    series, times = series[order], times[order]
    last = np.ones(len(order), np.bool_)
    last[:-1] = (series[1:] != series[:-1]) | (times[1:] != times[:-1])
    found = runs([(series[last], times[last])])
    weights = _weights(len(floats[0]), columns)
    return (
        None
        if found is None
        else Numbered(
            found, times[last], values[order][last], position[order][last], read, None if weights is None else weights[order][last]
        )
    )


def _weights(floats: int, columns: Sequence[Column]) -> Floats | None:
    """How many samples each row stands for; None where rollups were not asked for."""
    if len(columns) == len(HISTOGRAM_COLUMNS):
        return None
    return np.concatenate((np.ones(floats), np.maximum(numbers(columns[-1]), 1.0)))


def _histograms(columns: Sequence[Column]) -> Histograms:
    schema, count, total, zero_threshold, zero_count = (numbers(column) for column in columns[2:7])
    positive_index, positive, negative_index, negative, custom = (lists(column) for column in columns[7:12])
    return from_columns(
        schema=schema,
        count=count,
        sum=total,
        zero_threshold=zero_threshold,
        zero_count=zero_count,
        positive=Buckets(positive.offsets, numbers(positive_index.values), numbers(positive.values)),
        negative=Buckets(negative.offsets, numbers(negative_index.values), numbers(negative.values)),
        custom=(custom.offsets, numbers(custom.values)),
        reset_hint=numbers(columns[12]),
    )


def labelled(found: Numbered, order: Ordered) -> Samples:
    """The samples of the series whose labels are known, by labels."""
    runs, at = found.runs, order.positions
    histogram = None if found.histogram is None else runs.take(found.histogram, at)
    offsets = offsets_of(runs.samples()[at])
    weights = None if found.weights is None else runs.take(found.weights, at)
    return Samples(
        order.labels, offsets, runs.take(found.times_ms, at), runs.take(found.values, at), histogram, found.histograms, weights=weights
    )


def joined(read: Sequence[NumberedGrid], steps: Sequence[int]) -> NumberedGrid:
    """The grids of consecutive stretches of time as one; ``steps`` says how many each stretch has."""
    if len(read) == 1:
        return read[0]
    series = np.unique(np.concatenate([part.series for part in read]))
    values, present = np.full((len(series), sum(steps)), np.nan), np.zeros((len(series), sum(steps)), np.bool_)
    begin = 0
    for part, count in zip(read, steps, strict=True):
        rows = np.searchsorted(series, part.series)
        values[rows, begin : begin + count] = part.values
        present[rows, begin : begin + count] = part.present
        begin += count
    return NumberedGrid(series, values, present)


def grid_of_buckets(columns: Sequence[Column], function: GridFunction, at: Places) -> NumberedGrid:
    """The grid of the rows that ``query_builder.buckets`` asks for."""
    if not columns:
        return grid((), len(at.ends_ms), function)
    of, ends, *others = (numbers(column) for column in columns)
    series, firsts = np.unique(of, return_index=True)
    named = dict(zip(rollups.COLUMNS[function], others, strict=True))
    values, present = rollups.over(rollups.Buckets(np.append(firsts, len(of)), ends, named), function, at)
    return NumberedGrid(series, np.where(present, values, np.nan), present)


def grid(columns: Sequence[Column], steps: int, function: GridFunction) -> NumberedGrid:
    """The grid of a statement of ``query_builder.grid`` over so many steps."""
    if not columns:
        return NumberedGrid(np.empty(0, np.uint64), np.empty((0, steps)), np.empty((0, steps), np.bool_))
    series, cells = numbers(columns[0]), optional(lists(columns[1]).values)
    present = ~cells.missing
    values = numbers(cells.values).astype(np.float64)
    if function == "last":
        present &= ~is_stale(values)
    values[~present] = np.nan
    shape = (len(series), steps)
    return NumberedGrid(series, values.reshape(shape), present.reshape(shape))


def doubtful(found: NumberedGrid, function: GridFunction) -> bool:
    """Whether a shard's arithmetic shows where Prometheus' would not.

    Its mean adds up before it divides, which may overflow; its rate takes resets that have left the window out of a running sum, where an
    infinite one leaves NaN behind.
    """
    if function == "avg_over_time":
        return bool(np.isinf(found.values).any())
    return function in {"rate", "increase"} and bool((np.isnan(found.values) & found.present).any())


def labelled_grid(found: NumberedGrid, order: Ordered) -> Grid:
    """The grids of the series whose labels are known, by labels; a series that has ended before the first step is left out."""
    labels, at = order.labels, order.positions
    present = found.present[at]
    some = present.any(axis=1)
    if not some.all():
        at, present, labels = at[some], present[some], [labels[row] for row in np.flatnonzero(some).tolist()]
    return Grid(labels, found.values[at], present)
