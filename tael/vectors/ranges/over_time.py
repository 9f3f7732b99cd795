"""The ``…_over_time`` functions over windows of floats: sums and means, extremes, spread, quantiles, and single samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tael.model.series import Bools, Floats, Longs
from tael.vectors import sums
from tael.vectors.windows import Walk, Windows, walk

_Term: TypeAlias = "Callable[[int, Longs], Floats]"
_OfSorted: TypeAlias = "Callable[[Floats, Floats], Floats]"

GATHERED = 1 << 20
"""How many samples are copied out of their windows at a time, to sort them."""


def total(windows: Windows) -> tuple[Floats, Bools]:
    """sum_over_time."""
    return sums.combined(*sums.over(windows)), windows.counts > 0


def average(windows: Windows) -> tuple[Floats, Bools]:
    """avg_over_time: the sum divided by the count; where the sum overflows, each value is divided first."""
    added, lost = sums.over(windows)
    result = sums.mean(added, lost, windows.counts)
    # Only these are walked again: a sum that fits is more exact than a sum of quotients.
    overflown = np.nonzero(np.isinf(added))
    if len(overflown[0]):
        result[overflown] = _scaled_mean(windows.lo[overflown], windows.hi[overflown], windows.values)
    return result, windows.counts > 0


def _scaled_mean(lo: Longs, hi: Longs, values: Floats) -> Floats:
    steps = walk(lo, hi)
    added, lost = np.zeros(len(lo)), np.zeros(len(lo))
    for live, at in steps:
        sums.add(added[:live], lost[:live], values[at] / steps.counts[:live])
    return steps.back(sums.combined(added, lost))


def extreme(windows: Windows, *, largest: bool) -> tuple[Floats, Bools]:
    """max_over_time and min_over_time: NaN only where all values are."""
    present = windows.counts > 0
    reduce = np.fmax if largest else np.fmin
    # reduceat over [lo, hi, lo, hi, …]: every second result is a window, the ones between are the gaps and are dropped.
    edges = np.stack((windows.lo, windows.hi), axis=-1).ravel()
    if len(edges) == 0:
        return np.zeros(windows.lo.shape), present
    # hi may be one past the end, which reduceat refuses as an index; the pad is ignored by fmax and fmin.
    padded = np.append(windows.values, np.nan)
    return reduce.reduceat(padded, edges)[::2].reshape(windows.lo.shape), present


def time_of_extreme(windows: Windows, *, largest: bool) -> tuple[Floats, Bools]:
    """ts_of_max_over_time and ts_of_min_over_time in seconds; the last one of several."""
    steps = walk(windows.lo, windows.hi)
    best, when = np.full(len(steps.lo), np.nan), np.zeros(len(steps.lo))
    for live, at in steps:
        values, known = windows.values[at], best[:live]
        # ">=" and not ">": of equal extremes the last one's time is wanted. Any value replaces a NaN.
        better = ((values >= known) if largest else (values <= known)) | np.isnan(known)
        known[better] = values[better]
        when[:live][better] = windows.times_ms[at[better]]
    return steps.back(when) / 1000, windows.counts > 0


def variance(windows: Windows) -> tuple[Floats, Bools]:
    """stdvar_over_time: the mean squared distance from the mean, both relative to the first value, so that equal values give exactly 0."""
    steps = walk(windows.lo, windows.hi)
    # Values far from zero with a small spread would lose it to cancellation; distances from the first one do not.
    first = steps.ordered(windows.first(windows.values))
    mean = _mean_of(steps, lambda live, at: windows.values[at] - first[:live])
    spread = _mean_of(steps, lambda live, at: np.square(windows.values[at] - first[:live] - mean[:live]))
    return steps.back(spread), windows.counts > 0


def deviation(windows: Windows) -> tuple[Floats, Bools]:
    """stddev_over_time."""
    spread, present = variance(windows)
    return np.sqrt(spread), present


def _mean_of(steps: Walk, term: _Term) -> Floats:
    added, lost = np.zeros(len(steps.lo)), np.zeros(len(steps.lo))
    for live, at in steps:
        sums.add(added[:live], lost[:live], term(live, at))
    return sums.mean(added, lost, steps.counts)


def quantile(windows: Windows, q: Floats) -> tuple[Floats, Bools]:
    """quantile_over_time at ``q``, one a step."""
    return _by_size(windows, np.broadcast_to(q, windows.lo.shape).ravel(), quantile_of_sorted), windows.counts > 0


def median_deviation(windows: Windows) -> tuple[Floats, Bools]:
    """mad_over_time: the median distance from the median."""
    half = np.full(windows.lo.size, 0.5)

    def distance(ordered: Floats, q: Floats) -> Floats:
        middle = quantile_of_sorted(ordered, q)
        return quantile_of_sorted(np.sort(np.abs(ordered - middle[:, None]), axis=1), q)

    return _by_size(windows, half, distance), windows.counts > 0


def _by_size(windows: Windows, q: Floats, of_sorted: _OfSorted) -> Floats:
    """``of_sorted`` over each window's sorted samples; windows of one size are sorted together, as rows of a matrix."""
    counts, lo = windows.counts.ravel(), windows.lo.ravel()
    result = np.zeros(len(counts))
    for size in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == size)
        # Gathering copies each window whole: bounded, or overlapping windows would multiply the samples in memory.
        for part in np.array_split(rows, max(1, len(rows) * int(size) // GATHERED)):
            gathered = windows.values[lo[part][:, None] + np.arange(size)]
            result[part] = of_sorted(np.sort(gathered, axis=1), q[part])
    return result.reshape(windows.lo.shape)


def quantile_of_sorted(ordered: Floats, q: Floats, counts: Longs | None = None) -> Floats:
    """The ``q`` quantile of each row, interpolated between two values. Rows are sorted with NaN last, but NaN ranks first, as in
    Prometheus.

    ``counts`` says how many values of each row count, by default all; a row without any gives NaN.
    """
    size = ordered.shape[1]
    n = np.full(len(ordered), size) if counts is None else counts
    # numpy sorts NaN last and Prometheus first: ranks are shifted by the number of NaN instead of sorting again.
    real = np.minimum((~np.isnan(ordered)).sum(axis=1), n)
    rank = q * (n - 1)
    lower = np.maximum(0, np.floor(rank))
    upper = np.minimum(n - 1, lower + 1)
    weight = rank - np.floor(rank)
    below = _nan_first(ordered, lower, n - real) * (1 - weight)
    above = _nan_first(ordered, upper, n - real) * weight
    result = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, below + above))
    return np.where((n == 0) | np.isnan(q), np.nan, result)


def _nan_first(ordered: Floats, index: Floats, nans: Longs) -> Floats:
    at = np.nan_to_num(index - nans, nan=-1, posinf=-1, neginf=-1).astype(np.int64)
    found = ordered[np.arange(len(ordered)), np.clip(at, 0, ordered.shape[1] - 1)]
    return np.where(at < 0, np.nan, found)
