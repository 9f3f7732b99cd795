"""Samples as the parts of a table hold them, put in order by whole runs; pure.

A part holds the samples of each series one after the other, by time, and an answer has the parts in any order. A run is a stretch of rows of
one series with growing times. To put runs in order is a small part of the work of merging rows, and does as long as no two of a series overlap.
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
"""How many rows are copied in one go, so that where they are stays in a processor's cache."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Series ``i`` has the runs ``offsets[i]`` up to, not including, ``offsets[i + 1]``, by time.

    Run ``r`` is the ``sizes[r]`` rows from ``begins[r]`` on.
    """

    series: Numbers
    offsets: Longs
    begins: Longs
    sizes: Longs

    def samples(self) -> Longs:
        """How many samples each series has."""
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
            some = slice(first, last)
            # clip, because numpy fills ``out`` by way of a copy where it may have to raise; every index is within the column.
            np.take(column, _each(begins[some], sizes[some]), out=taken[before[first] : before[min(last, len(begins))]], mode="clip")
            first = last
        return taken


def runs(blocks: Sequence[tuple[Numbers, Longs]]) -> Runs | None:
    """The runs of an answer's blocks, each the series and the times of its rows, or None when two of one series overlap.

    Then only merged rows tell which sample comes when. No run goes from one block into the next, which may be of another part. At least one
    block is to be there, with or without rows.
    """
    before = offsets_of(np.array([len(series) for series, _ in blocks], np.int64))
    edges = [_of_block(series, times, row) for (series, times), row in zip(blocks, before[:-1].tolist(), strict=True)]
    begins, of, first_ms, last_ms = (np.concatenate(column) for column in zip(*edges, strict=True))
    sizes = np.diff(begins, append=before[-1])
    order = np.lexsort((first_ms, of))
    of, first_ms, last_ms = of[order], first_ms[order], last_ms[order]
    same = of[1:] == of[:-1]
    if (same & (first_ms[1:] <= last_ms[:-1])).any():
        return None
    firsts = np.flatnonzero(np.concatenate((np.ones(min(len(of), 1), np.bool_), ~same)))
    return Runs(of[firsts], np.append(firsts, len(of)), begins[order], sizes[order])


def _of_block(series: Numbers, times_ms: Longs, before: int) -> tuple[Longs, Numbers, Longs, Longs]:
    """The rows where its runs begin, ``before`` rows of other blocks counted too, their series, first and last times."""
    first = np.ones(len(series), np.bool_)
    first[1:] = series[1:] != series[:-1]
    # Equal times too: a duplicate begins a run of its own, which then overlaps with the one before it.
    first[1:] |= times_ms[1:] <= times_ms[:-1]
    begins = np.flatnonzero(first)
    ends = np.append(begins, len(series))[1:]
    return begins + before, series[begins], times_ms[begins], times_ms[ends - 1]


def _each(begins: Longs, sizes: Longs) -> Longs:
    """``begins[i]``, ``begins[i] + 1``, … , so many as ``sizes[i]``, one after the other."""
    before = offsets_of(sizes)
    found: Longs = np.repeat(begins - before[:-1], sizes)
    found += np.arange(before[-1])
    return found
