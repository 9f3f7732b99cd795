"""Compensated sums of many consecutive runs of numbers."""

from __future__ import annotations

import numpy as np

from tael.model.series import Floats, Longs
from tael.vectors import sums


def run_sums(values: Floats, lengths: Longs) -> Floats:
    """The sum of each run of ``values``: the first ``lengths[0]`` numbers, then the next ``lengths[1]``, and so on; no run may be empty.

    Neighbours are added, then the sums of neighbours, until one number a run is left; rounding errors are kept as ``sums`` describes.
    """
    lost = np.zeros(len(lengths))
    run = np.repeat(np.arange(len(lengths)), lengths)
    with np.errstate(invalid="ignore", over="ignore"):
        while len(values) > len(lengths):
            starts = np.cumsum(lengths) - lengths
            position = np.arange(len(values)) - np.repeat(starts, lengths)
            left = np.flatnonzero(position % 2 == 0)
            # The last number of a run of odd length has no neighbour and is carried to the next round as it is.
            paired = position[left] + 1 < lengths[run[left]]
            more, error = np.zeros(len(left)), np.zeros(len(left))
            more[paired] = values[left[paired] + 1]
            values = values[left]
            sums.add(values, error, more)
            run, lengths = run[left], (lengths + 1) // 2
            # Beside an infinity two-sum's error is NaN, which would turn an infinite sum into NaN.
            lost += np.bincount(run, np.where(np.isfinite(error), error, 0.0), len(lost))
        return sums.combined(values, lost)
