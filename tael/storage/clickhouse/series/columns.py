"""Columns of ClickHouse's answers, assembled into samples and grids; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tael.model.histogram import Buckets, Histograms, from_columns, offsets_of
from tael.model.series import STALE, Bools, Floats, Grid, GridFunction, Longs, Samples, is_stale
from tael.storage.clickhouse.native import Column, lists, numbers, optional
from tael.storage.clickhouse.series.arriving import Arriving
from tael.storage.clickhouse.series.labels import Ordered
from tael.storage.clickhouse.series.query_builder import HISTOGRAM_COLUMNS
from tael.storage.clickhouse.series.runs import Numbers, Runs, runs
from tael.vectors.ranges import rollups
from tael.vectors.ranges.rollups import Places


@dataclass(frozen=True, slots=True)
class Numbered:
    """Samples of series that are known by number only, their rows ordered by ``runs``; see Samples for the other fields."""

    runs: Runs
    times_ms: Longs
    values: Floats
    histogram: Longs | None = None
    histograms: Histograms | None = None
    weights: Floats | None = None


@dataclass(frozen=True, slots=True)
class NumberedGrid:
    """A grid of series that are known by number only; see Grid for the other fields."""

    series: Numbers
    values: Floats
    present: Bools


def samples(floats: Arriving, histograms: Sequence[Column]) -> Numbered | None:
    """The samples of the answers to ``select_samples`` and ``select_histograms``.

    None when rows of a series overlap: the caller has to select them merged. Raises Unavailable for floats that cannot be read.
    """
    found = runs(floats.blocks())
    if found is None:
        return None
    if histograms:
        return _mixed(floats.columns, histograms)
    _, times, values = floats.columns
    return Numbered(found, times, values)


def _mixed(floats: Sequence[npt.NDArray[Any]], columns: Sequence[Column]) -> Numbered | None:
    """Floats and histograms by series and time; of both at the same time, the histogram."""
    series, times = (np.concatenate((floats[column], numbers(columns[column]))) for column in (0, 1))
    read = _histograms(columns)
    ended = is_stale(read.sum)
    # A histogram with a stale sum is not a histogram but a stale marker, as in Prometheus.
    values = np.concatenate((floats[2], np.where(ended, STALE, np.nan)))
    position = np.concatenate((np.full(len(floats[0]), -1, np.int64), np.where(ended, -1, np.arange(len(read)))))
    # Histograms come after floats here, so of two rows of a series at the same time the last one is the histogram.
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
    """How many samples each row stands for; None unless rollups were requested."""
    if len(columns) == len(HISTOGRAM_COLUMNS):
        return None
    # A weight of 0 marks a histogram that is stored as it came, which is one sample.
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
    """The samples of the series in ``order``, by labels."""
    runs, at = found.runs, order.positions
    histogram = None if found.histogram is None else runs.take(found.histogram, at)
    offsets = offsets_of(runs.samples()[at])
    weights = None if found.weights is None else runs.take(found.weights, at)
    return Samples(
        order.labels, offsets, runs.take(found.times_ms, at), runs.take(found.values, at), histogram, found.histograms, weights=weights
    )


def joined(read: Sequence[NumberedGrid], steps: Sequence[int]) -> NumberedGrid:
    """The grids of consecutive stretches of time as one; ``steps`` is the number of steps of each stretch."""
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
    """The grid computed from an answer to ``query_builder.buckets``, which has its rows by series and end."""
    if not columns:
        return grid((), len(at.ends_ms), function)
    series_of, ends, *others = (numbers(column) for column in columns)
    series, firsts = np.unique(series_of, return_index=True)
    named = dict(zip(rollups.COLUMNS[function], others, strict=True))
    values, present = rollups.over(rollups.Buckets(np.append(firsts, len(series_of)), ends, named), function, at)
    return NumberedGrid(series, np.where(present, values, np.nan), present)


def grid(columns: Sequence[Column], steps: int, function: GridFunction) -> NumberedGrid:
    """The grid of an answer to ``query_builder.grid`` with this many steps."""
    if not columns:
        return NumberedGrid(np.empty(0, np.uint64), np.empty((0, steps)), np.empty((0, steps), np.bool_))
    series, cells = numbers(columns[0]), optional(lists(columns[1]).values)
    present = ~cells.missing
    # A copy: what was read may be a view of the answer's bytes, and absent values are set to NaN below.
    values = numbers(cells.values).astype(np.float64)
    if function == "last":
        present &= ~is_stale(values)
    values[~present] = np.nan
    shape = (len(series), steps)
    return NumberedGrid(series, values.reshape(shape), present.reshape(shape))


def doubtful(found: NumberedGrid, function: GridFunction) -> bool:
    """Whether a shard's values may differ from Prometheus' because of their arithmetic.

    ClickHouse's mean sums before it divides, which may overflow to infinity. Its rate subtracts resets that leave the window from a running
    sum, where an infinite one leaves NaN behind.
    """
    if function == "avg_over_time":
        return bool(np.isinf(found.values).any())
    return function in {"rate", "increase"} and bool((np.isnan(found.values) & found.present).any())


def labelled_grid(found: NumberedGrid, order: Ordered) -> Grid:
    """The grids of the series in ``order``, by labels; a series without any value is left out."""
    labels, at = order.labels, order.positions
    present = found.present[at]
    # For ``last``, the statement keeps a series whose only values are stale markers: it ended before the first step.
    kept = present.any(axis=1)
    if not kept.all():
        at, present, labels = at[kept], present[kept], [labels[row] for row in np.flatnonzero(kept).tolist()]
    return Grid(labels, found.values[at], present)
