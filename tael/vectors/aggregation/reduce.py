"""Aggregations that reduce a group to one series: sum, avg, min, max, count, group, stddev, stdvar, quantile and count_values."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from tael.errors import Rejected
from tael.model.series import Bools, Floats, Longs
from tael.syntax.literals import quoted
from tael.vectors import sums, vectors
from tael.vectors.aggregation import groups as grouped
from tael.vectors.aggregation.groups import Groups
from tael.vectors.annotations import Annotations, note_quantiles, number
from tael.vectors.histograms import sums as histogram_sums
from tael.vectors.histograms import text as histogram_text
from tael.vectors.histograms.notes import Note
from tael.vectors.ranges.over_time import quantile_of_sorted
from tael.vectors.values import Vector


def aggregate(op: str, vector: Vector, groups: Groups, notes: Annotations, at: int) -> Vector:
    """One of the aggregations without a parameter; ``at`` is the offset of the aggregated expression."""
    if len(groups) == 0:
        return vectors.empty(vector.present.shape[1])
    drop = _drop_name(vector, groups)
    if op in {"count", "group"}:
        counts = grouped.count(vector.present, groups)
        values = counts.astype(np.float64) if op == "count" else np.ones(counts.shape)
        return Vector(groups.labels, values, counts > 0, drop_name=drop)
    if op in {"sum", "avg"}:
        return _added(op, vector, groups, notes, at, drop)
    present = _floats_noted(op, vector, notes, at)
    counts = grouped.count(present, groups)
    return Vector(groups.labels, _REDUCED[op](vector.values, present, groups, counts), counts > 0, drop_name=drop)


def quantile(vector: Vector, groups: Groups, q: Floats, notes: Annotations, at: tuple[int, int]) -> Vector:
    """The ``q`` quantile (one a step) of each group; ``at`` are the offsets of ``q`` and the aggregated expression."""
    note_quantiles(q, notes, at[0])
    if len(groups) == 0:
        return vectors.empty(vector.present.shape[1])
    present = _floats_noted("quantile", vector, notes, at[1])
    values = np.where(present, vector.values, np.nan)
    counts = grouped.count(present, groups)
    result = np.empty(counts.shape)
    for batch, rows in groups.alike(len(q)):
        ordered = np.sort(np.moveaxis(values[rows], 1, 2), axis=2).reshape(-1, rows.shape[1])
        found = quantile_of_sorted(ordered, np.tile(q, len(batch)), counts[batch].ravel())
        result[batch] = found.reshape(len(batch), len(q))
    return Vector(groups.labels, result, counts > 0, drop_name=_drop_name(vector, groups))


def count_values(vector: Vector, label: str, names: tuple[str, ...], *, without: bool) -> Vector:
    """How many series of each group have each value; the value goes into ``label``. Raises Rejected for an invalid label name."""
    if not vectors.is_label_name(label):
        raise Rejected(f"invalid label name {quoted(label)}")
    steps = vector.present.shape[1]
    keep = names if without else (*names, label)
    texts, value_of = _texts(vector)
    rows, columns = np.nonzero(vector.present)
    # A series and a value encoded as one number, so that one unique() finds the pairs; decoded below.
    different, which = np.unique(rows * len(texts) + value_of[rows, columns], return_inverse=True)
    labelled = [vectors.with_label(vector.labels[key // len(texts)], label, texts[key % len(texts)]) for key in different.tolist()]
    places = grouped.group(labelled, keep, without=without)
    owner = places.of[which]
    counts = np.bincount(owner * steps + columns, minlength=len(places) * steps).reshape(len(places), steps)
    return Vector(places.labels, counts.astype(np.float64), counts > 0)


def _texts(vector: Vector) -> tuple[list[str], Longs]:
    """The distinct values as label text, and for each cell the position of its value among them."""
    # By their bits: unique() of floats merges -0 and 0, but their texts differ.
    bits, index = np.unique(vector.values.view(np.int64), return_inverse=True)
    texts = [_plain(value) for value in bits.view(np.float64).tolist()]
    index = index.reshape(vector.values.shape)
    if vector.cells is not None and vector.histograms is not None:
        index = np.where(vector.cells >= 0, vector.cells + len(texts), index)
        texts += histogram_text.strings(vector.histograms)
    return texts, index


def _plain(value: float) -> str:
    """A float in its shortest digits without an exponent."""
    return number(value) if not np.isfinite(value) else format(Decimal(repr(value)), "f").removesuffix(".0")


def _drop_name(vector: Vector, groups: Groups) -> Bools | None:
    if vector.drop_name is None:
        return None
    return np.logical_or.reduceat(vector.drop_name[groups.order], groups.starts) if len(groups) else vector.drop_name


def _floats_noted(op: str, vector: Vector, notes: Annotations, at: int) -> Bools:
    if vectors.histogram_cells(vector).any():
        notes.add(Note.IGNORED_IN_AGGREGATION.text(op), at)
    return vectors.floats(vector)


def _added(op: str, vector: Vector, groups: Groups, notes: Annotations, at: int, drop: Bools | None) -> Vector:
    present = vectors.floats(vector)
    counts = grouped.count(present, groups)
    total, lost = grouped.add_up(vector.values, present, groups)
    values = sums.combined(total, lost) if op == "sum" else _mean(vector.values, present, groups, counts, (total, lost))
    result = Vector(groups.labels, values, counts > 0, drop_name=drop)
    held = vectors.histogram_cells(vector)
    return _with_histograms(op, vector, held, groups, result, notes, at) if held.any() else result


def _mean(values: Floats, present: Bools, groups: Groups, counts: Longs, added: tuple[Floats, Floats]) -> Floats:
    total, lost = added
    result = sums.mean(total, lost, counts)
    overflown = ~np.isfinite(total)
    if overflown.any():
        # The sum may overflow where the mean does not; dividing first prevents that. Only there, because dividing rounds each value.
        scaled = sums.combined(*grouped.add_up(values / counts[groups.of], present, groups))
        result = np.where(overflown, scaled, result)
    return result


def _with_histograms(op: str, vector: Vector, held: Bools, groups: Groups, result: Vector, notes: Annotations, at: int) -> Vector:
    """Add sums or means of histograms to those of floats; a group with both kinds at a step has no result there."""
    assert vector.cells is not None
    assert vector.histograms is not None
    # A cell is a group at a step; cells are numbered row by row, in the result's layout.
    steps = held.shape[1]
    rows, columns = np.nonzero(held)
    cells = groups.of[rows] * steps + columns
    of = histogram_sums.sum_by if op == "sum" else histogram_sums.average_by
    found = of(vector.histograms, vector.cells[rows, columns], cells, len(groups) * steps)
    for note in found.notes:
        affected = rows[np.isin(cells, np.flatnonzero(found.notes[note]))]
        notes.add(note.text(quoted(vectors.name_of(vector.labels[affected[0]]))), at)
    native = grouped.count(held, groups) > 0
    mixed = native & result.present
    if mixed.any():
        notes.add(Note.MIXED_IN_AGGREGATION.text(), at)
    where = np.nonzero(native)
    flat = where[0] * steps + where[1]
    kept = found.present[flat] & ~mixed[where]
    return vectors.with_histograms(result, where[0], where[1], found.histograms.take(flat), kept)


def _smallest(values: Floats, present: Bools, groups: Groups, _: Longs) -> Floats:
    # fmin prefers a number to NaN: absent samples never win, and a group of NaNs alone is NaN.
    return np.fmin.reduceat(np.where(present, values, np.nan)[groups.order], groups.starts, axis=0)


def _largest(values: Floats, present: Bools, groups: Groups, _: Longs) -> Floats:
    return np.fmax.reduceat(np.where(present, values, np.nan)[groups.order], groups.starts, axis=0)


def _variance(values: Floats, present: Bools, groups: Groups, counts: Longs) -> Floats:
    """The mean square distance from the mean, both from each group's first value on, so that equal values differ by nothing."""
    first = np.full(counts.shape, np.nan)
    # From the last to the first, so that a group's first value is the one that stays.
    for row in groups.order[::-1].tolist():
        there = present[row]
        first[groups.of[row], there] = values[row, there]
    shifted = values - first[groups.of]
    mean = sums.mean(*grouped.add_up(shifted, present, groups), counts)
    return sums.mean(*grouped.add_up(np.square(shifted - mean[groups.of]), present, groups), counts)


def _deviation(values: Floats, present: Bools, groups: Groups, counts: Longs) -> Floats:
    return np.sqrt(_variance(values, present, groups, counts))


_REDUCED = {"min": _smallest, "max": _largest, "stdvar": _variance, "stddev": _deviation}
