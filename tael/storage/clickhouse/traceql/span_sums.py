"""The sums of a metrics function over the spans of one shard: by statements where these can tell, otherwise over columns."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from tael.errors import TooLarge
from tael.model import predicate as p
from tael.storage.clickhouse.client import Limits
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.predicate import is_narrow
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.traceql import statements
from tael.storage.clickhouse.traceql.counted import CountedTraces
from tael.storage.clickhouse.traceql.span_blocks import SpanBlocks
from tael.storage.clickhouse.traceql.statements import range_of
from tael.storage.clickhouse.traceql.sums import sums_by_labels
from tael.storage.clickhouse.traceql.traces import AT_ONCE, LIMITS, TraceBlocks
from tael.traceql.ast import MetricsAggregate, Query
from tael.traceql.counted import counted
from tael.traceql.metrics import Accumulator, Grid, Labels, Sums
from tael.traceql.needs import span_predicate
from tael.traceql.spans import Block
from tael.traceql.spansets import matched


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A question, and what was added up for it so far."""

    tenant: str
    query: Query
    function: MetricsAggregate
    grid: Grid
    max_series: int
    exemplars: int
    into: Accumulator


class SpanSums:
    """Adds up spans. Raises the errors of the client, and TooLarge for what is beyond a limit."""

    def __init__(self, source: Source, spans: SpanBlocks, traces: TraceBlocks) -> None:
        self._source = source
        self._spans = spans
        self._traces = traces

    async def of(
        self, tenant: str, query: Query, function: MetricsAggregate, grid: Grid, max_series: int, exemplars: int
    ) -> dict[Labels, Sums]:
        """See SpansetReader.sum_spans."""
        into = Accumulator(function, grid, max_series=max_series, exemplars=exemplars)
        wanted = _Wanted(tenant, query, function, grid, max_series, exemplars, into)
        if span_predicate(query.pipeline) is not None:
            await self._add_single(wanted)
        else:
            rest = await self._add_counted(wanted)
            if rest is None or rest:
                async for spans, mask in self._traces.matching(tenant, query, range_of(grid), among=rest or ()):
                    await asyncio.to_thread(into.add, spans, mask)
        return into.groups

    async def _add_single(self, wanted: _Wanted) -> None:
        """The spans of a query that each decide by themselves."""
        lists = await self._spans.lists(wanted.tenant, wanted.query.pipeline, range_of(wanted.grid))
        alone, statement = span_predicate(wanted.query.pipeline, lists=False), None
        if alone is not None and alone.exact:
            # Lists are left out here, so no span counts twice.
            predicate = p.all_of([alone.predicate, *(p.Not(is_list) for is_list in lists)])
            statement = statements.sum_spans(
                self._source, wanted.tenant, predicate, wanted.function, wanted.grid, exemplars=bool(wanted.exemplars)
            )
        if statement is not None:
            narrow = alone is not None and not lists and is_narrow(alone.predicate)
            await self._add_sums(wanted, statement, AT_ONCE if narrow else LIMITS)
        if statement is None or lists:
            also = p.Or(tuple(lists)) if statement is not None else p.EVERYTHING
            async for spans in self._spans.reading(wanted.tenant, wanted.query, also, range_of(wanted.grid)):
                await asyncio.to_thread(_add, spans, wanted.query, wanted.into)

    async def _add_counted(self, wanted: _Wanted) -> Sequence[bytes] | None:
        """What can be counted of a query with limits by statements. Returns the traces that are left; None for all of them."""
        found, time_range = counted(wanted.query.pipeline), range_of(wanted.grid)
        around = statements.widened(time_range)
        if found is None or not self._source.in_table("spans", around):
            return None
        traces = CountedTraces(found, time_range)
        sum_spans = partial(
            statements.sum_spans, self._source, wanted.tenant, found.kept, wanted.function, wanted.grid, exemplars=bool(wanted.exemplars)
        )
        if sum_spans() is None or await self._spans.lists(wanted.tenant, wanted.query.pipeline, around):
            return None
        try:
            apart = await self._traces.apart(wanted.tenant, traces)
            if apart is not None:
                statement = sum_spans(of_traces=partial(replace(traces, without=apart).condition, self._source, wanted.tenant))
                assert statement is not None
                await self._add_sums(wanted, statement, LIMITS)
        except TooLarge:
            # A statement over all traces of the range cannot be divided, as their evaluation is.
            return None
        return apart

    async def _add_sums(self, wanted: _Wanted, statement: Statement, limits: Limits) -> None:
        columns = await self._traces.columns(statement, limits=limits)
        # One group more than there may be series says that some are left out.
        most = wanted.max_series + 1
        found = await asyncio.to_thread(sums_by_labels, columns, wanted.function, wanted.grid, most=most, exemplars=wanted.exemplars)
        for labels, sums in found:
            wanted.into.add_sums(labels, sums)


def _add(spans: Block, query: Query, into: Accumulator) -> None:
    if spans.size:
        into.add(spans, matched(query.pipeline, spans))
