"""Sums of native histograms, many at once: all arithmetic between histograms is a weighted sum over groups of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tael.model.histogram import RESET_NO, RESET_YES, Histograms, Ints, concatenate, empty
from tael.model.series import Bools, Floats, Longs
from tael.vectors.histograms import layouts
from tael.vectors.histograms import terms as histogram_terms
from tael.vectors.histograms.notes import Note, Notes, joined
from tael.vectors.histograms.scaling import scaled
from tael.vectors.histograms.terms import Terms, any_of


@dataclass(frozen=True, slots=True)
class Sums:
    """One histogram a group; where ``present`` is False there is no result, and the row of ``histograms`` is empty."""

    present: Bools
    histograms: Histograms
    notes: Notes


def sum_by(histograms: Histograms, rows: Longs, groups: Longs, count: int, weights: Floats | None = None) -> Sums:
    """``sum by`` over histogram samples: ``rows[k]`` of ``histograms`` belongs to group ``groups[k]`` of ``count``, ``weights[k]`` times.

    A group that mixes exponential and custom buckets has no result, and the notes say so. The caller checks for groups that mix floats and
    histograms.
    """
    total = weighted(histograms, rows, np.ones(len(rows)) if weights is None else weights, groups, count)
    return _aggregated(histograms, rows, groups, total)


def average_by(histograms: Histograms, rows: Longs, groups: Longs, count: int, weights: Floats | None = None) -> Sums:
    """``avg by``, with the parameters of ``sum_by``; also exact where the sum exceeds the largest float but the mean does not."""
    each = np.ones(len(rows)) if weights is None else weights
    members = np.bincount(groups, each, minlength=count)
    total = weighted(histograms, rows, each, groups, count)
    average = replace(total, histograms=scaled(total.histograms, 1.0 / np.maximum(members, 1)))
    # Dividing each term first avoids the overflow but rounds each term, so it is done only for groups whose sum overflowed.
    overflown = _infinite(total.histograms)[groups]
    if overflown.any():
        again = weighted(histograms, rows[overflown], each[overflown] / members[groups[overflown]], groups[overflown], count)
        pick = np.arange(count) + np.where(_infinite(total.histograms), count, 0)
        average = replace(average, histograms=concatenate([average.histograms, again.histograms]).take(pick))
    return _aggregated(histograms, rows, groups, average)


@dataclass(frozen=True, slots=True)
class Weighted:
    """Weighted sums, one for each group; ``mixed`` groups have exponential and custom members, and their sum is empty.

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
        terms = Terms(histograms, rows[members], weights[members], groups[members] - begin, end - begin)
        parts.append(_total(terms, None if coarsest is None else coarsest[begin:end]))
        begin = end
    if len(parts) == 1:
        return parts[0]
    return Weighted(
        concatenate([part.histograms for part in parts]),
        np.concatenate([part.mixed for part in parts]),
        np.concatenate([part.reconciled for part in parts]),
    )


def _cuts(histograms: Histograms, rows: Longs, groups: Longs, count: int) -> list[int]:
    """The groups at which to cut so that a part has at most about ``histogram_terms.MAX_ENTRIES`` buckets; the last cut is ``count``."""
    sizes = np.diff(histograms.positive.offsets) + np.diff(histograms.negative.offsets) + 1
    entries = np.cumsum(np.bincount(groups, sizes[rows], count))
    cuts: list[int] = []
    while not cuts or cuts[-1] < count:
        begin = cuts[-1] if cuts else 0
        done = entries[begin - 1] if begin else 0
        cuts.append(min(count, max(begin + 1, int(np.searchsorted(entries, done + histogram_terms.MAX_ENTRIES, side="right")))))
    return cuts


def _total(terms: Terms, coarsest: Ints | None) -> Weighted:
    custom = terms.histograms.bounds[terms.rows] >= 0
    has_custom, has_exponential = any_of(custom, terms.groups, terms.count), any_of(~custom, terms.groups, terms.count)
    mixed = has_custom & has_exponential
    if mixed.any():
        pure = ~mixed[terms.groups]
        terms, custom = terms.where(pure), custom[pure]
    with np.errstate(invalid="ignore", over="ignore"):
        result = layouts.exponential(terms.where(~custom), coarsest) if not custom.all() or len(custom) == 0 else empty(terms.count)
        if not custom.any():
            return Weighted(result, mixed, np.zeros(terms.count, np.bool_))
        other, reconciled = layouts.custom(terms.where(custom))
    # The concatenation below has the exponential sum of group g in row g, and its custom sum in row count + g.
    pick = np.arange(terms.count) + np.where(has_custom & ~mixed, terms.count, 0)
    return Weighted(concatenate([result, other]).take(pick), mixed, reconciled)


def _aggregated(histograms: Histograms, rows: Longs, groups: Longs, total: Weighted) -> Sums:
    count = len(total.mixed)
    hints = histograms.reset_hint[rows]
    collided = any_of(hints == RESET_YES, groups, count) & any_of(hints == RESET_NO, groups, count)
    notes = joined(
        {
            Note.EXPONENTIAL_AND_CUSTOM: total.mixed,
            Note.RESET_COLLISION_IN_AGGREGATION: collided,
            Note.BOUNDS_RECONCILED_IN_AGGREGATION: total.reconciled,
        }
    )
    present = (np.bincount(groups, minlength=count) > 0) & ~total.mixed
    return Sums(present, total.histograms, notes)


def _infinite(histograms: Histograms) -> Bools:
    wrong = ~np.isfinite(histograms.count) | ~np.isfinite(histograms.sum) | ~np.isfinite(histograms.zero_count)
    for side in (histograms.positive, histograms.negative):
        wrong |= np.bincount(side.owner[~np.isfinite(side.counts)], minlength=len(histograms)) > 0
    return wrong
