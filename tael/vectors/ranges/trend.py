"""deriv, predict_linear and double_exponential_smoothing over windows of floats."""

from __future__ import annotations

import numpy as np

from tael.errors import Rejected
from tael.model.series import Bools, Floats
from tael.vectors import sums
from tael.vectors.windows import Windows, walk


def slope(windows: Windows) -> tuple[Floats, Bools]:
    """deriv: the slope per second of the least-squares line through a window's samples."""
    result, _ = _regression(windows, windows.first(windows.times_ms))
    return result, windows.counts >= 2


def prediction(windows: Windows, seconds: Floats) -> tuple[Floats, Bools]:
    """predict_linear: where that line is ``seconds`` (one number a step) after the step."""
    result, intercept = _regression(windows, windows.steps_ms.astype(np.float64))
    return result * seconds + intercept, windows.counts >= 2


def _regression(windows: Windows, origin_ms: Floats) -> tuple[Floats, Floats]:
    """The least-squares line: its slope per second, and its value at ``origin_ms``."""
    steps = walk(windows.lo, windows.hi)
    origin, n = steps.ordered(origin_ms), steps.counts
    first = steps.ordered(windows.first(windows.values))
    level = np.ones(len(origin), np.bool_)
    sum_x, sum_y, sum_xy, sum_xx = ((np.zeros(len(origin)), np.zeros(len(origin))) for _ in range(4))
    for live, at in steps:
        # Times relative to the origin: squares of seconds since 1970 would leave no digits for the difference.
        x, y = (windows.times_ms[at] - origin[:live]) / 1000, windows.values[at]
        level[:live] &= y == first[:live]
        for (total, lost), term in ((sum_x, x), (sum_y, y), (sum_xy, x * y), (sum_xx, x * x)):
            sums.add(total[:live], lost[:live], term)
    x, y, xy, xx = (sums.combined(*pair) for pair in (sum_x, sum_y, sum_xy, sum_xx))
    # The same order of operations as in Prometheus, so that rounding agrees.
    found = (xy - x * y / n) / (xx - x * x / n)
    intercept = y / n - found * x / n
    # Equal values have slope 0 exactly, where the formula gives noise; equal infinities have none.
    flat = np.where(np.isinf(first), np.nan, 0.0)
    return steps.back(np.where(level, flat, found)), steps.back(np.where(level, first + flat, intercept))


def smoothed(windows: Windows, smoothing: Floats, trend: Floats) -> tuple[Floats, Bools]:
    """double_exponential_smoothing: level and trend, each a weighted mean of its old value and the new sample; one factor of each a step.

    Raises Rejected when a factor is not between 0 and 1.
    """
    for name, factors, sign in (("smoothing", smoothing, "sf"), ("trend", trend, "tf")):
        wrong = factors[(factors <= 0) | (factors >= 1)]
        if len(wrong):
            raise Rejected(f"invalid {name} factor. Expected: 0 < {sign} < 1, got: {wrong[0]:f}")
    steps = walk(windows.lo, windows.hi)
    sf, tf = steps.ordered(smoothing), steps.ordered(trend)
    level = steps.ordered(windows.first(windows.values)).copy()
    slope, before = np.zeros(len(level)), np.zeros(len(level))
    for position, (live, at) in enumerate(steps):
        if position == 0:
            continue
        value, now = windows.values[at], level[:live]
        if position == 1:
            slope[:live] = value - now
        else:
            slope[:live] = tf[:live] * (now - before[:live]) + (1 - tf[:live]) * slope[:live]
        raised = sf[:live] * value + (1 - sf[:live]) * (now + slope[:live])
        before[:live] = now
        level[:live] = raised
    return steps.back(level), windows.counts >= 2
