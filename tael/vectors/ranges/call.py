"""Range functions by name: over floats on their own, over windows that hold native histograms together with the operations on these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from tael.model.series import Bools, Floats, Longs
from tael.syntax.literals import quoted
from tael.vectors import vectors
from tael.vectors.annotations import COUNTER_SUFFIXES, Annotations, bad_quantile, maybe_no_counter, number
from tael.vectors.binary import placed
from tael.vectors.histograms import extended as histogram_extended
from tael.vectors.histograms import over_time as histogram_over_time
from tael.vectors.histograms import windows as histogram_windows
from tael.vectors.histograms.notes import OF_OPERATION, Notes
from tael.vectors.ranges import extended as range_extended
from tael.vectors.ranges import over_time, rate, trend
from tael.vectors.selectors import Ranges
from tael.vectors.values import Vector
from tael.vectors.windows import Windows

Function: TypeAlias = "Callable[..., tuple[Floats, Bools]]"


def _single(pick: Callable[[Windows], Floats]) -> Function:
    return lambda windows: (pick(windows), windows.counts > 0)


FUNCTIONS: dict[str, Function] = {
    "rate": partial(rate.increase, counter=True, per_second=True),
    "increase": partial(rate.increase, counter=True, per_second=False),
    "delta": partial(rate.increase, counter=False, per_second=False),
    "irate": partial(rate.instant, rate=True),
    "idelta": partial(rate.instant, rate=False),
    "changes": rate.changes,
    "resets": rate.resets,
    "deriv": trend.slope,
    "predict_linear": trend.prediction,
    "double_exponential_smoothing": trend.smoothed,
    "sum_over_time": over_time.total,
    "avg_over_time": over_time.average,
    "min_over_time": partial(over_time.extreme, largest=False),
    "max_over_time": partial(over_time.extreme, largest=True),
    "stddev_over_time": over_time.deviation,
    "stdvar_over_time": over_time.variance,
    "mad_over_time": over_time.median_deviation,
    "quantile_over_time": over_time.quantile,
    "count_over_time": _single(lambda windows: windows.counts.astype(np.float64)),
    "present_over_time": _single(lambda windows: np.ones(windows.lo.shape)),
    "absent_over_time": _single(lambda windows: np.ones(windows.lo.shape)),
    "last_over_time": _single(lambda windows: windows.last(windows.values)),
    "first_over_time": _single(lambda windows: windows.first(windows.values)),
    "ts_of_max_over_time": partial(over_time.time_of_extreme, largest=True),
    "ts_of_min_over_time": partial(over_time.time_of_extreme, largest=False),
    "ts_of_last_over_time": _single(lambda windows: windows.last(windows.times_ms) / 1000),
    "ts_of_first_over_time": _single(lambda windows: windows.first(windows.times_ms) / 1000),
}
KEEP_NAME = frozenset({"last_over_time", "first_over_time"})
COUNTERS = frozenset({"rate", "increase"})
_ANY_SAMPLE = frozenset({"ts_of_last_over_time", "ts_of_first_over_time", "absent_over_time"})
"""What looks at no value: a histogram is as good as a float."""
CELLS = 1 << 15
"""How many windows are evaluated together: enough to pay for a call, few enough to stay in a processor's cache."""
LOOKS = 1 << 25
"""How many samples are looked at until a query is asked again whether it is to go on, a fraction of a second's work."""


def call(
    name: str, ranges: Ranges, arguments: Sequence[Floats], notes: Annotations, at: tuple[int, int], check: Callable[[], None]
) -> Vector:
    """``name`` over ``ranges`` with its other arguments, each one number a step; ``at`` is where the call and where the range stand.

    ``check`` is called now and then, and raises when the query is to end.
    """
    if name == "quantile_over_time":
        _note_quantiles(ranges, arguments[0], notes, at[1])
    if ranges.mixed is not None and name in _ANY_SAMPLE:
        values, present = FUNCTIONS[name](ranges.mixed)
    else:
        values, present = _blockwise(FUNCTIONS[name], ranges.floats, arguments, check)
    drop = ranges.drop_name if name in KEEP_NAME else np.ones(len(ranges.samples.labels), np.bool_)
    result = Vector(ranges.samples.labels, values, present, drop_name=drop)
    if name in COUNTERS:
        note_counters(result, notes, at[1])
    if ranges.native is not None and name not in _ANY_SAMPLE and ranges.native.any():
        return _with_histograms(name, ranges, result, notes, at, check)
    return result


def extended(name: str, ranges: Ranges, notes: Annotations, at: int, *, smoothed: bool, lookback_ms: int) -> Vector:
    """``name`` over an anchored or smoothed range, whose windows are wider than the range by the lookback."""
    values, present = range_extended.evaluate(name, ranges.floats, smoothed=smoothed, lookback_ms=lookback_ms)
    result = Vector(ranges.samples.labels, values, present, drop_name=np.ones(len(ranges.samples.labels), np.bool_))
    if name in COUNTERS:
        note_counters(result, notes, at)
    if ranges.native is None or not ranges.native.any():
        return result
    rows, columns = np.nonzero(ranges.native)
    windows = ranges.histogram_windows(rows, columns)
    end_ms = windows.end_ms - (lookback_ms if smoothed else 0)
    found = histogram_extended.extended(name, windows, windows.start_ms + lookback_ms, end_ms, smoothed=smoothed)
    _note(name, found.notes, ranges, rows, notes, (at, at))
    return placed(result, rows, columns, found.present, found.samples)


def note_counters(result: Vector, notes: Annotations, at: int) -> None:
    """Say so where a counter's function gave a float for what is not called like a counter."""
    suspects = [(row, name) for row, name in enumerate(map(vectors.name_of, result.labels)) if name and not name.endswith(COUNTER_SUFFIXES)]
    told: set[str] = set()
    for row, name in suspects:
        if name not in told and result.present[row].any():
            told.add(name)
            notes.add(maybe_no_counter(name), at)


def _blockwise(function: Function, windows: Windows, arguments: Sequence[Floats], check: Callable[[], None]) -> tuple[Floats, Bools]:
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


def _note_quantiles(ranges: Ranges, q: Floats, notes: Annotations, at: int) -> None:
    asked = (ranges.floats.counts > 0).any(axis=0)
    for wrong in {number(value): value for value in q[asked & ~((q >= 0) & (q <= 1))].tolist()}.values():
        notes.add(bad_quantile(wrong), at)


def _with_histograms(
    name: str, ranges: Ranges, result: Vector, notes: Annotations, at: tuple[int, int], check: Callable[[], None]
) -> Vector:
    """Put in place what windows with histograms give."""
    assert ranges.native is not None
    rows, columns = np.nonzero(ranges.native)
    windows = ranges.histogram_windows(rows, columns)
    if name not in histogram_over_time.FUNCTIONS:
        _note(name, histogram_windows.ignored(windows), ranges, rows, notes, at)
        return result
    found = histogram_over_time.evaluate(name, windows, check)
    _note(name, found.notes, ranges, rows, notes, at)
    return placed(result, rows, columns, found.present, found.samples)


def _note(name: str, found: Notes, ranges: Ranges, rows: Longs, notes: Annotations, at: tuple[int, int]) -> None:
    place = at[0] if name in {"irate", "idelta"} else at[1]
    for note, where in found.items():
        if note in OF_OPERATION:
            notes.add(note.text(), place)
            continue
        for metric in {vectors.name_of(ranges.samples.labels[row]) for row in np.unique(rows[where]).tolist()}:
            notes.add(note.text(quoted(metric)), place)
