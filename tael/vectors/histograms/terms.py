"""The terms of sums of native histograms: weighted rows by group, their buckets, and the addition itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tael.model.histogram import RESET_GAUGE, RESET_UNKNOWN, Buckets, Bytes, Histograms, Ints, offsets_of
from tael.model.series import Bools, Floats, Longs
from tael.vectors.compensated import run_sums

MAX_ENTRIES = 1 << 18
"""How many buckets are added up at once, unless one group alone has more: they fit into a processor's cache."""

FEW_TERMS = 2
"""Sums of at most this many terms need no compensation, so a plain table of all groups' buckets will do."""


@dataclass(frozen=True, slots=True)
class Terms:
    """Term ``k`` adds row ``rows[k]`` times ``weights[k]`` to ``groups[k]``; ``groups`` is ascending, below ``count``."""

    histograms: Histograms
    rows: Longs
    weights: Floats
    groups: Longs
    count: int

    def where(self, chosen: Bools) -> Terms:
        """The ``chosen`` terms."""
        return Terms(self.histograms, self.rows[chosen], self.weights[chosen], self.groups[chosen], self.count)

    def of(self, column: Floats) -> Floats:
        """The weighted sum of ``column`` by group."""
        return _grouped(column[self.rows] * self.weights, self.groups, self.count)

    def entries(self, side: Buckets) -> Entries:
        """The weighted buckets of one side, one entry for each term and bucket."""
        taken = side.take(self.rows)
        return Entries(taken.owner, taken.index, taken.counts * self.weights[taken.owner])


@dataclass(frozen=True, slots=True)
class Entries:
    """Buckets to add: each one's term, index and weighted count."""

    term: Longs
    index: Ints
    counts: Floats

    def where(self, chosen: Bools) -> Entries:
        """The ``chosen`` buckets."""
        return Entries(self.term[chosen], self.index[chosen], self.counts[chosen])


def added(terms: Terms, side: Entries) -> Buckets:
    """The buckets of each group's sum, without empty ones."""
    if len(side.index) == 0:
        return Buckets(np.zeros(terms.count + 1, np.int64), np.empty(0, np.int32), np.empty(0))
    lowest = int(side.index.min())
    span = int(side.index.max()) - lowest + 1
    # Group and bucket index as one number, so that both are found by one sort or one bincount; decoded by divmod below.
    place = terms.groups[side.term] * span + (side.index - lowest)
    # The table must not be much larger than the entries themselves: buckets of a few groups may lie far apart.
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
    """The distinct places, ascending, and the compensated sum of the counts at each."""
    order = np.argsort(place, kind="stable")
    place, counts = place[order], counts[order]
    starts = np.flatnonzero(np.append(True, place[1:] != place[:-1]))
    return place[starts], run_sums(counts, np.diff(np.append(starts, len(place))))


def _grouped(values: Floats, groups: Longs, count: int) -> Floats:
    lengths = np.bincount(groups, minlength=count)
    result = np.zeros(count)
    result[lengths > 0] = run_sums(values, lengths[lengths > 0])
    return result


def hints_of(terms: Terms) -> Bytes:
    """The sums' reset hints by Prometheus' rule: any gauge makes the sum a gauge, equal hints are kept, different ones become unknown."""
    hints = terms.histograms.reset_hint[terms.rows]
    lowest, highest = np.full(terms.count, RESET_GAUGE, np.uint8), np.zeros(terms.count, np.uint8)
    np.minimum.at(lowest, terms.groups, hints)
    np.maximum.at(highest, terms.groups, hints)
    same = np.where(lowest == highest, lowest, np.uint8(RESET_UNKNOWN))
    return np.where(highest == RESET_GAUGE, np.uint8(RESET_GAUGE), same)


def any_of(flags: Bools, groups: Longs, count: int) -> Bools:
    """A mask of the groups in which any row is flagged."""
    return np.bincount(groups[flags], minlength=count) > 0
