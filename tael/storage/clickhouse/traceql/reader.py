"""SpansetReader of one shard: a trace is on one shard, so a query is evaluated where its traces are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Any, Final

import numpy as np

from tael.model import predicate as p
from tael.model.time import NS_PER_SECOND, TimeRange
from tael.storage import work
from tael.storage.api import Answer
from tael.storage.clickhouse.attribute_keys import ClickHouseAttributeKeys
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.columns import SPAN_COLUMNS
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.flatten import UNKNOWN_SERVICE
from tael.storage.clickhouse.narrowing import Newest
from tael.storage.clickhouse.predicate import condition
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.source import HotTables, Source
from tael.storage.clickhouse.traceql import statements
from tael.storage.clickhouse.traceql.blocks import distinct_values
from tael.storage.clickhouse.traceql.compared import Compared, among, compared
from tael.storage.clickhouse.traceql.counting import MANY, ValueCounts
from tael.storage.clickhouse.traceql.finding import Found
from tael.storage.clickhouse.traceql.span_blocks import SpanBlocks
from tael.storage.clickhouse.traceql.span_sums import SpanSums
from tael.storage.clickhouse.traceql.statements import range_of, widened
from tael.storage.clickhouse.traceql.suggest import Suggestions
from tael.storage.clickhouse.traceql.traces import LIMITS, SAMPLE_NS, TraceBlocks
from tael.traceql import comparison
from tael.traceql.ast import Compare, Field, Intrinsic, MetricsAggregate, Named, Pipeline, Query, ScalarFilter, Scope, Static, Type
from tael.traceql.metrics import Grid, Labels, Sums
from tael.traceql.needs import AllOf, HasSpan, TraceTest, fields, span_predicate, trace_test
from tael.traceql.pinned import pinned
from tael.traceql.results import FoundTrace, find, newest_first
from tael.traceql.spans import SERVICE
from tael.traceql.spansets import matched

_FIRST_WINDOW_NS: Final = 120 * NS_PER_SECOND
_SHORT_WINDOW_NS: Final = 30 * NS_PER_SECOND
_FIRST_PIECE_NS: Final = 10 * NS_PER_SECOND
"""The last part of the first window, which is read by itself where traces have to pass several tests."""
_GROWTH: Final = 32
"""How much longer the window is that follows one without a trace."""
_SHORT_GROWTH: Final = 160
"""The same after the short one: an hour and what is around it take two."""
_PAGE: Final = 100
"""How many traces are read at once if no more are wanted."""
_FEW: Final = 20
"""How many at least where all of them are known to match."""
_LARGEST_PAGE: Final = 500
MANY_SPANS: Final = 200_000
"""Beyond this many spans in a range, names of tags are those recorded while spans were written (from about one span in eight)."""
_SPARE: Final = 2
"""Each shard returns this many times the number of values that are shown of an attribute: the most frequent ones overall are known only
after merging.
"""
ROOTS: Final[dict[Intrinsic, Named]] = {Intrinsic.ROOT_NAME: Field(Intrinsic.NAME), Intrinsic.ROOT_SERVICE: SERVICE}
"""The fields of a trace's root that are fields of all its spans."""
_SHOWN: Final[tuple[Named, ...]] = (Field(Intrinsic.NAME), SERVICE, Field(Intrinsic.STATUS))
"""The fields that an answer shows of every trace."""


class ClickHouseSpansets:
    """See SpansetReader; ``compare()`` counts more than ``many`` spans attribute by attribute."""

    def __init__(self, clickhouse: ClickHouse, source: Source | None = None, *, many: int = MANY) -> None:
        self._clickhouse = clickhouse
        self._source = source or HotTables(clickhouse.database)
        self._attribute_keys = ClickHouseAttributeKeys(clickhouse, self._source)
        self._suggestions = Suggestions(clickhouse, self._source)
        self._traces = TraceBlocks(clickhouse, self._source)
        self._spans = SpanBlocks(clickhouse, self._source)
        self._sums = SpanSums(self._source, self._spans, self._traces)
        self._values = ValueCounts(clickhouse, LIMITS, many=many)

    async def find_traces(
        self,
        tenant: str,
        query: Query,
        time_range: TimeRange,
        limit: int,
        max_spans: int,
        *,
        on_part: Callable[[list[FoundTrace]], None] | None = None,  # noqa: ARG002  # one shard's answer has no parts
    ) -> Answer[list[FoundTrace]]:
        """See SpansetReader."""
        found: list[FoundTrace] = []
        named = [*_SHOWN, *(field for field in fields(query) if field not in _SHOWN)]
        # What is common is found in the newest window, to which what starts after the range is added.
        around, seen = widened(time_range), set[bytes]()
        alone = _is_of_one(query, trace_test(query.pipeline))  # otherwise candidates have been evaluated and counted before
        length = await self._first_window(tenant, query, time_range, limit)
        growth = _GROWTH if length >= _FIRST_WINDOW_NS else _SHORT_GROWTH
        newest = Newest(TimeRange(around.start_ns, time_range.end_ns), length, growth)
        since_ns = 0
        while not _has_newest(found, limit, since_ns) and (window := newest.next()) is not None:
            before, first = len(found), window.end_ns == time_range.end_ns
            if first:
                window = TimeRange(window.start_ns, around.end_ns)
            size, newest_only = max(1, min(limit - before, _LARGEST_PAGE)), first and length == _FIRST_WINDOW_NS
            candidates = self._candidates(tenant, query, window, size, until_ns=time_range.end_ns, newest_only=newest_only)
            searched = TimeRange(window.start_ns, around.end_ns)
            since_ns = 0
            async with aclosing(candidates) as pages:
                async for page in pages:
                    fresh = [one for one in page if one.trace_id not in seen]
                    seen.update(one.trace_id for one in fresh)
                    for part, until_ns in _parts(fresh, max(2 * size, _FEW)):
                        for spans in await self._traces.of_found(tenant, part, query, named, searched):
                            work.add(traces=len(spans.trace_ids) if alone else 0)
                            found += await asyncio.to_thread(
                                find, query.pipeline, spans, time_range.start_ns, time_range.end_ns - 1, max_spans
                            )
                        # No trace of the page's rest began after its span that was found.
                        if _has_newest(found, limit, until_ns + 1):
                            break
                    if len(found) >= limit:
                        # In a short window that has no more, all may have begun long before those that the next one has.
                        since_ns = window.start_ns if first and length < _FIRST_WINDOW_NS and len(page) < _PAGE else 0
                        break
            newest.had(len(found) - before, max(1, limit - len(found)))
        return Answer(sorted(found, key=newest_first)[:limit])

    async def _first_window(self, tenant: str, query: Query, time_range: TimeRange, limit: int) -> int:
        """How long the first window is: shorter where one span decides, longer where traces have to pass several tests, of which one is
        passed by too few spans.
        """
        test = trace_test(query.pipeline)
        if _is_of_one(query, test):
            return _SHORT_WINDOW_NS
        if not isinstance(test, AllOf):
            return _FIRST_WINDOW_NS
        last = TimeRange(max(time_range.start_ns, time_range.end_ns - SAMPLE_NS), time_range.end_ns)
        _, fewest = await self._traces.rarest(tenant, test, last)
        if fewest is None or fewest * _FIRST_WINDOW_NS >= limit * SAMPLE_NS:
            return _FIRST_WINDOW_NS
        # Twice the estimate, as in Newest; no span at all counts as half of one.
        return 2 * limit * SAMPLE_NS // fewest if fewest else 4 * limit * SAMPLE_NS

    async def sum_spans(
        self, tenant: str, query: Query, function: MetricsAggregate, grid: Grid, max_series: int, exemplars: int
    ) -> Answer[dict[Labels, Sums]]:
        """See SpansetReader."""
        return Answer(await self._sums.of(tenant, query, function, grid, max_series, exemplars))

    async def compare_spans(self, tenant: str, query: Query, compare: Compare, grid: Grid) -> Answer[comparison.Counts]:
        """See SpansetReader."""
        found: comparison.Counts = {}
        most, chosen = _SPARE * compare.top, Pipeline((compare.selection,))
        base, selection = (span_predicate(pipeline, lists=False) for pipeline in (query.pipeline, chosen))
        if base is not None and selection is not None and base.exact and selection.exact:
            conditions = (base.predicate, selection.predicate)
            async for spans in self._compared(tenant, query, compare, grid, conditions):
                counted = await self._values.count(spans, grid.count, most)
                comparison.add(found, await self._values.count_relatives(spans, grid.count, most, counted))
                comparison.add(found, counted)
            return Answer(found)
        async for traces, mask in self._traces.matching(tenant, query, range_of(grid)):
            comparison.add(found, await asyncio.to_thread(comparison.of_relatives, compare, traces, mask, grid))
            for part in among(self._source, tenant, traces, mask, compare, grid):
                comparison.add(found, await self._values.count(part, grid.count, most))
        return Answer(found)

    async def _compared(
        self, tenant: str, query: Query, compare: Compare, grid: Grid, conditions: tuple[p.Predicate, p.Predicate]
    ) -> AsyncIterator[Compared]:
        """The spans to compare where single spans decide: those that satisfy the first condition, and those with lists, by their ids."""
        base, selection = conditions
        time_range = range_of(grid)
        lists = await self._spans.lists(tenant, query.pipeline, time_range)
        lists = [*lists, *await self._spans.lists(tenant, Pipeline((compare.selection,)), time_range)]
        parameters: dict[str, Any] = {}
        wanted = p.all_of([base, *(p.Not(is_list) for is_list in lists)])
        texts = [condition(one, SPAN_COLUMNS, parameters) for one in (wanted, selection)]
        yield compared(self._source, tenant, time_range, texts, parameters, compare, grid)
        if lists:
            async for spans in self._spans.reading(tenant, query, p.Or(tuple(lists)), time_range):
                mask = matched(query.pipeline, spans)
                for part in among(self._source, tenant, spans, mask, compare, grid):
                    yield part

    async def tag_names(
        self, tenant: str, predicate: p.Predicate, time_range: TimeRange, scopes: Sequence[Scope], limit: int
    ) -> Answer[dict[Scope, set[str]]]:
        """See SpansetReader."""
        if predicate == p.EVERYTHING and await self._many(tenant, time_range):
            return Answer(await self._known_names(tenant, time_range, scopes))
        if not scopes:
            return Answer({})
        statement = statements.tag_names(self._source, tenant, predicate, time_range, scopes, limit)
        [row] = await self._clickhouse.query(statement.sql, statement.parameters, LIMITS)
        return Answer({scope: {text(key) for key in keys} for scope, keys in zip(scopes, row, strict=True)})

    async def _many(self, tenant: str, time_range: TimeRange) -> bool:
        """Whether reading every span of a range takes too long for a list that is shown while a user types."""
        statement = statements.count_spans(self._source, tenant, time_range)
        ((count,),) = await self._clickhouse.query(statement.sql, statement.parameters, LIMITS)
        return int(count) > MANY_SPANS

    async def _known_names(self, tenant: str, time_range: TimeRange, scopes: Sequence[Scope]) -> dict[Scope, set[str]]:
        """The keys that were recorded while spans were written."""
        found: dict[Scope, set[str]] = {scope: set() for scope in scopes}
        for key in (await self._attribute_keys.list_keys(tenant, "traces", time_range)).value:
            scope = Scope.SPAN if key.scope == "attribute" else Scope(key.scope)
            if scope in found:
                found[scope].add(key.key)
        return found

    async def tag_values(self, tenant: str, predicate: p.Predicate, time_range: TimeRange, named: Named, limit: int) -> Answer[set[Static]]:
        """See SpansetReader."""
        if isinstance(named, Field) and (root_field := ROOTS.get(named.intrinsic)) is not None:
            statement = statements.root_values(self._source, tenant, predicate, time_range, root_field, limit)
            return Answer(distinct_values(root_field, await self._texts(statement)))
        found = set[Static]()
        if predicate == p.EVERYTHING and named == SERVICE:
            services = await self._suggestions.services(tenant, time_range)
            found = {Static(Type.STRING, service) for service in sorted(services - {UNKNOWN_SERVICE})[:limit]}
            if UNKNOWN_SERVICE not in services:
                return Answer(found)
            predicate = p.Compare(p.intrinsic("service"), "=", UNKNOWN_SERVICE)  # only the spans tell whether this name was sent
        elif predicate == p.EVERYTHING:
            known = await self._suggestions.values(tenant, time_range, named, limit)
            if known is not None:
                return Answer(known)
        values = statements.tag_values(self._source, tenant, predicate, time_range, named, limit)
        return Answer(set() if values is None else found | distinct_values(named, await self._texts(values)))

    async def _texts(self, statement: Statement) -> list[str]:
        return [text(value) for (value,) in await self._clickhouse.query(statement.sql, statement.parameters, LIMITS)]

    async def _candidates(
        self, tenant: str, query: Query, window: TimeRange, size: int, *, until_ns: int, newest_only: bool
    ) -> AsyncGenerator[list[Found], None]:
        """Pages of traces of a window that may match, for ``size`` that match and begin before an instant.

        Where one span says that its trace may match, most do; where spans must be related, many of the traces that have them do not, so
        that is found out first, for all of the window at once.
        """
        test = trace_test(query.pipeline)
        if _is_of_one(query, test):
            async for page in self._traces.pages(tenant, query, window, max(size, _PAGE), spans=bool(pinned(query))):
                yield page
            return
        rest: list[tuple[int, bytes]] = []
        for piece in _pieces(window, until_ns, several=isinstance(test, AllOf)) if newest_only else [window]:
            rest += await self._related(tenant, query, piece, newest_only=newest_only)
            # A trace that began before the piece may be older than some that are found in the next one.
            since_ns = piece.start_ns if window.start_ns < piece.start_ns < until_ns else 0
            sure = [one for one in rest if since_ns <= one[0] < until_ns]
            rest = [one for one in rest if not since_ns <= one[0] < until_ns]
            for page in _pages(sure, max(size, _FEW)):
                yield page
        # Of what began after the range, only a trace is wanted that has another part long before it.
        for page in _pages(rest, _LARGEST_PAGE):
            yield page

    async def _related(self, tenant: str, query: Query, window: TimeRange, *, newest_only: bool) -> list[tuple[int, bytes]]:
        """When they began, as far as is known, and ids of the traces of which the pipeline leaves something.

        Traces without a span in the window, if it is one of the newest, are left to the older windows. Of a trace that has spans on both
        sides of an older window, and none in it, it may be the only window that is near enough to both.
        """
        found: list[tuple[int, bytes]] = []
        async for spans, mask in self._traces.matching(tenant, query, window, only_inside=newest_only):
            starts, _ = spans.trace_bounds_ns
            found += [(int(starts[trace]), spans.trace_ids[trace]) for trace in np.unique(spans.trace[mask]).tolist()]
        return found


def _is_of_one(query: Query, test: TraceTest) -> bool:
    """Whether one span says that its trace may match, and most such traces do."""
    return isinstance(test, HasSpan) and not any(isinstance(stage, ScalarFilter) for stage in query.pipeline.stages)


def _has_newest(found: Sequence[FoundTrace], limit: int, since_ns: int) -> bool:
    """Whether so many traces were found that began since an instant."""
    return sum(trace.start_ns >= since_ns for trace in found) >= limit


def _pieces(window: TimeRange, until_ns: int, *, several: bool) -> Iterator[TimeRange]:
    """The newest window before an instant, of which for several tests the last seconds, which are enough for what is frequent, come first;
    and then what is after the instant.
    """
    middle = until_ns - _FIRST_PIECE_NS
    if several and window.start_ns < middle:
        yield TimeRange(middle, until_ns)
        yield TimeRange(window.start_ns, middle)
    else:
        yield TimeRange(window.start_ns, until_ns)
    yield TimeRange(until_ns, window.end_ns)


def _pages(found: Sequence[tuple[int, bytes]], size: int) -> Iterator[list[Found]]:
    """Traces, those that began last first."""
    traces = [Found(trace_id, start_ns, start_ns) for start_ns, trace_id in sorted(found, key=lambda one: (-one[0], one[1]))]
    for at in range(0, len(traces), size):
        yield traces[at : at + size]


def _parts(page: Sequence[Found], size: int) -> Iterator[tuple[Sequence[Found], int]]:
    """A page in two parts, so many traces that may have begun last and the rest, each with when all that follow it began at the latest."""
    ordered = sorted(page, key=lambda one: (-one.oldest_ns, one.trace_id))
    first, rest = ordered[:size], ordered[size:]
    if rest:
        yield first, rest[0].oldest_ns
    if last := rest or first:
        yield last, 0
