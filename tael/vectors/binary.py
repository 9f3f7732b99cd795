"""Binary operators: arithmetic and comparison between scalars and vectors, and the set operators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tael.errors import Rejected
from tael.model.histogram import empty
from tael.model.series import METRIC_NAME, Bools, Floats, Labels, Longs
from tael.vectors import matching, vectors
from tael.vectors.annotations import Annotations
from tael.vectors.histograms import binary as histogram_binary
from tael.vectors.histograms.binary import Cells
from tael.vectors.histograms.notes import Note
from tael.vectors.matching import Pairs, Rule
from tael.vectors.values import Scalar, Value, Vector

ARITHMETIC: dict[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    # Go's math.Mod: the result has the dividend's sign. np.mod would take the divisor's.
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISON: dict[str, Callable[[Floats, Floats], Bools]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
TRIM = ("</", ">/")
SETS = ("and", "or", "unless")


@dataclass(frozen=True, slots=True)
class Operator:
    """A binary operator, with or without ``bool``; ``at`` is the offset of the whole expression in the query."""

    symbol: str
    return_bool: bool
    at: int


def operate(op: Operator, left: Value, right: Value, rule: Rule, notes: Annotations) -> Value:
    """``left op right`` for scalars and vectors in any combination; ``rule`` applies where both are vectors.

    Raises Rejected with Prometheus' message for values of other types, and when the series do not match by ``rule``.
    """
    match left, right:
        case Scalar(), Scalar():
            return scalars(op, left, right)
        case Vector(), Scalar():
            return vector_scalar(op, left, right, notes, swapped=False)
        case Scalar(), Vector():
            return vector_scalar(op, right, left, notes, swapped=True)
        case Vector(), Vector():
            return sets(op.symbol, left, right, rule) if op.symbol in SETS else between(op, left, right, rule, notes)
    raise Rejected(f"binary operator {op.symbol} does not take these types")


def signed(op: str, value: Value) -> Value:
    """Unary plus and minus; a string is returned unchanged."""
    if op == "-" and isinstance(value, Scalar):
        return Scalar(-value.values)
    return negated(value) if op == "-" and isinstance(value, Vector) else value


def scalars(op: Operator, left: Scalar, right: Scalar) -> Scalar:
    """The operator applied step by step; a comparison gives 0 or 1."""
    if op.symbol in ARITHMETIC:
        return Scalar(ARITHMETIC[op.symbol](left.values, right.values))
    return Scalar(COMPARISON[op.symbol](left.values, right.values).astype(np.float64))


def vector_scalar(op: Operator, vector: Vector, scalar: Scalar, notes: Annotations, *, swapped: bool) -> Vector:
    """``vector op scalar`` or, ``swapped``, ``scalar op vector``; a comparison without ``bool`` keeps the vector's sample."""
    numbers = np.broadcast_to(scalar.values, vector.values.shape)
    left, right = (numbers, vector.values) if swapped else (vector.values, numbers)
    values, kept = _of_floats(op, left, right, vector.values)
    changed = op.symbol in ARITHMETIC or op.return_bool
    result = Vector(vector.labels, values, vectors.floats(vector) & kept, drop_name=vectors.flags(vector, drop_name=changed))
    if op.symbol in TRIM and vectors.floats(vector).any():
        notes.add(_incompatible("float", op.symbol, "float"), op.at)
    held = vectors.histogram_cells(vector)
    if not held.any():
        return result
    rows, columns = np.nonzero(held)
    own, number = _cells(vector, rows, columns), _floats(numbers[rows, columns])
    sides = (number, own) if swapped else (own, number)
    return _with_histograms(op, result, rows, columns, sides, notes)


def between(op: Operator, left: Vector, right: Vector, rule: Rule, notes: Annotations) -> Vector:
    """``left op right`` by vector matching. Raises Rejected with Prometheus' message when the series do not match by ``rule``."""
    # Nothing can match, and matching needs at least one row to broadcast from.
    if not left.labels and not right.labels:
        return left
    met = matching.pairs(left, right, rule)
    a, b = _side(left, met.left, rule.fill_left), _side(right, met.right, rule.fill_right)
    values, kept = _of_floats(op, a.values, b.values, a.values)
    # Float arithmetic runs over the whole grid and is masked: cheaper than picking out the cells that hold no histogram.
    floats = ~(_held(a) | _held(b))
    labels = _labels(op, left, right, met, rule)
    result = Vector(labels, values, met.present & kept & floats, drop_name=_dropped(op, left, right, met, rule))
    if op.symbol in TRIM and (met.present & floats).any():
        notes.add(_incompatible("float", op.symbol, "float"), op.at)
    rows, columns = np.nonzero(met.present & ~floats)
    if len(rows):
        result = _with_histograms(op, result, rows, columns, (_cells(a, rows, columns), _cells(b, rows, columns)), notes)
    # After filtering: two series that would collide are an error only at steps where both have a result.
    matching.check_given(met, result.present, labels, rule)
    return vectors.joined(result)


def sets(symbol: str, left: Vector, right: Vector, rule: Rule) -> Vector:
    """``and``, ``or`` and ``unless``: at each step, by the signatures that have a sample at that step."""
    of = matching.signatures(left, right, rule)
    if symbol == "or":
        taken = matching.any_of(left.present, of.left, of.count)
        return vectors.joined(vectors.stacked([left, replace(right, present=right.present & ~taken[of.right])]))
    # Sets look at signatures that have a sample at this very step, not at signatures that occur somewhere in the range.
    there = matching.any_of(right.present, of.right, of.count)[of.left]
    return replace(left, present=left.present & (there if symbol == "and" else ~there))


def negated(vector: Vector) -> Vector:
    """Unary minus."""
    histograms = None if vector.histograms is None else histogram_binary.negate(vector.histograms)
    return replace(vector, values=-vector.values, histograms=histograms, drop_name=vectors.flags(vector, drop_name=True))


def _of_floats(op: Operator, left: Floats, right: Floats, kept_values: Floats) -> tuple[Floats, Bools]:
    """The operator over two matrices of floats, and a mask of the cells that have a result."""
    everywhere = np.ones((1, 1), np.bool_)
    if op.symbol in ARITHMETIC:
        return ARITHMETIC[op.symbol](left, right), everywhere
    if op.symbol in TRIM:
        # Trimming is defined for histograms alone; between floats it yields nothing.
        return kept_values, ~everywhere
    true = COMPARISON[op.symbol](left, right)
    return (true.astype(np.float64), everywhere) if op.return_bool else (kept_values, true)


def _side(vector: Vector, rows: Longs, fill: float | None) -> Vector:
    """The samples of one side, one row a pair; ``fill`` stands in for a missing partner."""
    if fill is None:
        return vector if _is_all(rows, len(vector.labels)) else vectors.take(vector, rows)
    blank = Vector([()], np.full((1, vector.values.shape[1]), fill), np.ones((1, vector.values.shape[1]), np.bool_))
    # The fill value is appended as one more row; pairs without a partner (-1) refer to it.
    filled = vectors.stacked([vector, blank])
    return vectors.take(filled, np.where(rows < 0, len(vector.labels), rows))


def _is_all(rows: Longs, count: int) -> bool:
    return len(rows) == count and bool((rows == np.arange(count)).all())


def _held(side: Vector) -> Bools:
    return np.zeros((1, 1), np.bool_) if side.cells is None else side.cells >= 0


def _labels(op: Operator, left: Vector, right: Vector, met: Pairs, rule: Rule) -> list[Labels]:
    """The result's labels by pair: those of the many side (the left one in one-to-one matching), changed by the operator and the
    matching.
    """
    many, one = (right, left) if rule.group == "right" else (left, right)
    many_rows, one_rows = (met.right, met.left) if rule.group == "right" else (met.left, met.right)
    key = rule.signature()
    unnamed = op.symbol in ARITHMETIC
    only, never = (set(rule.names), set()) if rule.on else (None, set(rule.names))
    result = []
    for own_row, other_row in zip(many_rows.tolist(), one_rows.tolist(), strict=True):
        own = many.labels[own_row] if own_row >= 0 else key(one.labels[other_row])
        if unnamed:
            own = vectors.without_name(own)
        if not rule.group:
            own = tuple([pair for pair in own if (only is None or pair[0] in only) and pair[0] not in never])
        if rule.include:
            other = dict(one.labels[other_row] if other_row >= 0 else key(own))
            for name in rule.include:
                own = vectors.with_label(own, name, other.get(name, ""))
        result.append(own)
    return result


def _dropped(op: Operator, left: Vector, right: Vector, met: Pairs, rule: Rule) -> Bools | None:
    if op.return_bool:
        return np.ones(len(met.left), np.bool_)
    many, rows = (right, met.right) if rule.group == "right" else (left, met.left)
    if many.drop_name is None or op.symbol in ARITHMETIC or METRIC_NAME in rule.include:
        return None
    # Row -1 (no partner) picks the appended False.
    return np.append(many.drop_name, np.False_)[rows]


def _cells(side: Vector, rows: Longs, columns: Longs) -> Cells:
    values = side.values[rows, columns]
    if side.cells is None or side.histograms is None:
        return _floats(values)
    return Cells(values, side.cells[rows, columns], side.histograms)


def _floats(values: Floats) -> Cells:
    return Cells(values, np.full(len(values), -1), empty())


def _with_histograms(op: Operator, result: Vector, rows: Longs, columns: Longs, sides: tuple[Cells, Cells], notes: Annotations) -> Vector:
    """Add the results of histogram operations at ``rows, columns`` to the floats of ``result``."""
    found = histogram_binary.combine(op.symbol, *sides, return_bool=op.return_bool)
    for note, where in found.notes.items():
        _note(note, op, sides, np.flatnonzero(where), notes)
    return placed(result, rows, columns, found.keep, found.samples)


def placed(vector: Vector, rows: Longs, columns: Longs, keep: Bools, samples: Cells) -> Vector:
    """Set cell ``rows[i], columns[i]`` to ``samples[i]``, a float or a histogram, where ``keep[i]``, and clear it elsewhere."""
    result = vectors.with_histograms(vector, rows, columns, samples.histograms, keep & False)
    assert result.cells is not None
    # Cells that held a float are overwritten too: an operation on histograms may give a float, and the reverse.
    result.present[rows, columns] = keep
    result.values[rows, columns] = samples.values
    result.cells[rows, columns] = samples.cells
    return result


def _note(note: Note, op: Operator, sides: tuple[Cells, Cells], where: Longs, notes: Annotations) -> None:
    if note is not Note.INCOMPATIBLE_TYPES:
        notes.add(note.text(op.symbol), op.at)
        return
    kinds = {(_kind(sides[0], i), _kind(sides[1], i)) for i in where.tolist()}
    for left, right in sorted(kinds):
        notes.add(_incompatible(left, op.symbol, right), op.at)


def _kind(side: Cells, index: int) -> str:
    return "histogram" if side.cells[index] >= 0 else "float"


def _incompatible(left: str, symbol: str, right: str) -> str:
    return Note.INCOMPATIBLE_TYPES.text(f'"{symbol}": {left} {symbol} {right}')
