"""Samples as the parts of a table hold them, put in order by whole runs; pure.

A part holds the samples of each series one after the other, by time, and an answer has the parts in any order. A run is a stretch of rows of
one series with growing times. To put runs in order is a small part of the work of merging rows, and does as long as no two of a series overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tael.model.histogram import offsets_of
from tael.model.series import Longs

Numbers: TypeAlias = "npt.NDArray[np.uint64]"


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

    def rows(self, order: Longs) -> Longs:
        """The rows of the series at ``order``, one series after the other."""
        chosen = _each(self.offsets[:-1][order], np.diff(self.offsets)[order])
        return _each(self.begins[chosen], self.sizes[chosen])


def runs(series: Numbers, times_ms: Longs) -> Runs | None:
    """The runs of these rows, or None when two of one series overlap: then only merged rows tell which sample comes when."""
    begins = np.flatnonzero(_first_of_a_run(series, times_ms))
    sizes = np.diff(begins, append=len(series))
    order = np.lexsort((times_ms[begins], series[begins]))
    begins, sizes = begins[order], sizes[order]
    of, first_ms, last_ms = series[begins], times_ms[begins], times_ms[begins + sizes - 1]
    same = of[1:] == of[:-1]
    if (same & (first_ms[1:] <= last_ms[:-1])).any():
        return None
    firsts = np.flatnonzero(np.concatenate((np.ones(min(len(of), 1), np.bool_), ~same)))
    return Runs(of[firsts], np.append(firsts, len(of)), begins, sizes)


def _first_of_a_run(series: Numbers, times_ms: Longs) -> npt.NDArray[np.bool_]:
    first = np.ones(len(series), np.bool_)
    first[1:] = series[1:] != series[:-1]
    first[1:] |= times_ms[1:] <= times_ms[:-1]
    return first


def _each(begins: Longs, sizes: Longs) -> Longs:
    """``begins[i]``, ``begins[i] + 1``, … , so many as ``sizes[i]``, one after the other."""
    before = offsets_of(sizes)
    found: Longs = np.repeat(begins - before[:-1], sizes)
    found += np.arange(before[-1])
    return found
