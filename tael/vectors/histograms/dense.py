"""Native histograms as a table of buckets, ascending from the lowest negative one through the zero bucket to the highest positive one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tael.model.histogram import Histograms, offsets_of
from tael.model.series import Bools, Floats, Longs
from tael.vectors.histograms import bounds

MAX_CELLS = 1 << 21
"""How many cells a table has at most, unless one histogram alone has more."""


@dataclass(frozen=True, slots=True)
class Row:
    """The buckets of ``n`` histograms, one histogram after the other; histogram ``i`` begins at ``offsets[i]``.

    ``sign`` is -1, 0 or 1 for a bucket of negative numbers, the zero bucket, one of positive numbers or with custom bounds.
    """

    offsets: Longs
    lower: Floats
    upper: Floats
    counts: Floats
    sign: Longs


@dataclass(frozen=True, slots=True)
class Table:
    """One histogram a line; shorter lines are padded with cells that are not ``filled``: buckets of count 0 at +Inf."""

    lower: Floats
    upper: Floats
    counts: Floats
    filled: Bools


def ascending(histograms: Histograms) -> Row:
    """The non-empty buckets of all histograms. A bucket that overlaps the zero bucket begins where that one ends."""
    negative, positive = bounds.limits(histograms, histograms.negative), bounds.limits(histograms, histograms.positive)
    zero = np.flatnonzero(histograms.zero_count > 0)
    threshold = histograms.zero_threshold[zero]
    owner = np.concatenate([histograms.negative.owner, zero, histograms.positive.owner])
    # Negative indices count away from zero, so their order is reversed.
    rank = np.concatenate([-histograms.negative.index.astype(np.int64), np.zeros(len(zero), np.int64), histograms.positive.index])
    sign = np.repeat([-1, 0, 1], [len(negative[0]), len(zero), len(positive[0])])
    order = np.lexsort((rank, sign, owner))
    lower = np.concatenate([-negative[1], -threshold, positive[0]])[order]
    upper = np.concatenate([-negative[0], threshold, positive[1]])[order]
    counts = np.concatenate([histograms.negative.counts, histograms.zero_count[zero], histograms.positive.counts])[order]
    sizes = np.bincount(owner, minlength=len(histograms))
    edge = np.where(histograms.bounds < 0, histograms.zero_threshold, 0.0)[owner[order]]
    lower = np.where((lower > 0) & (lower < edge), edge, lower)
    upper = np.where((upper < 0) & (upper > -edge), -edge, upper)
    return Row(offsets_of(sizes), lower, upper, counts, sign[order])


def tables(histograms: Histograms) -> Iterator[tuple[slice, Table]]:
    """The histograms as tables of at most ``MAX_CELLS`` cells: yields the slice of histograms and their table."""
    row = ascending(histograms)
    sizes = np.diff(row.offsets)
    begin = 0
    while begin < len(sizes):
        end = begin + _fitting(sizes[begin:])
        yield slice(begin, end), _table(row, begin, end)
        begin = end


def _fitting(sizes: Longs) -> int:
    # A table is as wide as its longest histogram, so its size is the running maximum times the number of lines.
    cells = np.maximum.accumulate(np.maximum(sizes, 1)) * np.arange(1, len(sizes) + 1)
    return max(1, int(np.searchsorted(cells, MAX_CELLS, side="right")))


def _table(row: Row, begin: int, end: int) -> Table:
    sizes = np.diff(row.offsets[begin : end + 1])
    filled = np.arange(max(1, int(sizes.max()))) < sizes[:, None]
    entries = slice(row.offsets[begin], row.offsets[end])
    cells = [np.full(filled.shape, fill) for fill in (np.inf, np.inf, 0.0)]
    for cell, column in zip(cells, (row.lower, row.upper, row.counts), strict=True):
        cell[filled] = column[entries]
    return Table(cells[0], cells[1], cells[2], filled)
