"""The ``anchored`` and ``smoothed`` range modifiers: growth is measured between the range's edges, not between its outermost samples.

The windows are wider than the range: by the lookback before it and, for ``smoothed``, after it too.
"""

from __future__ import annotations

import numpy as np

from tael.model.series import Bools, Floats, Longs
from tael.vectors.ranges.functions import FUNCTIONS, RangeFunction
from tael.vectors.windows import Windows, walk

SMOOTHED = sorted(name for name, function in FUNCTIONS.items() if function.growth)
ANCHORED = sorted(name for name, function in FUNCTIONS.items() if function.growth or function.events)
"""The functions that these modifiers may be used with."""


def evaluate(function: RangeFunction, windows: Windows, *, smoothed: bool, lookback_ms: int) -> tuple[Floats, Bools]:
    """``function`` over the windows' ranges, without extrapolation because the values at the edges are known."""
    range_ms = windows.range_ms - lookback_ms * (2 if smoothed else 1)
    end = windows.ends_ms - (lookback_ms if smoothed else 0)
    begin = end - range_ms
    edges = _Edges(windows, np.broadcast_to(begin, windows.lo.shape), np.broadcast_to(end, windows.lo.shape))
    if function.growth is None:
        inner = Windows(
            windows.offsets, windows.times_ms, windows.values, edges.first, windows.hi, windows.ends_ms, windows.steps_ms, windows.range_ms
        )
        values, _ = function.floats(inner)
        return values, windows.counts > 0
    values = edges.grown(counter=function.growth.counter, smoothed=smoothed)
    return (values / (range_ms / 1000) if function.growth.per_second else values), edges.present


class _Edges:
    """Each window's samples at the range's begin (``first``) and end, as positions; ``present`` says where the range has a sample."""

    def __init__(self, windows: Windows, begin: Longs, end: Longs) -> None:
        self._windows, self._begin, self._end = windows, begin, end
        self._after_begin = _first_after(windows, begin, inclusive=False)
        # The first sample at or after the end, or the window's last one where none is.
        self._last = np.minimum(_first_after(windows, end, inclusive=True), windows.hi - 1)
        # The last sample at or before the begin, or the window's first one where the series begins later.
        self.first = np.maximum(np.minimum(self._after_begin, windows.hi - 1) - 1, windows.lo)
        self.present = (windows.counts > 0) & (self._time(self._last) > begin)

    def _time(self, at: Longs) -> Longs:
        times = self._windows.times_ms
        return times.take(at, mode="clip") if len(times) else np.zeros_like(at)

    def _value(self, at: Longs) -> Floats:
        values = self._windows.values
        return values.take(at, mode="clip") if len(values) else np.zeros(at.shape)

    def grown(self, *, counter: bool, smoothed: bool) -> Floats:
        left, right = self._value(self.first), self._value(self._last)
        if smoothed:
            before = self._time(self.first) < self._begin
            left = np.where(before, self._between(self.first, self._begin, counter=counter), left)
            beyond = (self._last > self._windows.lo) & (self._time(self._last) > self._end)
            right = np.where(beyond, self._between(self._last - 1, self._end, counter=counter), right)
        grown = right - left
        if counter:
            grown += self._lost(left, right)
        return grown

    def _between(self, at: Longs, time: Longs, *, counter: bool) -> Floats:
        """The value at ``time`` on the line from sample ``at`` to the next; a counter that fell restarted at 0."""
        y1, y2 = self._value(at), self._value(at + 1)
        if counter:
            y1 = np.where(y2 < y1, 0, y1)
        span = self._time(at + 1) - self._time(at)
        result: Floats = y1 + (y2 - y1) * (time - self._time(at)) / span
        return result

    def _lost(self, left: Floats, right: Floats) -> Floats:
        """What resets took away: the value before each decrease, from the left edge over the samples in between to the right edge."""
        # Samples at or outside an edge are represented by the edge's value, so only those strictly inside are walked.
        lo = np.where(self._time(self.first) <= self._begin, self.first + 1, self.first)
        hi = np.where(self._time(self._last) >= self._end, self._last, self._last + 1)
        steps = walk(lo, np.maximum(hi, lo))
        lost, before = np.zeros(len(steps.lo)), steps.ordered(left).copy()
        for live, at in steps:
            now = self._windows.values[at]
            lost[:live] += np.where(now < before[:live], before[:live], 0)
            before[:live] = now
        lost += np.where(steps.ordered(right) < before, before, 0)
        return steps.back(lost)


def _first_after(windows: Windows, time: Longs, *, inclusive: bool) -> Longs:
    """The position of each window's first sample after ``time``, or with ``inclusive`` at it; ``hi`` when there is none."""
    result = windows.lo.copy()
    steps = walk(windows.lo, windows.hi)
    limit = steps.ordered(time.astype(np.float64))
    count = np.zeros(len(steps.lo))
    for live, at in steps:
        times = windows.times_ms[at]
        count[:live] += (times < limit[:live]) if inclusive else (times <= limit[:live])
    return result + steps.back(count).astype(np.int64)


def smoothed_instant(windows: Windows, lookback_ms: int) -> tuple[Floats, Bools]:
    """The value at each step, interpolated between the neighbouring samples, or the preceding one's where none follows.

    The windows reach from a lookback before the step to one after it.
    """
    at = np.broadcast_to(windows.ends_ms - lookback_ms, windows.lo.shape)
    after = _first_after(windows, at, inclusive=True)
    inside = after < windows.hi
    if len(windows.times_ms) == 0:
        return np.zeros(at.shape), np.zeros(at.shape, np.bool_)
    next_ms, next_value = windows.times_ms.take(after, mode="clip"), windows.values.take(after, mode="clip")
    last_ms, last_value = windows.times_ms.take(after - 1, mode="clip"), windows.values.take(after - 1, mode="clip")
    between = last_value + (next_value - last_value) * (at - last_ms) / (next_ms - last_ms)
    exact, preceded = inside & (next_ms == at), after > windows.lo
    return np.where(exact, next_value, np.where(inside, between, last_value)), exact | preceded
