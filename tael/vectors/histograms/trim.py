"""Trimming native histograms at a number: ``h </ x`` keeps the observations below ``x``, ``h >/ x`` those above.

A bucket that ``x`` lies in is split as ``histogram_fraction`` would. The sum of what is left is estimated from the middles of the buckets
(geometric for exponential buckets); a histogram that loses nothing is unchanged. How a bucket without a bound on one side is filled is
unknown, so it is kept or dropped whole, except that a first custom bucket that ends above 0 is taken to begin at 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tael.model.histogram import Buckets, Histograms
from tael.model.series import Bools, Floats
from tael.vectors.histograms import bounds
from tael.vectors.histograms.scaling import kept


def trimmed(histograms: Histograms, at: Floats, *, upper: bool) -> Histograms:
    """Each histogram trimmed at its own ``at[i]``; with ``upper`` the part below it is kept, else the part above."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        sides = [_side(histograms, histograms.positive, 1), _side(histograms, histograms.negative, -1)]
        parts = [_cut(side, at[buckets.owner], upper=upper) for side, buckets in zip(sides, _both(histograms), strict=True)]
        zero = _zero(histograms)
        zero_part = _cut(zero, at, upper=upper)
    has_zero = histograms.zero_count > 0
    zero_count = np.where(has_zero, zero_part.counts, histograms.zero_count)
    # Estimates replace count and sum only where something was cut.
    changed = has_zero & (zero_count != histograms.zero_count)
    count, total = np.where(has_zero, zero_count, 0.0), np.where(has_zero, zero_count * zero_part.middles, 0.0)
    for part, buckets in zip(parts, _both(histograms), strict=True):
        owner = buckets.owner
        count = count + np.bincount(owner, part.counts, len(histograms))
        total = total + np.bincount(owner, part.counts * part.middles, len(histograms))
        changed = changed | (np.bincount(owner[part.counts != buckets.counts], minlength=len(histograms)) > 0)
    return replace(
        histograms,
        count=np.where(changed, count, histograms.count),
        sum=np.where(changed, total, histograms.sum),
        zero_count=zero_count,
        positive=kept(histograms.positive, parts[0].counts),
        negative=kept(histograms.negative, parts[1].counts),
    )


@dataclass(frozen=True, slots=True)
class _Spans:
    """Buckets with their bounds, and whether observations are taken to lie evenly in them."""

    lower: Floats
    upper: Floats
    counts: Floats
    even: Bools


@dataclass(frozen=True, slots=True)
class _Part:
    counts: Floats
    middles: Floats


def _both(histograms: Histograms) -> tuple[Buckets, Buckets]:
    return histograms.positive, histograms.negative


def _side(histograms: Histograms, buckets: Buckets, sign: int) -> _Spans:
    lower, upper = bounds.limits(histograms, buckets)
    if sign < 0:
        lower, upper = -upper, -lower
    return _Spans(lower, upper, buckets.counts, histograms.bounds[buckets.owner] >= 0)


def _zero(histograms: Histograms) -> _Spans:
    """The zero bucket, reduced to one half where all other buckets are on one side of 0."""
    above, below = (np.diff(side.offsets) > 0 for side in _both(histograms))
    lower = np.where(above & ~below, 0.0, -histograms.zero_threshold)
    upper = np.where(below & ~above, 0.0, histograms.zero_threshold)
    return _Spans(lower, upper, histograms.zero_count, np.ones(len(histograms), np.bool_))


def _cut(spans: _Spans, at: Floats, *, upper: bool) -> _Part:
    lower, high, whole = spans.lower, spans.upper, spans.counts
    # Outside of a bucket and for one that is open the share means nothing; those cases are chosen by their bounds below.
    share = np.clip(_share_below(spans, at), 0.0, 1.0)
    if upper:
        inside = spans.counts * share
        middles = _middle(lower, np.minimum(at, high), even=spans.even)
        counts = np.where(lower >= at, 0.0, np.where(high <= at, whole, inside))
    else:
        inside = spans.counts - spans.counts * share
        middles = _middle(np.maximum(at, lower), high, even=spans.even)
        counts = np.where(lower >= at, whole, np.where(high > at, inside, 0.0))
    return _open_ends(spans, at, _Part(counts, np.where(counts == 0, 0.0, middles)), upper=upper)


def _share_below(spans: _Spans, at: Floats) -> Floats:
    even = (at - spans.lower) / (spans.upper - spans.lower)
    # Observations lie evenly over the logarithm; a bucket of negative numbers is the mirror image of a positive one.
    low, high, cut = (np.log2(np.abs(number)) for number in (spans.lower, spans.upper, at))
    exponential = np.where(spans.lower > 0, (cut - low) / (high - low), 1 - (cut - high) / (low - high))
    return np.where(spans.even, even, exponential)


def _middle(lower: Floats, upper: Floats, *, even: Bools) -> Floats:
    """The middle of a span. Open below: half its end, or the end itself where that is not above 0. Open above: its begin."""
    geometric = np.sqrt(np.abs(lower * upper)) * np.sign(lower + upper)
    middle = np.where(even, (lower + upper) / 2, geometric)
    middle = np.where(np.isinf(upper), lower, middle)
    return np.where(np.isinf(lower), np.where(np.isinf(upper), 0.0, np.where(upper > 0, upper / 2, upper)), middle)


def _open_ends(spans: _Spans, at: Floats, part: _Part, *, upper: bool) -> _Part:
    """Replace the result for buckets that ``at`` lies in and that are unbounded on one side."""
    lower, high, whole = spans.lower, spans.upper, spans.counts
    inside = (lower < at) & (high > at)
    below, above = inside & np.isinf(lower), inside & np.isinf(high) & ~np.isinf(lower)
    from_zero = below & (high > 0) & ~np.isinf(high)
    share = at / high
    if upper:
        split = from_zero & (at > 0)
        counts = np.where(split, whole * share, np.where(below & (high <= 0), whole, 0.0))
        middles = np.where(split, at / 2, at)
    else:
        split = from_zero & (at >= 0)
        counts = np.where(split, whole * (1 - share), np.where(above, whole, 0.0))
        middles = np.where(split, (at + high) / 2, at)
    open_ = below | above
    counts = np.where(open_, counts, part.counts)
    middles = np.where(open_, middles, part.middles)
    return _Part(counts, np.where(counts == 0, 0.0, middles))
