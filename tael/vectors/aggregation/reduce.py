"""Aggregations that reduce a group to one series: sum, avg, min, max, count, group, stddev, stdvar, quantile and count_values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from tael.errors import Rejected
from tael.model.series import METRIC_NAME, Bools, Floats, Longs
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


def count_values(vector: Vector, label: str, names: tuple[str, ...], require_room: Callable[[int], None], *, without: bool) -> Vector:
    """How many series of each group have each value; the value goes into ``label``.

    ``require_room`` gets the size of the result before it is built, and raises where that is too large. Raises Rejected for an invalid
    label name.
    """
    if not vectors.is_label_name(label):
        raise Rejected(f"invalid label name {quoted(label)}")
    steps = vector.present.shape[1]
    # The value replaces the series' own label of that name, which therefore does not tell groups apart.
    others = (*names, label) if without else tuple([name for name in names if name != label])
    groups = grouped.group(vector.labels, others, without=without)
    values = _Values.of(vector)
    rows, columns = np.nonzero(vector.present)
    # "without" drops the value as well where it names its label.
    dropped = without and label in {*names, METRIC_NAME}
    chosen = np.zeros(len(rows), np.int64) if dropped else values.of_cells[rows, columns]
    # A group and a value encoded as one number, so that one unique() finds the pairs; decoded below.
    pairs, pair_of = np.unique(groups.of[rows] * len(values) + chosen, return_inverse=True)
    # A series with another value at every step becomes as many series as there are steps.
    require_room(len(pairs) * steps)
    labels = [groups.labels[pair // len(values)] for pair in pairs.tolist()]
    if not dropped:
        texts = [values.text(pair % len(values)) for pair in pairs.tolist()]
        labels = [vectors.with_label(own, label, text) for own, text in zip(labels, texts, strict=True)]
    counts = np.bincount(pair_of * steps + columns, minlength=len(pairs) * steps).reshape(len(pairs), steps)
    return Vector(labels, counts.astype(np.float64), counts > 0)


@dataclass(frozen=True, slots=True)
class _Values:
    """The values of a vector that differ as text: floats, then histograms; ``of_cells`` is the position of each cell's value among them."""

    floats: Floats
    histograms: list[str]
    of_cells: Longs

    @classmethod
    def of(cls, vector: Vector) -> _Values:
        # By their bits: unique() of floats merges -0 and 0, but their texts differ. All NaN have one text, so they get the same bits.
        bits, index = np.unique(np.where(np.isnan(vector.values), np.nan, vector.values).view(np.int64), return_inverse=True)
        index, floats = index.reshape(vector.values.shape), bits.view(np.float64)
        if vector.cells is None or vector.histograms is None:
            return cls(floats, [], index)
        places: dict[str, int] = {}
        of_histograms = [places.setdefault(text, len(places)) for text in histogram_text.strings(vector.histograms)]
        held = vector.cells >= 0
        index[held] = np.array(of_histograms, np.int64)[vector.cells[held]] + len(floats)
        return cls(floats, list(places), index)

    def __len__(self) -> int:
        return len(self.floats) + len(self.histograms)

    def text(self, position: int) -> str:
        """A value as a label's text."""
        return _plain(float(self.floats[position])) if position < len(self.floats) else self.histograms[position - len(self.floats)]


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
