"""The values that a search's answer shows with a span: those of the fields that the query names.

A field that is compared with a literal is shown where one of its comparisons holds (of a list, the elements for which it does). An
attribute that is compared with nil is shown as ``nil`` where it is missing. A field that is selected, grouped by, aggregated or used in
arithmetic is shown wherever it has a value. A field of events or links is shown from the last event or link that has it, among those that
match a filter unless it is selected. Fields that every span of an answer has anyway (id, duration, trace) are not repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tael.traceql.ast import (
    Aggregate,
    Attribute,
    Binary,
    Coalesce,
    Exists,
    Expression,
    Field,
    Filter,
    GroupBy,
    Intrinsic,
    Named,
    Pipeline,
    Scalar,
    Select,
    SpansetOperation,
    Stage,
    Static,
    Type,
    Unary,
    leaves_of,
)
from tael.traceql.columns import Column, Mask, Rows, constant, of_values
from tael.traceql.expressions import COMPARISONS, compare, evaluate, fields_of, frame_of, is_event, is_link
from tael.traceql.spans import Block, scoped

_UNSHOWN = frozenset(
    {
        *(Intrinsic.DURATION, Intrinsic.TRACE_DURATION, Intrinsic.TRACE_ID, Intrinsic.SPAN_ID),
        *(Intrinsic.ROOT_NAME, Intrinsic.ROOT_SERVICE),
    }
)
Value = Static | list[Static]
NIL: Final = "nil"
"""The text shown for an attribute that was compared with nil, as in Tempo."""


@dataclass(frozen=True, slots=True)
class Use:
    """One mention of a field: ``field op literal``, ``field = nil`` with ``op`` NIL, or ``op`` empty where any value is shown.

    A ``selected`` field is shown whether or not a filter matches its event or link.
    """

    field: Named
    op: str = ""
    literal: Static | None = None
    selected: bool = False


def uses(pipeline: Pipeline) -> list[Use]:
    """Every mention of a field that an answer shows; a name without a scope counts as the span's and as the resource's field."""
    found = (replace(use, field=named) for stage in pipeline.stages for use in _of_stage(stage) for named in scoped(use.field))
    return [use for use in found if not (isinstance(use.field, Field) and use.field.intrinsic in _UNSHOWN)]


def shown(pipeline: Pipeline, block: Block, rows: Rows) -> list[dict[Named, Value]]:
    """The fields to show for each of these rows, with their values."""
    found: list[dict[Named, Value]] = [{} for _ in rows]
    by_field: dict[Named, list[Use]] = {}
    for use in uses(pipeline):
        by_field.setdefault(use.field, []).append(use)
    elements = _matching_elements(pipeline, block)
    for named, mentions in by_field.items():
        column = _column(named, block, rows, elements, mentions)
        for at, value in _values(column, mentions):
            found[at][named] = value
    return found


def _of_stage(stage: Stage | Scalar) -> Iterator[Use]:
    for leaf in leaves_of(stage):
        match leaf:
            case Filter(expression=expression):
                yield from _of_expression(expression)
            case GroupBy(expression=expression) | Aggregate(expression=expression):
                yield from (Use(named) for named in fields_of(expression))
            case Select(fields=fields):
                yield from (Use(named, selected=True) for named in fields)
            case Coalesce() | Static():
                pass


def _of_expression(expression: Expression) -> Iterator[Use]:
    match expression:
        case Binary(op="&&" | "||", left=left, right=right):
            yield from _of_expression(left)
            yield from _of_expression(right)
        case Binary(op=op, left=left, right=Static() as literal) if op in COMPARISONS and not isinstance(
            left, Static | Unary | Binary | Exists
        ):
            yield Use(left, op, literal)
        case Exists(operand=Attribute() as named, wanted=False):
            yield Use(named, NIL)
        case _:
            yield from (Use(named) for named in fields_of(expression))


def _filters(stage: Stage | Scalar) -> Iterator[Filter]:
    match stage:
        case Filter():
            yield stage
        case SpansetOperation(left=left, right=right):
            yield from _filters(left)
            yield from _filters(right)
        case Pipeline(stages=stages):
            for inner in stages:
                yield from _filters(inner)
        case _:
            return


def _matching_elements(pipeline: Pipeline, block: Block) -> Mapping[bool, Mask]:
    """By ``is_event``, where filters name them: the events (or links) for which one of these filters holds."""
    found: dict[bool, Mask] = {}
    for filter_ in _filters(pipeline):
        frame = frame_of(filter_.expression, block)
        if frame.rows is None:
            continue
        held = np.flatnonzero(evaluate(filter_.expression, frame).true())
        for events, elements, known in ((True, frame.events, block.events), (False, frame.links, block.links)):
            if elements is not None:
                matched = elements[held]
                found.setdefault(events, np.zeros(len(known.owner), dtype=bool))[matched[matched >= 0]] = True
    return found


def _column(named: Named, block: Block, rows: Rows, matching: Mapping[bool, Mask], mentions: Sequence[Use]) -> Column:
    """A field's value in each of these rows; of an event's or link's field, that of the last eligible event or link."""
    if not (is_event(named) or is_link(named)):
        return block.column(named).take(rows)
    elements = block.events if is_event(named) else block.links
    column, there = elements.column(named), matching.get(is_event(named))
    eligible = _holds(column, mentions) if there is None else _holds(column, mentions) & there
    if any(use.selected for use in mentions):
        eligible |= column.has()
    lasting = np.flatnonzero(eligible)
    # A later pair of one owner replaces an earlier one, so this holds each span's last element.
    last = dict(zip(elements.owner[lasting].tolist(), lasting.tolist(), strict=True))
    return of_statics([column.at(last[row]) if row in last else None for row in rows.tolist()])


def of_statics(values: Sequence[Static | None]) -> Column:
    """A column of literals of one type, the type of a field of events or links; durations stay durations."""
    kinds = {value.type for value in values if value is not None}
    plain = of_values([None if value is None else value.value for value in values])
    if len(kinds) == 1 and len(plain.typed) == 1:
        return Column(plain.size, {kinds.pop(): next(iter(plain.typed.values()))}, plain.lists)
    return plain


def _holds(column: Column, mentions: Sequence[Use]) -> Mask:
    """A mask of the values to be shown for any of the mentions."""
    if any(not use.op for use in mentions):
        return column.has()
    holds = np.zeros(column.size, dtype=bool)
    for use in mentions:
        if use.literal is not None:
            holds |= compare(use.op, column, constant(use.literal, column.size))
    return holds


def _values(column: Column, mentions: Sequence[Use]) -> Iterator[tuple[int, Value]]:
    always, holds = any(not use.op for use in mentions), _holds(column, mentions)
    for at in np.flatnonzero(holds).tolist():
        if at in column.lists:
            kind, values = column.lists[at]
            kept = [Static(kind, value) for value in values if always or _element_holds(Static(kind, value), mentions)]
            if kept:
                yield at, kept[0] if len(kept) == 1 and not always else kept
        elif (value := column.at(at)) is not None:
            yield at, value
    if any(use.op == NIL for use in mentions):
        yield from ((at, Static(Type.STRING, NIL)) for at in np.flatnonzero(~column.has()).tolist())


def _element_holds(value: Static, mentions: Iterable[Use]) -> bool:
    one = constant(value, 1)
    held = [
        (use.op in ("!=", "!~"), bool(compare(use.op, one, constant(use.literal, 1))[0])) for use in mentions if use.literal is not None
    ]
    unlike = [holds for negated, holds in held if negated]
    return any(holds for negated, holds in held if not negated) or (bool(unlike) and all(unlike))
