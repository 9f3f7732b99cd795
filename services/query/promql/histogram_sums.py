"""Sums of native histograms, many sums at once: every arithmetic on histograms is a weighted sum over groups of rows."""

from __future__ import annotations

from dataclasses import dataclass

from services.query.promql.histogram_notes import Notes
from tael.model.histogram import Histograms
from tael.model.series import Bools, Longs


@dataclass(frozen=True, slots=True)
class Sums:
    """One histogram a group; where ``present`` is False there is none (and row ``i`` of ``histograms`` is empty)."""

    present: Bools
    histograms: Histograms
    notes: Notes


def sum_by(histograms: Histograms, rows: Longs, groups: Longs, count: int) -> Sums:
    """``sum by`` over histogram samples: ``rows[k]`` of ``histograms`` belongs to group ``groups[k]`` of ``count``.

    A group that mixes exponential and custom buckets has no result, and the notes say so. Mixing floats and histograms is the caller's
    to see.
    """
    raise NotImplementedError


def average_by(histograms: Histograms, rows: Longs, groups: Longs, count: int) -> Sums:
    """``avg by``, likewise."""
    raise NotImplementedError
