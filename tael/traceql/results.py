"""A search's answer: the traces of which a pipeline keeps any span, with the spans to show. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from tael.traceql.ast import STATUSES, Field, Intrinsic, Named, Pipeline, Static, Type
from tael.traceql.shown import Value, shown
from tael.traceql.spans import SERVICE, Block
from tael.traceql.spansets import run


@dataclass(frozen=True, slots=True)
class FoundSpan:
    """A span of a spanset, and the fields of the query that it has."""

    span_id: bytes
    start_ns: int
    duration_ns: int
    fields: Mapping[Named, Value]


@dataclass(frozen=True, slots=True)
class FoundSpanset:
    """``matched`` spans, of which ``spans`` are the first; ``attributes`` are the values of groups and aggregates, None for nil."""

    matched: int
    spans: Sequence[FoundSpan]
    attributes: Sequence[tuple[str, Static | Sequence[Static] | None]]


@dataclass(frozen=True, slots=True)
class FoundTrace:
    """A trace of a search's answer. Root service and name are empty where no root was received or the root has none.

    ``services`` counts the trace's spans, and the failed ones among them, by service.
    """

    trace_id: bytes
    root_service: str
    root_name: str
    start_ns: int
    duration_ns: int
    services: Mapping[str, tuple[int, int]]
    spansets: Sequence[FoundSpanset]


def newest_first(trace: FoundTrace) -> tuple[int, bytes]:
    """The sort key of an answer: newest first, then by id."""
    return (-trace.start_ns, trace.trace_id)


def find(pipeline: Pipeline, block: Block, start_ns: int, end_ns: int, max_spans: int) -> list[FoundTrace]:
    """The traces of a block that the pipeline finds and that overlap the range (both ends included), newest first.

    Each spanset shows at most ``max_spans`` spans, 0 for all.
    """
    first, last = block.trace_bounds_ns
    spansets = [one for one in run(pipeline, block) if first[one.trace] <= end_ns and last[one.trace] >= start_ns]
    parts = [one.rows[:max_spans] if max_spans else one.rows for one in spansets]
    # The fields of all spans at once, because each column is evaluated for the whole block.
    fields = iter(shown(pipeline, block, np.concatenate(parts))) if parts else iter(())
    found = [
        (one.trace, FoundSpanset(len(one.rows), [_span(block, row, next(fields)) for row in rows.tolist()], one.attributes))
        for one, rows in zip(spansets, parts, strict=True)
    ]
    traces = groupby(found, key=lambda pair: pair[0])
    return sorted((_trace(block, trace, [one for _, one in pairs]) for trace, pairs in traces), key=newest_first)


def _span(block: Block, row: int, fields: Mapping[Named, Value]) -> FoundSpan:
    return FoundSpan(block.span_ids[row], int(block.start_ns[row]), int(block.duration_ns[row]), fields)


def _trace(block: Block, trace: int, spansets: Sequence[FoundSpanset]) -> FoundTrace:
    first, last = (int(bound[trace]) for bound in block.trace_bounds_ns)
    root = int(block.root_rows[trace])
    name, service = (_text(block, named, root) for named in (Field(Intrinsic.NAME), SERVICE))
    return FoundTrace(block.trace_ids[trace], service, name, first, last - first, _services(block, trace), spansets)


def _services(block: Block, trace: int) -> dict[str, tuple[int, int]]:
    own = slice(int(block.first_rows[trace]), int(np.searchsorted(block.trace, trace, side="right")))
    services = block.column(SERVICE).typed[Type.STRING].values[own]
    failed = block.column(Field(Intrinsic.STATUS)).typed[Type.STATUS].values[own] == STATUSES["error"]
    spans, errors = Counter(services.tolist()), Counter(services[failed].tolist())
    return {service: (count, errors[service]) for service, count in spans.items()}


def _text(block: Block, named: Named, row: int) -> str:
    value = block.column(named).at(row) if row >= 0 else None
    return "" if value is None else str(value.value)
