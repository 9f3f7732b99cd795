"""What an operation on native histograms has to say beside its result: Prometheus' warnings and infos, by where they hold.

Operations return ``Notes``: for each note a mask over the operation's rows (windows, pairs, groups). Whoever called it knows which series and
which place of the expression a row belongs to, and makes annotations of them with ``text``.
"""

from __future__ import annotations

import json
from enum import Enum
from typing import TypeAlias

import numpy as np

from tael.model.series import Bools

WARNING, INFO = "PromQL warning: ", "PromQL info: "
_NAME = " for metric name "


class Note(Enum):
    """One kind of annotation; the value is Prometheus' text, with ``{metric}`` where the quoted name goes, ``{word}`` where an operator does."""

    MIXED_IN_SERIES = WARNING + "encountered a mix of histograms and floats for metric name {metric}"
    MIXED_IN_AGGREGATION = WARNING + "encountered a mix of histograms and floats for aggregation"
    CLASSIC_AND_NATIVE = WARNING + "vector contains a mix of classic and native histograms for metric name {metric}"
    NOT_COUNTER = WARNING + "this native histogram metric is not a counter: {metric}"
    NOT_GAUGE = WARNING + "this native histogram metric is not a gauge: {metric}"
    EXPONENTIAL_AND_CUSTOM = (
        WARNING + "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {metric}"
    )
    INCOMPATIBLE_BUCKETS = WARNING + "incompatible bucket layout encountered for binary operator {word}"
    RESET_COLLISION_IN_ADDITION = WARNING + "conflicting counter resets during histogram addition"
    RESET_COLLISION_IN_SUBTRACTION = WARNING + "conflicting counter resets during histogram subtraction"
    RESET_COLLISION_IN_AGGREGATION = WARNING + "conflicting counter resets during histogram aggregation"
    INCOMPATIBLE_TYPES = INFO + 'incompatible sample types encountered for binary operator "{word}": {left} {word} {right}'
    IGNORED_IN_AGGREGATION = INFO + "ignored histogram in {word} aggregation"
    IGNORED_IN_RANGE = INFO + "ignored histograms in a range containing both floats and histograms for metric name {metric}"
    BOUNDS_RECONCILED_IN_ADDITION = INFO + "mismatched custom buckets were reconciled during addition"
    BOUNDS_RECONCILED_IN_SUBTRACTION = INFO + "mismatched custom buckets were reconciled during subtraction"
    BOUNDS_RECONCILED_IN_AGGREGATION = INFO + "mismatched custom buckets were reconciled during aggregation"
    QUANTILE_NANS = INFO + "input to histogram_quantile has NaN observations, result is NaN for metric name {metric}"
    QUANTILE_NANS_SKEW = INFO + "input to histogram_quantile has NaN observations, result is skewed higher for metric name {metric}"
    FRACTION_NANS = (
        INFO + "input to histogram_fraction has NaN observations, which are excluded from all fractions for metric name {metric}"
    )

    def text(self, *, metric: str = "", word: str = "", left: str = "", right: str = "") -> str:
        """The annotation's text. ``metric`` is the series' name, ``word`` the operator or aggregation, the sides ``float`` or ``histogram``."""
        template = self.value
        if not metric and self in _NAME_IS_OPTIONAL:
            template = template.removesuffix(_NAME + "{metric}")
        return template.format(metric=json.dumps(metric, ensure_ascii=False), word=word, left=left, right=right)


_NAME_IS_OPTIONAL = {Note.CLASSIC_AND_NATIVE, Note.QUANTILE_NANS, Note.QUANTILE_NANS_SKEW, Note.FRACTION_NANS}

Notes: TypeAlias = "dict[Note, Bools]"


def joined(*several: Notes) -> Notes:
    """The notes of several operations on the same rows, without those that hold nowhere."""
    result: Notes = {}
    for notes in several:
        for note, mask in notes.items():
            result[note] = mask | result[note] if note in result else mask
    return {note: mask for note, mask in result.items() if np.any(mask)}
