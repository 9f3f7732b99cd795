"""SpanReader of one shard: builds, asks, and turns rows into spans."""

from __future__ import annotations

from tael.errors import Rejected
from tael.model.span import Span
from tael.model.time import TimeRange
from tael.storage.api import MAX_FIND_LIMIT, Answer, ServiceStats, SpanQuery
from tael.storage.clickhouse import query_builder, rows
from tael.storage.clickhouse.client import POINT_LIMITS, QUERY_LIMITS, ClickHouse, Limits
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.query_builder import SpanKey
from tael.storage.merge import newest_first, oldest_first

_FETCH_KEYS = 1_000
"""How many spans are fetched at once: ClickHouse takes parameters of up to 128 KiB."""


class ClickHouseSpans:
    """See SpanReader."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def find_spans(self, tenant: str, query: SpanQuery) -> Answer[list[Span]]:
        """See SpanReader. Raises Rejected for a limit that is not from 1 to 10000."""
        if not 1 <= query.limit <= MAX_FIND_LIMIT:
            raise Rejected(f"{query.limit} is out of range", where="limit", accepted=f"1 to {MAX_FIND_LIMIT}")
        database = self._clickhouse.database
        found = await self._query(query_builder.find_keys(database, tenant, query))
        keys = [SpanKey(rows.text(service), int(start), bytes(trace), bytes(span)) for service, start, trace, span in found]
        spans: list[Span] = []
        for start in range(0, len(keys), _FETCH_KEYS):
            statement = query_builder.fetch(database, tenant, keys[start : start + _FETCH_KEYS])
            spans += [rows.span(row) for row in await self._query(statement, POINT_LIMITS)]
        return Answer(sorted(spans, key=newest_first)[: query.limit])

    async def get_trace(self, tenant: str, trace_id: bytes, time_range: TimeRange | None = None) -> Answer[list[Span]]:  # noqa: ARG002  # the index knows better than the hint
        """See SpanReader."""
        if len(trace_id) != 16:
            return Answer([])
        found = await self._query(query_builder.get_trace(self._clickhouse.database, tenant, trace_id), POINT_LIMITS)
        return Answer(sorted((rows.span(row) for row in found), key=oldest_first))

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[list[ServiceStats]]:
        """See SpanReader."""
        found = await self._query(query_builder.list_services(self._clickhouse.database, tenant, time_range))
        return Answer([ServiceStats(rows.text(name), *(int(number) for number in numbers)) for name, *numbers in found])

    async def _query(self, statement: Statement, limits: Limits = QUERY_LIMITS) -> list[rows.Row]:
        return await self._clickhouse.query(statement.sql, statement.parameters, limits)
