"""The spans over which a query is evaluated: rows of one or more whole traces, with only the columns that the query names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from tael.traceql.ast import Attribute, Expression, Field, Intrinsic, Named, Scope, Type
from tael.traceql.columns import Array, Column, Mask, Rows, first_of, of_type
from tael.traceql.structure import ROOT, Structure, structure_of


@dataclass(frozen=True)
class Elements:
    """The events or the links of a block's spans: ``owner`` is the row of each one's span, ascending."""

    owner: Rows = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    columns: Mapping[Named, Column] = field(default_factory=dict)

    def column(self, named: Named) -> Column:
        """One value an element."""
        return self.columns.get(named, Column(len(self.owner)))


@dataclass(frozen=True)
class Block:
    """Spans of whole traces; the rows of a trace are consecutive, in the order of their start.

    ``trace[i]`` is the number of row i's trace, ascending from 0; ``columns`` holds what the query names and what this class derives from:
    NAME, SERVICE, STATUS, and the bounds of each span in nanoseconds since the epoch. ``known`` has the spans of filters that were
    evaluated where they are stored.
    """

    trace: Rows
    trace_ids: Sequence[bytes]
    span_ids: Sequence[bytes]
    parent_ids: Sequence[bytes]
    start_ns: Rows
    duration_ns: Rows
    columns: Mapping[Named, Column]
    events: Elements = field(default_factory=Elements)
    links: Elements = field(default_factory=Elements)
    known: Mapping[Expression, Mask] = field(default_factory=dict)
    _derived_columns: dict[Named, Column] = field(default_factory=dict, repr=False, compare=False)

    @property
    def size(self) -> int:
        """The number of spans."""
        return len(self.trace)

    @cached_property
    def structure(self) -> Structure:
        """The trees of the traces."""
        return structure_of(self.trace, self.span_ids, self.parent_ids)

    @cached_property
    def first_rows(self) -> Rows:
        """The first row of each trace."""
        return np.searchsorted(self.trace, np.arange(len(self.trace_ids)))

    @cached_property
    def root_rows(self) -> Rows:
        """The row of each trace's root: the last span without a parent, as Tempo chooses it; -1 where there is none."""
        roots = np.flatnonzero(self.structure.parent == ROOT)
        found = np.full(len(self.trace_ids), -1, dtype=np.int64)
        found[self.trace[roots]] = roots
        return found

    @cached_property
    def trace_bounds_ns(self) -> tuple[Rows, Rows]:
        """First start and last end of each trace."""
        if not self.size:
            return self.start_ns, self.start_ns
        # reduceat needs the rows of a trace side by side and no trace without rows, both of which a block promises.
        return np.minimum.reduceat(self.start_ns, self.first_rows), np.maximum.reduceat(self.start_ns + self.duration_ns, self.first_rows)

    def column(self, named: Named) -> Column:
        """One value a span of an attribute or intrinsic; events' and links' are in ``events`` and ``links``."""
        if named in self.columns:
            return self.columns[named]
        if named not in self._derived_columns:
            self._derived_columns[named] = self._derived(named)
        return self._derived_columns[named]

    def _derived(self, named: Named) -> Column:
        """A column derived from others, or nil."""
        if isinstance(named, Field):
            return self._of_intrinsic(named.intrinsic)
        if named.scope is Scope.ANY:
            return first_of(self.column(Attribute(Scope.SPAN, named.name)), self.column(Attribute(Scope.RESOURCE, named.name)))
        return Column(self.size)

    def _of_intrinsic(self, intrinsic: Intrinsic) -> Column:
        """An intrinsic derived from the ids and times of the spans."""
        if intrinsic in _IDS:
            return of_type(Type.STRING, self._ids(intrinsic))
        match intrinsic:
            case Intrinsic.DURATION:
                return of_type(Type.DURATION, self.duration_ns)
            case Intrinsic.TRACE_DURATION:
                first, last = self.trace_bounds_ns
                return of_type(Type.DURATION, (last - first)[self.trace])
            case Intrinsic.ROOT_NAME:
                return self._of_root(Field(Intrinsic.NAME))
            case Intrinsic.ROOT_SERVICE:
                return self._of_root(SERVICE)
            case _:
                return self._of_structure(intrinsic)

    def _ids(self, intrinsic: Intrinsic) -> Array:
        if intrinsic is Intrinsic.TRACE_ID:
            return _texts([short_id(id_) for id_ in self.trace_ids])[self.trace]
        return _texts([id_.hex() for id_ in (self.span_ids if intrinsic is Intrinsic.SPAN_ID else self.parent_ids)])

    def _of_structure(self, intrinsic: Intrinsic) -> Column:
        if intrinsic is Intrinsic.CHILD_COUNT:
            return of_type(Type.INT, self.structure.child_count)
        order = (Intrinsic.NESTED_SET_LEFT, Intrinsic.NESTED_SET_RIGHT, Intrinsic.NESTED_SET_PARENT)
        return of_type(Type.INT, self.structure.numbers[order.index(intrinsic)]) if intrinsic in order else Column(self.size)

    def _of_root(self, named: Named) -> Column:
        """The value of the root of each span's trace; the empty string where no root was received."""
        values = self.column(named).typed.get(Type.STRING)
        texts = _texts(["" if values is None or row < 0 else str(values.values[row]) for row in self.root_rows.tolist()])
        return of_type(Type.STRING, texts[self.trace])


_IDS = (Intrinsic.TRACE_ID, Intrinsic.SPAN_ID, Intrinsic.PARENT_ID)


def short_id(trace_id: bytes) -> str:
    """A trace id as in Tempo's search answers: hex without leading zeros."""
    return trace_id.hex().lstrip("0")


SERVICE = Attribute(Scope.RESOURCE, "service.name")


def scoped(named: Named) -> tuple[Named, ...]:
    """The fields that a name may refer to: without a scope, the span's or the resource's."""
    if isinstance(named, Attribute) and named.scope is Scope.ANY:
        return (Attribute(Scope.SPAN, named.name), Attribute(Scope.RESOURCE, named.name))
    return (named,)


def _texts(values: list[str]) -> Array:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found
