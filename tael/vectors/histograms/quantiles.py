"""histogram_quantile, histogram_quantiles and histogram_fraction: over classic histograms (series with ``le``) and native ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tael.model.histogram import Histograms
from tael.model.series import Bools, Floats, Labels, Longs
from tael.syntax.literals import quoted
from tael.vectors import vectors
from tael.vectors.annotations import Annotations, Repairs, bad_bucket_label, classic_and_native
from tael.vectors.histograms import buckets
from tael.vectors.histograms import functions as histogram_functions
from tael.vectors.histograms.notes import Notes
from tael.vectors.values import Vector

LE = "le"


@dataclass(frozen=True, slots=True)
class Family:
    """A classic histogram: its labels without ``le``, and the rows of its buckets' series by ascending bound."""

    labels: Labels
    bounds: tuple[float, ...]
    rows: Longs


@dataclass(frozen=True, slots=True)
class Split:
    """A vector's classic histograms, and a mask of its native ones; ``present`` masks the samples that are used."""

    vector: Vector
    families: list[Family]
    present: Bools
    native: Bools


@dataclass(frozen=True, slots=True)
class HistogramFunction:
    """A function of histograms: of columns of classic buckets and of native histograms; its first argument is the steps of these."""

    of_buckets: _OfBuckets
    of_native: _OfNative


_OfBuckets: TypeAlias = "Callable[[Longs, Floats, Floats], Floats]"
_OfNative: TypeAlias = "Callable[[Longs, Histograms], tuple[Floats, Notes]]"


def quantile(q: Floats) -> HistogramFunction:
    """histogram_quantile at ``q``, one a step."""
    return HistogramFunction(
        lambda steps, bounds, counts: buckets.quantiles(q[steps], bounds, counts),
        lambda steps, histograms: histogram_functions.quantile(q[steps], histograms),
    )


def fraction(lower: Floats, upper: Floats) -> HistogramFunction:
    """histogram_fraction between ``lower`` and ``upper``, one each a step."""
    return HistogramFunction(
        lambda steps, bounds, counts: buckets.fractions(lower[steps], upper[steps], bounds, counts),
        lambda steps, histograms: histogram_functions.fraction(lower[steps], upper[steps], histograms),
    )


def split(vector: Vector, notes: Annotations, at: int) -> Split:
    """Find the histograms. Floats without a valid bound, and histograms that are classic and native at one step, are left out with a
    warning.
    """
    found: dict[Labels, list[tuple[float, int]]] = {}
    floats = vectors.floats(vector)
    for row in np.flatnonzero(floats.any(axis=1)).tolist():
        labels = vector.labels[row]
        text = dict(labels).get(LE, "")
        bound = _bound(text)
        if bound is None:
            notes.add(bad_bucket_label(vectors.name_of(labels), text), at)
            continue
        found.setdefault(tuple([pair for pair in labels if pair[0] != LE]), []).append((bound, row))
    families = []
    for labels, members in found.items():
        # By bound, then row, so that buckets of one bound ("1" and "1.0") are adjacent and can be summed.
        members.sort()
        families.append(Family(labels, tuple(bound for bound, _ in members), np.array([row for _, row in members])))
    native = vectors.histogram_cells(vector)
    present = vector.present
    if native.any():
        present = _without_twice(vector, families, native, notes, at)
    return Split(vector, families, present, native & present)


def _without_twice(vector: Vector, families: list[Family], native: Bools, notes: Annotations, at: int) -> Bools:
    present = vector.present.copy()
    rows = {family.labels: family.rows for family in families}
    for row in np.flatnonzero(native.any(axis=1)).tolist():
        classic = rows.get(vector.labels[row])
        if classic is None:
            continue
        both = native[row] & vectors.floats(vector)[classic].any(axis=0)
        if both.any():
            notes.add(classic_and_native(vectors.name_of(vector.labels[row])), at)
            present[np.append(classic, row)[:, None], np.flatnonzero(both)] = False
    return present


def _bound(text: str) -> float | None:
    try:
        # Python's float() accepts 1_0 and surrounding blanks; Go's ParseFloat does not.
        value = float(text) if "_" not in text else math.nan
    except ValueError:
        return None
    return value if text.strip() == text and "_" not in text else None


def answer(known: Split, function: HistogramFunction, notes: Annotations, at: tuple[int, int], steps_ms: Longs) -> Vector:
    """One series for each histogram, marked to drop its name; ``at`` are the offsets of the parameter and the histograms."""
    parts = [_classic(known, function, notes, at[1], steps_ms), _native(known, function, notes, at[0])]
    result = vectors.stacked(parts)
    return Vector(result.labels, result.values, result.present, drop_name=np.ones(len(result.labels), np.bool_))


def _classic(known: Split, function: HistogramFunction, notes: Annotations, at: int, steps_ms: Longs) -> Vector:
    """Results for the classic histograms; families with the same bounds are evaluated together."""
    count, steps = len(known.families), len(steps_ms)
    values, present = np.zeros((count, steps)), np.zeros((count, steps), np.bool_)
    alike: dict[tuple[float, ...], list[int]] = {}
    for index, family in enumerate(known.families):
        alike.setdefault(family.bounds, []).append(index)
    for bounds, members in alike.items():
        rows = np.stack([known.families[index].rows for index in members], axis=1)
        there = known.present[rows] & ~known.native[rows]
        present[members] = there.any(axis=0)
        values[members] = _alike(
            known, function, np.array(bounds), rows, there, _RepairNotes(notes, at, steps_ms, [known.families[i] for i in members])
        )
    return Vector([family.labels for family in known.families], values, present)


@dataclass(frozen=True, slots=True)
class _RepairNotes:
    """Records repairs of ``families`` in ``notes``, at an offset of the query."""

    notes: Annotations
    at: int
    steps_ms: Longs
    families: list[Family]

    def repairs(self, fixed: buckets.Repaired, members: Longs, steps: Longs) -> None:
        """Record the columns that had to be repaired; column ``i`` is family ``members[i]`` at step ``steps[i]``."""
        for column in np.flatnonzero(fixed.fallen).tolist():
            time_ms = int(self.steps_ms[steps[column]])
            repairs = Repairs(float(fixed.lowest[column]), float(fixed.highest[column]), float(fixed.largest[column]), 1, time_ms, time_ms)
            self.notes.repaired(vectors.name_of(self.families[members[column]].labels), self.at, repairs)


def _alike(known: Split, function: HistogramFunction, bounds: Floats, rows: Longs, there: Bools, notes: _RepairNotes) -> Floats:
    """Results for families with the same bounds, family by step; columns with the same missing buckets are evaluated together."""
    counts = known.vector.values[rows]
    result = np.zeros(counts.shape[1:])
    patterns, which = _patterns(there)
    for number, pattern in enumerate(patterns):
        if not pattern.any():
            continue
        members, steps = np.nonzero(which == number)
        # A bound that is written in two ways is one bucket, and its counts are added.
        own, first = np.unique(bounds[pattern], return_index=True)
        columns = np.add.reduceat(counts[pattern][:, members, steps], first, axis=0)
        fixed = buckets.repaired(own, columns)
        result[members, steps] = function.of_buckets(steps, own, fixed.counts)
        notes.repairs(fixed, members, steps)
    return result


def _patterns(there: Bools) -> tuple[list[Bools], Longs]:
    """The distinct columns of ``there``, and for each family and step the number of its column."""
    if there.all():
        return [np.ones(len(there), np.bool_)], np.zeros(there.shape[1:], np.int64)
    flat = there.reshape(len(there), -1)
    # Packed to bits, a column is a few bytes, and unique() sorts short rows.
    packed, which = np.unique(np.packbits(flat, axis=0), axis=1, return_inverse=True)
    patterns = [np.unpackbits(column)[: len(there)].astype(np.bool_) for column in packed.T]
    return patterns, which.reshape(there.shape[1:])


def _native(known: Split, function: HistogramFunction, notes: Annotations, at: int) -> Vector:
    kept = np.flatnonzero(known.native.any(axis=1))
    labels = [known.vector.labels[row] for row in kept.tolist()]
    values, present = np.zeros((len(kept), known.native.shape[1])), known.native[kept]
    if known.vector.cells is not None and known.vector.histograms is not None and len(kept):
        rows, steps = np.nonzero(present)
        cells = known.vector.cells[kept][rows, steps]
        values[rows, steps], found = function.of_native(steps, known.vector.histograms.take(cells))
        for note, where in found.items():
            for name in {vectors.name_of(labels[row]) for row in rows[where].tolist()}:
                notes.add(note.text(quoted(name) if name else ""), at)
    return Vector(labels, values, present)


def labelled(value: float) -> str:
    """A quantile as a label's value: the shortest digits, always with a point or an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)
