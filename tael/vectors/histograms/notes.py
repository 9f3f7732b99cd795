"""Notes on the results of operations on native histograms: Prometheus' warnings and infos, and the rows that they apply to.

Operations return ``Notes``: for each note a mask over the operation's rows (windows, pairs, groups). The caller knows which series and part
of the expression a row belongs to, and turns notes into annotations with ``text``.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

import numpy as np

from tael.model.series import Bools

WARNING, INFO = "PromQL warning: ", "PromQL info: "


class Note(Enum):
    """One kind of annotation; the value is Prometheus' text, with a placeholder for a quoted name or an operator."""

    MIXED_IN_SERIES = WARNING + "encountered a mix of histograms and floats for metric name {}"
    MIXED_IN_AGGREGATION = WARNING + "encountered a mix of histograms and floats for aggregation"
    NOT_COUNTER = WARNING + "this native histogram metric is not a counter: {}"
    NOT_GAUGE = WARNING + "this native histogram metric is not a gauge: {}"
    EXPONENTIAL_AND_CUSTOM = WARNING + "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {}"
    INCOMPATIBLE_BUCKETS = WARNING + "incompatible bucket layout encountered for binary operator {}"
    RESET_COLLISION_IN_ADDITION = WARNING + "conflicting counter resets during histogram addition"
    RESET_COLLISION_IN_SUBTRACTION = WARNING + "conflicting counter resets during histogram subtraction"
    RESET_COLLISION_IN_AGGREGATION = WARNING + "conflicting counter resets during histogram aggregation"
    INCOMPATIBLE_TYPES = INFO + "incompatible sample types encountered for binary operator {}"
    IGNORED_IN_AGGREGATION = INFO + "ignored histogram in {} aggregation"
    IGNORED_IN_RANGE = INFO + "ignored histograms in a range containing both floats and histograms for metric name {}"
    BOUNDS_RECONCILED_IN_ADDITION = INFO + "mismatched custom buckets were reconciled during addition"
    BOUNDS_RECONCILED_IN_SUBTRACTION = INFO + "mismatched custom buckets were reconciled during subtraction"
    BOUNDS_RECONCILED_IN_AGGREGATION = INFO + "mismatched custom buckets were reconciled during aggregation"
    QUANTILE_NANS = INFO + "input to histogram_quantile has NaN observations, result is NaN for metric name {}"
    QUANTILE_NANS_SKEW = INFO + "input to histogram_quantile has NaN observations, result is skewed higher for metric name {}"
    FRACTION_NANS = INFO + "input to histogram_fraction has NaN observations, which are excluded from all fractions for metric name {}"

    def text(self, detail: str = "") -> str:
        """The annotation's text; ``detail`` fills the placeholder: a metric's quoted name, or an operator."""
        return self.value.format(detail).removesuffix(" for metric name ")


OF_OPERATION = frozenset(
    {
        Note.RESET_COLLISION_IN_ADDITION,
        Note.RESET_COLLISION_IN_SUBTRACTION,
        Note.RESET_COLLISION_IN_AGGREGATION,
        Note.BOUNDS_RECONCILED_IN_ADDITION,
        Note.BOUNDS_RECONCILED_IN_SUBTRACTION,
        Note.BOUNDS_RECONCILED_IN_AGGREGATION,
    }
)
"""The notes that name no metric."""

Notes: TypeAlias = "dict[Note, Bools]"


def joined(*several: Notes) -> Notes:
    """The notes of several operations on the same rows, without those that apply to no row."""
    result: Notes = {}
    for notes in several:
        for note, mask in notes.items():
            result[note] = mask | result[note] if note in result else mask
    return {note: mask for note, mask in result.items() if np.any(mask)}
