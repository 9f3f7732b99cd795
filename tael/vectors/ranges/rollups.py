"""Functions over windows of rollups, which hold what Prometheus' functions need of the samples in each bucket of time. Pure
(docs/adr/0022).

A window consists of whole buckets. A window that ends inside a bucket of five minutes is moved back to the bucket's begin, and a range that
is not a multiple of five minutes is widened to the next one; sums, counts and increases are then scaled to the range.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tael.model.series import ROLLUP_MS, Bools, Floats, GridFunction, GridRequest, Longs
from tael.vectors import sums
from tael.vectors.ranges.over_time import extreme
from tael.vectors.ranges.rate import Seen, extrapolated
from tael.vectors.windows import Windows, after, walk

_OF_GROWTH: Final = ("count", "first_ms", "first", "last_ms", "last")
COLUMNS: Final[Mapping[GridFunction, Sequence[str]]] = {
    "rate": (*_OF_GROWTH, "before_resets"),
    "increase": (*_OF_GROWTH, "before_resets"),
    "delta": _OF_GROWTH,
    "sum_over_time": ("sum",),
    "avg_over_time": ("count", "sum"),
    "min_over_time": ("min",),
    "max_over_time": ("max",),
    "count_over_time": ("count",),
}
"""The columns that each function needs; these functions give over whole buckets the same result as over the samples."""
SCALED: Final = frozenset(("increase", "delta", "sum_over_time", "count_over_time"))
"""The functions whose result grows with the length of the window."""


OF_HISTOGRAMS: Final = frozenset(("last", "rate", "increase", "delta", "count_over_time"))
"""The functions that are exact over rollups of native histograms."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The non-empty buckets of many series, ordered by series and time; those of series ``i`` begin at ``offsets[i]``.

    ``columns`` are those named in COLUMNS; ``before_resets`` is the sum of the values before each reset inside a bucket. Times are
    milliseconds.
    """

    offsets: Longs
    ends_ms: Longs
    columns: Mapping[str, Floats | Longs]


@dataclass(frozen=True, slots=True)
class Places:
    """Windows of whole buckets, ``wide_ms`` long, in place of the requested ones of ``range_ms``; ``ends_ms`` is non-decreasing."""

    ends_ms: Longs
    wide_ms: int
    range_ms: int

    @property
    def share(self) -> float:
        """The requested range divided by the windows' length."""
        return self.range_ms / self.wide_ms


def exact(request: GridRequest, functions: Collection[str]) -> bool:
    """Whether rollups answer exactly as the samples would: one of ``functions``, over windows that already consist of whole buckets."""
    aligned = not any(time_ms % ROLLUP_MS for time_ms in (request.start_ms, request.step_ms, request.window_ms))
    return request.function in functions and aligned


def places(times_ms: Longs, range_ms: int, length_ms: int) -> Places:
    """The windows that replace ``(t - range, t]`` at each of ``times_ms`` over buckets of ``length_ms``; see the module."""
    return Places(times_ms // length_ms * length_ms, -(-range_ms // length_ms) * length_ms, range_ms)


def over(buckets: Buckets, function: GridFunction, at: Places) -> tuple[Floats, Bools]:
    """``function``, one of COLUMNS, for each series and window, and a mask of where it has a value."""
    lo, hi = (after(buckets.offsets, buckets.ends_ms, edges) for edges in (at.ends_ms - at.wide_ms, at.ends_ms))
    ends = buckets.ends_ms.astype(np.float64)
    windows = Windows(buckets.offsets, buckets.ends_ms, ends, lo, hi, at.ends_ms, at.ends_ms, at.wide_ms)
    with np.errstate(all="ignore"):
        values, present = _value(buckets, windows, function)
        if function in SCALED and at.wide_ms != at.range_ms:
            values = values * at.share
    return values, present


def _value(buckets: Buckets, windows: Windows, function: GridFunction) -> tuple[Floats, Bools]:
    if function in ("rate", "increase", "delta"):
        return _grown(buckets, windows, function)
    present = windows.counts > 0
    if function in ("min_over_time", "max_over_time"):
        # The columns have the first three letters of the functions: min and max.
        return extreme(_of(windows, buckets.columns[function[:3]]), largest=function == "max_over_time")
    if function == "count_over_time":
        return _counts(buckets, windows).astype(np.float64), present
    total, lost = sums.over(_of(windows, buckets.columns["sum"]))
    if function == "sum_over_time":
        return sums.combined(total, lost), present
    return sums.mean(total, lost, _counts(buckets, windows)), present


def _grown(buckets: Buckets, windows: Windows, function: GridFunction) -> tuple[Floats, Bools]:
    """How much the value grew, as Prometheus extrapolates it; a reset may be inside a bucket or between two."""
    columns, counter = buckets.columns, function != "delta"
    first, counts = windows.first(columns["first"]), _counts(buckets, windows)
    grown = windows.last(columns["last"]) - first
    if counter:
        _add_resets(buckets, windows, grown)
    seen = Seen(windows.first(columns["first_ms"]), windows.last(columns["last_ms"]), counts, windows.ends_ms, windows.range_ms)
    grown *= extrapolated(seen, grown, first, counter=counter)
    return grown / (windows.range_ms / 1000) if function == "rate" else grown, counts >= 2


def _add_resets(buckets: Buckets, windows: Windows, grown: Floats) -> None:
    inside, last = buckets.columns["before_resets"], buckets.columns["last"]
    before = np.concatenate((last[:1], last[:-1]))
    between = np.where(windows.follows() & (buckets.columns["first"] < before), before, 0.0)
    if not (inside.any() or between.any()):
        return
    steps = walk(windows.lo, windows.hi)
    total = steps.ordered(grown).copy()
    for place, (live, at) in enumerate(steps):
        # A reset between a window's first bucket and the bucket before it lies outside the window.
        total[:live] += inside[at] + between[at] if place else inside[at]
    grown[...] = steps.back(total)


def _counts(buckets: Buckets, windows: Windows) -> Longs:
    # Differences of a running sum are exact for integers, as they would not be for floats.
    running = np.concatenate((np.zeros(1, np.int64), np.cumsum(buckets.columns["count"], dtype=np.int64)))
    counts: Longs = running[windows.hi] - running[windows.lo]
    return counts


def _of(windows: Windows, column: Floats | Longs) -> Windows:
    """The same windows over another column."""
    return replace(windows, values=np.asarray(column, np.float64))
