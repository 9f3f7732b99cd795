"""Evaluate a range function: over windows of floats directly, over windows with native histograms by ``vectors.histograms``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tael.model.series import Bools, Floats, Longs
from tael.syntax.literals import quoted
from tael.vectors import vectors
from tael.vectors.annotations import COUNTER_SUFFIXES, Annotations, maybe_no_counter, note_quantiles
from tael.vectors.binary import placed
from tael.vectors.histograms import extended as histogram_extended
from tael.vectors.histograms import over_time as histogram_over_time
from tael.vectors.histograms import windows as histogram_windows
from tael.vectors.histograms.binary import Cells
from tael.vectors.histograms.notes import OF_OPERATION, Notes
from tael.vectors.histograms.scaling import scaled
from tael.vectors.ranges import extended as range_extended
from tael.vectors.ranges import rollups
from tael.vectors.ranges.functions import OfFloats, RangeFunction
from tael.vectors.selectors import Ranges
from tael.vectors.values import Vector
from tael.vectors.windows import Windows

CELLS = 1 << 15
"""How many windows are evaluated together: enough to amortize a call, few enough to stay in a processor's cache."""
LOOKS = 1 << 25
"""How many samples are read between two calls of ``check``, a fraction of a second's work."""


def call(
    function: RangeFunction,
    ranges: Ranges,
    arguments: Sequence[Floats],
    notes: Annotations,
    at: tuple[int, int] = (0, 0),
    check: Callable[[], None] = lambda: None,
) -> Vector:
    """``function`` over ``ranges`` with its other arguments, each one number a step; ``at`` are the offsets of the call and the range.

    ``check`` is called regularly and raises when the query was cancelled or timed out.
    """
    if function.any_sample and ranges.mixed is not None:
        values, present = function.floats(ranges.mixed)
    else:
        values, present = _blockwise(function.floats, ranges.floats, arguments, check)
    drop = ranges.drop_name if function.keeps_name else np.ones(len(ranges.samples.labels), np.bool_)
    result = Vector(ranges.samples.labels, values, present, drop_name=drop)
    if function.of_counters:
        note_counters(result, notes, at[1])
    if ranges.native is not None and not function.any_sample and ranges.native.any():
        return _with_histograms(function, ranges, result, notes, at, check)
    return result


def extended(function: RangeFunction, ranges: Ranges, notes: Annotations, at: int, *, smoothed: bool, lookback_ms: int) -> Vector:
    """``function`` over an anchored or smoothed range, whose windows are wider than the range by the lookback."""
    values, present = range_extended.evaluate(function, ranges.floats, smoothed=smoothed, lookback_ms=lookback_ms)
    result = Vector(ranges.samples.labels, values, present, drop_name=np.ones(len(ranges.samples.labels), np.bool_))
    if function.of_counters:
        note_counters(result, notes, at)
    if ranges.native is None or not ranges.native.any():
        return result
    rows, columns = np.nonzero(ranges.native)
    windows = ranges.histogram_windows(rows, columns)
    begin_ms, end_ms = windows.start_ms + lookback_ms, windows.end_ms - (lookback_ms if smoothed else 0)
    if (growth := function.growth) is not None:
        found = histogram_extended.growth(
            windows, begin_ms, end_ms, counter=growth.counter, per_second=growth.per_second, smoothed=smoothed
        )
    else:
        assert function.histograms is not None
        found = histogram_extended.events(function.histograms, windows, begin_ms, end_ms)
    _note(function, found.notes, ranges, rows, notes, (at, at))
    return placed(result, rows, columns, found.present, found.samples)


def note_counters(result: Vector, notes: Annotations, at: int) -> None:
    """Add an info where a function for counters gave a float for a metric that is not named like a counter."""
    suspects = [(row, name) for row, name in enumerate(map(vectors.name_of, result.labels)) if name and not name.endswith(COUNTER_SUFFIXES)]
    noted: set[str] = set()
    for row, name in suspects:
        if name not in noted and result.present[row].any():
            noted.add(name)
            notes.add(maybe_no_counter(name), at)


def _blockwise(function: OfFloats, windows: Windows, arguments: Sequence[Floats], check: Callable[[], None]) -> tuple[Floats, Bools]:
    series, steps = windows.lo.shape
    looks = int(windows.counts.sum())
    size = max(1, min(CELLS // max(1, steps), series * LOOKS // max(1, looks)))
    if series <= size:
        return function(windows, *arguments)
    values, present = np.empty((series, steps)), np.empty((series, steps), np.bool_)
    for begin in range(0, series, size):
        check()
        rows = slice(begin, begin + size)
        values[rows], present[rows] = function(windows.rows(begin, min(begin + size, series)), *arguments)
    return values, present


def note_quantiles_of(ranges: Ranges, q: Floats, notes: Annotations, at: int) -> None:
    """Warn about quantiles outside 0…1 at steps where some window has samples."""
    used = (ranges.floats.counts > 0).any(axis=0)
    note_quantiles(q[used], notes, at)


def _with_histograms(
    function: RangeFunction, ranges: Ranges, result: Vector, notes: Annotations, at: tuple[int, int], check: Callable[[], None]
) -> Vector:
    """Add the results of windows that hold histograms to those of floats."""
    assert ranges.native is not None
    rows, columns = np.nonzero(ranges.native)
    windows = ranges.histogram_windows(rows, columns)
    if function.histograms is None:
        _note(function, histogram_windows.ignored(windows), ranges, rows, notes, at)
        return result
    found = histogram_over_time.evaluate(function.histograms, windows, check)
    _note(function, found.notes, ranges, rows, notes, at)
    cells = found.samples
    if ranges.widened is not None and function.name in rollups.SCALED:
        cells = _scaled_to_range(cells, ranges.widened.share[columns])
    return placed(result, rows, columns, found.present, cells)


def _scaled_to_range(cells: Cells, share: Floats) -> Cells:
    """Results that grow with a window's length, scaled from the widened window to the requested range; no histogram may be in two cells."""
    factors, held = np.ones(len(cells.histograms)), cells.cells >= 0
    factors[cells.cells[held]] = share[held]
    return Cells(cells.values * share, cells.cells, scaled(cells.histograms, factors))


def _note(function: RangeFunction, found: Notes, ranges: Ranges, rows: Longs, notes: Annotations, at: tuple[int, int]) -> None:
    offset = at[0] if function.noted_at_call else at[1]
    for note, where in found.items():
        if note in OF_OPERATION:
            notes.add(note.text(), offset)
            continue
        for metric in {vectors.name_of(ranges.samples.labels[row]) for row in np.unique(rows[where]).tolist()}:
            notes.add(note.text(quoted(metric)), offset)
