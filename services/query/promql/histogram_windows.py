"""Range functions over windows that hold native histograms, alone or beside floats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from services.query.promql.histogram_binary import Cells, divided
from services.query.promql.histogram_notes import Note, Notes, joined
from services.query.promql.histogram_resets import detect, equal
from services.query.promql.histogram_sums import Sums, average_by, scaled, sum_by, weighted
from tael.model.histogram import MAX_SCHEMA, RESET_GAUGE, Histograms, Ints, concatenate, empty
from tael.model.series import Bools, Floats, Longs, Samples

MAX_MEMBERS = 1 << 21
"""How many samples of windows are listed at once, unless one window alone has more."""
_LISTING = frozenset({"sum_over_time", "avg_over_time"})
"""The functions that list every sample of every window."""


@dataclass(frozen=True, slots=True)
class Windows:
    """``len(lo)`` windows: window ``w`` is over ``samples`` from ``lo[w]`` up to, not including, ``hi[w]``, all of one series, no stale markers.

    In time it is ``start_ms[w] < t <= end_ms[w]``.
    """

    samples: Samples
    lo: Longs
    hi: Longs
    start_ms: Longs
    end_ms: Longs

    @property
    def position(self) -> Longs:
        """For each sample its position among the histograms, -1 for a float."""
        found = self.samples.histogram
        return np.full(len(self.samples.values), -1, np.int64) if found is None else found

    @property
    def histograms(self) -> Histograms:
        """The histograms of the samples."""
        return self.samples.histograms or empty()

    @property
    def counts(self) -> Longs:
        """How many samples each window holds."""
        return self.hi - self.lo

    def take(self, rows: Longs | slice) -> Windows:
        """Some of the windows."""
        return Windows(self.samples, self.lo[rows], self.hi[rows], self.start_ms[rows], self.end_ms[rows])

    def part(self, begin: int, end: int) -> Windows:
        """Consecutive windows, over no more samples than they hold."""
        some = self.take(slice(begin, end))
        if len(some.lo) == 0:
            return some
        first, last = int(some.lo.min()), int(some.hi.max())
        found = self.samples.histogram
        samples = replace(
            self.samples,
            offsets=np.array([0, last - first], np.int64),
            times_ms=self.samples.times_ms[first:last],
            values=self.samples.values[first:last],
            histogram=None if found is None else found[first:last],
        )
        return Windows(samples, some.lo - first, some.hi - first, some.start_ms, some.end_ms)

    def counted(self, flags: Bools) -> Longs:
        """How many of each window's samples are flagged."""
        return between(flags, self.lo, self.hi)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A sample for each window where ``present`` is True."""

    present: Bools
    samples: Cells
    notes: Notes = field(default_factory=dict)


def with_histograms(samples: Samples, lo: Longs, hi: Longs) -> Bools:
    """Which windows hold a histogram. Only these come to ``evaluate``."""
    if samples.histogram is None:
        return np.zeros(lo.shape, np.bool_)
    return between(samples.histogram >= 0, lo, hi) > 0


def evaluate(function: str, windows: Windows) -> Evaluated:
    """One of ``FUNCTIONS`` over windows that each hold a histogram, alone or beside floats."""
    if function not in _LISTING:
        return _EVALUATED[function](windows)
    held = np.cumsum(windows.counts)
    parts: list[Evaluated] = []
    begin = 0
    while begin < len(held) or not parts:
        done = held[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(held, done + MAX_MEMBERS, side="right")))
        parts.append(_EVALUATED[function](windows.part(begin, end)))
        begin = end
    return parts[0] if len(parts) == 1 else _concatenated(parts)


def ignored(windows: Windows) -> Notes:
    """What to note where a function outside ``FUNCTIONS`` is evaluated over the windows' floats alone."""
    return joined({Note.IGNORED_IN_RANGE: windows.counted(windows.position < 0) > 0})


def between(flags: Bools, lo: Longs, hi: Longs) -> Longs:
    """How many of the positions from each ``lo`` up to its ``hi`` are flagged."""
    running = np.concatenate((np.zeros(1, np.int64), np.cumsum(flags, dtype=np.int64)))
    return running[hi] - running[lo]


def _mixed(windows: Windows) -> Bools:
    return windows.counted(windows.position < 0) > 0


def _concatenated(parts: list[Evaluated]) -> Evaluated:
    sizes = np.array([len(part.samples.histograms) for part in parts])
    shift = np.repeat(np.cumsum(sizes) - sizes, [len(part.present) for part in parts])
    cells = np.concatenate([part.samples.cells for part in parts])
    begins = np.cumsum([0, *(len(part.present) for part in parts)])
    rows = [np.arange(*begins[i : i + 2]) for i in range(len(parts))]
    return Evaluated(
        np.concatenate([part.present for part in parts]),
        Cells(
            np.concatenate([part.samples.values for part in parts]),
            np.where(cells >= 0, cells + shift, cells),
            concatenate([part.samples.histograms for part in parts]),
        ),
        joined(*(spread(part.notes, own, int(begins[-1])) for part, own in zip(parts, rows, strict=True))),
    )


def _floats(present: Bools, values: Floats) -> Evaluated:
    return Evaluated(present, Cells(values, np.full(len(values), -1, np.int64), empty()))


def of_rows(rows: Longs, count: int, histograms: Histograms, notes: Notes) -> Evaluated:
    """``histograms[k]`` as the result of window ``rows[k]`` of ``count``."""
    cells = np.full(count, -1, np.int64)
    cells[rows] = np.arange(len(rows))
    return Evaluated(cells >= 0, Cells(np.full(count, np.nan), cells, histograms), notes)


def _at(windows: Windows, positions: Longs) -> Evaluated:
    samples = windows.samples
    cells = windows.position[positions]
    return Evaluated(np.ones(len(cells), np.bool_), Cells(samples.values[positions], cells, windows.histograms))


def native(windows: Windows) -> Bools:
    """Which samples are histograms."""
    return windows.position >= 0


def fallen(windows: Windows) -> Bools:
    """Which samples come after a counter reset, as far as a window holds them and the ones before them."""
    return _pairs(windows, _fallen)


def _pairs(windows: Windows, differs: Callable[[Windows, Longs], Bools]) -> Bools:
    """For each sample that has one before it in a window whether the two differ."""
    size = len(windows.samples.values)
    edges = np.bincount(np.minimum(windows.lo + 1, windows.hi), minlength=size + 1) - np.bincount(windows.hi, minlength=size + 1)
    flags = np.zeros(size, np.bool_)
    covered = np.flatnonzero(np.cumsum(edges)[:size] > 0)
    flags[covered] = differs(windows, covered)
    return flags


def _differing(windows: Windows) -> Evaluated:
    return _transitions(windows, _changed)


def _resetting(windows: Windows) -> Evaluated:
    return _transitions(windows, _fallen)


def _transitions(windows: Windows, differs: Callable[[Windows, Longs], Bools]) -> Evaluated:
    flags = _pairs(windows, differs)
    found = between(flags, np.minimum(windows.lo + 1, windows.hi), windows.hi)
    return _floats(windows.counts > 0, found.astype(np.float64))


def _changed(windows: Windows, at: Longs) -> Bools:
    now, before = windows.samples.values[at], windows.samples.values[at - 1]
    unequal = (now != before) & ~(np.isnan(now) & np.isnan(before))
    return _either(windows, at, unequal, lambda later, earlier: ~equal(windows.histograms, later, earlier))


def _fallen(windows: Windows, at: Longs) -> Bools:
    fell = windows.samples.values[at] < windows.samples.values[at - 1]
    return _either(windows, at, fell, lambda later, earlier: detect(windows.histograms, later, earlier))


def _either(windows: Windows, at: Longs, floats: Bools, histograms: Callable[[Longs, Longs], Bools]) -> Bools:
    """Between two floats what ``floats`` says, between two histograms what ``histograms`` does, True where the kind changes."""
    now, before = windows.position[at], windows.position[at - 1]
    result = np.where((now >= 0) == (before >= 0), floats, True)
    both = (now >= 0) & (before >= 0)
    result[both] = histograms(now[both], before[both])
    return result


def members(lo: Longs, hi: Longs) -> tuple[Longs, Longs]:
    """The positions from ``lo`` to ``hi`` of every window, and whose each is."""
    sizes = hi - lo
    owner = np.repeat(np.arange(len(lo)), sizes)
    starts = np.cumsum(sizes) - sizes
    return np.arange(len(owner)) - starts[owner] + lo[owner], owner


def _aggregate(windows: Windows, by: Callable[[Histograms, Longs, Longs, int], Sums]) -> Evaluated:
    mixed = _mixed(windows)
    rows = np.flatnonzero(~mixed)
    pure = windows.take(rows)
    positions, owner = members(pure.lo, pure.hi)
    total = by(windows.histograms, windows.position[positions], owner, len(rows))
    notes = joined({Note.MIXED_IN_SERIES: mixed}, spread(total.notes, rows, len(mixed)))
    found = np.flatnonzero(total.present)
    return of_rows(rows[found], len(mixed), total.histograms.take(found), notes)


def spread(notes: Notes, rows: Longs, count: int) -> Notes:
    """Notes on the windows ``rows`` as notes on all."""
    result: Notes = {}
    for note, mask in notes.items():
        result[note] = np.zeros(count, np.bool_)
        result[note][rows] = mask
    return result


def _instant(windows: Windows, *, counter: bool) -> Evaluated:
    """What the last two samples say: irate and idelta."""
    count = len(windows.lo)
    enough = np.flatnonzero(windows.counts >= 2)
    last, before = windows.hi[enough] - 1, windows.hi[enough] - 2
    now, then = windows.position[last], windows.position[before]
    seconds = (windows.samples.times_ms[last] - windows.samples.times_ms[before]) / 1000
    both, none = (now >= 0) & (then >= 0), (now < 0) & (then < 0)
    floats = _float_step(windows.samples.values[last], windows.samples.values[before], counter=counter)
    change, notes = _step(windows.histograms, now[both], then[both], counter=counter)
    if counter:
        floats, change = floats / seconds, divided(change, seconds[both])
    mixed = {Note.MIXED_IN_SERIES: ~both & ~none}
    rows = enough[both]
    fine = ~notes.get(Note.EXPONENTIAL_AND_CUSTOM, np.zeros(len(rows), np.bool_))
    result = of_rows(rows[fine], count, change.take(np.flatnonzero(fine)), {})
    present, values = result.present.copy(), result.samples.values.copy()
    present[enough[none]], values[enough[none]] = True, floats[none]
    return Evaluated(present, replace(result.samples, values=values), joined(spread(notes, rows, count), spread(mixed, enough, count)))


def _float_step(now: Floats, then: Floats, *, counter: bool) -> Floats:
    return np.where(now < then, now, now - then) if counter else now - then


def _step(histograms: Histograms, now: Longs, then: Longs, *, counter: bool) -> tuple[Histograms, Notes]:
    """``now`` less ``then``, or ``now`` itself where a counter was reset."""
    count = len(now)
    taken = ~detect(histograms, now, then) if counter else np.ones(count, np.bool_)
    rows, pairs = np.concatenate([now, then[taken]]), np.concatenate([np.arange(count), np.flatnonzero(taken)])
    weights = np.repeat([1.0, -1.0], [count, int(taken.sum())])
    total = weighted(histograms, rows, weights, pairs, count)
    gauge = np.stack([histograms.reset_hint[now], histograms.reset_hint[then]]) == RESET_GAUGE
    odd = {Note.NOT_COUNTER: gauge.any(axis=0)} if counter else {Note.NOT_GAUGE: ~gauge.all(axis=0)}
    notes = joined(odd, {Note.EXPONENTIAL_AND_CUSTOM: total.mixed, Note.BOUNDS_RECONCILED_IN_SUBTRACTION: total.reconciled})
    return _gauges(total.histograms), notes


def _gauges(histograms: Histograms) -> Histograms:
    return replace(histograms, reset_hint=np.full(len(histograms), RESET_GAUGE, np.uint8))


def _growth(windows: Windows, *, counter: bool, per_second: bool) -> Evaluated:
    """What rate, increase and delta say."""
    count = len(windows.lo)
    mixed = _mixed(windows)
    rows = np.flatnonzero(~mixed & (windows.counts >= 2))
    pure = windows.take(rows)
    grown, notes = _grown(pure, counter=counter)
    fine = np.flatnonzero(~notes.get(Note.EXPONENTIAL_AND_CUSTOM, np.zeros(len(rows), np.bool_)))
    factor = _extrapolation(pure, grown.count, counter=counter)
    if per_second:
        factor = factor / ((pure.end_ms - pure.start_ms) / 1000)
    result = _gauges(scaled(grown, factor)).take(fine)
    return of_rows(rows[fine], count, result, joined({Note.MIXED_IN_SERIES: mixed}, spread(notes, rows, count)))


def _grown(windows: Windows, *, counter: bool) -> tuple[Histograms, Notes]:
    """The last histogram of each window less the first, and what was lost in counter resets added."""
    count, position, histograms = len(windows.lo), windows.position, windows.histograms
    first, last = position[windows.lo], position[windows.hi - 1]
    every = np.arange(count)
    is_gauge = np.zeros(len(position), np.bool_)
    is_gauge[position >= 0] = histograms.reset_hint[position[position >= 0]] == RESET_GAUGE
    if not counter:
        total = weighted(histograms, np.concatenate([last, first]), np.repeat([1.0, -1.0], count), np.tile(every, 2), count)
        gauges = is_gauge[windows.lo] & is_gauge[windows.hi - 1]
        return total.histograms, joined({Note.NOT_GAUGE: ~gauges}, _subtracted(total.mixed, total.reconciled))
    fell = fallen(windows)
    from_first = ~fell[windows.lo + 1]
    lossy = np.flatnonzero(between(fell, windows.lo + 2, windows.hi))
    at, owner = members(windows.lo[lossy] + 2, windows.hi[lossy])
    lost = fell[at]
    total = weighted(
        histograms,
        np.concatenate([last, first[from_first], position[at[lost] - 1]]),
        np.concatenate([np.ones(count), np.full(int(from_first.sum()), -1.0), np.ones(int(lost.sum()))]),
        np.concatenate([every, every[from_first], lossy[owner[lost]]]),
        count,
        _coarsest(histograms, position, windows.lo + 1, windows.hi),
    )
    differ = from_first & (histograms.bounds[first] != histograms.bounds[last])
    notes = _subtracted(_kinds(windows, from_first) | total.mixed, total.reconciled & differ)
    more = {Note.NOT_COUNTER: windows.counted(is_gauge) > 0, Note.BOUNDS_RECONCILED_IN_ADDITION: total.reconciled & ~differ}
    return total.histograms, joined(notes, more)


def _subtracted(mixed: Bools, reconciled: Bools) -> Notes:
    return {Note.EXPONENTIAL_AND_CUSTOM: mixed, Note.BOUNDS_RECONCILED_IN_SUBTRACTION: reconciled & ~mixed}


def _kinds(windows: Windows, from_first: Bools) -> Bools:
    """Whether the samples that count are of both kinds, exponential and custom; the first one does not count when a reset follows it."""
    position = windows.position
    custom = np.zeros(len(position), np.bool_)
    custom[position >= 0] = windows.histograms.bounds[position[position >= 0]] >= 0
    lo = np.where(from_first, windows.lo, windows.lo + 1)
    found = between(custom, lo, windows.hi)
    return (found > 0) & (found < windows.hi - lo)


def _coarsest(histograms: Histograms, position: Longs, lo: Longs, hi: Longs) -> Ints:
    """The smallest schema of each window."""
    result = np.full(len(lo), MAX_SCHEMA, np.int32)
    schemas = histograms.schema[position[position >= 0]]
    if len(schemas) and schemas.min() < schemas.max():
        at, owner = members(lo, hi)
        np.minimum.at(result, owner, histograms.schema[position[at]])
    return result


def _extrapolation(windows: Windows, grown: Floats, *, counter: bool) -> Floats:
    """By what to multiply what was seen between a window's first and last sample so that it stands for the whole window.

    Where samples end more than 1.1 mean intervals before an edge, the series is taken to end half an interval after them; and a counter
    is not followed back to below 0.
    """
    times = windows.samples.times_ms
    first, last = times[windows.lo], times[windows.hi - 1]
    to_start, to_end, sampled = (first - windows.start_ms) / 1000, (windows.end_ms - last) / 1000, (last - first) / 1000
    mean = sampled / (windows.counts - 1)
    to_start = np.where(to_start >= mean * 1.1, mean / 2, to_start)
    to_end = np.where(to_end >= mean * 1.1, mean / 2, to_end)
    if counter:
        begin = windows.histograms.count[windows.position[windows.lo]]
        with np.errstate(invalid="ignore", divide="ignore"):
            to_zero = sampled * (begin / grown)
        to_start = np.where((grown > 0) & (begin >= 0) & (to_zero < to_start), to_zero, to_start)
    return (sampled + to_start + to_end) / sampled


_Function: TypeAlias = Callable[[Windows], Evaluated]

_EVALUATED: dict[str, _Function] = {
    "rate": lambda windows: _growth(windows, counter=True, per_second=True),
    "increase": lambda windows: _growth(windows, counter=True, per_second=False),
    "delta": lambda windows: _growth(windows, counter=False, per_second=False),
    "irate": lambda windows: _instant(windows, counter=True),
    "idelta": lambda windows: _instant(windows, counter=False),
    "resets": _resetting,
    "changes": _differing,
    "sum_over_time": lambda windows: _aggregate(windows, sum_by),
    "avg_over_time": lambda windows: _aggregate(windows, average_by),
    "last_over_time": lambda windows: _at(windows, windows.hi - 1),
    "first_over_time": lambda windows: _at(windows, windows.lo),
    "count_over_time": lambda windows: _floats(windows.counts > 0, windows.counts.astype(np.float64)),
    "present_over_time": lambda windows: _floats(windows.counts > 0, np.ones(len(windows.lo))),
}

FUNCTIONS = frozenset(_EVALUATED)
"""The functions that give a result for histograms; every other one looks at the floats of a window alone, see ``ignored``."""
