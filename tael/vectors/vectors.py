"""Operations on rows of vectors: select them, hide samples, drop names, join rows with the same labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tael.errors import Rejected
from tael.model.histogram import Histograms, concatenate
from tael.model.series import METRIC_NAME, Bools, Floats, Labels, Longs
from tael.vectors.values import Scalar, Value, Vector

SAME_LABELS = "vector cannot contain metrics with the same labelset"


def empty(steps: int) -> Vector:
    """A vector without series."""
    return Vector([], np.zeros((0, steps)), np.zeros((0, steps), np.bool_))


def of_scalar(values: Floats) -> Vector:
    """Numbers, one a step, as a single series without labels."""
    return Vector([()], values[None, :], np.ones((1, len(values)), np.bool_))


def only_value(vector: Vector) -> Floats:
    """The value of the only float at each step, NaN where there is none or more than one."""
    present = floats(vector)
    # The sum is the value itself wherever exactly one is present; elsewhere it is discarded.
    values = np.where(present, vector.values, 0.0).sum(axis=0)
    return np.where(present.sum(axis=0) == 1, values, np.nan)


def absent(labels: Labels, present: Bools) -> Vector:
    """One series of ones at the steps where nothing is ``present``."""
    return Vector([labels], np.ones((1, len(present))), ~present[None, :])


def repeated(vector: Vector, steps: int) -> Vector:
    """A vector of one step at each of ``steps``; one that has these steps already is returned as it is."""
    shape = (len(vector.labels), steps)
    if vector.values.shape == shape:
        return vector
    cells = None if vector.cells is None else np.broadcast_to(vector.cells, shape)
    return replace(vector, values=np.broadcast_to(vector.values, shape), present=np.broadcast_to(vector.present, shape), cells=cells)


def repeated_value(value: Value, steps: int) -> Value:
    """``repeated`` for any value; strings and matrices are returned unchanged."""
    if isinstance(value, Scalar):
        return Scalar(np.broadcast_to(value.values, steps))
    return repeated(value, steps) if isinstance(value, Vector) else value


def take(vector: Vector, rows: Longs) -> Vector:
    """The series at ``rows``, in that order."""
    return replace(
        vector,
        labels=[vector.labels[row] for row in rows.tolist()],
        values=vector.values[rows],
        present=vector.present[rows],
        cells=None if vector.cells is None else vector.cells[rows],
        drop_name=None if vector.drop_name is None else vector.drop_name[rows],
    )


def without_empty(vector: Vector) -> Vector:
    """The series that have a sample at some step."""
    kept = vector.present.any(axis=1)
    return vector if kept.all() else take(vector, np.flatnonzero(kept))


def floats(vector: Vector) -> Bools:
    """A mask of the cells that hold a float."""
    return vector.present if vector.cells is None else vector.present & (vector.cells < 0)


def histogram_cells(vector: Vector) -> Bools:
    """A mask of the cells that hold a native histogram."""
    return np.zeros_like(vector.present) if vector.cells is None else vector.present & (vector.cells >= 0)


def floats_only(vector: Vector, values: Floats, *, drop_name: bool = True) -> Vector:
    """``values`` in place of a vector's floats; its histograms are left out."""
    return Vector(vector.labels, values, floats(vector), drop_name=flags(vector, drop_name=drop_name))


def flags(vector: Vector, *, drop_name: bool) -> Bools | None:
    """The vector's ``drop_name`` after an operation that drops names (``drop_name``) or keeps them."""
    return np.ones(len(vector.labels), np.bool_) if drop_name else vector.drop_name


def without_name(labels: Labels) -> Labels:
    """A label set without ``__name__``."""
    return tuple(pair for pair in labels if pair[0] != METRIC_NAME)


def with_label(labels: Labels, name: str, value: str) -> Labels:
    """A label set with the label ``name`` set to ``value``, or removed where ``value`` is empty."""
    others = [pair for pair in labels if pair[0] != name]
    return tuple(sorted([*others, (name, value)])) if value else tuple(others)


def is_label_name(name: str) -> bool:
    """Whether a label can have this name: any text but the empty one, without the replacement character that stands for invalid UTF-8."""
    return bool(name) and "\ufffd" not in name


def name_of(labels: Labels) -> str:
    """The metric's name, empty when there is none."""
    return next((value for name, value in labels if name == METRIC_NAME), "")


def names_dropped(vector: Vector) -> Vector:
    """Drop the names marked in ``drop_name``, and join series that are equal without them. Raises Rejected as ``joined`` does."""
    if vector.drop_name is None or not vector.drop_name.any():
        return vector
    labels = [without_name(own) if drop else own for own, drop in zip(vector.labels, vector.drop_name.tolist(), strict=True)]
    return joined(replace(vector, labels=labels, drop_name=None))


def joined(vector: Vector) -> Vector:
    """Join series with the same labels and the same ``drop_name`` flag into one.

    Raises Rejected where two of them have a sample at one step.
    """
    places: dict[tuple[Labels, bool], int] = {}
    drop = [False] * len(vector.labels) if vector.drop_name is None else vector.drop_name.tolist()
    where = [places.setdefault(key, len(places)) for key in zip(vector.labels, drop, strict=True)]
    if len(places) == len(where):
        return vector
    of, count = np.array(where), len(places)
    # Checked on all rows before any is merged: after the first merge a clash would look like an overwrite.
    if overlap(vector.present, of, count):
        raise Rejected(SAME_LABELS)
    firsts = np.full(count, -1)
    # Written backwards, so that the first row of each group is the one that remains.
    firsts[of[::-1]] = np.arange(len(of))[::-1]
    result = take(vector, firsts)
    values, present, cells = result.values.copy(), result.present.copy(), None if result.cells is None else result.cells.copy()
    for row in np.flatnonzero(firsts[of] != np.arange(len(of))).tolist():
        there, place = vector.present[row], of[row]
        values[place, there] = vector.values[row, there]
        present[place] |= there
        if cells is not None and vector.cells is not None:
            cells[place, there] = vector.cells[row, there]
    return replace(result, values=values, present=present, cells=cells)


def overlap(present: Bools, of: Longs, count: int) -> bool:
    """Whether two rows of one of ``count`` groups have a sample at the same step."""
    return bool((counted(present, of, count) > 1).any())


def counted(present: Bools, of: Longs, count: int) -> Longs:
    """How many rows of each group have a sample, group by step."""
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(count))
    return sums_between(present[order], starts)


def sums_between(rows: Bools, starts: Longs) -> Longs:
    """Sums of consecutive rows, each run from one of ``starts`` to the next; no run is empty."""
    if len(starts) == 0:
        return np.zeros((0, rows.shape[1]), np.int64)
    return np.add.reduceat(rows, starts, axis=0, dtype=np.int64)


def stacked(parts: Sequence[Vector]) -> Vector:
    """The rows of all parts one after the other; every part has the same steps."""
    labels = [own for part in parts for own in part.labels]
    values = np.concatenate([part.values for part in parts])
    present = np.concatenate([part.present for part in parts])
    drop = None
    if any(part.drop_name is not None for part in parts):
        drop = np.concatenate([np.zeros(len(part.labels), np.bool_) if part.drop_name is None else part.drop_name for part in parts])
    held = [part for part in parts if part.cells is not None]
    if not held:
        return Vector(labels, values, present, drop_name=drop)
    cells, histograms, base = [], [], 0
    for part in parts:
        if part.cells is None or part.histograms is None:
            cells.append(np.full(part.values.shape, -1, np.int64))
        else:
            # Positions point into the part's own histograms, which now lie behind those of the parts before.
            cells.append(np.where(part.cells >= 0, part.cells + base, -1))
            histograms.append(part.histograms)
            base += len(part.histograms)
    return Vector(labels, values, present, np.concatenate(cells), concatenate(histograms), drop)


def with_histograms(vector: Vector, rows: Longs, columns: Longs, found: Histograms, kept: Bools) -> Vector:
    """Set cell ``rows[i], columns[i]`` to ``found[i]`` where ``kept[i]``, and clear it elsewhere. The vector holds no histogram yet."""
    values, present = vector.values.copy(), vector.present.copy()
    cells = np.full(vector.values.shape, -1, np.int64)
    present[rows, columns] = kept
    # NaN rather than whatever number stood here: a histogram has no float value.
    values[rows[kept], columns[kept]] = np.nan
    cells[rows[kept], columns[kept]] = np.flatnonzero(kept)
    return replace(vector, values=values, present=present, cells=cells, histograms=found)
