"""Columns: the values of an attribute or an expression for many spans at once.

An attribute may have a different type on every span, so a column holds an array for each type with a mask of the spans that have it, just
as the hot tier keeps a map for each type. A span in no mask has nil. Lists are few, and kept separately as Python lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tael.traceql.ast import NUMERIC, Static, Type

Mask = NDArray[np.bool_]
Array = NDArray[Any]
Rows = NDArray[np.int64]
Scalar = str | int | float | bool
DTYPES = {Type.STRING: object, Type.FLOAT: np.float64, Type.BOOL: np.bool_}
"""The array of each type; the others are int64 (durations in nanoseconds, status and kind as OTLP's numbers)."""


def dtype_of(kind: Type) -> Any:
    """The numpy type of a Type's array."""
    return DTYPES.get(kind, np.int64)


@dataclass(frozen=True, slots=True)
class Typed:
    """The values of one type: ``values[i]`` counts where ``has[i]``."""

    has: Mask
    values: Array


@dataclass(frozen=True, slots=True)
class Column:
    """``size`` values. ``lists`` has the rows whose value is a list, with the type of its elements."""

    size: int
    typed: Mapping[Type, Typed] = field(default_factory=dict)
    lists: Mapping[int, tuple[Type, Sequence[Scalar]]] = field(default_factory=dict)

    def has(self) -> Mask:
        """The rows that are not nil."""
        found = np.zeros(self.size, dtype=bool)
        for typed in self.typed.values():
            found |= typed.has
        found[list(self.lists)] = True
        return found

    def true(self) -> Mask:
        """The rows that are true; a list never is, whatever its elements."""
        typed = self.typed.get(Type.BOOL)
        return np.zeros(self.size, dtype=bool) if typed is None else typed.has & typed.values

    def at(self, row: int) -> Static | None:
        """One row's value, None for nil and for a list."""
        for kind, typed in self.typed.items():
            if typed.has[row]:
                value = typed.values[row]
                return Static(kind, value if kind is Type.STRING else value.item())
        return None

    def take(self, rows: Rows) -> Column:
        """The column of these rows, in their order."""
        typed = {kind: Typed(found.has[rows], found.values[rows]) for kind, found in self.typed.items()}
        if not self.lists:
            return Column(len(rows), typed)
        lists = {at: self.lists[row] for at, row in enumerate(rows.tolist()) if row in self.lists}
        return Column(len(rows), typed, lists)

    def where(self, kept: Mask) -> Column:
        """The column with nil in every other row."""
        typed = {kind: Typed(found.has & kept, found.values) for kind, found in self.typed.items()}
        return Column(self.size, typed, {row: found for row, found in self.lists.items() if kept[row]})

    def numbers(self) -> Typed:
        """Every number as a float, durations in nanoseconds."""
        has, values = np.zeros(self.size, dtype=bool), np.zeros(self.size)
        for kind in NUMERIC & self.typed.keys():
            found = self.typed[kind]
            values[found.has] = found.values[found.has]
            has |= found.has
        return Typed(has, values)


def of_type(kind: Type, values: Iterable[Any], has: Mask | None = None) -> Column:
    """A column of one type; every row has a value unless ``has`` says otherwise."""
    array = np.array(list(values), dtype=dtype_of(kind)) if not isinstance(values, np.ndarray) else values
    return Column(len(array), {kind: Typed(np.ones(len(array), dtype=bool) if has is None else has, array)})


def booleans(values: Mask) -> Column:
    """A column of true and false."""
    return Column(len(values), {Type.BOOL: Typed(np.ones(len(values), dtype=bool), values)})


def constant(static: Static, size: int) -> Column:
    """A literal in every row."""
    if static.type is Type.NIL:
        return Column(size)
    values = np.empty(size, dtype=dtype_of(static.type))
    values[:] = static.value
    return of_type(static.type, values)


def of_values(values: Sequence[Any]) -> Column:
    """A column of Python values: str, bool, int, float, a list of one of them, or None. A list of one element is that element, as in Tempo.

    A value that TraceQL has no type for (bytes, maps, lists of mixed types) exists and equals nothing: a list without elements.
    """
    rows: dict[Type, dict[int, Any]] = {}
    lists: dict[int, tuple[Type, Sequence[Scalar]]] = {}
    for row, given in enumerate(values):
        value = given[0] if isinstance(given, list) and len(given) == 1 and python_type(given[0]) is not None else given
        if isinstance(value, list) and len(kinds := {python_type(item) for item in value}) == 1 and (kind := kinds.pop()) is not None:
            lists[row] = (kind, value)
        elif (kind := python_type(value)) is not None:
            rows.setdefault(kind, {})[row] = value
        elif value is not None:
            lists[row] = (Type.NIL, ())
    typed = {}
    for kind, found in rows.items():
        has = np.zeros(len(values), dtype=bool)
        has[list(found)] = True
        # Rows without a value hold None in a string column and 0 in others: np.zeros with dtype object would give the integer 0.
        array = np.empty(len(values), dtype=dtype_of(kind)) if kind is Type.STRING else np.zeros(len(values), dtype=dtype_of(kind))
        array[list(found)] = list(found.values())
        typed[kind] = Typed(has, array)
    return Column(len(values), typed, lists)


def python_type(value: Any) -> Type | None:
    """The Type of an attribute's Python value, None for one that has none in TraceQL."""
    if isinstance(value, bool):
        return Type.BOOL
    if isinstance(value, int):
        return Type.INT
    if isinstance(value, float):
        return Type.FLOAT
    return Type.STRING if isinstance(value, str) else None


def first_of(preferred: Column, other: Column) -> Column:
    """Each row's value in the preferred column, or in the other where that is nil."""
    free = ~preferred.has()
    typed: dict[Type, Typed] = {}
    for kind in preferred.typed.keys() | other.typed.keys():
        mine, theirs = preferred.typed.get(kind), other.typed.get(kind)
        if mine is None or theirs is None:
            only = mine if theirs is None else theirs
            assert only is not None
            typed[kind] = only if theirs is None else Typed(only.has & free, only.values)
        else:
            typed[kind] = Typed(mine.has | (theirs.has & free), np.where(mine.has, mine.values, theirs.values))
    lists = {row: found for row, found in other.lists.items() if free[row]} | dict(preferred.lists)
    return Column(preferred.size, typed, lists)
