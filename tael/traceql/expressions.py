"""Field expressions over a block's spans, all at once.

A comparison is false where a side is nil or the types cannot be compared, whatever the operator, even ``!=``. Numbers are compared by
value, whatever their type. A list matches where one of its elements does, for ``!=`` and ``!~`` too; of several of these joined by ``&&``
the same element must satisfy all, so ``.a != "x" && .a != "y"`` asks for another value than these.

Fields of events and links make a row of each event and link, and a span matches when one of its rows does: two conditions on events in one
expression must hold for the same event, as in Tempo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tael.errors import TooLarge
from tael.model.patterns import Pattern, compiled
from tael.model.predicate import RELATIONS
from tael.traceql.ast import (
    EVENT_INTRINSICS,
    LINK_INTRINSICS,
    NUMERIC,
    Attribute,
    Binary,
    Exists,
    Expression,
    Field,
    Named,
    Scope,
    Static,
    Type,
    Unary,
)
from tael.traceql.columns import Array, Column, Mask, Rows, Typed, booleans, constant, of_type
from tael.traceql.spans import Block, Elements

COMPARISONS = frozenset({"=", "!=", "<", "<=", ">", ">=", "=~", "!~"})
MAX_ROWS = 4_000_000
"""The most rows that the events and links of a block may make; a query beyond it is refused, since one span may have thousands of both."""


def is_event(named: Named) -> bool:
    """Whether a field is an event's."""
    return named.intrinsic in EVENT_INTRINSICS if isinstance(named, Field) else named.scope is Scope.EVENT


def is_link(named: Named) -> bool:
    """Whether a field is a link's."""
    return named.intrinsic in LINK_INTRINSICS if isinstance(named, Field) else named.scope is Scope.LINK


def fields_of(expression: Expression | None) -> Iterator[Named]:
    """The attributes and intrinsics that an expression reads."""
    match expression:
        case Attribute() | Field():
            yield expression
        case Unary(operand=operand) | Exists(operand=operand):
            yield from fields_of(operand)
        case Binary(left=left, right=right):
            yield from fields_of(left)
            yield from fields_of(right)
        case _:
            return


@dataclass(frozen=True, slots=True)
class Frame:
    """The rows of an expression: a span each, or a span with one of its events and links (-1 where it has none)."""

    block: Block
    rows: Rows | None = None
    events: Rows | None = None
    links: Rows | None = None

    @property
    def size(self) -> int:
        """The number of rows."""
        return self.block.size if self.rows is None else len(self.rows)

    def column(self, named: Named) -> Column:
        """One value a row."""
        if is_event(named):
            return _element_column(self.block.events, named, self.events, self.size)
        if is_link(named):
            return _element_column(self.block.links, named, self.links, self.size)
        column = self.block.column(named)
        return column if self.rows is None else column.take(self.rows)

    def spans(self, mask: Mask) -> Mask:
        """The spans with a row in ``mask``."""
        if self.rows is None:
            return mask
        found = np.zeros(self.block.size, dtype=bool)
        found[self.rows[mask]] = True
        return found


def frame_of(expression: Expression, block: Block) -> Frame:
    """The rows that an expression is evaluated over. Raises TooLarge when its events and links make too many."""
    named = list(fields_of(expression))
    rows = events = links = None
    if any(is_event(field) for field in named):
        rows, events = _expand(np.arange(block.size), block.events.owner)
    if any(is_link(field) for field in named):
        rows = np.arange(block.size) if rows is None else rows
        at, links = _expand(rows, block.links.owner)
        rows, events = rows[at], None if events is None else events[at]
    return Frame(block, rows, events, links)


def matching(expression: Expression, block: Block) -> Mask:
    """The spans for which an expression is true."""
    frame = frame_of(expression, block)
    return frame.spans(evaluate(expression, frame).true())


def evaluate(expression: Expression, frame: Frame) -> Column:  # noqa: PLR0911  # one line a kind of node
    """The value of an expression on each row."""
    match expression:
        case Static():
            return constant(expression, frame.size)
        case Attribute() | Field():
            return frame.column(expression)
        case Exists(operand=operand, wanted=wanted):
            return booleans(evaluate(operand, frame).has() == wanted)
        case Unary(op="!", operand=operand):
            typed = evaluate(operand, frame).typed.get(Type.BOOL)
            return Column(frame.size) if typed is None else Column(frame.size, {Type.BOOL: Typed(typed.has, ~typed.values)})
        case Unary(operand=operand):
            return _negated(evaluate(operand, frame))
        case Binary(op="&&", left=left, right=right):
            both = evaluate(left, frame).true() & evaluate(right, frame).true()
            return booleans(both & _one_element(expression, frame))
        case Binary(op="||", left=left, right=right):
            return booleans(evaluate(left, frame).true() | evaluate(right, frame).true())
        case Binary(op=op, left=left, right=right):
            sides = evaluate(left, frame), evaluate(right, frame)
            return arithmetic(op, *sides) if op in "+-*/%^" else booleans(compare(op, *sides))


def _one_element(conjunction: Expression, frame: Frame) -> Mask:
    """Of the conditions that a list has other elements than these: the rows where one element satisfies all of an attribute's."""
    found = np.ones(frame.size, dtype=bool)
    unlike: dict[Named, list[tuple[str, Static]]] = {}
    for op, named, literal in _unlike(conjunction):
        unlike.setdefault(named, []).append((op, literal))
    for named, conditions in unlike.items():
        if len(conditions) > 1:
            for row, (kind, values) in frame.column(named).lists.items():
                elements = of_type(kind, values)
                holds = [compare(op, elements, constant(literal, len(values))) for op, literal in conditions]
                found[row] &= bool(np.logical_and.reduce(holds).any())
    return found


def _unlike(conjunction: Expression) -> Iterator[tuple[str, Named, Static]]:
    match conjunction:
        case Binary(op="&&", left=left, right=right):
            yield from _unlike(left)
            yield from _unlike(right)
        case Binary(op="!=" | "!~" as op, left=Attribute() as named, right=Static() as literal):
            yield op, named, literal
        case _:
            return


def compare(op: str, left: Column, right: Column) -> Mask:
    """The rows where a comparison holds."""
    if op in ("=~", "!~"):
        return _match(op, left, right)
    call = RELATIONS[op]
    found = np.zeros(left.size, dtype=bool)
    for kind in left.typed.keys() & right.typed.keys():
        _compare_typed(call, left.typed[kind], right.typed[kind], found)
    # Numbers of different types as well, which numpy compares as floats: 3.0 is found by "= 3".
    for mine in NUMERIC & left.typed.keys():
        for theirs in (NUMERIC & right.typed.keys()) - {mine}:
            _compare_typed(call, left.typed[mine], right.typed[theirs], found)
    for row, (kind, values) in left.lists.items():
        found[row] |= any(_holds(call, kind, value, right.at(row)) for value in values)
    for row, (kind, values) in right.lists.items():
        found[row] |= any(_holds(lambda a, b: call(b, a), kind, value, left.at(row)) for value in values)
    return found


def arithmetic(op: str, left: Column, right: Column) -> Column:
    """Integers with integers give integers, except for ``^``; durations added or subtracted give a duration; everything else is a float.

    Division of integers truncates, and division by zero is nil.
    """
    typed: dict[Type, Typed] = {}
    free = np.ones(left.size, dtype=bool)
    for kind in (Type.INT, Type.DURATION):
        if kind in left.typed and kind in right.typed and (op in "+-" or (kind is Type.INT and op != "^")):
            has = left.typed[kind].has & right.typed[kind].has
            with np.errstate(over="ignore"):
                typed[kind] = _whole(op, left.typed[kind].values, right.typed[kind].values, has)
            free &= ~has
    a, b = left.numbers(), right.numbers()
    has = a.has & b.has & free
    if has.any():
        with np.errstate(all="ignore"):
            values = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "%": np.fmod, "^": np.power}[op](a.values, b.values)
        typed[Type.FLOAT] = Typed(has & np.isfinite(values), values)
    return Column(left.size, typed)


def _whole(op: str, left: Array, right: Array, has: Mask) -> Typed:
    if op in "+-*":
        return Typed(has, {"+": np.add, "-": np.subtract, "*": np.multiply}[op](left, right))
    has = has & (right != 0)
    divisor = np.where(right == 0, 1, right)
    # Go's division truncates towards zero where // rounds down; subtracting the remainder first makes both agree.
    rest = np.fmod(left, divisor)
    return Typed(has, rest if op == "%" else (left - rest) // divisor)


def _negated(column: Column) -> Column:
    return Column(column.size, {kind: Typed(found.has, -found.values) for kind, found in column.typed.items() if kind in NUMERIC})


def _compare_typed(call: Callable[[Any, Any], Any], left: Typed, right: Typed, found: Mask) -> None:
    # Only where both have a value: the other rows of an object array hold None, which cannot be compared.
    rows = np.flatnonzero(left.has & right.has)
    found[rows] |= np.asarray(call(left.values[rows], right.values[rows]), dtype=bool)


def _holds(call: Callable[[Any, Any], Any], kind: Type, value: Any, other: Static | None) -> bool:
    if other is None or (kind is not other.type and not {kind, other.type} <= NUMERIC):
        return False
    return bool(call(value, other.value))


def _match(op: str, left: Column, right: Column) -> Mask:
    """``=~`` and ``!~``. The pattern is a literal (check.py), the same in every row of ``right``; it must match the whole text."""
    found = np.zeros(left.size, dtype=bool)
    if not left.size:
        return found
    pattern, wanted = compiled(str(right.typed[Type.STRING].values[0])), op == "=~"
    if (typed := left.typed.get(Type.STRING)) is not None:
        rows = np.flatnonzero(typed.has)
        found[rows] = _matches(pattern, typed.values[rows]) == wanted
    for row, (kind, values) in left.lists.items():
        if kind is Type.STRING:
            found[row] = any((pattern.fullmatch(str(value)) is not None) == wanted for value in values)
    return found


def _matches(pattern: Pattern, values: Array) -> Mask:
    """A mask of the texts that match; each distinct text is tried once."""
    known: dict[str, bool] = {}
    for value in values.tolist():
        if value not in known:
            known[value] = pattern.fullmatch(value) is not None
    return np.fromiter((known[value] for value in values.tolist()), dtype=bool, count=len(values))


def _expand(rows: Rows, owner: Rows) -> tuple[Rows, Rows]:
    """The join of rows with their elements: positions in ``rows``, and the element of each, -1 for a row without any."""
    # Owners are ascending, so a span's elements are one range; a span without any keeps one row, for its own conditions.
    first, last = np.searchsorted(owner, rows, side="left"), np.searchsorted(owner, rows, side="right")
    count = np.maximum(last - first, 1)
    if (total := int(count.sum())) > MAX_ROWS:
        raise TooLarge(f"the events and links of the spans to look at make {total} combinations", accepted=f"at most {MAX_ROWS}")
    at = np.repeat(np.arange(len(rows)), count)
    within = np.arange(total) - np.repeat(np.cumsum(count) - count, count)
    return at, np.where((last > first)[at], first[at] + within, -1)


def _element_column(elements: Elements, named: Named, rows: Rows | None, size: int) -> Column:
    if rows is None or not len(elements.owner):
        return Column(size)
    return elements.column(named).take(np.maximum(rows, 0)).where(rows >= 0)
