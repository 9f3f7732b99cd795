"""Binary operators with a native histogram on at least one side."""

from __future__ import annotations

from dataclasses import dataclass

from services.query.promql.histogram_notes import Notes
from tael.model.histogram import Histograms
from tael.model.series import Bools, Floats, Longs


@dataclass(frozen=True, slots=True)
class Cells:
    """A row of samples: floats where ``cells`` is -1, else positions in ``histograms``; all of them are there."""

    values: Floats
    cells: Longs
    histograms: Histograms


@dataclass(frozen=True, slots=True)
class Combined:
    """The results of pairs of samples, in the pairs' order; a pair has one where ``keep`` is True."""

    keep: Bools
    samples: Cells
    notes: Notes


def combine(operator: str, left: Cells, right: Cells, *, return_bool: bool = False) -> Combined:
    """``left <operator> right`` pair by pair, where each pair holds a histogram on a side or both.

    ``operator`` is PromQL's token: arithmetic, comparison, ``atan2``, and ``</`` and ``>/``, which cut a histogram at a float. A comparison
    without ``return_bool`` keeps the left sample; a caller whose vector is on the right of a scalar takes the right one by ``keep``.
    ``INCOMPATIBLE_TYPES`` and ``INCOMPATIBLE_BUCKETS`` come as notes for the pairs without a result.
    """
    raise NotImplementedError


def negate(histograms: Histograms) -> Histograms:
    """Unary minus."""
    raise NotImplementedError
