"""Aggregations that select series of each group at each step: topk, bottomk, limitk and limit_ratio."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xxhash

from tael.errors import Rejected
from tael.model.series import Bools, Floats, Labels, Longs
from tael.vectors import vectors
from tael.vectors.aggregation.groups import Groups
from tael.vectors.annotations import Annotations, bad_ratio, number
from tael.vectors.histograms.notes import Note
from tael.vectors.values import Vector


def choose(op: str, vector: Vector, groups: Groups, parameter: Floats, notes: Annotations, at: tuple[int, int]) -> Vector:
    """``op`` with its ``parameter``, one a step; ``at`` are the offsets of the parameter and the aggregation.

    Raises Rejected for a parameter that is not a number of series, or not a ratio.
    """
    if op == "limit_ratio":
        return _shown(vector, _within_ratio(vector, _ratio(parameter, notes, at[0])))
    wanted = _series_counts(parameter, len(vector.labels))
    if op == "limitk":
        return _shown(vector, _first_ones(vector.present, groups, wanted))
    if vectors.histogram_cells(vector).any() and wanted.max(initial=0) > 0:
        notes.add(Note.IGNORED_IN_AGGREGATION.text(op), at[1])
    keys = vector.values if op == "topk" else -vector.values
    chosen = _largest(keys, vectors.floats(vector), groups, wanted)
    result = _shown(vector, chosen)
    return result if len(wanted) > 1 else _ranked(result, chosen, groups, keys)


def _series_counts(parameter: Floats, most: int) -> Longs:
    # Before the check for NaN, as in Prometheus: a parameter below 1 selects nothing and is no error.
    if np.max(parameter, initial=0) < 1:
        return np.zeros(len(parameter), np.int64)
    if np.isnan(parameter).any():
        raise Rejected("Parameter value is NaN")
    for limit, word, wrong in (
        (parameter.min(), "underflows", parameter.min() <= -(2.0**63)),
        (parameter.max(), "overflows", parameter.max() >= 2.0**63),
    ):
        if wrong:
            raise Rejected(f"Scalar value {number(float(limit))} {word} int64")
    return np.clip(parameter, 0, most).astype(np.int64)


def _ratio(parameter: Floats, notes: Annotations, at: int) -> Floats:
    if np.isnan(parameter).any():
        raise Rejected("Ratio value is NaN")
    for extreme, cap in ((parameter.max(), 1.0), (parameter.min(), -1.0)):
        if abs(extreme) > 1 and extreme * cap > 0:
            notes.add(bad_ratio(float(extreme), cap), at)
    return np.clip(parameter, -1, 1)


def _within_ratio(vector: Vector, ratio: Floats) -> Bools:
    # By the labels' hash, so that a series is in or out at every step and in every query alike; ratios r and r-1 are complements.
    place = np.array([hashed(labels) / float(2**64 - 1) for labels in vector.labels])[:, None]
    return vector.present & np.where(ratio >= 0, place < ratio, place >= 1 + ratio)


def hashed(labels: Labels) -> int:
    """Prometheus' hash of a label set: xxHash of names and values, each after its length (one byte, or 255 and three bytes)."""
    return xxhash.xxh64_intdigest(b"".join(_sized(text.encode()) for pair in labels for text in pair))


def _sized(text: bytes) -> bytes:
    return (bytes([len(text)]) if len(text) < 255 else b"\xff" + len(text).to_bytes(3, "little")) + text


def _first_ones(present: Bools, groups: Groups, wanted: Longs) -> Bools:
    chosen = np.zeros_like(present)
    for _, rows in groups.alike(len(wanted)):
        chosen[rows] = present[rows] & (np.cumsum(present[rows], axis=1) <= wanted)
    return chosen


def _largest(keys: Floats, present: Bools, groups: Groups, wanted: Longs) -> Bools:
    """A mask of the ``wanted`` largest keys of each group; of equal keys the earlier series', NaN only where numbers do not suffice."""
    chosen = np.zeros_like(present)
    real = present & ~np.isnan(keys)
    for _, rows in groups.alike(len(wanted)):
        own, there = real[rows], present[rows]
        # NaN sorts unpredictably in a partition: real values are ranked first, NaN only fills places that are left.
        ranked = np.where(own, keys[rows], -np.inf)
        least = _nth_largest(ranked, wanted)[:, None, :]
        # First everything above the n-th largest, then ties in the series' order until n are taken.
        best = own & (ranked > least)
        for candidates in (own & (ranked == least), there & ~own):
            left = wanted - best.sum(axis=1)
            best |= candidates & (np.cumsum(candidates, axis=1) <= left[:, None, :])
        chosen[rows] = best
    return chosen


def _nth_largest(ranked: Floats, wanted: Longs) -> Floats:
    """The ``wanted``-th largest of each group at each step, infinity where ``wanted`` is 0; ``ranked`` is group by series by step."""
    size = ranked.shape[1]
    place = size - np.clip(wanted, 1, size)
    if place.min() == place.max():
        # One rank for all steps, the usual query: a partition takes linear time where a sort does not.
        found = np.partition(ranked, place[0], axis=1)[:, place[0]]
    else:
        found = np.sort(ranked, axis=1)[:, place, np.arange(len(wanted))]
    return np.where(wanted > 0, found, np.inf)


def _shown(vector: Vector, chosen: Bools) -> Vector:
    return vectors.without_empty(replace(vector, present=chosen))


def _ranked(shown: Vector, chosen: Bools, groups: Groups, keys: Floats) -> Vector:
    """The series of an instant query ordered by group, then the largest key first, NaN last."""
    rows = np.flatnonzero(chosen[:, 0])
    order = np.lexsort((np.nan_to_num(-keys[rows, 0], nan=np.inf, posinf=np.inf, neginf=-np.inf), np.isnan(keys[rows, 0]), groups.of[rows]))
    return vectors.take(shown, order)
