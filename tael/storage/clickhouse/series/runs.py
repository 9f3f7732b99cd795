"""Samples in the order in which the parts of a table hold them, sorted by whole runs; pure.

A part holds the samples of each series one after the other, by time, and an answer has the parts in any order. A run is a stretch of rows
of one series with growing times. Sorting runs is a small fraction of the work of merging rows, and is enough as long as no two runs of a
series overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from tael.model.histogram import offsets_of
from tael.model.series import Longs

Numbers: TypeAlias = "npt.NDArray[np.uint64]"
Scalar = TypeVar("Scalar", bound=np.generic)
TOGETHER: Final = 1 << 16
"""Rows copied at a time, few enough for their indices to stay in the processor's cache."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Series ``i`` has the runs ``offsets[i]`` up to, but not including, ``offsets[i + 1]``, by time. Run ``r`` is the ``sizes[r]`` rows
    from ``begins[r]`` on.
    """

    series: Numbers
    offsets: Longs
    begins: Longs
    sizes: Longs

    def samples(self) -> Longs:
        """The number of samples of each series."""
        before = offsets_of(self.sizes)
        return np.diff(before[self.offsets])

    def take(self, column: npt.NDArray[Scalar], order: Longs) -> npt.NDArray[Scalar]:
        """``column`` at the rows of the series at ``order``, one series after the other."""
        chosen = _each(self.offsets[:-1][order], np.diff(self.offsets)[order])
        begins, sizes = self.begins[chosen], self.sizes[chosen]
        before = offsets_of(sizes)
        taken = np.empty(before[-1], column.dtype)
        first = 0
        while first < len(begins):
            last = max(first + 1, int(np.searchsorted(before, before[first] + TOGETHER)))
            chunk = slice(first, last)
            # "clip", because in its default mode numpy fills ``out`` through a copy in case it has to raise. Every index is within the
            # column.
            np.take(column, _each(begins[chunk], sizes[chunk]), out=taken[before[first] : before[min(last, len(begins))]], mode="clip")
            first = last
        return taken


def runs(blocks: Sequence[tuple[Numbers, Longs]]) -> Runs | None:
    """The runs of an answer's blocks (at least one), each given by the series and times of its rows; None when two runs of a series
    overlap.

    Their samples can then only be ordered by merging rows. A run never continues into the next block, which may be of another part.
    """
    before = offsets_of(np.array([len(series) for series, _ in blocks], np.int64))
    edges = [_of_block(series, times, row) for (series, times), row in zip(blocks, before[:-1].tolist(), strict=True)]
    begins, series_of, first_ms, last_ms = (np.concatenate(column) for column in zip(*edges, strict=True))
    sizes = np.diff(begins, append=before[-1])
    order = np.lexsort((first_ms, series_of))
    series_of, first_ms, last_ms = series_of[order], first_ms[order], last_ms[order]
    same = series_of[1:] == series_of[:-1]
    # Runs are sorted by their first times, so if any two of a series overlap, two neighbours do.
    if (same & (first_ms[1:] <= last_ms[:-1])).any():
        return None
    firsts = np.flatnonzero(np.concatenate((np.ones(min(len(series_of), 1), np.bool_), ~same)))
    return Runs(series_of[firsts], np.append(firsts, len(series_of)), begins[order], sizes[order])


def _of_block(series: Numbers, times_ms: Longs, before: int) -> tuple[Longs, Numbers, Longs, Longs]:
    """The rows at which the block's runs begin, counted from ``before`` rows of earlier blocks, and the series, first and last times of the
    runs.
    """
    first = np.ones(len(series), np.bool_)
    first[1:] = series[1:] != series[:-1]
    # Equal times too: a duplicate begins a run of its own, so that ``runs`` sees it overlap with the one before it.
    first[1:] |= times_ms[1:] <= times_ms[:-1]
    begins = np.flatnonzero(first)
    ends = np.append(begins, len(series))[1:]
    return begins + before, series[begins], times_ms[begins], times_ms[ends - 1]


def _each(begins: Longs, sizes: Longs) -> Longs:
    """The numbers ``begins[i]``, ``begins[i] + 1``, …, ``sizes[i]`` of them for each ``i``, one after the other."""
    before = offsets_of(sizes)
    rows: Longs = np.repeat(begins - before[:-1], sizes)
    rows += np.arange(before[-1])
    return rows
