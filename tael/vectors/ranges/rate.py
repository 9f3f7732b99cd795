"""rate, increase, delta, irate, idelta, changes and resets over windows of floats, with Prometheus' extrapolation to a window's edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tael.model.series import Bools, Floats, Longs
from tael.vectors.windows import Windows, walk


def increase(windows: Windows, *, counter: bool, per_second: bool) -> tuple[Floats, Bools]:
    """How much the value grew in each window with two samples or more, extrapolated to the whole window.

    With ``counter``, a decrease is a reset, so the value before it is added, and values are taken to be never below 0.
    """
    enough = windows.counts >= 2
    first = windows.first(windows.values)
    grown = windows.last(windows.values) - first
    if counter:
        _add_resets(windows, grown)
    factor = extrapolation(windows, grown, first, counter=counter)
    if per_second:
        factor /= windows.range_ms / 1000
    return grown * factor, enough


def extrapolation(windows: Windows, grown: Floats, first: Floats, *, counter: bool) -> Floats:
    """The factor by which growth between a window's first and last sample is multiplied to cover the whole window."""
    first_ms, last_ms = windows.first(windows.times_ms), windows.last(windows.times_ms)
    return extrapolated(Seen(first_ms, last_ms, windows.counts, windows.ends_ms, windows.range_ms), grown, first, counter=counter)


@dataclass(frozen=True, slots=True)
class Seen:
    """Each window's first and last sample time and number of samples; where windows end, and their length. Times are milliseconds."""

    first_ms: Floats
    last_ms: Floats
    counts: Longs
    ends_ms: Longs
    range_ms: int


def extrapolated(seen: Seen, grown: Floats, first: Floats, *, counter: bool) -> Floats:
    """The factor of ``extrapolation``, from ``Seen``; ``grown`` and ``first`` may be a histogram's counts.

    Where the outermost sample is at least 1.1 mean intervals from an edge, the series is taken to begin or end half an interval beyond that
    sample; a counter is not extrapolated back below 0.
    """
    to_start = (seen.first_ms - (seen.ends_ms - seen.range_ms)) / 1000
    to_end = (seen.ends_ms - seen.last_ms) / 1000
    sampled = (seen.last_ms - seen.first_ms) / 1000
    mean = sampled / (seen.counts - 1)
    limit = mean * 1.1
    # "distance" is a view: both edges are corrected in place by the same rule.
    for distance in (to_start, to_end):
        far = distance >= limit
        distance[far] = mean[far] / 2
    if counter:
        # How long before the first sample the counter would have been 0 at this slope; it did not exist earlier.
        to_zero = sampled * (first / grown)
        nearer = (to_zero < to_start) & (grown > 0) & (first >= 0)
        to_start[nearer] = to_zero[nearer]
    result: Floats = sampled + to_start
    result += to_end
    result /= sampled
    return result


def instant(windows: Windows, *, rate: bool) -> tuple[Floats, Bools]:
    """The difference of the last two samples, for ``rate`` per second; after a reset, the last value alone."""
    enough = windows.counts >= 2
    last, before = windows.last(windows.values), _at_last_but_one(windows, windows.values)
    change = last - before
    if rate:
        # A reset between the two: the counter began at 0, so all of the last value was added since.
        change = np.where(last < before, last, change)
        change /= (windows.last(windows.times_ms) - _at_last_but_one(windows, windows.times_ms)) / 1000
    return change, enough


def changes(windows: Windows) -> tuple[Floats, Bools]:
    """How often the value changed; NaN after NaN is no change."""
    now, before = windows.values, _before(windows.values)
    # NaN != NaN is true, and a gauge that stays NaN does not change.
    changed = (now != before) & ~(np.isnan(now) & np.isnan(before))
    return _events(windows, changed), windows.counts > 0


def resets(windows: Windows) -> tuple[Floats, Bools]:
    """How often the value decreased."""
    return _events(windows, windows.values < _before(windows.values)), windows.counts > 0


def _events(windows: Windows, happened: Bools) -> Floats:
    """In how many samples of each window, the first one excepted, the event happened."""
    # Events before position i; a window's own are a difference, so no window is walked.
    marked = np.concatenate(([0], np.cumsum(happened & windows.follows())))
    # lo + 1: a change at the first sample is against a sample outside the window.
    return np.where(windows.counts > 0, _between(marked, windows.lo + 1, windows.hi), 0).astype(np.float64)


def _add_resets(windows: Windows, grown: Floats) -> None:
    """Add the value before each reset inside a window to ``grown``, in order."""
    fallen = (windows.values < _before(windows.values)) & windows.follows()
    falls = np.flatnonzero(fallen)
    if len(falls) == 0:
        return
    marked = np.concatenate(([0], np.cumsum(fallen)))
    begin = marked.take(windows.lo + 1, mode="clip")
    end = marked.take(windows.hi, mode="clip")
    # Few windows hold a reset: only those are walked, and only over their resets.
    affected = np.nonzero(end > begin)
    before = windows.values[falls - 1]
    steps = walk(begin[affected], end[affected])
    total = steps.ordered(grown[affected]).copy()
    for live, at in steps:
        # Added one after the other and not as a difference of running sums: the result must have Prometheus' rounding.
        total[:live] += before[at]
    grown[affected] = steps.back(total)


def _before(values: Floats) -> Floats:
    return np.concatenate((values[:1], values[:-1]))


def _between(marked: Longs, begin: Longs, end: Longs) -> Longs:
    result: Longs = marked.take(end, mode="clip") - marked.take(begin, mode="clip")
    return result


def _at_last_but_one(windows: Windows, column: Floats | Longs) -> Floats:
    if len(column) == 0:
        return np.zeros(windows.hi.shape)
    return column.take(windows.hi - 2, mode="clip").astype(np.float64, copy=False)
