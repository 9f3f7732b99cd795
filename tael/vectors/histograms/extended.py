"""The ``anchored`` and ``smoothed`` range modifiers for native histograms, as ``ranges.extended`` has them for floats.

A histogram at an edge is interpolated linearly between its neighbours, so every result is a weighted sum of samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tael.model.histogram import RESET_GAUGE
from tael.model.series import Bools, Floats, Longs
from tael.vectors.histograms.notes import Note, joined
from tael.vectors.histograms.over_time import OfHistograms, evaluate
from tael.vectors.histograms.scaling import divided
from tael.vectors.histograms.sums import weighted
from tael.vectors.histograms.windows import Evaluated, Windows, between, fallen, members, native, of_rows, spread


def events(function: OfHistograms, windows: Windows, begin_ms: Longs, end_ms: Longs) -> Evaluated:
    """A function that counts events in ``(begin_ms, end_ms]``, starting from the last sample at or before ``begin_ms``."""
    edges = _Edges.of(windows, begin_ms, end_ms, smoothed=False)
    found = evaluate(function, replace(windows, lo=edges.first))
    return replace(found, present=found.present & edges.inside)


def growth(windows: Windows, begin_ms: Longs, end_ms: Longs, *, counter: bool, per_second: bool, smoothed: bool) -> Evaluated:
    """How much histograms grew over ``(begin_ms, end_ms]``; the windows reach beyond it, and each holds a histogram."""
    edges = _Edges.of(windows, begin_ms, end_ms, smoothed=smoothed)
    mixed = windows.counted(windows.position < 0) > 0
    rows = np.flatnonzero(~mixed & edges.inside)
    result = _grown(windows.take(rows), edges.take(rows), counter=counter)
    if per_second:
        seconds = ((end_ms - begin_ms) / 1000)[rows]
        result = replace(result, samples=replace(result.samples, histograms=divided(result.samples.histograms, seconds)))
    notes = joined({Note.MIXED_IN_SERIES: mixed}, spread(result.notes, rows, len(mixed)))
    return of_rows(rows[result.present], len(mixed), result.samples.histograms.take(np.flatnonzero(result.present)), notes)


@dataclass(frozen=True, slots=True)
class _Edges:
    """Each window's samples at the range's edges: ``first`` at its begin, ``last`` at its end.

    Where ``before`` is True, the begin lies between ``first`` and the sample after it, at ``begin_share`` of the way. Where ``beyond`` is
    True, the end lies between the sample before ``last`` and ``last``, at ``end_share``. ``inside`` says whether the range has any sample.
    """

    first: Longs
    last: Longs
    inside: Bools
    before: Bools
    begin_share: Floats
    beyond: Bools
    end_share: Floats

    @classmethod
    def of(cls, windows: Windows, begin_ms: Longs, end_ms: Longs, *, smoothed: bool) -> _Edges:
        times, final = windows.samples.times_ms, windows.hi - 1
        first = np.maximum(_after(times, windows.lo, final, begin_ms + 1) - 1, windows.lo)
        last = _after(times, windows.lo, final, end_ms) if smoothed else final
        inside = (times[last] > begin_ms) & (~np.bool_(smoothed) | (times[first] <= end_ms))
        before = smoothed & inside & (times[first] < begin_ms)
        beyond = smoothed & inside & (last > windows.lo) & (times[last] > end_ms)
        following, preceding = np.minimum(first + 1, final), np.maximum(last - 1, windows.lo)
        return cls(
            first,
            last,
            inside,
            before,
            _share(begin_ms, times[first], times[following]),
            beyond,
            _share(end_ms, times[preceding], times[last]),
        )

    def take(self, rows: Longs) -> _Edges:
        return _Edges(
            self.first[rows],
            self.last[rows],
            self.inside[rows],
            self.before[rows],
            self.begin_share[rows],
            self.beyond[rows],
            self.end_share[rows],
        )


def _share(at: Longs, begin: Longs, end: Longs) -> Floats:
    share: Floats = (at - begin) / np.maximum(end - begin, 1)
    return share


def _after(times: Longs, lo: Longs, hi: Longs, limit: Longs) -> Longs:
    """For each window the first position from ``lo`` on whose time is not below ``limit``, or ``hi``; a binary search in all at once."""
    lo, hi = lo.copy(), hi.copy()
    while (open_ := lo < hi).any():
        middle = (lo + hi) // 2
        below = open_ & (times[middle] < limit)
        lo = np.where(below, middle + 1, lo)
        hi = np.where(open_ & ~below, middle, hi)
    return lo


def _grown(windows: Windows, edges: _Edges, *, counter: bool) -> Evaluated:
    """The histogram at the end minus the one at the begin, plus the sample before each reset in between."""
    count, every, at = len(windows.lo), np.arange(len(windows.lo)), windows.position
    # A counter that was reset restarted at 0: an edge inside such a step is interpolated from 0, and the earlier sample has no share in it.
    fell = fallen(windows) if counter else np.zeros(len(at), np.bool_)
    following = np.minimum(edges.first + 1, windows.hi - 1)
    new_begin, new_end = edges.before & fell[following], edges.beyond & fell[edges.last]
    lossy = np.flatnonzero(between(fell, edges.first + 1, np.maximum(edges.last, edges.first) + 1))
    later, owner = members(edges.first[lossy] + 1, edges.last[lossy] + 1)
    # A reset inside the step of the begin lost nothing: the begin's value is already counted from 0.
    lost = fell[later] & ~(edges.before[lossy][owner] & (later == edges.first[lossy][owner] + 1))
    # Groups, positions and weights of: the end (two terms), the begin subtracted (two terms), and what resets lost.
    terms = [
        (every, edges.last, np.where(edges.beyond, edges.end_share, 1.0)),
        (every[edges.beyond & ~new_end], (edges.last - 1)[edges.beyond & ~new_end], (1 - edges.end_share)[edges.beyond & ~new_end]),
        (every[~new_begin], edges.first[~new_begin], np.where(edges.before, edges.begin_share - 1, -1.0)[~new_begin]),
        (every[edges.before], following[edges.before], -edges.begin_share[edges.before]),
        (lossy[owner[lost]], later[lost] - 1, np.ones(int(lost.sum()))),
    ]
    groups, positions, weights = (np.concatenate(parts) for parts in zip(*terms, strict=True))
    total = weighted(windows.histograms, at[positions], weights, groups, count)
    kinds, gauges = _kinds(windows, edges), _gauges(windows, edges)
    odd = {Note.NOT_COUNTER: gauges > 0} if counter else {Note.NOT_GAUGE: ~_gauge_edges(windows, edges)}
    found = {Note.EXPONENTIAL_AND_CUSTOM: kinds | total.mixed, Note.BOUNDS_RECONCILED_IN_SUBTRACTION: total.reconciled & ~kinds}
    result = replace(total.histograms, reset_hint=np.full(count, RESET_GAUGE, np.uint8))
    return replace(of_rows(every, count, result, joined(odd, found)), present=~(kinds | total.mixed))


def _flags(windows: Windows, column: Bools) -> Bools:
    """A flag of histograms as a flag of samples, False for floats."""
    return native(windows) & column[np.maximum(windows.position, 0)]


def _kinds(windows: Windows, edges: _Edges) -> Bools:
    custom = between(_flags(windows, windows.histograms.bounds >= 0), edges.first, edges.last + 1)
    return (custom > 0) & (custom < edges.last + 1 - edges.first)


def _gauges(windows: Windows, edges: _Edges) -> Longs:
    return between(_flags(windows, windows.histograms.reset_hint == RESET_GAUGE), edges.first, edges.last + 1)


def _gauge_edges(windows: Windows, edges: _Edges) -> Bools:
    gauge = _flags(windows, windows.histograms.reset_hint == RESET_GAUGE)
    return gauge[edges.first] & gauge[edges.last]
