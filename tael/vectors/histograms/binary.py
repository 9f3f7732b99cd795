"""Binary operators with a native histogram on at least one side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tael.model.histogram import RESET_GAUGE, RESET_NO, RESET_YES, Histograms, compact, concatenate, empty
from tael.model.series import Bools, Floats, Longs
from tael.vectors.histograms.notes import Note, Notes, joined
from tael.vectors.histograms.resets import equal
from tael.vectors.histograms.scaling import divided, scaled
from tael.vectors.histograms.sums import weighted
from tael.vectors.histograms.trim import trimmed

_TRIMS = {"</": True, ">/": False}
_Change: TypeAlias = Callable[[Histograms, Floats], Histograms]


@dataclass(frozen=True, slots=True)
class Cells:
    """A flat list of samples: floats where ``cells`` is -1, else histograms at these positions in ``histograms``."""

    values: Floats
    cells: Longs
    histograms: Histograms

    def without_unused(self) -> Cells:
        """The same samples, with only the histograms that a cell refers to, one for each."""
        held = self.cells >= 0
        cells = np.full(len(held), -1, np.int64)
        cells[held] = np.arange(int(held.sum()))
        return Cells(self.values, cells, self.histograms.take(self.cells[held]))


@dataclass(frozen=True, slots=True)
class Combined:
    """The results of pairs of samples, in the pairs' order; a pair has a result where ``keep`` is True."""

    keep: Bools
    samples: Cells
    notes: Notes


def combine(operator: str, left: Cells, right: Cells, *, return_bool: bool = False) -> Combined:
    """``left <operator> right`` pair by pair, where each pair has a histogram on at least one side.

    ``operator`` is PromQL's token: arithmetic, comparison, ``atan2``, and ``</`` and ``>/``, which trim a histogram at a float. A
    comparison without ``return_bool`` keeps the left sample; a caller whose vector is on the right of a scalar takes the right one by
    ``keep``. Pairs without a result are noted as ``INCOMPATIBLE_TYPES`` or ``INCOMPATIBLE_BUCKETS``.
    """
    # Histograms that no cell refers to would be added and compared for nothing, and could raise notes.
    left, right = left.without_unused(), right.without_unused()
    both = (left.cells >= 0) & (right.cells >= 0)
    if operator in ("+", "-"):
        return _added(operator, left, right, both)
    if operator in ("==", "!="):
        return _compared(operator, left, right, both, return_bool=return_bool)
    if operator == "*":
        return _changed(left, right, both, np.ones_like(both), scaled)
    if operator == "/":
        return _changed(left, right, both, left.cells >= 0, divided)
    if operator in _TRIMS:
        return _changed(left, right, both, left.cells >= 0, lambda cells, at: trimmed(cells, at, upper=_TRIMS[operator]))
    return _none(left)


def negate(histograms: Histograms) -> Histograms:
    """Unary minus."""
    return scaled(histograms, np.full(len(histograms), -1.0))


def _none(left: Cells) -> Combined:
    every = np.ones(len(left.cells), np.bool_)
    return Combined(~every, Cells(np.full(len(every), np.nan), np.full(len(every), -1), empty()), {Note.INCOMPATIBLE_TYPES: every})


def _placed(found: Bools, histograms: Histograms) -> Cells:
    """Samples with ``histograms[k]`` as the result of the ``k``-th pair for which ``found`` is True."""
    cells = np.full(len(found), -1, np.int64)
    cells[found] = np.arange(int(found.sum()))
    return Cells(np.full(len(found), np.nan), cells, histograms)


def _added(operator: str, left: Cells, right: Cells, both: Bools) -> Combined:
    pairs = np.flatnonzero(both)
    rows = np.concatenate([left.cells[pairs], right.cells[pairs] + len(left.histograms)])
    every = concatenate([left.histograms, right.histograms])
    # Subtraction is a weighted sum, so that bringing buckets to a common layout is written once.
    weights = np.repeat([1.0, 1.0 if operator == "+" else -1.0], len(pairs))
    total = weighted(every, rows, weights, np.tile(np.arange(len(pairs)), 2), len(pairs))
    hints = every.reset_hint[rows].reshape(2, len(pairs))
    collided = (hints == RESET_YES).any(axis=0) & (hints == RESET_NO).any(axis=0)
    result = total.histograms
    if operator == "-":
        result = replace(result, reset_hint=np.full(len(pairs), RESET_GAUGE, np.uint8))
        collision, reconciled = Note.RESET_COLLISION_IN_SUBTRACTION, Note.BOUNDS_RECONCILED_IN_SUBTRACTION
    else:
        collision, reconciled = Note.RESET_COLLISION_IN_ADDITION, Note.BOUNDS_RECONCILED_IN_ADDITION
    keep = both.copy()
    # Exponential and custom buckets have no common layout: no result, and a note says so.
    keep[pairs] = ~total.mixed
    found = {collision: collided & ~total.mixed, reconciled: total.reconciled, Note.INCOMPATIBLE_BUCKETS: total.mixed}
    notes = joined({note: _spread(both, mask) for note, mask in found.items()}, {Note.INCOMPATIBLE_TYPES: ~both})
    return Combined(keep, _placed(both, result), notes)


def _compared(operator: str, left: Cells, right: Cells, both: Bools, *, return_bool: bool) -> Combined:
    pairs = np.flatnonzero(both)
    # Empty buckets may or may not be stored; equality must not depend on that.
    every = compact(concatenate([left.histograms, right.histograms]))
    same = _spread(both, equal(every, left.cells[pairs], right.cells[pairs] + len(left.histograms)))
    keep = both & (same == (operator == "=="))
    notes = joined({Note.INCOMPATIBLE_TYPES: ~both})
    if return_bool:
        return Combined(both, Cells(keep.astype(np.float64), np.full(len(both), -1, np.int64), empty()), notes)
    return Combined(keep, left, notes)


def _changed(left: Cells, right: Cells, both: Bools, possible: Bools, change: _Change) -> Combined:
    """``change`` applied to the histogram of each ``possible`` pair, with the number on the other side."""
    fine = possible & ~both
    on_left = left.cells[fine] >= 0
    rows = np.where(on_left, left.cells[fine], right.cells[fine] + len(left.histograms))
    by = np.where(on_left, right.values[fine], left.values[fine])
    result = change(concatenate([left.histograms, right.histograms]).take(rows), by)
    return Combined(fine, _placed(fine, result), joined({Note.INCOMPATIBLE_TYPES: ~fine}))


def _spread(where: Bools, mask: Bools) -> Bools:
    result = np.zeros(len(where), np.bool_)
    result[where] = mask
    return result
