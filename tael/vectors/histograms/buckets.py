"""Quantiles and fractions of classic histograms: columns of cumulative bucket counts, one column for each histogram and step.

``bounds`` are the buckets' upper bounds, ascending and distinct; ``counts`` has one row a bucket.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tael.model.series import Bools, Floats

TOLERANCE = 1e-12
"""Two counts that differ by less than this fraction of their sum are taken as equal."""
_SMALLEST_NORMAL = 2.0**-1022


@dataclass(frozen=True, slots=True)
class Repaired:
    """Non-decreasing counts, and for each column whether a count decreased, at which bounds, and the largest decrease."""

    counts: Floats
    fallen: Bools
    lowest: Floats
    highest: Floats
    largest: Floats


def repaired(bounds: Floats, counts: Floats) -> Repaired:
    """Replace each count that is below, or within ``TOLERANCE`` of, the count before it by that count."""
    counts = counts.copy()
    columns = counts.shape[1]
    fallen = np.zeros(columns, np.bool_)
    lowest, highest, largest = np.full(columns, np.inf), np.full(columns, -np.inf), np.zeros(columns)
    for row in range(1, len(counts)):
        before, now = counts[row - 1], counts[row]
        # A rise within rounding is flattened as well: a bucket of 1e-13 would otherwise attract a quantile.
        close = _almost_equal(before, now)
        fell = (now < before) & ~close
        if fell.any():
            fallen |= fell
            lowest = np.where(fell, np.minimum(lowest, bounds[row]), lowest)
            highest = np.where(fell, np.maximum(highest, bounds[row]), highest)
            largest = np.where(fell, np.maximum(largest, before - now), largest)
        counts[row] = np.where(close | fell, before, now)
    return Repaired(counts, fallen, lowest, highest, largest)


def _almost_equal(a: Floats, b: Floats) -> Bools:
    size, distance = np.abs(a) + np.abs(b), np.abs(a - b)
    tiny = (a == 0) | (b == 0) | (size < _SMALLEST_NORMAL)
    result: Bools = (a == b) | np.where(tiny, distance < TOLERANCE * _SMALLEST_NORMAL, distance < TOLERANCE * size)
    return result


def quantiles(q: Floats, bounds: Floats, fixed: Floats) -> Floats:
    """The ``q[i]`` quantile of column ``i``, interpolated in a bucket; ``fixed`` are repaired counts.

    A rank in the highest bucket gives its lower bound. The lowest bucket begins at 0, unless it ends at or below 0.
    """
    outside = np.where(np.isnan(q), np.nan, np.where(q < 0, -np.inf, np.inf))
    inside = (q >= 0) & (q <= 1)
    if len(bounds) < 2 or bounds[-1] != np.inf:
        return np.where(inside, np.nan, outside)
    observed = fixed[-1]
    rank = q * observed
    # Without the +Inf bucket: a rank reached only there falls through to the last finite bound.
    reached = fixed[:-1] >= rank
    at = np.where(reached.any(axis=0), reached.argmax(axis=0), len(bounds) - 1)
    columns = np.arange(fixed.shape[1])
    below = np.where(at > 0, fixed[at - 1, columns], 0.0)
    begin = np.where(at > 0, bounds[at - 1], 0.0)
    found = begin + (bounds[at] - begin) * ((rank - below) / (fixed[at, columns] - below))
    # No lower end to interpolate from when the first bucket ends at or below 0.
    found = np.where((at == 0) & (bounds[0] <= 0), bounds[0], found)
    found = np.where(at == len(bounds) - 1, bounds[-2], found)
    return np.where(inside, np.where(observed == 0, np.nan, found), outside)


def fractions(lower: Floats, upper: Floats, bounds: Floats, fixed: Floats) -> Floats:
    """The fraction of column ``i``'s observations between ``lower[i]`` and ``upper[i]``."""
    if bounds[-1] != np.inf:
        return np.full(fixed.shape[1], np.nan)
    observed = fixed[-1]
    result = (_rank(upper, bounds, fixed) - _rank(lower, bounds, fixed)) / observed
    result = np.where(lower >= upper, 0.0, result)
    return np.where((observed == 0) | np.isnan(lower) | np.isnan(upper), np.nan, result)


def _rank(value: Floats, bounds: Floats, fixed: Floats) -> Floats:
    """How many observations are at most ``value``."""
    begins = np.concatenate(([0.0 if bounds[0] > 0 else -np.inf], bounds[:-1]))
    # side="right": a value on a bound belongs to the bucket above, where it has share 0.
    at = np.clip(np.searchsorted(bounds, value, side="right"), 0, len(bounds) - 1)
    columns = np.arange(fixed.shape[1])
    below = np.where(at > 0, fixed[at - 1, columns], 0.0)
    held = fixed[at, columns] - below
    part = below + held * (value - begins[at]) / (bounds[at] - begins[at])
    # Nothing can be interpolated in a bucket without a lower end: all of it is at most the value.
    part = np.where(np.isneginf(begins[at]), fixed[at, columns], part)
    rank = np.where(begins[at] >= value, below, part)
    result: Floats = np.minimum(np.where(value >= bounds[-1], fixed[-1], rank), fixed[-1])
    return result
