"""LlmReader of one shard: reads the spans of every trace with an LLM call in the range, without their wide columns."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np

from tael.model.llm_calls import DIMENSIONS, TOKENS, LlmCalls, Words, words_of
from tael.model.span import STATUS_ERROR
from tael.model.time import NS_PER_SECOND, TimeRange
from tael.otlp.llm_counted import Tree
from tael.otlp.prices import Prices, read_prices
from tael.storage.api import Answer
from tael.storage.clickhouse import native
from tael.storage.clickhouse.client import ClickHouse, Limits
from tael.storage.clickhouse.conditions import Conditions, Statement, instant
from tael.storage.clickhouse.native import Column, Numbers
from tael.storage.clickhouse.prices import computed_cost
from tael.storage.clickhouse.source import HotTables, Source
from tael.storage.llm import too_many

_AROUND_NS: Final = 3600 * NS_PER_SECOND
"""How long before and after the range spans of a trace are read: a call's ancestors, and other spans that repeat its usage."""
_LIMITS: Final = Limits(seconds=60, memory_bytes=2 << 30)
_INHERITED: Final = ("session_id", "user_id", "agent_name")
_COLUMNS: Final = {"service": "service", **{name: f"llm_{name}" for name in DIMENSIONS if name != "service"}}
_NONE: Final = np.empty(0, np.int64)


class ClickHouseLlm:
    """See LlmReader."""

    def __init__(self, clickhouse: ClickHouse, prices: Prices | None = None, source: Source | None = None) -> None:
        self._clickhouse = clickhouse
        self._source = source or HotTables(clickhouse.database)
        self._cost = computed_cost(prices or read_prices())

    async def calls(self, tenant: str, time_range: TimeRange, max_rows: int) -> Answer[LlmCalls]:
        """See LlmReader."""
        statement = spans_of_calls(self._source, tenant, time_range, self._cost, max_rows + 1)
        body = await self._clickhouse.native(statement.sql, statement.parameters, _LIMITS, {})
        columns = await asyncio.to_thread(native.read, body)
        if columns and len(native.numbers(columns[0])) > max_rows:
            raise too_many(max_rows)
        return Answer(await asyncio.to_thread(calls_of, columns))

    async def has_calls(self, tenant: str, time_range: TimeRange) -> Answer[bool]:
        """See LlmReader."""
        where = _calls_within(tenant, time_range)
        sql = f"SELECT 1 FROM {self._source.rows('spans', tenant, time_range)} WHERE {where} LIMIT 1"  # noqa: S608  # names of ours and parameters
        return Answer(bool(await self._clickhouse.query(sql, where.parameters)))


def _calls_within(tenant: str, time_range: TimeRange) -> Conditions:
    where = Conditions(tenant)
    where.within("start_time", time_range)
    where.add("llm_operation != ''")
    return where


def spans_of_calls(source: Source, tenant: str, time_range: TimeRange, cost: str, limit: int) -> Statement:
    """For each span: id, parent, trace, whether it is a call in the range, has usage and failed, start, duration, cost, tokens
    and words.
    """
    within, around = _calls_within(tenant, time_range), Conditions(tenant)
    wider = TimeRange(max(0, time_range.start_ns - _AROUND_NS), time_range.end_ns + min(_AROUND_NS, (1 << 63) - 1 - time_range.end_ns))
    # Both conditions are in one statement, so the wider one's bounds need parameter names of their own.
    if around.within("start_time", wider) or "start" in around.parameters or "end" in around.parameters:
        around.texts = [text.replace("{start:", "{around_start:").replace("{end:", "{around_end:") for text in around.texts]
    bounds = {f"around_{name}": around.parameters[name] for name in ("start", "end") if name in around.parameters}
    inside = " AND ".join(
        f"start_time {sign} {instant(name)}" for name, sign in (("start", ">="), ("end", "<")) if name in within.parameters
    )
    words = ", ".join(f"CAST({column} AS LowCardinality(String))" for column in _COLUMNS.values())
    tokens = ", ".join(f"toInt64(ifNull(llm_{name}, 0))" for name in TOKENS)
    # Span ids are unique only within their trace, so spans and parents are identified by a hash of both.
    sql = (
        "SELECT sipHash64(trace_id, reinterpretAsUInt64(span_id)), sipHash64(trace_id, reinterpretAsUInt64(parent_span_id)), sipHash64(trace_id),\n"  # noqa: S608  # names of ours and parameters
        f"  toUInt8(notEmpty(CAST(llm_operation, 'String')){' AND ' + inside if inside else ''}),\n"
        "  toUInt8(NOT (isNull(llm_input_tokens) AND isNull(llm_output_tokens) AND isNull(llm_total_tokens) AND isNull(llm_cost_usd))),\n"
        f"  toUInt8(status_code = {STATUS_ERROR}), toUnixTimestamp64Nano(start_time), toInt64(duration_ns),\n"
        f"  toFloat64(coalesce(llm_cost_usd, {cost}, nan)), {tokens}, {words}\n"
        f"FROM {source.rows('spans', tenant, wider)}\nWHERE {around}\n"
        f"  AND trace_id IN (SELECT trace_id FROM {source.rows('spans', tenant, time_range)} WHERE {within})\nLIMIT {{limit:UInt64}}"
    )
    return Statement(sql, within.parameters | bounds | {"limit": limit})


def calls_of(columns: Sequence[Column]) -> LlmCalls:
    """The calls in the answer to ``spans_of_calls``, each span once."""
    if not columns:
        return LlmCalls(
            {name: words_of([]) for name in DIMENSIONS},
            dict.fromkeys(TOKENS, _NONE),
            np.empty(0),
            _NONE.astype(np.bool_),
            _NONE.astype(np.bool_),
            _NONE,
            _NONE,
            _NONE,
        )
    # A span that was sent twice is one call: counted twice, it would be charged twice.
    ids, once = _once_each(*(native.numbers(columns[at]) for at in (0, 4, 7)))
    parent, trace, inside, reports, failed, start, duration, cost, *tokens = (
        native.numbers(column)[once] for column in columns[1 : 9 + len(TOKENS)]
    )
    words = {name: _words(column, once) for name, column in zip(_COLUMNS, columns[9 + len(TOKENS) :], strict=True)}
    tree, operation, rows = Tree.of(ids, parent), words["operation"], np.flatnonzero(inside)
    counted = tree.counted(operation.words, operation.codes, reports.astype(np.bool_))
    for name in _INHERITED:
        known = words[name]
        if "" in known.words:
            words[name] = Words(known.words, tree.inherited(known.codes, known.words.index(""), rows))
    whole = LlmCalls(
        words,
        {name: values.astype(np.int64) for name, values in zip(TOKENS, tokens, strict=True)},
        cost,
        counted,
        failed.astype(np.bool_),
        start,
        np.maximum(duration, 0),
        trace.view(np.int64),
    )
    return whole.take(inside.astype(np.bool_))


def _once_each(ids: Numbers, reports: Numbers, duration: Numbers) -> tuple[Numbers, np.typing.NDArray[np.intp]]:
    """The distinct ids, and the row of each: of a span's copies preferably one that has ended, then one with usage, then the longest."""
    found, first = np.unique(ids, return_index=True)
    if len(found) == len(ids):
        return found, first
    # lexsort takes its last key first; unique() then returns the first row of each id in this order.
    order = np.lexsort((-duration, -reports.astype(np.int64), duration < 0))
    found, first = np.unique(ids[order], return_index=True)
    return found, order[first]


def _words(column: Column, rows: np.typing.NDArray[np.intp]) -> Words:
    strings = native.strings(column)
    codes: dict[str, int] = {}
    places = np.array([codes.setdefault(word, len(codes)) for word in strings.words], np.int64)
    return Words(list(codes), places[strings.index[rows]])
