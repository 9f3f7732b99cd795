"""Native histograms as arrays of many, so that arithmetic on them is arithmetic on columns.

The terms are Prometheus' (its native histogram specification): ``schema`` -4…8 are exponential with a factor of ``2^(2^-schema)`` between
bounds, -53 has custom bounds. Bucket ``i`` of an exponential schema covers ``(base^(i-1), base^i]``; with custom bounds ``b``, bucket ``i``
covers ``(b[i-1], b[i]]``, and the first one has no lower bound, the one after the last bound no upper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = "npt.NDArray[np.float64]"
Longs: TypeAlias = "npt.NDArray[np.int64]"
Ints: TypeAlias = "npt.NDArray[np.int32]"
Bytes: TypeAlias = "npt.NDArray[np.uint8]"
Bounds: TypeAlias = "tuple[float, ...]"

CUSTOM_BUCKETS = -53
MIN_SCHEMA, MAX_SCHEMA = -4, 8
# Prometheus' numbers. Sums of histograms rely on a gauge's being the largest.
RESET_UNKNOWN, RESET_YES, RESET_NO, RESET_GAUGE = 0, 1, 2, 3

SAMPLE_BYTES = 16
"""The size of a float sample: its value and its time."""
# A row of the columns of Histograms, offsets included, and a bucket's index and count.
_ROW_BYTES, _BUCKET_BYTES = 57, 12


@dataclass(frozen=True, slots=True)
class Buckets:
    """The non-empty buckets of one sign, or the custom buckets, of ``n`` histograms, one histogram after the other.

    Histogram ``i`` has the entries from ``offsets[i]`` up to, not including, ``offsets[i + 1]``; ``index`` is ascending within a histogram.
    """

    offsets: Longs
    index: Ints
    counts: Floats

    @property
    def owner(self) -> Longs:
        """For each entry the histogram that it belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def take(self, rows: Longs) -> Buckets:
        """The buckets of the histograms at ``rows``, in that order; a row may occur twice."""
        sizes = np.diff(self.offsets)[rows]
        offsets = offsets_of(sizes)
        # Count through all entries of the result; in each row, shift the count from where the row begins there to where it begins here.
        entries = np.repeat(self.offsets[rows] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Buckets(offsets, self.index[entries], self.counts[entries])


@dataclass(frozen=True, slots=True)
class Histograms:
    """``n`` float histograms; counts are absolute for each bucket, neither deltas nor cumulative.

    ``bounds[i]`` is the position in ``layouts`` of histogram ``i``'s custom bounds (ascending, without the +Inf at the end), -1 for an
    exponential histogram: few layouts are shared by many histograms. Those with custom bounds use ``positive`` alone.
    """

    schema: Ints
    count: Floats
    sum: Floats
    zero_threshold: Floats
    zero_count: Floats
    positive: Buckets
    negative: Buckets
    bounds: Ints
    layouts: tuple[Bounds, ...]
    reset_hint: Bytes

    def __len__(self) -> int:
        return len(self.schema)

    @property
    def room(self) -> int:
        """The size in float samples of the same memory: like Prometheus, which counts a histogram as one sample for each 16 bytes."""
        buckets = len(self.positive.counts) + len(self.negative.counts)
        return (_ROW_BYTES * len(self) + _BUCKET_BYTES * buckets) // SAMPLE_BYTES

    def take(self, rows: Longs) -> Histograms:
        """The histograms at ``rows``, in that order; a row may occur twice."""
        return Histograms(
            self.schema[rows],
            self.count[rows],
            self.sum[rows],
            self.zero_threshold[rows],
            self.zero_count[rows],
            self.positive.take(rows),
            self.negative.take(rows),
            self.bounds[rows],
            self.layouts,
            self.reset_hint[rows],
        )


def offsets_of(sizes: npt.NDArray[np.integer]) -> Longs:
    """The offsets at which consecutive rows of these sizes begin, followed by the end of the last one."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)))


def empty(n: int = 0) -> Histograms:
    """``n`` histograms without any observation."""
    none = Buckets(np.zeros(n + 1, np.int64), np.empty(0, np.int32), np.empty(0))
    zeros = np.zeros(n)
    return Histograms(np.zeros(n, np.int32), zeros, zeros, zeros, zeros, none, none, np.full(n, -1, np.int32), (), np.zeros(n, np.uint8))


def concatenate(parts: Sequence[Histograms]) -> Histograms:
    """The histograms of all parts, in order, with equal layouts merged."""
    if not parts:
        return empty()
    if len(parts) == 1:
        return parts[0]
    layouts: dict[Bounds, int] = {}
    bounds = []
    for part in parts:
        # The last entry is -1, so that an exponential histogram, whose position is -1, stays one.
        moved = np.array([*(layouts.setdefault(layout, len(layouts)) for layout in part.layouts), -1], np.int32)
        bounds.append(moved[part.bounds])
    return Histograms(
        np.concatenate([part.schema for part in parts]),
        np.concatenate([part.count for part in parts]),
        np.concatenate([part.sum for part in parts]),
        np.concatenate([part.zero_threshold for part in parts]),
        np.concatenate([part.zero_count for part in parts]),
        _joined([part.positive for part in parts]),
        _joined([part.negative for part in parts]),
        np.concatenate(bounds),
        tuple(layouts),
        np.concatenate([part.reset_hint for part in parts]),
    )


def _joined(parts: Sequence[Buckets]) -> Buckets:
    return Buckets(
        offsets_of(np.concatenate([np.diff(part.offsets) for part in parts])),
        np.concatenate([part.index for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )


def compact(histograms: Histograms) -> Histograms:
    """The same histograms without entries for empty buckets."""
    return replace(histograms, positive=_without_empty(histograms.positive), negative=_without_empty(histograms.negative))


def _without_empty(buckets: Buckets) -> Buckets:
    filled = buckets.counts != 0
    if filled.all():
        return buckets
    kept = offsets_of(filled.astype(np.int64))
    return Buckets(kept[buckets.offsets], buckets.index[filled], buckets.counts[filled])


def from_columns(
    *,
    schema: Ints,
    count: Floats,
    sum: Floats,  # noqa: A002 - the column's name
    zero_threshold: Floats,
    zero_count: Floats,
    positive: Buckets,
    negative: Buckets,
    custom: tuple[Longs, Floats],
    reset_hint: Bytes,
) -> Histograms:
    """Histograms from a table's columns; ``custom`` are offsets and values of the bounds of each row, empty for exponential ones.

    Equal bounds become one layout, and empty buckets are left out.
    """
    offsets, values = custom
    layouts: dict[bytes, int] = {}
    bounds = np.full(len(schema), -1, np.int32)
    for row in np.flatnonzero(schema == CUSTOM_BUCKETS):
        # By their bytes, which is exact for floats and needs no tuple a row.
        bounds[row] = layouts.setdefault(values[offsets[row] : offsets[row + 1]].tobytes(), len(layouts))
    shared = tuple(tuple(np.frombuffer(layout).tolist()) for layout in layouts)
    return compact(Histograms(schema, count, sum, zero_threshold, zero_count, positive, negative, bounds, shared, reset_hint))
