"""How much native histograms grew over windows: rate, increase and delta, irate and idelta."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tael.model.histogram import MAX_SCHEMA, RESET_GAUGE, Histograms, Ints
from tael.model.series import Bools, Floats, Longs
from tael.vectors.histograms.notes import Note, Notes, joined
from tael.vectors.histograms.resets import detect
from tael.vectors.histograms.scaling import divided, scaled
from tael.vectors.histograms.sums import weighted
from tael.vectors.histograms.windows import Evaluated, Windows, beside_floats, between, fallen, members, of_rows, spread


def growth(windows: Windows, *, counter: bool, per_second: bool) -> Evaluated:
    """The growth of each window: rate with ``counter`` and ``per_second``, increase with ``counter``, else delta."""
    count = len(windows.lo)
    mixed = beside_floats(windows)
    rows = np.flatnonzero(~mixed & (windows.counts >= 2))
    pure = windows.take(rows)
    grown, notes = _grown(pure, counter=counter)
    # A window with both kinds of buckets has a note and no result.
    fine = np.flatnonzero(~notes.get(Note.EXPONENTIAL_AND_CUSTOM, np.zeros(len(rows), np.bool_)))
    factor = _extrapolation(pure, grown.count, counter=counter)
    if per_second:
        factor = factor / ((pure.end_ms - pure.start_ms) / 1000)
    result = _gauges(scaled(grown, factor)).take(fine)
    return of_rows(rows[fine], count, result, joined({Note.MIXED_IN_SERIES: mixed}, spread(notes, rows, count)))


def _grown(windows: Windows, *, counter: bool) -> tuple[Histograms, Notes]:
    """The last histogram of each window minus the first, plus the one before each counter reset."""
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
    # After a reset at the second sample the first would be subtracted and added back; both are left out.
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
    # Prometheus notes a subtraction where first and last sample differ, and an addition where only samples in between do.
    differ = from_first & (histograms.bounds[first] != histograms.bounds[last])
    notes = _subtracted(_kinds(windows, from_first) | total.mixed, total.reconciled & differ)
    more = {Note.NOT_COUNTER: windows.counted(is_gauge) > 0, Note.BOUNDS_RECONCILED_IN_ADDITION: total.reconciled & ~differ}
    return total.histograms, joined(notes, more)


def _subtracted(mixed: Bools, reconciled: Bools) -> Notes:
    return {Note.EXPONENTIAL_AND_CUSTOM: mixed, Note.BOUNDS_RECONCILED_IN_SUBTRACTION: reconciled & ~mixed}


def _kinds(windows: Windows, from_first: Bools) -> Bools:
    """Whether a window has exponential and custom samples; the first sample does not count when a reset follows it."""
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
    """The factor by which growth between a window's first and last sample is multiplied to cover the whole window.

    The rule is that of ``ranges.rate.extrapolated``; a counter is judged by its count of observations.
    """
    times = windows.samples.times_ms
    first, last = times[windows.lo], times[windows.hi - 1]
    to_start, to_end, sampled = (first - windows.start_ms) / 1000, (windows.end_ms - last) / 1000, (last - first) / 1000
    mean = sampled / (windows.weights - 1)
    # Where the edge is further away than the next sample would be, the series is taken to begin or end within the window, half an interval
    # on.
    to_start = np.where(to_start >= mean * 1.1, mean / 2, to_start)
    to_end = np.where(to_end >= mean * 1.1, mean / 2, to_end)
    if counter:
        begin = windows.histograms.count[windows.position[windows.lo]]
        with np.errstate(invalid="ignore", divide="ignore"):
            # A counter was never below zero: growth is not carried back beyond the time at which it would have been.
            to_zero = sampled * (begin / grown)
        to_start = np.where((grown > 0) & (begin >= 0) & (to_zero < to_start), to_zero, to_start)
    return (sampled + to_start + to_end) / sampled


def instant(windows: Windows, *, counter: bool) -> Evaluated:
    """The difference of each window's last two samples: irate with ``counter``, else idelta."""
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
    """``now`` minus ``then``, or ``now`` itself where a counter was reset."""
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
