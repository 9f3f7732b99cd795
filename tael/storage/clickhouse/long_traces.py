"""LongTraceReader of one shard: parts of a trace as bytes that ClickHouse encodes, or as spans where it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np

from tael.model.span import Span
from tael.model.time import HOUR_NS, MAX_NS, NS_PER_SECOND
from tael.otlp.llm_counted import Tree
from tael.otlp.llm_usage import MAX_DEPTH
from tael.otlp.prices import Prices, read_prices, with_cost
from tael.storage.api import Answer
from tael.storage.clickhouse import long_trace_queries as queries
from tael.storage.clickhouse import native, query_builder, rows, span_bytes
from tael.storage.clickhouse.client import ClickHouse, Limits
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.native import Column, Numbers
from tael.storage.clickhouse.source import HotTables, Source
from tael.storage.long_traces import Form, Key, Origin, Outline, Part, Slice, in_order
from tael.storage.merge import once_each

_LIMITS: Final = Limits(seconds=30, memory_bytes=1 << 30, threads=1)
_KEYS_AT_ONCE: Final = 1_000
"""How many spans are fetched at once: ClickHouse accepts parameters of up to 128 KiB."""


class ClickHouseLongTraces:
    """See LongTraceReader."""

    def __init__(self, clickhouse: ClickHouse, prices: Prices | None = None, source: Source | None = None) -> None:
        self._clickhouse = clickhouse
        self._source = source or HotTables(clickhouse.database)
        self._prices = prices or read_prices()

    async def outline(self, tenant: str, trace_id: bytes, most: int, step: int) -> Answer[Outline]:
        """See LongTraceReader."""
        hours = await self._hours(tenant, trace_id)
        found = await self._native(queries.outline(self._source, tenant, trace_id, most, step, hours))
        if not found:
            return Answer(Outline(0, calls=False, bounds=[]))
        starts, numbers, spans, calls = (native.numbers(column).tolist() for column in found)
        return Answer(Outline(spans[0], bool(calls[0]), [Key(*pair) for pair in zip(starts, numbers, strict=True)]))

    async def read_spans(self, tenant: str, part: Part) -> Answer[list[Span]]:
        """See LongTraceReader."""
        statement = queries.spans_of_part(self._source, tenant, part, await self._hours(tenant, part.trace_id, part))
        return Answer(await self._spans(statement))

    async def read_bytes(self, tenant: str, part: Part, form: Form, known: Collection[int] = ()) -> Answer[Slice]:
        """See LongTraceReader."""
        hours = await self._hours(tenant, part.trace_id, part)
        found = await self._native(queries.bytes_of_part(self._source, tenant, part, form, hours), span_bytes.SETTINGS)
        if not found:
            return Answer(Slice([], [], [], []))
        starts, numbers, origin_ids, *ranks = (native.numbers(column).tolist() for column in found[:-1])
        keys = list(map(Key, starts, numbers))
        bodies = await self._filled(tenant, part, keys, native.blobs(found[-1]).values, hours)
        # A statement of its own, and only for new origins: a resource of kilobytes would otherwise be sent with every span.
        origins = await self._origins(tenant, part, hours) if set(origin_ids) - set(known) else {}
        return Answer(Slice(keys, bodies, origin_ids, list(zip(*ranks, strict=True)), origins))

    async def calls(self, tenant: str, trace_id: bytes) -> Answer[list[Span]]:
        """See LongTraceReader."""
        hours = await self._hours(tenant, trace_id)
        found = await self._query(queries.calls(self._source, tenant, trace_id, hours))
        if not found:
            return Answer([])
        columns = await self._native(queries.lineage(self._source, tenant, trace_id, hours))
        return Answer(await asyncio.to_thread(self._with_ancestors, trace_id, found, [native.numbers(column) for column in columns]))

    def _with_ancestors(self, trace_id: bytes, found: Sequence[rows.Row], lineage: Sequence[Numbers]) -> list[Span]:
        """The spans of calls, and their ancestors as spans with only ids; arrays of ids, because a trace may have millions of spans."""
        calls = once_each(with_cost(rows.call(trace_id, row), self._prices) for row in found)
        ids, once = np.unique(lineage[0], return_index=True)
        around = Tree.of(ids, lineage[1][once]).around
        at = np.searchsorted(ids, np.array([int.from_bytes(span.span_id, "big") for span in calls], np.uint64))
        seen = np.zeros(len(ids), np.bool_)
        seen[at] = True
        outer = at
        # Bounded, and never through a span twice: parents are as senders wrote them and may form a cycle.
        for _ in range(MAX_DEPTH):
            outer = np.unique(around[outer])
            outer = outer[outer >= 0]
            outer = outer[~seen[outer]]
            seen[outer] = True
            if not len(outer):
                break
        seen[at] = False
        parents = lineage[1][once]
        others = [rows.bare(trace_id, int(ids[row]), int(parents[row])) for row in np.flatnonzero(seen)]
        return [*calls, *others]

    async def _origins(self, tenant: str, part: Part, hours: Collection[int] | None) -> dict[int, Origin]:
        found = await self._query(queries.origins_of_part(self._source, tenant, part, hours))
        return {int(number): Origin(rows.resource(value := iter(columns)), rows.scope(value)) for number, *columns in found}

    async def _filled(
        self, tenant: str, part: Part, keys: Sequence[Key], bodies: Sequence[bytes], hours: Collection[int] | None
    ) -> list[bytes | Span]:
        """The bodies, with the span itself in the place of each empty body."""
        filled: list[bytes | Span] = list(bodies)
        without = [index for index, body in enumerate(bodies) if not body]
        for first in range(0, len(without), _KEYS_AT_ONCE):
            wanted = without[first : first + _KEYS_AT_ONCE]
            statement = queries.spans_of_keys(self._source, tenant, part, [keys[index] for index in wanted], hours)
            spans = {Key.of(span): span for span in await self._spans(statement)}
            for index in wanted:
                filled[index] = spans[keys[index]]
        return filled

    async def _hours(self, tenant: str, trace_id: bytes, part: Part | None = None) -> set[int] | None:
        """The hours to look in, or None when all rows are in the hot table."""
        if not self._source.elsewhere("spans"):
            return None
        named = await self._query(query_builder.trace_hours(self._source, tenant, [trace_id]))
        hours = {int(second) * NS_PER_SECOND for (second,) in named}
        if part is None:
            return hours
        end_ns = part.end.start_ns if part.end is not None else MAX_NS
        return {hour for hour in hours if hour + HOUR_NS > part.first.start_ns and hour <= end_ns}

    async def _spans(self, statement: Statement) -> list[Span]:
        found = await self._query(statement)
        return await asyncio.to_thread(lambda: in_order(with_cost(rows.span(row), self._prices) for row in found))

    async def _query(self, statement: Statement) -> list[rows.Row]:
        return await self._clickhouse.query(statement.sql, statement.parameters, _LIMITS)

    async def _native(self, statement: Statement, settings: Mapping[str, Any] | None = None) -> list[Column]:
        body = await self._clickhouse.native(statement.sql, statement.parameters, _LIMITS, settings or {})
        return await asyncio.to_thread(lambda: native.read(body, blobs=True))
