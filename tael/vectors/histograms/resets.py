"""Counter resets between native histograms, and equality of histograms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tael.model.histogram import (
    RESET_GAUGE,
    RESET_NO,
    RESET_UNKNOWN,
    RESET_YES,
    Buckets,
    Histograms,
)
from tael.model.series import Bools, Longs, Samples
from tael.vectors.histograms.sums import weighted


def detect(histograms: Histograms, current: Longs, previous: Longs) -> Bools:
    """Whether a counter was reset between the rows ``previous[k]`` and ``current[k]``.

    A hint of the later histogram decides. Without one, any change that observations cannot cause is a reset: a count that decreased or
    vanished, a finer schema, a smaller zero bucket, another kind of buckets.
    """
    hint = histograms.reset_hint[current]
    result: Bools = hint == RESET_YES
    open_ = np.flatnonzero((hint != RESET_YES) & (hint != RESET_NO))
    result[open_] = _seen(histograms, current[open_], previous[open_])
    return result


def hinted(samples: Samples, *, resets: bool = False) -> Samples:
    """The samples with the reset hints that Prometheus' storage derives: "no reset" after a histogram of the same layout without a reset.

    Gauges, and samples that have a hint, keep it. With ``resets``, samples after a reset are marked too, as Prometheus does where it reads
    only counts and sums of histograms.
    """
    if samples.histogram is None or samples.histograms is None:
        return samples
    histograms, position = samples.histograms, samples.histogram
    follows = np.ones(len(position), np.bool_)
    follows[samples.offsets[:-1][np.diff(samples.offsets) > 0]] = False
    # np.roll wraps the last position to the front, but the first sample of all follows none, so it is masked.
    at = np.flatnonzero(follows & (position >= 0) & (np.roll(position, 1) >= 0))
    later, before = position[at], position[at - 1]
    known = (histograms.reset_hint[later] != RESET_UNKNOWN) | (histograms.reset_hint[before] == RESET_GAUGE)
    same = _same_layout(histograms, later, before) & ~known
    later, before = later[same], before[same]
    found = np.where(detect(histograms, later, before), RESET_YES if resets else RESET_UNKNOWN, RESET_NO)
    hints = histograms.reset_hint.copy()
    hints[later] = found
    return replace(samples, histograms=replace(histograms, reset_hint=hints))


def equal(histograms: Histograms, left: Longs, right: Longs) -> Bools:
    """Whether rows ``left[k]`` and ``right[k]`` are bit for bit the same, hints aside; both must be compact, without empty buckets."""
    columns = (histograms.schema, histograms.count, histograms.sum, histograms.zero_threshold, histograms.zero_count, histograms.bounds)
    result = np.ones(len(left), np.bool_)
    for column in columns:
        # Bits and not values: a NaN sum must equal itself.
        bits = column.view(np.uint64) if column.dtype == np.float64 else column
        result &= bits[left] == bits[right]
    for side in (histograms.positive, histograms.negative):
        sizes = np.diff(side.offsets)
        result &= sizes[left] == sizes[right]
        # Only rows with as many buckets on both sides are left, so the two lists pair up one to one.
        rows = np.flatnonzero(result)
        result[rows] = _equal_buckets(side.take(left[rows]), side.take(right[rows]))
    return result


def _equal_buckets(left: Buckets, right: Buckets) -> Bools:
    differ = (left.index != right.index) | (left.counts.view(np.uint64) != right.counts.view(np.uint64))
    same: Bools = np.bincount(left.owner[differ], minlength=len(left.offsets) - 1) == 0
    return same


def _same_layout(histograms: Histograms, later: Longs, before: Longs) -> Bools:
    same: Bools = histograms.schema[later] == histograms.schema[before]
    same &= histograms.zero_threshold[later] == histograms.zero_threshold[before]
    same &= histograms.bounds[later] == histograms.bounds[before]
    return same


def _seen(histograms: Histograms, current: Longs, previous: Longs) -> Bools:
    """Whether there was a reset judging by the histograms' contents; cheap comparisons first, buckets only where these leave it open."""
    custom, was_custom = histograms.bounds[current] >= 0, histograms.bounds[previous] >= 0
    result: Bools = (histograms.count[current] < histograms.count[previous]) | (custom != was_custom)
    result |= histograms.schema[current] > histograms.schema[previous]
    result |= histograms.zero_threshold[current] < histograms.zero_threshold[previous]
    alike = ~result & _same_layout(histograms, current, previous) & _same_buckets(histograms, current, previous)
    result[alike] = _fell(histograms, current[alike], previous[alike])
    rows = np.flatnonzero(~result & ~alike)
    result[rows] = _lost(histograms, current[rows], previous[rows])
    return result


def _same_buckets(histograms: Histograms, current: Longs, previous: Longs) -> Bools:
    """Whether the same buckets are populated, which is common between samples of a series and cheap to compare."""
    result = np.ones(len(current), np.bool_)
    for side in (histograms.positive, histograms.negative):
        sizes = np.diff(side.offsets)
        result &= sizes[current] == sizes[previous]
        rows = np.flatnonzero(result & (sizes[current] > 0))
        later, before = side.take(current[rows]), side.take(previous[rows])
        moved = later.owner[later.index != before.index]
        result[rows[moved]] = False
    return result


def _fell(histograms: Histograms, current: Longs, previous: Longs) -> Bools:
    """Whether a bucket's count decreased, where both histograms have the same buckets."""
    result: Bools = histograms.zero_count[current] < histograms.zero_count[previous]
    for side in (histograms.positive, histograms.negative):
        later, before = side.take(current), side.take(previous)
        result[later.owner[later.counts < before.counts]] = True
    return result


def _lost(histograms: Histograms, current: Longs, previous: Longs) -> Bools:
    """Whether a bucket's count decreased after converting the earlier histogram to the later one's layout."""
    count = len(current)
    rows, pairs = np.concatenate([current, previous]), np.tile(np.arange(count), 2)
    change = weighted(histograms, rows, np.repeat([1.0, -1.0], count), pairs, count, histograms.schema[current])
    grown = change.histograms
    # A zero bucket that had to be widened cut a populated bucket, which growing a zero bucket never does.
    result: Bools = (grown.zero_threshold != histograms.zero_threshold[current]) | (grown.zero_count < 0)
    for side in (grown.positive, grown.negative):
        result |= np.bincount(side.owner[side.counts < 0], minlength=count) > 0
    return result
