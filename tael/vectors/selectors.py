"""Selectors at each step: the newest sample within the lookback, and the windows of a range."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tael.model.histogram import RESET_NO, RESET_UNKNOWN, RESET_YES, Histograms, offsets_of
from tael.model.series import ROLLUP_MS, Bools, Floats, Grid, Longs, Samples, is_stale
from tael.vectors.histograms import windows as histogram_windows
from tael.vectors.ranges import rollups
from tael.vectors.values import Steps, Vector
from tael.vectors.windows import Windows, after, blocks, until, windows


def instant(samples: Samples, at: Steps, lookback_ms: int) -> tuple[Vector, Longs]:
    """The newest sample of each series in ``(t - lookback, t]`` unless it is a stale marker; and the positions of these samples."""
    newest = until(samples.offsets, samples.times_ms, at)
    if len(samples.times_ms) == 0:
        return Vector(samples.labels, np.zeros(newest.shape), np.zeros(newest.shape, np.bool_)), newest
    values, there = np.empty(newest.shape), np.empty(newest.shape, np.bool_)
    oldest_ms = at.times_ms - lookback_ms
    for rows in blocks(*newest.shape):
        own = newest[rows]
        # From the first sample behind the step to the one before it, which may be another series' if there is none.
        own -= 1
        fresh = own >= samples.offsets[:-1][rows, None]
        # Only to stay within the array: what is not fresh is masked.
        np.maximum(own, 0, out=own)
        values[rows] = samples.values[own]
        fresh &= samples.times_ms[own] > oldest_ms
        np.logical_and(fresh, ~is_stale(values[rows]), out=there[rows])
    if samples.histogram is None:
        return Vector(samples.labels, values, there), newest
    return Vector(samples.labels, values, there, samples.histogram[newest], samples.histograms), newest


def times_of(samples: Samples, positions: Longs) -> Floats:
    """The times in ms of the samples at the ``positions`` that ``instant`` returned; undefined where there is no sample."""
    return samples.times_ms[positions].astype(np.float64) if len(samples.times_ms) else np.zeros(positions.shape)


def of_grid(grid: Grid) -> Vector:
    """The grid that a shard evaluated, as a vector."""
    return Vector(grid.labels, grid.values, grid.present)


@dataclass(frozen=True, slots=True)
class Widened:
    """Windows widened to whole rollup buckets: begin and end by step, and ``share``, the requested range divided by the window's length."""

    begins_ms: Longs
    ends_ms: Longs
    share: Floats

    def repeated(self, steps: int) -> Widened:
        """The window of one step repeated at each of ``steps``."""
        return Widened(np.broadcast_to(self.begins_ms, steps), np.broadcast_to(self.ends_ms, steps), np.broadcast_to(self.share, steps))


@dataclass(frozen=True, slots=True)
class Ranges:
    """The windows of a range selector or a subquery, one a series and step.

    ``floats`` are windows over the floats alone. ``mixed`` is set when some sample is a histogram: windows over all ``samples`` (which hold
    no stale markers); ``native`` says which of them hold a histogram. ``widened`` replaces their bounds where rollups of histograms widened
    some.
    """

    samples: Samples
    floats: Windows
    mixed: Windows | None
    native: Bools | None
    drop_name: Bools | None = None
    widened: Widened | None = None

    @property
    def present(self) -> Bools:
        """Where a window holds a sample."""
        return (self.mixed or self.floats).counts > 0

    def repeated(self, steps: int) -> Ranges:
        """The windows of one step repeated at each of ``steps``."""
        mixed = None if self.mixed is None else self.mixed.repeated(steps)
        native = None if self.native is None else np.broadcast_to(self.native, (len(self.native), steps))
        widened = None if self.widened is None else self.widened.repeated(steps)
        return replace(self, floats=self.floats.repeated(steps), mixed=mixed, native=native, widened=widened)

    def histogram_windows(self, rows: Longs, columns: Longs) -> histogram_windows.Windows:
        """The windows at ``rows, columns`` as a flat list, the form that operations on histograms take."""
        assert self.mixed is not None
        begins_ms, ends_ms = self.mixed.ends_ms - self.mixed.range_ms, self.mixed.ends_ms
        if self.widened is not None:
            begins_ms, ends_ms = self.widened.begins_ms, self.widened.ends_ms
        lo, hi = self.mixed.lo[rows, columns], self.mixed.hi[rows, columns]
        return histogram_windows.Windows(self.samples, lo, hi, begins_ms[columns], ends_ms[columns])


def ranges(samples: Samples, ends: Steps, steps_ms: Longs, range_ms: int, drop_name: Bools | None = None) -> Ranges:
    """The windows ``(t - range, t]`` that end at ``ends``, without stale markers."""
    fresh = _kept(samples, ~is_stale(samples.values))
    if fresh.histogram is None:
        return Ranges(fresh, _windows(fresh, ends, steps_ms, range_ms), None, None, drop_name)
    mixed = _windows(fresh, ends, steps_ms, range_ms)
    if (widened := _widened(fresh, mixed)) is not None:
        edges = (after(fresh.offsets, fresh.times_ms, each) for each in (widened.begins_ms, widened.ends_ms))
        mixed = replace(mixed, lo=next(edges), hi=next(edges))
    alone = _kept(fresh, fresh.histogram < 0)
    native = histogram_windows.with_histograms(fresh, mixed.lo.ravel(), mixed.hi.ravel()).reshape(mixed.lo.shape)
    return Ranges(fresh, _windows(alone, ends, steps_ms, range_ms), mixed, native, drop_name, widened)


def _widened(samples: Samples, requested: Windows) -> Widened | None:
    """Windows widened to whole buckets (see ``ranges.rollups``) where they begin before ``until_ms`` of histograms' rollups; None without
    any.
    """
    if samples.rollups is None or not samples.rollups.histograms:
        return None
    begins_ms = requested.ends_ms - requested.range_ms
    old, at = begins_ms < samples.rollups.until_ms, rollups.places(requested.ends_ms, requested.range_ms, ROLLUP_MS)
    return Widened(
        np.where(old, at.ends_ms - at.wide_ms, begins_ms), np.where(old, at.ends_ms, requested.ends_ms), np.where(old, at.share, 1.0)
    )


def _windows(samples: Samples, ends: Steps, steps_ms: Longs, range_ms: int) -> Windows:
    return windows(samples.offsets, samples.times_ms, samples.values, ends, steps_ms, range_ms)


def within(samples: Samples, start_ms: int, end_ms: int) -> Samples:
    """The samples of ``(start, end]`` without stale markers; series without any are left out."""
    kept = _kept(samples, ~is_stale(samples.values) & (samples.times_ms > start_ms) & (samples.times_ms <= end_ms))
    filled = np.flatnonzero(np.diff(kept.offsets) > 0)
    return replace(kept, labels=[kept.labels[row] for row in filled.tolist()], offsets=np.append(kept.offsets[filled], kept.offsets[-1]))


def _kept(samples: Samples, kept: Bools) -> Samples:
    if kept.all():
        return samples
    # before[i] counts the kept samples in front of position i, which is where a series that began at i begins now.
    before = np.concatenate((np.zeros(1, np.int64), np.cumsum(kept, dtype=np.int64)))
    histogram = None if samples.histogram is None else samples.histogram[kept]
    weights = None if samples.weights is None else samples.weights[kept]
    return replace(
        samples,
        offsets=before[samples.offsets],
        times_ms=samples.times_ms[kept],
        values=samples.values[kept],
        histogram=histogram,
        weights=weights,
    )


def samples_of(vector: Vector, steps: Steps) -> Samples:
    """A subquery's vector as samples, one a step where there is one.

    A histogram's reset hint refers to the sample before it in its series. In a subquery another sample may precede it, or the same one
    again, so these hints are set to unknown.
    """
    times = np.broadcast_to(steps.times_ms, vector.present.shape)[vector.present]
    offsets = offsets_of(vector.present.sum(axis=1))
    cells = None if vector.cells is None else vector.cells[vector.present]
    return Samples(vector.labels, offsets, times, vector.values[vector.present], cells, _without_hints(vector.histograms))


def _without_hints(histograms: Histograms | None) -> Histograms | None:
    if histograms is None:
        return None
    hinted = (histograms.reset_hint == RESET_YES) | (histograms.reset_hint == RESET_NO)
    return replace(histograms, reset_hint=np.where(hinted, RESET_UNKNOWN, histograms.reset_hint).astype(np.uint8))
