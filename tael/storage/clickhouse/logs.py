"""LogReader of one shard: builds statements, runs them, and turns rows into log records."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from tael.errors import Rejected, TaelError, TooLarge
from tael.logql.records import Entry
from tael.model.log import LogRecord
from tael.model.predicate import EVERYTHING
from tael.model.series import Labels, Selection
from tael.model.streams import LogStream
from tael.model.time import TimeRange, signed_ns
from tael.storage.api import MAX_FIND_LIMIT, Answer, LogCount, LogCounts, LogCursor, LogQuery, LogValues, TooManyGroups
from tael.storage.clickhouse import lacking, log_minutes, log_query_builder, log_rows, log_streams, log_values, needles, rows
from tael.storage.clickhouse.client import QUERY_LIMITS, ROWS_LIMITS, SMALL_LIMITS, ClickHouse, Limits
from tael.storage.clickhouse.conditions import Statement, bounded
from tael.storage.clickhouse.log_entries import LineColumns
from tael.storage.clickhouse.log_query_builder import LogKey
from tael.storage.clickhouse.narrowing import Newest
from tael.storage.clickhouse.needles import Begun
from tael.storage.clickhouse.source import HotTables, Source
from tael.storage.clickhouse.streams import labels_held
from tael.storage.merge import log_order

T = TypeVar("T")
_FETCH_KEYS = 2_000
"""How many records are fetched at once: ClickHouse accepts parameters of up to 128 KiB."""
_MANY = 1_000
"""From how many lines on a page is read at once, without its keys."""
_NARROW_LIMITS: Final = replace(QUERY_LIMITS, steps=False)
"""For conditions on streams and times alone, of which testing one before the other does not save much."""
_INSTEAD: Final = {"minutes": log_minutes.NONE, "line_names": "toUInt32(0)", "line_level": "''"}
"""On a shard without these columns nothing is known of a line, so that every one is read."""
_LINE_LIMITS: Final = Limits(seconds=30, memory_bytes=1 << 30)


class ClickHouseLogs:
    """See LogReader. A page of lines of more than ``page_bytes`` is refused with TooLarge."""

    def __init__(self, clickhouse: ClickHouse, source: Source | None = None, page_bytes: int = 64 << 20) -> None:
        self._clickhouse = clickhouse
        self._line_settings = {"max_result_bytes": page_bytes, "result_overflow_mode": "throw"}
        self._source = source or HotTables(clickhouse.database)

    async def find_logs(self, tenant: str, query: LogQuery) -> Answer[list[LogRecord]]:
        """See LogReader. Raises Rejected for a limit that is not from 1 to 10000."""
        _require_limit(query)
        keys = await self._keys(tenant, query)
        records: list[LogRecord] = []
        for start in range(0, len(keys), _FETCH_KEYS):
            records += await self._fetch(tenant, keys[start : start + _FETCH_KEYS])
        return Answer(sorted(records, key=log_order(query)))

    async def read_lines(self, tenant: str, query: LogQuery, names: Collection[str] | None = None) -> Answer[list[Entry]]:
        """See LogReader. Raises Rejected for a limit that is not from 1 to 10000."""
        _require_limit(query)
        columns = LineColumns(names)
        if self._reads_at_once(query):
            return Answer(
                await self._find_within(
                    query,
                    lambda page, begun: self._entries(log_query_builder.page(self._source, tenant, page, columns.sql, begun), columns),
                )
            )
        keys = await self._keys(tenant, query)
        found: list[Entry] = []
        for start in range(0, len(keys), _FETCH_KEYS):
            statement = log_query_builder.fetch(self._source, tenant, keys[start : start + _FETCH_KEYS], columns.sql)
            found += await self._entries(statement, columns, ROWS_LIMITS)
        return Answer(sorted(found, key=log_order(query)))

    def _reads_at_once(self, query: LogQuery) -> bool:
        """Whether to read a page's lines without looking for their keys first. That pays where the table has its rows in the order of the
        page, or where most of the rows that have to be sorted are the page's.
        """
        many = query.limit >= _MANY and not query.oldest_first
        in_place = bounded(query.time_range) and self._source.in_table("logs", query.time_range)
        return in_place and (many or bool(log_query_builder.service_of(query)))

    async def _entries(self, statement: Statement, columns: LineColumns, limits: Limits = _LINE_LIMITS) -> list[Entry]:
        return await asyncio.to_thread(columns.entries, await self._native(statement, limits))

    async def _native(self, statement: Statement, limits: Limits = _LINE_LIMITS) -> bytes:
        """The answer in the Native format, of which a page's bytes may be taken at most."""
        return await lacking.answered(
            lambda sql: self._clickhouse.native(sql, statement.parameters, limits, self._line_settings), statement.sql, _INSTEAD
        )

    async def _keys(self, tenant: str, query: LogQuery) -> list[LogKey]:
        """The keys of a page. Windows come in its order, so one that is full needs no later window."""
        keys: list[LogKey] = []
        for window in self._source.windows("logs", query.time_range, oldest_first=query.oldest_first):
            if len(keys) < query.limit and _may_follow(query, window):
                part = replace(query, time_range=window, limit=query.limit - len(keys))
                keys += await self._find_within(part, lambda piece, begun: self._find_keys(tenant, piece, begun))
        return keys

    async def _find_within(self, query: LogQuery, find: Callable[[LogQuery, Begun | None], Awaitable[list[T]]]) -> list[T]:
        """Search the whole range at once if the table has its rows in the order of the page, the range is unbounded, or part of it is in
        files, which must be opened for a part of their hour too; otherwise the newest part first.
        """
        in_order = query.oldest_first or log_query_builder.service_of(query)
        if in_order or not bounded(query.time_range) or not self._source.in_table("logs", query.time_range):
            query = query if query.after is None else replace(query, time_range=_from_cursor(query, query.after))
            return await find(query, await self._begun(query))
        newest, found = Newest(query.time_range if query.after is None else _from_cursor(query, query.after)), list[T]()
        first = True
        while len(found) < query.limit and (piece := newest.next()) is not None:
            part = replace(query, time_range=piece, limit=query.limit - len(found))
            # The first piece is small, and enough where lines are common.
            more = await find(part, None if first else await self._begun(part))
            found, first = found + more, False
            newest.had(len(more), query.limit - len(found))
        return found

    async def _begun(self, query: LogQuery | LogCounts) -> Begun | None:
        """Which of the query's needles end with a word that few lines have; None if that is not known."""
        cut = needles.cut_words(query.predicate)
        if not cut or not bounded(query.time_range) or not self._source.in_table("logs", query.time_range):
            return None
        source = needles.source_of_words(self._clickhouse.database, query.time_range)
        lines = await asyncio.gather(*(self._lines_of(source, word) for word in cut))
        rare = frozenset(word for word, held in zip(cut, lines, strict=True) if held <= needles.MOST_LINES)
        return Begun(rare, source) if rare else None

    async def _lines_of(self, source: str, word: str) -> float:
        """In how many lines are words that begin so, infinitely many if the server does not say."""
        statement = log_query_builder.lines_of(source, word)
        try:
            ((lines,),) = await self._clickhouse.query(statement.sql, statement.parameters, SMALL_LIMITS)
        except TaelError:
            # The question has its answer without this, and fails by itself if the server is down.
            return math.inf
        return int(lines)

    async def _find_keys(self, tenant: str, query: LogQuery, begun: Begun | None) -> list[LogKey]:
        statement = log_query_builder.find_keys(self._source, tenant, query, begun)
        limits = _NARROW_LIMITS if query.predicate == EVERYTHING else QUERY_LIMITS
        found = await lacking.asked(self._clickhouse, statement, _INSTEAD, limits)
        return [LogKey(rows.text(service), int(timestamp), int(serial)) for service, timestamp, serial in found]

    async def count_logs(self, tenant: str, counts: LogCounts, max_rows: int) -> Answer[list[LogCount]]:
        """See LogReader."""
        found = await self._counted(tenant, counts, max_rows)
        numbered = counts.by_stream and any(isinstance(stream, int) for stream, *_ in found)
        labels = await self._labels(tenant, counts) if numbered else {}
        return Answer(
            [
                LogCount(
                    labels.get(stream, ()) if isinstance(stream, int) else labels_held(stream),
                    bool(known),
                    rows.text(level),
                    int(slot),
                    int(count),
                    int(size),
                    tuple(map(rows.text, texts)),
                )
                for stream, known, level, slot, count, size, *texts in found
            ]
        )

    async def read_values(self, tenant: str, counts: LogCounts, max_rows: int) -> Answer[list[LogValues]]:
        """See LogReader."""
        statement = log_query_builder.read_values(self._source, tenant, counts, max_rows + 1, await self._begun(counts))
        found = await asyncio.to_thread(log_values.groups, await self._native(statement))
        if len(found) > max_rows:
            raise TooManyGroups(max_rows)
        labels = await self._labels(tenant, counts) if counts.by_stream and found else {}
        return Answer([group.of(labels.get(group.stream, ())) for group in found])

    async def _counted(self, tenant: str, counts: LogCounts, max_rows: int) -> list[Sequence[Any]]:
        """Count from minutes, and from rows at both ends that are not whole minutes; only from rows if the minutes are incomplete."""
        found: list[Sequence[Any]] = []

        async def ask(statement: Statement, limits: Limits = QUERY_LIMITS) -> Sequence[Sequence[Any]]:
            part = await lacking.asked(self._clickhouse, statement, _INSTEAD, limits)
            if len(found) + len(part) > max_rows:
                raise TooLarge(
                    f"more than {max_rows} groups and time steps to count", where="query", accepted="fewer labels or longer steps"
                )
            return part

        whole, left = log_minutes.whole(counts), [counts.time_range]
        if whole is not None:
            part = await ask(log_minutes.count(self._source, tenant, counts, whole, max_rows + 1), SMALL_LIMITS)
            # All or nothing: counting the rows would count the lines that minutes know once more.
            if all(known and not incomplete for _, known, *_, incomplete in part):
                found += [row[:-1] for row in part]
                left = [TimeRange(counts.time_range.start_ns, whole.start_ns), TimeRange(whole.end_ns, counts.time_range.end_ns)]
        begun = await self._begun(counts)
        for within in left:
            if within.start_ns < within.end_ns:
                found += await ask(log_query_builder.count(self._source, tenant, counts, within, max_rows + 1, begun))
        return found

    async def list_streams(self, tenant: str, selection: Selection, limit: int) -> Answer[list[LogStream]]:
        """See LogReader."""
        statement = log_streams.list_streams(self._source, tenant, selection, limit)
        found = await self._clickhouse.query(statement.sql, statement.parameters, SMALL_LIMITS)
        streams = [LogStream(labels_held(held), int(count), int(size)) for held, count, size in found]
        return Answer(sorted(streams, key=lambda stream: stream.labels))

    async def _labels(self, tenant: str, counts: LogCounts) -> dict[int, Labels]:
        statement = log_query_builder.stream_labels(self._source, tenant, counts)
        found = await self._clickhouse.query(statement.sql, statement.parameters, SMALL_LIMITS)
        return {int(stream): labels_held(held) for stream, held in found}

    async def _fetch(self, tenant: str, keys: list[LogKey]) -> list[LogRecord]:
        statement = log_query_builder.fetch(self._source, tenant, keys)
        found = await self._clickhouse.query(statement.sql, statement.parameters, ROWS_LIMITS)
        return log_rows.log_records(found)


def _require_limit(query: LogQuery) -> None:
    if not 1 <= query.limit <= MAX_FIND_LIMIT:
        raise Rejected(f"{query.limit} is out of range", where="limit", accepted=f"1 to {MAX_FIND_LIMIT}")


def _from_cursor(query: LogQuery, after: LogCursor) -> TimeRange:
    """The part of the range from a cursor on."""
    at, within = signed_ns(after.timestamp_ns), query.time_range
    if query.oldest_first:
        return TimeRange(max(within.start_ns, at), within.end_ns)
    return TimeRange(within.start_ns, min(within.end_ns, at + 1))


def _may_follow(query: LogQuery, window: TimeRange) -> bool:
    """Whether the window may hold what comes after the query's cursor."""
    if query.after is None:
        return True
    at = signed_ns(query.after.timestamp_ns)
    return window.end_ns > at if query.oldest_first else window.start_ns <= at
