"""The samples of many series in each of many time windows, as positions in flat arrays: no sample is copied, and windows are never
processed one by one.

Functions over windows either read a few positions of each (first, last), subtract running counts, or walk: visit the windows' first
samples all at once, then their second ones, and so on, which does Prometheus' arithmetic in Prometheus' order on whole columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tael.model.series import Floats, Longs
from tael.vectors.values import Steps

TOGETHER: Final = 1 << 16
"""How many samples or windows are processed together, so that intermediate arrays stay in a processor's cache."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Window ``(i, j)`` holds the samples ``lo[i, j]`` up to, not including, ``hi[i, j]``: series ``i`` in ``(end - range, end]``.

    ``values`` and ``times_ms`` are flat and hold no stale markers; ``offsets`` says where series begin in them. ``ends_ms`` are the ends of
    the windows, one a step; ``steps_ms`` the query's own times of these steps (an offset moves only the ends).
    """

    offsets: Longs
    times_ms: Longs
    values: Floats
    lo: Longs
    hi: Longs
    ends_ms: Longs
    steps_ms: Longs
    range_ms: int

    @property
    def counts(self) -> Longs:
        """How many samples each window holds."""
        return self.hi - self.lo

    def first(self, column: Floats | Longs) -> Floats:
        """``column`` at each window's first sample; undefined where the window is empty."""
        return _at(column, self.lo)

    def last(self, column: Floats | Longs) -> Floats:
        """``column`` at each window's last sample; undefined where the window is empty."""
        return _at(column, self.hi - 1)

    def rows(self, begin: int, end: int) -> Windows:
        """The windows of the series ``begin`` up to, not including, ``end``."""
        first, last = int(self.offsets[begin]), int(self.offsets[end])
        return Windows(
            self.offsets[begin : end + 1] - first,
            self.times_ms[first:last],
            self.values[first:last],
            self.lo[begin:end] - first,
            self.hi[begin:end] - first,
            self.ends_ms,
            self.steps_ms,
            self.range_ms,
        )

    def repeated(self, steps: int) -> Windows:
        """The windows of one step repeated at each of ``steps``."""
        shape = (len(self.lo), steps)
        return replace(
            self, lo=np.broadcast_to(self.lo, shape), hi=np.broadcast_to(self.hi, shape), ends_ms=np.broadcast_to(self.ends_ms, steps)
        )

    def follows(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """A mask of the samples that are not the first of their series."""
        has = np.ones(len(self.values), np.bool_)
        # An empty series begins where the next one does; marking it would clear a sample of its neighbour.
        has[self.offsets[:-1][np.diff(self.offsets) > 0]] = False
        return has


def windows(offsets: Longs, times_ms: Longs, values: Floats, ends: Steps, steps_ms: Longs, range_ms: int) -> Windows:
    """The windows of length ``range_ms`` that end at ``ends``."""
    # The range is a multiple of the step: window j begins where window j - range/step ends, so one search serves both edges.
    if ends.step_ms and range_ms % ends.step_ms == 0 and range_ms // ends.step_ms <= ends.count:
        edges = until(offsets, times_ms, Steps(ends.start_ms - range_ms, ends.end_ms, ends.step_ms))
        lo, hi = edges[:, : ends.count], edges[:, range_ms // ends.step_ms :]
    else:
        begins = Steps(ends.start_ms - range_ms, ends.end_ms - range_ms, ends.step_ms)
        lo, hi = until(offsets, times_ms, begins), until(offsets, times_ms, ends)
    return Windows(offsets, times_ms, values, lo, hi, ends.times_ms, steps_ms, range_ms)


def until(offsets: Longs, times_ms: Longs, steps: Steps) -> Longs:
    """For each series and step the position after the last sample that is not later than the step.

    Samples are counted by the first step that sees them, so that the work is one pass over the samples and one over the result.
    """
    series = len(offsets) - 1
    result = np.empty((series, steps.count), np.int64)
    for rows in blocks(series, max(steps.count, len(times_ms) // max(1, series))):
        part = offsets[rows.start : rows.stop + 1]
        _until(part, times_ms[part[0] : part[-1]], steps, result[rows])
    return result


def after(offsets: Longs, times_ms: Longs, ends_ms: Longs) -> Longs:
    """``until`` for any non-decreasing times ``ends_ms`` in place of regular steps."""
    series, count = len(offsets) - 1, len(ends_ms)
    cells = np.searchsorted(ends_ms, times_ms, side="left")
    cells += np.repeat(np.arange(series, dtype=np.int64) * (count + 1), np.diff(offsets))
    sizes = np.bincount(cells, minlength=series * (count + 1)).reshape(series, count + 1)
    sizes[:, 0] += offsets[:-1]
    found: Longs = np.cumsum(sizes[:, :count], axis=1)
    return found


def blocks(series: int, cells: int) -> Iterator[slice]:
    """Slices of the series that hold about ``TOGETHER`` cells each, where one series has ``cells`` of them."""
    together = max(1, TOGETHER // max(1, cells))
    for begin in range(0, series, together):
        yield slice(begin, min(begin + together, series))


def _until(offsets: Longs, times_ms: Longs, steps: Steps, result: Longs) -> None:
    series, count = result.shape
    # The first step that is not earlier than the sample. Exact in float64: differences of milliseconds stay far below 2**53.
    seen = np.ceil((times_ms - steps.start_ms) / float(steps.step_ms or 1))
    np.clip(seen, 0, count, out=seen)
    cells = seen.astype(np.int64)
    # One bincount for all series: each has count + 1 bins, the last for samples that no step sees.
    cells += np.repeat(np.arange(series, dtype=np.int64) * (count + 1), np.diff(offsets))
    sizes = np.bincount(cells, minlength=series * (count + 1)).reshape(series, count + 1)
    # Positions are absolute in the flat arrays: each row's running count starts at its series' offset.
    sizes[:, 0] += offsets[:-1]
    np.cumsum(sizes[:, :count], axis=1, out=result)


@dataclass(frozen=True, slots=True)
class Walk:
    """A flat list of windows, the longest first, so that those with a sample at position ``k`` are always a prefix."""

    lo: Longs
    counts: Longs
    order: Longs | None
    shape: tuple[int, ...]

    def __iter__(self) -> Iterator[tuple[int, Longs]]:
        """For ``k`` = 0, 1, …: how many windows have a sample there, and the positions of these samples."""
        longest = int(self.counts[0]) if len(self.counts) else 0
        if self.order is None:
            for k in range(longest):
                yield len(self.lo), self.lo + k
            return
        ascending = self.counts[::-1]
        for k in range(longest):
            live = len(self.lo) - int(np.searchsorted(ascending, k, side="right"))
            yield live, self.lo[:live] + k

    def ordered(self, cells: Floats) -> Floats:
        """A column of the windows' shape, or one that broadcasts to it, in this walk's order."""
        flat = np.broadcast_to(cells, self.shape).ravel()
        return flat if self.order is None else flat[self.order]

    def back(self, column: Floats) -> Floats:
        """A result in this walk's order, in the windows' shape."""
        if self.order is None:
            return column.reshape(self.shape)
        result = np.empty_like(column)
        result[self.order] = column
        return result.reshape(self.shape)


def walk(lo: Longs, hi: Longs) -> Walk:
    """A walk through the windows ``lo`` up to ``hi``."""
    counts = (hi - lo).ravel()
    if len(counts) == 0 or counts.min() == counts.max():
        return Walk(lo.ravel(), counts, None, lo.shape)
    # Longest first: the windows that are still being walked are a prefix, so each round is a slice and not a mask.
    order = np.argsort(-counts, kind="stable")
    return Walk(lo.ravel()[order], counts[order], order, lo.shape)


def _at(column: Floats | Longs, positions: Longs) -> Floats:
    if len(column) == 0:
        return np.zeros(positions.shape)
    # "clip" keeps the positions of empty windows in bounds; their values are never looked at.
    return column.take(positions, mode="clip").astype(np.float64, copy=False)
