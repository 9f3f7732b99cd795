"""Sums that lose nothing: compensated as Prometheus compensates, so that 1 + 1e100 + 1 - 1e100 is 2.

A pair ``(sum, lost)`` stands for ``sum + lost``; ``lost`` is what rounding took from the sum so far.
"""

from __future__ import annotations

import numpy as np

from services.query.promql.windows import Walk
from tael.model.series import Floats, Longs


def add(total: Floats, lost: Floats, more: Floats) -> None:
    """Add ``more`` to the pair ``total, lost`` in place (Knuth's two-sum: the rounding error of ``a + b`` without comparing them)."""
    summed = total + more
    kept = summed - total
    lost += (total - (summed - kept)) + (more - kept)
    total[...] = summed


def whole(total: Floats, lost: Floats) -> Floats:
    """The pair as one number; what is lost beside an infinity or NaN means nothing."""
    return np.where(np.isfinite(total), total + lost, total)


def walked(windows: Walk, column: Floats) -> tuple[Floats, Floats]:
    """The sum of ``column`` over each window as a pair, in the walk's order."""
    total, lost = np.zeros(len(windows.lo)), np.zeros(len(windows.lo))
    for live, at in windows:
        add(total[:live], lost[:live], column[at])
    return total, lost


def mean(total: Floats, lost: Floats, counts: Floats | Longs) -> Floats:
    """The pair divided by ``counts``."""
    return np.where(np.isfinite(total), total / counts + lost / counts, total)
