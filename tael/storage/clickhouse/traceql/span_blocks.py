"""Reads spans of one shard as blocks, each whatever its trace."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from tael.errors import TooLarge
from tael.model import predicate as p
from tael.model.time import TimeRange
from tael.storage.clickhouse import groups, lacking
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.traceql import statements
from tael.storage.clickhouse.traceql.blocks import block
from tael.storage.clickhouse.traceql.finding import any_list
from tael.storage.clickhouse.traceql.traces import LIMITS, columns_of
from tael.traceql.ast import Pipeline, Query
from tael.traceql.needs import fields, listed, span_predicate
from tael.traceql.spans import Block


class SpanBlocks:
    """Reads spans. Every method raises the errors of the client."""

    def __init__(self, clickhouse: ClickHouse, source: Source) -> None:
        self._clickhouse = clickhouse
        self._source = source

    async def lists(self, tenant: str, pipeline: Pipeline, time_range: TimeRange) -> Sequence[p.Listed]:
        """For each compared attribute, the predicate that it is a list. Empty if no span of the range has such a list, so that counting
        need not test every span for it.
        """
        lists = listed(pipeline)
        if not lists:
            return []
        statement = any_list(self._source, tenant, lists, time_range)
        return lists if await lacking.asked(self._clickhouse, statement, groups.INSTEAD, LIMITS) else []

    async def reading(self, tenant: str, query: Query, also: p.Predicate, time_range: TimeRange) -> AsyncIterator[Block]:
        """The spans that may match and satisfy ``also``; the range is halved while they are too many for one answer."""
        alone = span_predicate(query.pipeline)
        assert alone is not None
        wanted, named = p.all_of([alone.predicate, also]), list(fields(query))
        windows = [time_range]
        while windows:
            window = windows.pop()
            statement, selected = statements.read_spans(self._source, tenant, wanted, window, named)
            try:
                columns = await columns_of(self._clickhouse, statement)
            except TooLarge:
                middle = (window.start_ns + window.end_ns) // 2
                if middle == window.start_ns:
                    raise
                windows += [TimeRange(window.start_ns, middle), TimeRange(middle, window.end_ns)]
                continue
            yield block(columns, selected)
