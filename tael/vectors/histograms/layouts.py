"""Adding native histograms of different layouts by converting them to a common one, as Prometheus does.

The common layout has the coarsest schema, a zero bucket at least as wide as the widest that cuts no populated bucket, and of custom bounds
those that all have.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tael.model.histogram import CUSTOM_BUCKETS, MAX_SCHEMA, Bounds, Histograms, Ints, empty
from tael.model.series import Bools, Floats
from tael.vectors.histograms import bounds
from tael.vectors.histograms.terms import Entries, Terms, added, hints_of


def exponential(terms: Terms, coarsest: Ints | None) -> Histograms:
    """The sums of exponential histograms, none finer than ``coarsest``."""
    own = terms.histograms.schema[terms.rows]
    schema = np.full(terms.count, MAX_SCHEMA, np.int32) if coarsest is None else coarsest.copy()
    np.minimum.at(schema, terms.groups, own)
    # A group without terms is the empty histogram, whose schema is 0.
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
        added(terms, _coarser(terms, positive, schema)),
        added(terms, _coarser(terms, negative, schema)),
        np.full(terms.count, -1, np.int32),
        (),
        hints_of(terms),
    )


def _upper(terms: Terms, side: Entries, step: int = 0) -> Floats:
    return bounds.upper_bounds(side.index + np.int32(step), terms.histograms.schema[terms.rows][side.term])


def _widen(threshold: Floats, terms: Terms, sides: tuple[Entries, ...]) -> None:
    """Raise each group's zero threshold to the end of every populated bucket that it cuts.

    A histogram that has the group's threshold by itself is left as it is, whatever its buckets.
    """
    own = terms.histograms.zero_threshold[terms.rows]
    limits = [(terms.groups[side.term], own[side.term], _upper(terms, side, -1), _upper(terms, side)) for side in sides]
    # A higher threshold may cut another bucket, so repeat; it only ever rises, to a bucket's end, so this ends.
    moved = True
    while moved:
        moved = False
        for group, before, lower, upper in limits:
            cut = (before < threshold[group]) & (lower < threshold[group]) & (upper > threshold[group])
            np.maximum.at(threshold, group[cut], upper[cut])
            moved |= bool(cut.any())


def _outside(threshold: Floats, terms: Terms, side: Entries) -> tuple[Entries, Floats]:
    """The buckets outside the groups' zero buckets, and by group the count of those inside."""
    group = terms.groups[side.term]
    own = terms.histograms.zero_threshold[terms.rows][side.term]
    inside = (own < threshold[group]) & (_upper(terms, side) <= threshold[group])
    return side.where(~inside), np.bincount(group[inside], side.counts[inside], terms.count).astype(np.float64)


def _coarser(terms: Terms, side: Entries, schema: Ints) -> Entries:
    own = terms.histograms.schema[terms.rows][side.term]
    return replace(side, index=bounds.reduced(side.index, own, schema[terms.groups[side.term]]))


def custom(terms: Terms) -> tuple[Histograms, Bools]:
    """The sums of histograms with custom buckets, and a mask of the groups whose members' bounds differed."""
    layout = terms.histograms.bounds[terms.rows]
    lowest, highest = np.full(terms.count, np.iinfo(np.int32).max, np.int32), np.full(terms.count, -1, np.int32)
    np.minimum.at(lowest, terms.groups, layout)
    np.maximum.at(highest, terms.groups, layout)
    reconciled = (lowest < highest) & (highest >= 0)
    layouts, target = list(terms.histograms.layouts), highest.copy()
    places: dict[Bounds, int] = {}
    for group in np.flatnonzero(reconciled):
        # Terms are ordered by group, so a group's members are a slice.
        members = slice(*np.searchsorted(terms.groups, (group, group + 1)))
        common = bounds.shared_bounds(terms.histograms.layouts[i] for i in np.unique(layout[members]))
        target[group] = places.setdefault(common, len(layouts))
        if target[group] == len(layouts):
            layouts.append(common)
    # A group without terms has no buckets; any valid layout does.
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
        added(terms, entries),
        none.negative,
        target,
        tuple(layouts),
        hints_of(terms),
    ), reconciled


def _mapped(terms: Terms, side: Entries, layouts: list[Bounds], target: Ints) -> Entries:
    source = terms.histograms.bounds[terms.rows][side.term]
    wanted = target[terms.groups[side.term]]
    index = side.index.copy()
    for pair in np.unique(source.astype(np.int64) * len(layouts) + wanted):
        origin, common = divmod(int(pair), len(layouts))
        if origin != common:
            chosen = (source == origin) & (wanted == common)
            index[chosen] = bounds.custom_mapping(layouts[origin], layouts[common])[index[chosen]]
    return replace(side, index=index)
