"""Range functions over windows that hold native histograms."""

from __future__ import annotations

from dataclasses import dataclass

from services.query.promql.histogram_binary import Cells
from services.query.promql.histogram_notes import Notes
from tael.model.series import Bools, Longs, Samples

FUNCTIONS = frozenset(
    {
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "resets",
        "changes",
        "sum_over_time",
        "avg_over_time",
        "last_over_time",
        "first_over_time",
        "count_over_time",
        "present_over_time",
    }
)
"""The functions that give a result for histograms; every other one looks at the floats of a window alone, see ``ignored``."""


@dataclass(frozen=True, slots=True)
class Windows:
    """``len(lo)`` windows: window ``w`` is over ``samples`` from ``lo[w]`` up to, not including, ``hi[w]``, all of one series, without stale markers.

    In time it is ``start_ms[w] < t <= end_ms[w]``.
    """

    samples: Samples
    lo: Longs
    hi: Longs
    start_ms: Longs
    end_ms: Longs


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A sample for each window where ``present`` is True."""

    present: Bools
    samples: Cells
    notes: Notes


def with_histograms(samples: Samples, lo: Longs, hi: Longs) -> Bools:
    """Which windows hold a histogram. Only these come to ``evaluate``."""
    raise NotImplementedError


def evaluate(function: str, windows: Windows) -> Evaluated:
    """One of ``FUNCTIONS`` over windows that each hold a histogram, alone or beside floats."""
    raise NotImplementedError


def ignored(windows: Windows) -> Notes:
    """What to note where a function outside ``FUNCTIONS`` is evaluated over the windows' floats alone."""
    raise NotImplementedError
