"""SpanReader of one shard: builds statements, runs them, and turns rows into spans."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from tael.errors import Rejected
from tael.model.predicate import EVERYTHING, intrinsic, mentions, required_service
from tael.model.span import Span
from tael.model.time import MAX_NS, NS_PER_SECOND, TimeRange, signed_ns
from tael.otlp.prices import Prices, read_prices, with_cost
from tael.storage.api import MAX_FIND_LIMIT, Answer, ServiceStats, SpanQuery, TraceTooLong
from tael.storage.clickhouse import groups, lacking, query_builder, rows, service_counts
from tael.storage.clickhouse.client import POINT_LIMITS, QUERY_LIMITS, ROWS_LIMITS, ClickHouse, Limits
from tael.storage.clickhouse.columns import span_columns
from tael.storage.clickhouse.conditions import Statement, bounded
from tael.storage.clickhouse.content_search import ContentSearch, Id, cursor_of, id_of, key_of
from tael.storage.clickhouse.narrowing import Newest
from tael.storage.clickhouse.query_builder import SpanKey, TracePlace
from tael.storage.clickhouse.source import HotTables, Source
from tael.storage.merge import most_complete, newest_first, oldest_first, once_each

_FETCH_KEYS = 1_000
"""How many spans are fetched at once: ClickHouse accepts parameters of up to 128 KiB."""
_INLINE_ROWS = 500
"""Up to this many spans are decoded in the event loop; more in a thread."""


class ClickHouseSpans:
    """See SpanReader."""

    def __init__(self, clickhouse: ClickHouse, prices: Prices | None = None, source: Source | None = None) -> None:
        self._clickhouse = clickhouse
        self._source = source or HotTables(clickhouse.database)
        self._prices = prices or read_prices()
        self._columns = span_columns(self._prices)
        self._since_ns: int | None = None

    async def find_spans(self, tenant: str, query: SpanQuery) -> Answer[list[Span]]:
        """See SpanReader. Raises Rejected for a limit that is not from 1 to 10000."""
        if not 1 <= query.limit <= MAX_FIND_LIMIT:
            raise Rejected(f"{query.limit} is out of range", where="limit", accepted=f"1 to {MAX_FIND_LIMIT}")
        spans, asked, after = list[Span](), query.limit, query.after
        search = ContentSearch(self._query, self._source, tenant, query.predicate, self._columns)
        while True:
            keys = await self._find_keys(search, replace(query, limit=asked, after=after))
            for start in range(0, len(keys), _FETCH_KEYS):
                spans += await self._fetch(search, keys[start : start + _FETCH_KEYS])
            if len(keys) < asked or len(spans) >= query.limit:
                return Answer(sorted(spans, key=newest_first)[: query.limit])
            # Spans whose most complete copy does not match were left out. Pages grow, so that many such spans do not take many statements.
            after, asked = cursor_of(keys[-1]), min(2 * asked, MAX_FIND_LIMIT)

    async def _fetch(self, search: ContentSearch, keys: Sequence[SpanKey]) -> list[Span]:
        """The spans of these keys, each once. Some copy of each satisfies the predicate; spans whose most complete copy does not are left
        out.
        """
        spans = await self._read(search.tenant, keys)
        if len(spans) == len(keys) or search.predicate == EVERYTHING:
            return once_each(spans)
        copies = Counter(map(newest_first, spans))
        several = [key for key in keys if copies[-key.start_ns, key.trace_id, key.span_id] > 1]
        matching = await self._read(search.tenant, several, search)
        return most_complete(spans, [*matching, *(span for span in spans if copies[newest_first(span)] == 1)])

    async def _read(self, tenant: str, keys: Sequence[SpanKey], search: ContentSearch | None = None) -> list[Span]:
        """Every copy of the spans of these keys, or those that a search is for. Columns that are empty in all of them are not read."""
        if not keys:
            return []
        empty, limits = groups.common([key.empty for key in keys]), QUERY_LIMITS if search else ROWS_LIMITS
        predicate, held = (search.predicate, await search.held(query_builder.between(keys))) if search else (EVERYTHING, None)
        fetch = partial(query_builder.fetch, self._source, tenant, keys, predicate, self._columns, words=held)
        return await self._decoded(await self._filled(fetch, empty, limits))

    async def _filled(self, fetch: Callable[..., Statement], empty: int, limits: Limits) -> list[rows.Row]:
        """The rows of a statement that selects all columns but those of the ``empty`` groups. Where that is not true of a row, everything
        is read: another copy of a span, which the search for keys did not return, or a span of the trace that has come since.
        """
        found = await self._query(fetch(empty=empty), limits)
        if any(row[-1] & empty != empty for row in found):
            empty = 0
            found = await self._query(fetch(), limits)
        return [groups.whole(row, empty) for row in found]

    async def _decoded(self, found: Sequence[rows.Row]) -> list[Span]:
        if len(found) <= _INLINE_ROWS:
            return [self._span(row) for row in found]
        # Decoding many rows takes seconds, in which the process must be able to serve other requests.
        return await asyncio.to_thread(lambda: [self._span(row) for row in found])

    async def _find_keys(self, search: ContentSearch, query: SpanQuery) -> list[SpanKey]:
        """The keys of the page, each once. A span that was sent twice has two adjacent rows, so reading continues until the page is full:
        with LIMIT BY, the engine would have to sort every matching row.
        """
        keys: dict[Id, SpanKey] = {}
        for window in self._source.windows("spans", query.time_range):
            if len(keys) < query.limit and (query.after is None or window.start_ns <= signed_ns(query.after.start_ns)):
                await self._find_within(search, replace(query, time_range=window), keys)
        return list(keys.values())

    async def _find_within(self, search: ContentSearch, query: SpanQuery, keys: dict[Id, SpanKey]) -> None:
        """Search the whole range at once if the table has its rows in the order of the page, the range is unbounded, or part of it is in
        files, which must be opened for a part of their hour too; otherwise the newest part first.
        """
        if required_service(query.predicate) or not bounded(query.time_range) or not self._source.in_table("spans", query.time_range):
            await self._find_more(search, query, keys)
            return
        last_ns = query.time_range.end_ns if query.after is None else min(query.time_range.end_ns, signed_ns(query.after.start_ns) + 1)
        newest = Newest(TimeRange(query.time_range.start_ns, last_ns))
        while len(keys) < query.limit and (piece := newest.next()) is not None:
            before = len(keys)
            await self._find_more(search, replace(query, time_range=piece), keys)
            newest.had(len(keys) - before, query.limit - len(keys))

    async def _find_more(self, search: ContentSearch, query: SpanQuery, keys: dict[Id, SpanKey]) -> None:
        tenant = search.tenant
        since_ns = await self._counted_since(tenant) if mentions(query.predicate, intrinsic("name")) else MAX_NS
        held = await search.narrowed(query)
        rest = await search.newest(query, held, keys)
        while rest is not None:
            asked = query.limit - len(keys)
            page = replace(rest, limit=asked)
            statement = query_builder.find_keys(self._source, tenant, page, self._columns, named_since_ns=since_ns, held=held)
            found = [key_of(row) for row in await self._query(statement)]
            for key in found:
                keys.setdefault(id_of(key), key)
            if len(found) < asked or len(keys) == query.limit:
                return
            rest = replace(rest, after=cursor_of(found[-1]))

    async def get_trace(
        self,
        tenant: str,
        trace_id: bytes,
        time_range: TimeRange | None = None,  # noqa: ARG002  # the index knows better than the hint
        most: int | None = None,
    ) -> Answer[list[Span]]:
        """See SpanReader."""
        if len(trace_id) != 16:
            return Answer([])
        named = await self._query(query_builder.trace_place(self._source, tenant, trace_id), POINT_LIMITS)
        if not named:
            return Answer([])
        ((hours, first_ns, last_ns, empty),) = named
        place = TracePlace(frozenset(int(second) * NS_PER_SECOND for second in hours), int(first_ns), int(last_ns), int(empty))
        # One row more than allowed shows that the trace is too long, without reading the rest of it.
        fetch = partial(query_builder.get_trace, self._source, tenant, trace_id, place, None if most is None else most + 1)
        found = await self._filled(fetch, place.empty, ROWS_LIMITS)
        if most is not None and len(found) > most:
            raise TraceTooLong(most)
        return Answer(sorted(once_each(await self._decoded(found)), key=oldest_first))

    def _span(self, row: rows.Row) -> Span:
        return with_cost(rows.span(row), self._prices)

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[list[ServiceStats]]:
        """See SpanReader."""
        statement = service_counts.list_services(self._source, tenant, time_range, await self._counted_since(tenant))
        found = await self._query(statement)
        return Answer([service_stats(rows.text(name), *map(int, numbers)) for name, *numbers in found])

    async def _counted_since(self, tenant: str) -> int:
        """The time from which on the tables of counts cover every span. It never changes: the migration that creates them writes
        it once.
        """
        if self._since_ns is None:
            [(since_ns,)] = await self._query(service_counts.counted_since(self._source, tenant))
            self._since_ns = int(since_ns)
        return self._since_ns

    async def _query(self, statement: Statement, limits: Limits = QUERY_LIMITS) -> list[rows.Row]:
        return await lacking.asked(self._clickhouse, statement, groups.INSTEAD, limits)


def service_stats(name: str, spans: int, traces: int, *others: int) -> ServiceStats:
    """A row of ``service_counts.list_services``. The sketch that counts traces may err upwards, so they are capped at the number
    of spans.
    """
    return ServiceStats(name, spans, min(spans, traces), *others)
