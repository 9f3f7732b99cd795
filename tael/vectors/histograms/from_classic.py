"""Classic histograms as native ones with custom buckets (``load_with_nhcb``)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tael.model.histogram import CUSTOM_BUCKETS, Buckets, Histograms, concatenate, offsets_of
from tael.model.series import METRIC_NAME, Labels, Longs, Samples, is_stale, labels_of

_SUFFIXES = ("_bucket", "_count", "_sum")


@dataclass(slots=True)
class _Classic:
    """One classic histogram at one time: cumulative counts by upper bound."""

    buckets: dict[float, float] = field(default_factory=dict)
    count: float | None = None
    sum: float = 0.0


def converted(samples: Samples) -> Samples:
    """The native histograms with custom buckets made of the ``…_bucket``, ``…_count`` and ``…_sum`` series in ``samples``.

    Their labels are those of the classic series without the suffix and ``le``. Other series, and samples whose counts are not cumulative,
    are left out.
    """
    found: dict[Labels, dict[int, _Classic]] = defaultdict(lambda: defaultdict(_Classic))
    for labels, bound, kind, rows in _parts(samples):
        for row in rows[~is_stale(samples.values[rows])].tolist():
            classic, value = found[labels][int(samples.times_ms[row])], float(samples.values[row])
            if kind == "_bucket":
                classic.buckets[bound] = value
            elif kind == "_count":
                classic.count = value
            else:
                classic.sum = value
    return _joined({labels: {time: one for time, one in sorted(times.items()) if one.buckets} for labels, times in found.items()})


def _parts(samples: Samples) -> Iterator[tuple[Labels, float, str, Longs]]:
    """The series that belong to a classic histogram: the histogram's labels, the bound, the suffix, the samples' positions."""
    for position, labels in enumerate(samples.labels):
        pairs = dict(labels)
        kind = next((suffix for suffix in _SUFFIXES if pairs.get(METRIC_NAME, "").endswith(suffix)), None)
        bound = _bound(pairs.pop("le", ""))
        if kind is None or (kind == "_bucket" and math.isnan(bound)):
            continue
        pairs[METRIC_NAME] = pairs[METRIC_NAME].removesuffix(kind)
        yield labels_of(pairs), bound, kind, np.arange(samples.offsets[position], samples.offsets[position + 1])


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _joined(found: dict[Labels, dict[int, _Classic]]) -> Samples:
    labels, times, histograms = [], [], []
    for own, by_time in sorted(found.items()):
        native = [(time, _native(one)) for time, one in by_time.items()]
        kept = [(time, one) for time, one in native if one is not None]
        if kept:
            labels.append(own)
            times.append([time for time, _ in kept])
            histograms.extend([one for _, one in kept])
    count = len(histograms)
    offsets = offsets_of(np.array([len(own) for own in times], np.int64))
    flat = np.array([time for own in times for time in own], np.int64)
    return Samples(labels, offsets, flat, np.full(count, np.nan), np.arange(count), concatenate(histograms))


def _native(classic: _Classic) -> Histograms | None:
    # The bucket up to infinity counts everything. Without it the count does, and without that the last bucket.
    total = classic.buckets.get(math.inf, classic.count)
    bounds = sorted(bound for bound in classic.buckets if not math.isinf(bound))
    if total is None:
        total = classic.buckets[bounds[-1]]
    cumulative = np.array([*(classic.buckets[bound] for bound in bounds), total])
    counts = np.diff(cumulative, prepend=0.0)
    # Scraped between two updates, or not a histogram: no result is better than wrong buckets.
    if (counts < 0).any():
        return None
    filled = np.flatnonzero(counts)
    none = Buckets(np.zeros(2, np.int64), np.empty(0, np.int32), np.empty(0))
    zero = np.zeros(1)
    return Histograms(
        np.array([CUSTOM_BUCKETS], np.int32),
        np.array([total if classic.count is None else classic.count]),
        np.array([classic.sum]),
        zero,
        zero,
        Buckets(np.array([0, len(filled)]), filled.astype(np.int32), counts[filled]),
        none,
        np.zeros(1, np.int32),
        (tuple(bounds),),
        np.zeros(1, np.uint8),
    )
