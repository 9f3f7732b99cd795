"""Compensated sums, as in Prometheus: 1 + 1e100 + 1 - 1e100 is 2.

A pair ``(sum, lost)`` stands for ``sum + lost``; ``lost`` is the accumulated rounding error of ``sum``.
"""

from __future__ import annotations

import numpy as np

from tael.model.series import Bools, Floats, Longs
from tael.vectors.windows import Walk, Windows, walk

WORTH_RUNNING = 4
"""From how many windows a sample on average, running totals are cheaper than adding up every window."""
_PAIR_ERROR = 2.0**-100
"""An upper bound of a pair's error for each addition, relative to the largest intermediate sum; a few bits more than needed."""


def add(total: Floats, lost: Floats, more: Floats) -> None:
    """Add ``more`` to the pair ``total, lost`` in place (Knuth's two-sum: the rounding error of ``a + b`` without comparing them)."""
    summed = total + more
    kept = summed - total
    # The order of these operations is the algorithm: rewritten algebraically it is zero.
    lost += (total - (summed - kept)) + (more - kept)
    total[...] = summed


def combined(total: Floats, lost: Floats) -> Floats:
    """The pair as one number; beside an infinity or NaN the lost part is ignored."""
    return np.where(np.isfinite(total), total + lost, total)


def walked(steps: Walk, column: Floats) -> tuple[Floats, Floats]:
    """The sum of ``column`` over each window as a pair, in the walk's order."""
    total, lost = np.zeros(len(steps.lo)), np.zeros(len(steps.lo))
    for live, at in steps:
        add(total[:live], lost[:live], column[at])
    return total, lost


def over(windows: Windows) -> tuple[Floats, Floats]:
    """The sum of the values in each window as a pair, in the windows' shape.

    Where windows overlap much, a window's sum is the difference of two running totals; a window whose sum is so small beside these totals
    that the difference could be off in the last digit is added up on its own.
    """
    # Little overlap: adding each window up touches hardly more samples than one pass over all of them.
    if int(windows.counts.sum()) < WORTH_RUNNING * len(windows.values):
        steps = walk(windows.lo, windows.hi)
        total, lost = walked(steps, windows.values)
        return steps.back(total), steps.back(lost)
    total, lost, doubtful = _by_running_totals(windows)
    again = np.nonzero(doubtful)
    steps = walk(windows.lo[again], windows.hi[again])
    for result, exact in zip((total, lost), walked(steps, windows.values), strict=True):
        result[again] = steps.back(exact)
    return total, lost


def _by_running_totals(windows: Windows) -> tuple[Floats, Floats, Bools]:
    """Sums as differences of running totals, and a mask of those that may be inexact."""
    offsets, size = windows.offsets, len(windows.values)
    running, behind = np.zeros(size + 1), np.zeros(size + 1)
    steps = walk(offsets[:-1], offsets[1:])
    total, lost = np.zeros(len(steps.lo)), np.zeros(len(steps.lo))
    for live, at in steps:
        add(total[:live], lost[:live], windows.values[at])
        # Shifted by one: running[i] is the sum of the series' samples before position i.
        running[at + 1], behind[at + 1] = total[:live], lost[:live]
    # A window from the series' first sample subtracts nothing; position lo would hold the total of the series before it.
    begins = windows.lo > offsets[:-1, None]
    difference, missed = running[windows.hi], np.where(begins, behind[windows.hi] - behind[windows.lo], behind[windows.hi])
    add(difference, missed, np.where(begins, -running[windows.lo], 0.0))
    empty = windows.counts == 0
    difference[empty] = missed[empty] = 0
    largest = np.zeros(len(offsets) - 1)
    filled = np.diff(offsets) > 0
    largest[filled] = np.maximum.reduceat(np.abs(running[1:]), offsets[:-1][filled])
    # One NaN or infinity poisons every later total of its series: windows there are not trusted, and are added up on their own.
    error = largest * np.diff(offsets) * _PAIR_ERROR
    trusted = (error[:, None] <= np.abs(difference + missed) * 2.0**-52) & np.isfinite(difference)
    return difference, missed, ~(trusted | empty)


def mean(total: Floats, lost: Floats, counts: Floats | Longs) -> Floats:
    """The pair divided by ``counts``."""
    # Divided first and then added: the sum of the pair may overflow where the mean does not.
    return np.where(np.isfinite(total), total / counts + lost / counts, total)
