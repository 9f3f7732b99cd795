"""The functions from native histograms to numbers, evaluated over many histograms at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tael.model.histogram import Histograms
from tael.model.series import Bools, Floats
from tael.vectors import vectors
from tael.vectors.compensated import run_sums
from tael.vectors.histograms.dense import Table, ascending, tables
from tael.vectors.histograms.notes import Note, Notes, joined
from tael.vectors.values import Vector


def read(vector: Vector, of: Callable[[Histograms], Floats]) -> Vector:
    """The vector of ``of`` of each native histogram; floats are left out."""
    held = vectors.histogram_cells(vector)
    values = np.zeros(vector.values.shape)
    if vector.cells is not None and vector.histograms is not None and len(vector.histograms):
        values = np.where(held, of(vector.histograms)[vector.cells], 0.0)
    return Vector(vector.labels, values, held, drop_name=vectors.flags(vector, drop_name=True))


def mean(histograms: Histograms) -> Floats:
    """``histogram_avg``. ``histogram_count`` and ``histogram_sum`` are the columns ``count`` and ``sum`` themselves."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return histograms.sum / histograms.count


def variance(histograms: Histograms) -> Floats:
    """``histogram_stdvar``; ``histogram_stddev`` is its square root.

    Every observation is taken to lie in the middle of its bucket, the geometric middle in an exponential bucket.
    """
    row = ascending(histograms)
    sizes = np.diff(row.offsets)
    custom = np.repeat(histograms.bounds >= 0, sizes)
    result = np.zeros(len(histograms))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        # Negative buckets have a positive product; the sign goes back on.
        geometric = np.sqrt(row.upper * row.lower) * np.sign(row.upper)
        middle = np.where(custom, (row.upper + row.lower) / 2, np.where((row.lower <= 0) & (row.upper >= 0), 0.0, geometric))
        away = middle - np.repeat(mean(histograms), sizes)
        result[sizes > 0] = run_sums(row.counts * away * away, sizes[sizes > 0])
        return result / histograms.count


def quantile(q: Floats, histograms: Histograms) -> tuple[Floats, Notes]:
    """``histogram_quantile`` of each histogram at its own ``q[i]``; the caller warns about a ``q`` outside 0…1.

    Within a bucket, observations are taken to be spread evenly on a logarithmic scale; on a linear one in the zero bucket and in custom
    buckets. A rank between two buckets gives the upper bucket's lower bound.
    """
    result = np.empty(len(histograms))
    unreached, skewed = np.zeros(len(histograms), np.bool_), np.zeros(len(histograms), np.bool_)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for rows, table in tables(histograms):
            result[rows], unreached[rows], skewed[rows] = _quantile(q[rows], _Part(histograms, rows), table)
    usual = (q >= 0) & (q <= 1) & (histograms.count != 0)
    result = np.where(usual, result, np.where(q < 0, -np.inf, np.where(q > 1, np.inf, np.nan)))
    return result, joined({Note.QUANTILE_NANS: unreached & usual, Note.QUANTILE_NANS_SKEW: skewed & usual})


def fraction(lower: Floats, upper: Floats, histograms: Histograms) -> tuple[Floats, Notes]:
    """``histogram_fraction`` of each histogram between its own ``lower[i]`` and ``upper[i]``."""
    result = np.empty(len(histograms))
    missing = np.zeros(len(histograms), np.bool_)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for rows, table in tables(histograms):
            part = _Part(histograms, rows)
            nearer = part.zero_halved(table, table.lower <= 0, table.upper >= 0)
            seen = np.where(np.isnan(part.sum), table.counts.sum(axis=1), part.count)
            below = _rank(lower[rows], part, nearer, seen)
            result[rows] = (_rank(upper[rows], part, nearer, seen) - below) / part.count
            missing[rows] = seen < part.count
    unknown = (histograms.count == 0) | np.isnan(lower) | np.isnan(upper)
    result = np.where(unknown, np.nan, np.where(lower >= upper, 0.0, result))
    return result, joined({Note.FRACTION_NANS: missing & np.isnan(histograms.sum) & ~unknown & (lower < upper)})


class _Part:
    """The columns that the functions need of one table's histograms."""

    def __init__(self, histograms: Histograms, rows: slice) -> None:
        self.count, self.sum = histograms.count[rows], histograms.sum[rows]
        self.custom = histograms.bounds[rows] >= 0
        self.has_positive = np.diff(histograms.positive.offsets)[rows] > 0
        self.has_negative = np.diff(histograms.negative.offsets)[rows] > 0

    def zero_halved(self, table: Table, from_below: Bools, to_above: Bools) -> Table:
        """The table with buckets around 0 cut at 0 on the side where the histogram has no other buckets."""
        around = from_below & to_above
        lower = np.where(around & (self.has_positive & ~self.has_negative)[:, None], 0.0, table.lower)
        upper = np.where(around & (self.has_negative & ~self.has_positive)[:, None], 0.0, table.upper)
        return Table(lower, upper, table.counts, table.filled)


def _quantile(q: Floats, part: _Part, table: Table) -> tuple[Floats, Bools, Bools]:
    """Quantiles, and masks of where NaN observations leave the rank unreached and where they skew the result."""
    has_nan = np.isnan(part.sum)
    # From the nearer end, as Prometheus does, so that rounding agrees. NaN observations count as above everything, so forward then.
    forward = has_nan | (q < 0.5)
    rank = np.where(forward, q, 1 - q) * part.count
    counts = np.where(forward[:, None], table.counts, table.counts[:, ::-1])
    reached = np.cumsum(counts, axis=1)
    # Backward, a rank that a bucket just reaches lies at its lower end, so ">=" there.
    beyond = np.where(forward[:, None], reached > rank[:, None], reached >= rank[:, None])
    hit = beyond & (counts != 0)
    width = counts.shape[1]
    # Where no bucket reaches the rank (rounding, or NaN, which is in the count but in no bucket): the last one in the walk's direction.
    last = np.where(forward, np.maximum(table.filled.sum(axis=1) - 1, 0), width - 1)
    at = np.where(hit.any(axis=1), hit.argmax(axis=1), last)
    line = np.arange(len(q))
    count, own = np.minimum(reached[line, at], part.count), counts[line, at]
    place = np.where(forward, at, width - 1 - at)
    halved = part.zero_halved(table, (table.lower < 0) & ~part.custom[:, None], table.upper > 0)
    lower, upper = halved.lower[line, place], halved.upper[line, place]
    # A first custom bucket is open below: it begins at 0, or where it ends at or below 0, its end is the answer.
    first = part.custom & np.isneginf(lower)
    share = np.where(forward, rank - (count - own), count - rank) / own
    value = _within(np.where(first, 0.0, lower), upper, share, even=part.custom)
    value = np.where(count < rank, np.where(has_nan, np.nan, upper), value)
    value = np.where(part.custom & np.isposinf(upper) & ~first, lower, value)
    value = np.where(first & (upper <= 0), upper, value)
    open_end = part.custom & (np.isposinf(upper) | (first & (upper <= 0)))
    seen = np.minimum(table.counts.sum(axis=1), part.count)
    unreached = has_nan & (count < rank) & ~open_end
    return value, unreached, has_nan & (count >= rank) & ~open_end & (seen < part.count)


def _within(lower: Floats, upper: Floats, share: Floats, *, even: Bools) -> Floats:
    """The value with the fraction ``share`` of a bucket's observations below it."""
    linear = lower + (upper - lower) * share
    # Interpolated on log2 and not log: exact for the powers of two that bound exponential buckets.
    low, high = np.log2(np.abs(lower)), np.log2(np.abs(upper))
    exponential = np.where(lower > 0, np.exp2(low + (high - low) * share), -np.exp2(high + (low - high) * (1 - share)))
    return np.where(even | ((lower <= 0) & (upper >= 0)), linear, exponential)


def _rank(value: Floats, part: _Part, table: Table, seen: Floats) -> Floats:
    """The estimated number of observations below ``value``."""
    at = (table.upper > value[:, None]) | (table.lower >= value[:, None])
    at &= table.filled
    # argmax finds the first such bucket: buckets ascend, so all before it lie entirely below the value.
    line, place = np.arange(len(value)), at.argmax(axis=1)
    lower, upper, own = table.lower[line, place], table.upper[line, place], table.counts[line, place]
    before = np.cumsum(table.counts, axis=1)[line, place] - own
    low, high, cut = np.log2(np.abs(lower)), np.log2(np.abs(upper)), np.log2(np.abs(value))
    share = np.where(value > 0, (cut - low) / (high - low), 1 - (cut - high) / (low - high))
    even = part.custom | ((lower <= 0) & (upper >= 0))
    inside = np.where(even, before + own * (value - lower) / (upper - lower), before + own * share)
    inside = np.where(even & np.isneginf(lower), own, inside)
    result = np.where(lower >= value, before, inside)
    return np.where(at.any(axis=1), np.minimum(result, seen), seen)
