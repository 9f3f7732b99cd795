"""Blocks of spans for TraceQL's evaluation, and a reader over spans in memory that evaluates as a shard does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from tael.model.attributes import AttributeValue
from tael.model.predicate import Predicate
from tael.model.span import Event, Link, Span
from tael.model.time import TimeRange
from tael.otlp.matches import span_test
from tael.storage.api import Answer
from tael.traceql import comparison
from tael.traceql.ast import Attribute, Compare, Field, Intrinsic, MetricsAggregate, Named, Query, Scope, Static, Type
from tael.traceql.columns import Column, of_type, of_values
from tael.traceql.metrics import Accumulator, Grid, Labels, Sums
from tael.traceql.needs import fields
from tael.traceql.results import FoundTrace, find
from tael.traceql.spans import SERVICE, Block, Elements
from tael.traceql.spansets import matched

_SHOWN: tuple[Named, ...] = (Field(Intrinsic.NAME), SERVICE, Field(Intrinsic.STATUS))
_TYPES = {Intrinsic.STATUS: Type.STATUS, Intrinsic.KIND: Type.KIND, Intrinsic.EVENT_TIME_SINCE_START: Type.DURATION}


def block_of(spans: Sequence[Span], named: Sequence[Named]) -> Block:
    """The block with these fields, ordered by trace id and start."""
    ordered = sorted(spans, key=lambda span: (span.trace_id, span.start_ns, span.span_id))
    trace_ids = sorted({span.trace_id for span in ordered})
    numbers = {trace_id: number for number, trace_id in enumerate(trace_ids)}
    events = [
        (row, {**_event(span, event), **_keyed(Scope.EVENT, event.attributes)}) for row, span in enumerate(ordered) for event in span.events
    ]
    links = [(row, {**_link(link), **_keyed(Scope.LINK, link.attributes)}) for row, span in enumerate(ordered) for link in span.links]
    wanted = dict.fromkeys((*_SHOWN, *named))
    return Block(
        np.array([numbers[span.trace_id] for span in ordered], dtype=np.int64),
        trace_ids,
        [span.span_id for span in ordered],
        [span.parent_span_id for span in ordered],
        np.array([span.start_ns for span in ordered], dtype=np.int64),
        np.array([span.duration_ns for span in ordered], dtype=np.int64),
        _columns([_own(span) for span in ordered], wanted),
        Elements(np.array([row for row, _ in events], dtype=np.int64), _columns([values for _, values in events], wanted)),
        Elements(np.array([row for row, _ in links], dtype=np.int64), _columns([values for _, values in links], wanted)),
    )


def _columns(rows: Sequence[Mapping[Named, AttributeValue]], wanted: Iterable[Named]) -> dict[Named, Column]:
    found: dict[Named, Column] = {}
    for named in wanted:
        if any(named in row for row in rows):
            kind = _TYPES.get(named.intrinsic) if isinstance(named, Field) else None
            values = [row.get(named) for row in rows]
            found[named] = of_values(values) if kind is None else of_type(kind, values)
    return found


def _keyed(scope: Scope, attributes: Mapping[str, AttributeValue]) -> dict[Named, AttributeValue]:
    """The attributes as a block has them: one without a value exists, but equals nothing."""
    return {Attribute(scope, key): [] if value is None else value for key, value in attributes.items()}


def _own(span: Span) -> dict[Named, AttributeValue]:
    intrinsics: dict[Intrinsic, AttributeValue] = {
        Intrinsic.NAME: span.name,
        Intrinsic.STATUS: span.status_code,
        Intrinsic.STATUS_MESSAGE: span.status_message,
        Intrinsic.KIND: span.kind,
        Intrinsic.INSTRUMENTATION_NAME: span.scope.name,
        Intrinsic.INSTRUMENTATION_VERSION: span.scope.version,
    }
    return {
        SERVICE: "",
        **_keyed(Scope.SPAN, span.attributes),
        **_keyed(Scope.RESOURCE, span.resource.attributes),
        **_keyed(Scope.INSTRUMENTATION, span.scope.attributes),
        **{Field(intrinsic): value for intrinsic, value in intrinsics.items()},
    }


def _event(span: Span, event: Event) -> dict[Named, AttributeValue]:
    return {Field(Intrinsic.EVENT_NAME): event.name, Field(Intrinsic.EVENT_TIME_SINCE_START): event.time_ns - span.start_ns}


def _link(link: Link) -> dict[Named, AttributeValue]:
    return {Field(Intrinsic.LINK_TRACE_ID): link.trace_id.hex().lstrip("0"), Field(Intrinsic.LINK_SPAN_ID): link.span_id.hex()}


class MemorySpansets:
    """A SpansetReader that evaluates everything over whole traces, without push-down."""

    def __init__(self, spans: Sequence[Span] = ()) -> None:
        self.spans = spans

    async def find_traces(
        self,
        tenant: str,
        query: Query,
        time_range: TimeRange,
        limit: int,
        max_spans: int,
        *,
        on_part: Callable[[list[FoundTrace]], None] | None = None,
    ) -> Answer[list[FoundTrace]]:
        """See SpansetReader."""
        block = block_of(self.spans, list(fields(query)))
        return Answer(find(query.pipeline, block, time_range.start_ns, time_range.end_ns - 1, max_spans)[:limit])

    async def sum_spans(
        self, tenant: str, query: Query, function: MetricsAggregate, grid: Grid, max_series: int, exemplars: int
    ) -> Answer[dict[Labels, Sums]]:
        """See SpansetReader."""
        block, into = block_of(self.spans, list(fields(query))), Accumulator(function, grid, max_series=max_series, exemplars=exemplars)
        into.add(block, matched(query.pipeline, block))
        return Answer(into.groups)

    async def compare_spans(self, tenant: str, query: Query, compare: Compare, grid: Grid) -> Answer[comparison.Counts]:
        """See SpansetReader."""
        raise AssertionError("tests of compare() run on hot nodes")

    async def tag_names(
        self, tenant: str, predicate: Predicate, time_range: TimeRange, scopes: Sequence[Scope], limit: int
    ) -> Answer[dict[Scope, set[str]]]:
        """See SpansetReader."""
        found = [span for span in self.spans if span_test(predicate)(span)]
        return Answer({scope: {key for span in found for table in _tables(scope, span) for key in table} for scope in scopes})

    async def tag_values(self, tenant: str, predicate: Predicate, time_range: TimeRange, named: Named, limit: int) -> Answer[set[Static]]:
        """See SpansetReader."""
        found = [span for span in self.spans if span_test(predicate)(span)]
        if named in (Field(Intrinsic.ROOT_NAME), Field(Intrinsic.ROOT_SERVICE)):
            traces = {span.trace_id for span in found}
            block = block_of([span for span in self.spans if span.trace_id in traces], [Field(Intrinsic.NAME), SERVICE])
            column = block.column(named).take(block.root_rows[block.root_rows >= 0])
        else:
            column = block_of(found, [named]).column(named)
        elements = {Static(kind, value) for kind, values in column.lists.values() for value in values}
        return Answer(elements | {value for row in range(column.size) if (value := column.at(row)) is not None})


def _tables(scope: Scope, span: Span) -> list[Mapping[str, AttributeValue]]:
    return {
        Scope.SPAN: [span.attributes],
        Scope.RESOURCE: [span.resource.attributes],
        Scope.INSTRUMENTATION: [span.scope.attributes],
        Scope.EVENT: [event.attributes for event in span.events],
        Scope.LINK: [link.attributes for link in span.links],
    }[scope]
