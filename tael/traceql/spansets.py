"""Pipelines over a block: which spans of which traces they keep, in which groups.

A spanset is a subset of one trace's spans. A pipeline starts with all spans of each trace; each stage turns spansets into spansets, and
empty ones are dropped. Structural operators only see spans below a root, as with Tempo's nested sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from tael.traceql.ast import (
    NUMERIC,
    Aggregate,
    Coalesce,
    Expression,
    Filter,
    GroupBy,
    Pipeline,
    ScalarFilter,
    Select,
    SpansetOperation,
    Spansets,
    Stage,
    Static,
    Type,
)
from tael.traceql.columns import Array, Column, Mask, Rows, constant, of_type
from tael.traceql.expressions import compare, evaluate, fields_of, frame_of, matching
from tael.traceql.spans import Block
from tael.traceql.structure import Structure
from tael.traceql.text import show

_REDUCE: dict[str, Callable[[Array], float]] = {"min": np.min, "max": np.max, "sum": np.sum, "avg": np.mean}
EVERYTHING = Filter(Static(Type.BOOL, value=True))
_ONE = Block(np.zeros(1, dtype=np.int64), (b"",), (b"",), (b"",), np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), {})
"""A block with one span and no columns, to evaluate expressions that read no field."""
Relation = Callable[[Structure, Mask], Mask]
_RELATIONS: dict[str, tuple[Relation, Relation]] = {
    ">": (Structure.children_of, Structure.parents_of),
    "<": (Structure.parents_of, Structure.children_of),
    ">>": (Structure.descendants_of, Structure.ancestors_of),
    "<<": (Structure.ancestors_of, Structure.descendants_of),
    "~": (Structure.siblings_of, Structure.siblings_of),
}
"""For ``left op right``: the relation from left's spans to right's, and the reverse."""


@dataclass(frozen=True, slots=True)
class Spanset:
    """Rows of one trace, ascending; ``attributes`` are the values of groups and aggregates, by the text of their expression."""

    trace: int
    rows: Rows
    attributes: tuple[tuple[str, Static | Sequence[Static] | None], ...] = ()


def run(pipeline: Pipeline, block: Block) -> list[Spanset]:
    """The spansets that a pipeline keeps, in the order of their traces."""
    first, *rest = pipeline.stages
    if isinstance(first, Filter | SpansetOperation):
        found = list(_by_trace(block, _mask(first, block, np.ones(block.size, dtype=bool))))
    else:
        found, rest = list(_by_trace(block, np.ones(block.size, dtype=bool))), list(pipeline.stages)
    return _stages(rest, block, found)


def matched(pipeline: Pipeline, block: Block) -> Mask:
    """A mask of the spans that a pipeline keeps."""
    found = np.ones(block.size, dtype=bool)
    if not all(isinstance(stage, Filter | SpansetOperation | Select | ScalarFilter) for stage in pipeline.stages):
        return _mask_of(run(pipeline, block), block)
    for stage in pipeline.stages:
        if isinstance(stage, Filter | SpansetOperation):
            found = _mask(stage, block, found)
        elif isinstance(stage, ScalarFilter):
            found = _mask_compared(stage, block, found)
    return found


def finds_nothing(pipeline: Pipeline) -> bool:
    """Whether a pipeline consists only of filters that are false for any span: ``{ false }``, ``{ 1 = 2 }``."""
    filters: list[Spansets] = []
    for stage in pipeline.stages:
        match stage:
            case Filter():
                filters.append(stage)
            case SpansetOperation(left=left, right=right):
                filters += (left, right)
            case _:
                return False
    return all(
        isinstance(one, Filter) and not any(fields_of(one.expression)) and not matching(one.expression, _ONE).any() for one in filters
    )


def _mask_compared(stage: ScalarFilter, block: Block, within: Mask) -> Mask:
    """The spans of the traces for whose aggregate the comparison holds; each trace is one spanset."""
    if isinstance(stage.left, Aggregate) and stage.left.expression is None and isinstance(stage.right, Static):
        counts = np.bincount(block.trace[within], minlength=len(block.trace_ids))
        held: Mask = (counts > 0) & compare(stage.op, of_type(Type.INT, counts), constant(stage.right, len(counts)))
        return within & held[block.trace]
    return _mask_of(_stage(stage, block, list(_by_trace(block, within))), block)


def _stages(stages: Sequence[Stage], block: Block, spansets: list[Spanset]) -> list[Spanset]:
    for stage in stages:
        spansets = _stage(stage, block, spansets)
    return spansets


def _stage(stage: Stage, block: Block, spansets: list[Spanset]) -> list[Spanset]:
    match stage:
        case Filter() | SpansetOperation():
            return [part for layer in _layers(spansets) for part in _narrowed(stage, block, layer)]
        case GroupBy(expression=expression):
            return _grouped(expression, block, spansets)
        case Coalesce():
            return [_joined(trace, parts) for trace, parts in groupby(spansets, key=lambda spanset: spanset.trace)]
        case ScalarFilter(op=op, left=Aggregate() as aggregate, right=Static() as limit):
            return _compared(op, aggregate, limit, block, spansets)
        case Pipeline(stages=stages):
            return _stages(stages, block, spansets)
        case _:
            return spansets


def _by_trace(block: Block, mask: Mask) -> Iterator[Spanset]:
    rows = np.flatnonzero(mask)
    traces, starts = np.unique(block.trace[rows], return_index=True)
    for trace, part in zip(traces.tolist(), np.split(rows, starts[1:]), strict=False):
        yield Spanset(trace, part)


def _layers(spansets: list[Spanset]) -> Iterator[list[Spanset]]:
    """The spansets in batches with at most one of each trace, so that one mask over the block can hold a whole batch."""
    left = spansets
    while left:
        layer: dict[int, Spanset] = {}
        rest = [spanset for spanset in left if layer.setdefault(spanset.trace, spanset) is not spanset]
        yield list(layer.values())
        left = rest


def _narrowed(stage: Filter | SpansetOperation, block: Block, layer: list[Spanset]) -> Iterator[Spanset]:
    mask = _mask(stage, block, _mask_of(layer, block))
    for spanset in layer:
        rows = spanset.rows[mask[spanset.rows]]
        if len(rows):
            yield replace(spanset, rows=rows)


def _mask_of(spansets: Iterable[Spanset], block: Block) -> Mask:
    found = np.zeros(block.size, dtype=bool)
    for spanset in spansets:
        found[spanset.rows] = True
    return found


def _mask(stage: Spansets, block: Block, within: Mask) -> Mask:
    """The spans of ``within`` that an expression over spansets keeps, for all traces at once."""
    match stage:
        case Filter(expression=expression):
            return within & (block.known[expression] if expression in block.known else matching(expression, block))
        case Pipeline(stages=stages):
            return _mask_of(_stages(stages, block, list(_by_trace(block, within))), block)
        case SpansetOperation(op=op, left=left, right=right):
            found = _related(op, _mask(left, block, within), _mask(right, block, within), block)
            # Tempo looks at an orphan only where something is asked of it: "!> { }" does not find it.
            return found & block.structure.in_tree if op.startswith("!") and right == EVERYTHING else found


def _related(op: str, left: Mask, right: Mask, block: Block) -> Mask:
    if op == "||":
        return left | right
    if op == "&&":
        both = _has_one(block, left) & _has_one(block, right)
        # Between spansets, "&&" requires that both match in the trace, and keeps the spans of either.
        return (left | right) & both[block.trace]
    tree = block.structure
    forward, back = _RELATIONS[op.lstrip("!&")]
    # Tempo's nested-set numbers of orphans are zero: they are related to no span, and so found by each "not".
    if op.startswith("!"):
        return right & ~(forward(tree, left & tree.in_tree) & tree.in_tree)
    left, right = left & tree.in_tree, right & tree.in_tree
    found = right & forward(tree, left)
    return found | (left & back(tree, right)) if op.startswith("&") else found


def _has_one(block: Block, mask: Mask) -> Mask:
    found = np.zeros(len(block.trace_ids), dtype=bool)
    found[block.trace[mask]] = True
    return found


def _grouped(expression: Expression, block: Block, spansets: list[Spanset]) -> list[Spanset]:
    column, name = evaluate(expression, frame_of(expression, block)), f"by({show(expression)})"
    found: list[Spanset] = []
    for spanset in spansets:
        groups: dict[Static | tuple[Static, ...] | None, list[int]] = {}
        for row in spanset.rows.tolist():
            kind, elements = column.lists.get(row, (Type.NIL, ()))
            listed = tuple(Static(kind, value) for value in elements)
            groups.setdefault(listed or column.at(row), []).append(row)
        found += [
            Spanset(spanset.trace, np.array(rows, dtype=np.int64), (*spanset.attributes, (name, value))) for value, rows in groups.items()
        ]
    return found


def _joined(trace: int, parts: Iterable[Spanset]) -> Spanset:
    # unique also sorts: the rows of groups interleave, and a spanset's rows must be ascending.
    return Spanset(trace, np.unique(np.concatenate([part.rows for part in parts])))


def _compared(op: str, aggregate: Aggregate, limit: Static, block: Block, spansets: list[Spanset]) -> list[Spanset]:
    column = None if aggregate.expression is None else evaluate(aggregate.expression, frame_of(aggregate.expression, block))
    name, found = show(aggregate), []
    for spanset in spansets:
        value = Static(Type.INT, len(spanset.rows)) if column is None else _aggregated(aggregate.op, column.take(spanset.rows))
        if value is not None and _holds(op, value, limit):
            found.append(replace(spanset, attributes=(*spanset.attributes, (name, value))))
    return found


def _aggregated(op: str, column: Column) -> Static | None:
    """The aggregate of a column, of the type of its numbers; an average of integers is a float. None without numbers."""
    numbers = column.numbers()
    if not numbers.has.any():
        return None
    kinds = {kind for kind in NUMERIC & column.typed.keys() if column.typed[kind].has.any()}
    kind = kinds.pop() if len(kinds) == 1 else Type.FLOAT
    if kind is Type.FLOAT or (op == "avg" and kind is Type.INT):
        values = numbers.values[numbers.has]
        return Static(Type.FLOAT, float(_REDUCE[op](values)))
    whole = column.typed[kind].values[column.typed[kind].has]
    return Static(kind, int(_REDUCE[op](whole)))


def _holds(op: str, value: Static, limit: Static) -> bool:
    left, right = (of_type(static.type, np.array([static.value])) for static in (value, limit))
    return bool(compare(op, left, right)[0])
