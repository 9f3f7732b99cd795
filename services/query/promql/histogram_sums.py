"""Sums of native histograms, many sums at once: every arithmetic on histograms is a weighted sum over groups of rows.

What is added is first brought to what the group has in common, as Prometheus does it: the coarsest schema; a zero bucket wide enough for the
widest and ending where no populated bucket does; of custom bounds those that all have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from services.query.promql import histogram_bounds as bounds
from services.query.promql.compensated import run_sums
from services.query.promql.histogram_notes import Note, Notes, joined
from tael.model.histogram import (
    CUSTOM_BUCKETS,
    MAX_SCHEMA,
    RESET_GAUGE,
    RESET_NO,
    RESET_UNKNOWN,
    RESET_YES,
    Bounds,
    Buckets,
    Bytes,
    Histograms,
    Ints,
    concatenate,
    empty,
    offsets_of,
)
from tael.model.series import Bools, Floats, Longs

MAX_ENTRIES = 1 << 21
"""How many buckets are added up at once, unless one group alone has more."""
FEW_TERMS = 2
"""Sums of no more terms need no compensation, so a table of all groups' buckets does for them."""


@dataclass(frozen=True, slots=True)
class Sums:
    """One histogram a group; where ``present`` is False there is none (and row ``i`` of ``histograms`` is empty)."""

    present: Bools
    histograms: Histograms
    notes: Notes


def sum_by(histograms: Histograms, rows: Longs, groups: Longs, count: int) -> Sums:
    """``sum by`` over histogram samples: ``rows[k]`` of ``histograms`` belongs to group ``groups[k]`` of ``count``.

    A group that mixes exponential and custom buckets has no result, and the notes say so. Mixing floats and histograms is the caller's
    to see.
    """
    total = weighted(histograms, rows, np.ones(len(rows)), groups, count)
    return _aggregated(histograms, rows, groups, total)


def average_by(histograms: Histograms, rows: Longs, groups: Longs, count: int) -> Sums:
    """``avg by``, likewise; a mean exists also where the sum is beyond the largest number."""
    members = np.bincount(groups, minlength=count)
    total = weighted(histograms, rows, np.ones(len(rows)), groups, count)
    average = replace(total, histograms=scaled(total.histograms, 1.0 / np.maximum(members, 1)))
    overflown = _infinite(total.histograms)[groups]
    if overflown.any():
        again = weighted(histograms, rows[overflown], 1.0 / members[groups[overflown]], groups[overflown], count)
        pick = np.arange(count) + np.where(_infinite(total.histograms), count, 0)
        average = replace(average, histograms=concatenate([average.histograms, again.histograms]).take(pick))
    return _aggregated(histograms, rows, groups, average)


@dataclass(frozen=True, slots=True)
class Weighted:
    """Weighted sums by group, all of them there; ``mixed`` groups have exponential and custom members and come out empty.

    ``reconciled`` says that members had different custom bounds.
    """

    histograms: Histograms
    mixed: Bools
    reconciled: Bools


def weighted(histograms: Histograms, rows: Longs, weights: Floats, groups: Longs, count: int, coarsest: Ints | None = None) -> Weighted:
    """The sum of ``weights[k]`` times row ``rows[k]`` over each group. A group without rows is the empty histogram.

    ``coarsest`` bounds the schema of each exponential group from above. The result's reset hints follow Prometheus' rule for sums.
    """
    order = np.argsort(groups, kind="stable")
    rows, weights, groups = rows[order], weights[order], groups[order]
    parts, begin = [], 0
    for end in _cuts(histograms, rows, groups, count):
        members = slice(*np.searchsorted(groups, (begin, end)))
        terms = _Terms(histograms, rows[members], weights[members], groups[members] - begin, end - begin)
        parts.append(_total(terms, None if coarsest is None else coarsest[begin:end]))
        begin = end
    if len(parts) == 1:
        return parts[0]
    return Weighted(
        concatenate([part.histograms for part in parts]),
        np.concatenate([part.mixed for part in parts]),
        np.concatenate([part.reconciled for part in parts]),
    )


def scaled(histograms: Histograms, factors: Floats) -> Histograms:
    """Each histogram times its own factor; what becomes empty is left out, a negative factor makes a gauge."""
    with np.errstate(invalid="ignore", over="ignore"):
        return replace(
            histograms,
            count=histograms.count * factors,
            sum=histograms.sum * factors,
            zero_count=histograms.zero_count * factors,
            positive=_scaled(histograms.positive, factors),
            negative=_scaled(histograms.negative, factors),
            reset_hint=np.where(factors < 0, np.uint8(RESET_GAUGE), histograms.reset_hint),
        )


def _scaled(buckets: Buckets, factors: Floats) -> Buckets:
    return kept(buckets, buckets.counts * factors[buckets.owner])


def kept(buckets: Buckets, counts: Floats) -> Buckets:
    """The buckets with other counts, those of 0 left out."""
    filled = counts != 0
    positions = offsets_of(filled.astype(np.int64))
    return Buckets(positions[buckets.offsets], buckets.index[filled], counts[filled])


def _aggregated(histograms: Histograms, rows: Longs, groups: Longs, total: Weighted) -> Sums:
    count = len(total.mixed)
    hints = histograms.reset_hint[rows]
    collided = _any(hints == RESET_YES, groups, count) & _any(hints == RESET_NO, groups, count)
    notes = joined(
        {
            Note.EXPONENTIAL_AND_CUSTOM: total.mixed,
            Note.RESET_COLLISION_IN_AGGREGATION: collided,
            Note.BOUNDS_RECONCILED_IN_AGGREGATION: total.reconciled,
        }
    )
    present = (np.bincount(groups, minlength=count) > 0) & ~total.mixed
    return Sums(present, total.histograms, notes)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What is added: row ``rows[k]`` times ``weights[k]`` to ``groups[k]``, which grows with ``k``."""

    histograms: Histograms
    rows: Longs
    weights: Floats
    groups: Longs
    count: int

    def where(self, chosen: Bools) -> _Terms:
        return _Terms(self.histograms, self.rows[chosen], self.weights[chosen], self.groups[chosen], self.count)

    def of(self, column: Floats) -> Floats:
        """The weighted sum of a column."""
        return _grouped(column[self.rows] * self.weights, self.groups, self.count)

    def entries(self, side: Buckets) -> _Entries:
        taken = side.take(self.rows)
        return _Entries(taken.owner, taken.index, taken.counts * self.weights[taken.owner])


@dataclass(frozen=True, slots=True)
class _Entries:
    """Buckets to add: of which term, which index, how much."""

    term: Longs
    index: Ints
    counts: Floats

    def where(self, chosen: Bools) -> _Entries:
        return _Entries(self.term[chosen], self.index[chosen], self.counts[chosen])


def _cuts(histograms: Histograms, rows: Longs, groups: Longs, count: int) -> list[int]:
    """The groups at which to cut, so that each part has about ``MAX_ENTRIES`` buckets at most; the last cut is ``count``."""
    sizes = np.diff(histograms.positive.offsets) + np.diff(histograms.negative.offsets) + 1
    entries = np.cumsum(np.bincount(groups, sizes[rows], count))
    cuts: list[int] = []
    while not cuts or cuts[-1] < count:
        begin = cuts[-1] if cuts else 0
        done = entries[begin - 1] if begin else 0
        cuts.append(min(count, max(begin + 1, int(np.searchsorted(entries, done + MAX_ENTRIES, side="right")))))
    return cuts


def _total(terms: _Terms, coarsest: Ints | None) -> Weighted:
    custom = terms.histograms.bounds[terms.rows] >= 0
    has_custom, has_exponential = _any(custom, terms.groups, terms.count), _any(~custom, terms.groups, terms.count)
    mixed = has_custom & has_exponential
    if mixed.any():
        pure = ~mixed[terms.groups]
        terms, custom = terms.where(pure), custom[pure]
    with np.errstate(invalid="ignore", over="ignore"):
        result = _exponential(terms.where(~custom), coarsest) if not custom.all() or len(custom) == 0 else empty(terms.count)
        if not custom.any():
            return Weighted(result, mixed, np.zeros(terms.count, np.bool_))
        other, reconciled = _custom(terms.where(custom))
    pick = np.arange(terms.count) + np.where(has_custom & ~mixed, terms.count, 0)
    return Weighted(concatenate([result, other]).take(pick), mixed, reconciled)


def _exponential(terms: _Terms, coarsest: Ints | None) -> Histograms:
    own = terms.histograms.schema[terms.rows]
    schema = np.full(terms.count, MAX_SCHEMA, np.int32) if coarsest is None else coarsest.copy()
    np.minimum.at(schema, terms.groups, own)
    schema[np.bincount(terms.groups, minlength=terms.count) == 0] = 0
    threshold = np.zeros(terms.count)
    np.maximum.at(threshold, terms.groups, terms.histograms.zero_threshold[terms.rows])
    positive, negative = terms.entries(terms.histograms.positive), terms.entries(terms.histograms.negative)
    zero_count = terms.of(terms.histograms.zero_count)
    if (terms.histograms.zero_threshold[terms.rows] != threshold[terms.groups]).any():
        _widen(threshold, terms, (positive, negative))
        positive, moved_up = _outside(threshold, terms, positive)
        negative, moved_down = _outside(threshold, terms, negative)
        zero_count = zero_count + moved_up + moved_down
    return Histograms(
        schema,
        terms.of(terms.histograms.count),
        terms.of(terms.histograms.sum),
        threshold,
        zero_count,
        _added(terms, _coarser(terms, positive, schema)),
        _added(terms, _coarser(terms, negative, schema)),
        np.full(terms.count, -1, np.int32),
        (),
        _hints(terms),
    )


def _upper(terms: _Terms, side: _Entries, step: int = 0) -> Floats:
    return bounds.upper_bounds(side.index + np.int32(step), terms.histograms.schema[terms.rows][side.term])


def _widen(threshold: Floats, terms: _Terms, sides: tuple[_Entries, ...]) -> None:
    """Move each group's zero threshold up to the end of every populated bucket that it lies in.

    A histogram that has the group's threshold by itself is left as it is, whatever its buckets.
    """
    own = terms.histograms.zero_threshold[terms.rows]
    limits = [(terms.groups[side.term], own[side.term], _upper(terms, side, -1), _upper(terms, side)) for side in sides]
    moved = True
    while moved:
        moved = False
        for group, before, lower, upper in limits:
            cut = (before < threshold[group]) & (lower < threshold[group]) & (upper > threshold[group])
            np.maximum.at(threshold, group[cut], upper[cut])
            moved |= bool(cut.any())


def _outside(threshold: Floats, terms: _Terms, side: _Entries) -> tuple[_Entries, Floats]:
    """The buckets outside the groups' zero buckets, and by group what the others hold."""
    group = terms.groups[side.term]
    own = terms.histograms.zero_threshold[terms.rows][side.term]
    inside = (own < threshold[group]) & (_upper(terms, side) <= threshold[group])
    return side.where(~inside), np.bincount(group[inside], side.counts[inside], terms.count).astype(np.float64)


def _coarser(terms: _Terms, side: _Entries, schema: Ints) -> _Entries:
    own = terms.histograms.schema[terms.rows][side.term]
    return replace(side, index=bounds.reduced(side.index, own, schema[terms.groups[side.term]]))


def _custom(terms: _Terms) -> tuple[Histograms, Bools]:
    layout = terms.histograms.bounds[terms.rows]
    lowest, highest = np.full(terms.count, np.iinfo(np.int32).max, np.int32), np.full(terms.count, -1, np.int32)
    np.minimum.at(lowest, terms.groups, layout)
    np.maximum.at(highest, terms.groups, layout)
    reconciled = (lowest < highest) & (highest >= 0)
    layouts, target = list(terms.histograms.layouts), highest.copy()
    places: dict[Bounds, int] = {}
    for group in np.flatnonzero(reconciled):
        members = slice(*np.searchsorted(terms.groups, (group, group + 1)))
        common = bounds.shared_bounds(terms.histograms.layouts[i] for i in np.unique(layout[members]))
        target[group] = places.setdefault(common, len(layouts))
        if target[group] == len(layouts):
            layouts.append(common)
    target[target < 0] = 0
    entries = _mapped(terms, terms.entries(terms.histograms.positive), layouts, target)
    zeros = np.zeros(terms.count)
    none = empty(terms.count)
    return Histograms(
        np.full(terms.count, CUSTOM_BUCKETS, np.int32),
        terms.of(terms.histograms.count),
        terms.of(terms.histograms.sum),
        zeros,
        zeros,
        _added(terms, entries),
        none.negative,
        target,
        tuple(layouts),
        _hints(terms),
    ), reconciled


def _mapped(terms: _Terms, side: _Entries, layouts: list[Bounds], target: Ints) -> _Entries:
    source = terms.histograms.bounds[terms.rows][side.term]
    wanted = target[terms.groups[side.term]]
    index = side.index.copy()
    for pair in np.unique(source.astype(np.int64) * len(layouts) + wanted):
        origin, common = divmod(int(pair), len(layouts))
        if origin != common:
            chosen = (source == origin) & (wanted == common)
            index[chosen] = bounds.custom_mapping(layouts[origin], layouts[common])[index[chosen]]
    return replace(side, index=index)


def _added(terms: _Terms, side: _Entries) -> Buckets:
    """The sums by group and bucket."""
    if len(side.index) == 0:
        return Buckets(np.zeros(terms.count + 1, np.int64), np.empty(0, np.int32), np.empty(0))
    lowest = int(side.index.min())
    span = int(side.index.max()) - lowest + 1
    place = terms.groups[side.term] * span + (side.index - lowest)
    few = np.bincount(terms.groups, minlength=terms.count).max() <= FEW_TERMS
    if few and terms.count * span <= max(MAX_ENTRIES, 4 * len(place)):
        table = np.bincount(place, side.counts, terms.count * span).astype(np.float64, copy=False)
        found = np.flatnonzero(table)
        totals = table[found]
    else:
        found, totals = _sorted(place, side.counts)
    group, index = np.divmod(found, span)
    filled = totals != 0
    sizes = np.bincount(group[filled], minlength=terms.count)
    return Buckets(offsets_of(sizes), (index[filled] + lowest).astype(np.int32), totals[filled])


def _sorted(place: Longs, counts: Floats) -> tuple[Longs, Floats]:
    """The places and the compensated sum of the counts at each."""
    order = np.argsort(place, kind="stable")
    place, counts = place[order], counts[order]
    starts = np.flatnonzero(np.append(True, place[1:] != place[:-1]))
    return place[starts], run_sums(counts, np.diff(np.append(starts, len(place))))


def _grouped(values: Floats, groups: Longs, count: int) -> Floats:
    lengths = np.bincount(groups, minlength=count)
    result = np.zeros(count)
    result[lengths > 0] = run_sums(values, lengths[lengths > 0])
    return result


def _hints(terms: _Terms) -> Bytes:
    """Prometheus' rule: a gauge makes the sum a gauge, equal hints stay, different ones are unknown."""
    hints = terms.histograms.reset_hint[terms.rows]
    lowest, highest = np.full(terms.count, RESET_GAUGE, np.uint8), np.zeros(terms.count, np.uint8)
    np.minimum.at(lowest, terms.groups, hints)
    np.maximum.at(highest, terms.groups, hints)
    same = np.where(lowest == highest, lowest, np.uint8(RESET_UNKNOWN))
    return np.where(highest == RESET_GAUGE, np.uint8(RESET_GAUGE), same)


def _any(flags: Bools, groups: Longs, count: int) -> Bools:
    return np.bincount(groups[flags], minlength=count) > 0


def _infinite(histograms: Histograms) -> Bools:
    wrong = ~np.isfinite(histograms.count) | ~np.isfinite(histograms.sum) | ~np.isfinite(histograms.zero_count)
    for side in (histograms.positive, histograms.negative):
        wrong |= np.bincount(side.owner[~np.isfinite(side.counts)], minlength=len(histograms)) > 0
    return wrong
