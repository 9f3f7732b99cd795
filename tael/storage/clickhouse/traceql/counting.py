"""Runs the statements of ``compare()`` on one shard (compared.py): a single one for few spans, one for each attribute for many."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from tael.errors import TooLarge
from tael.storage.clickhouse import native
from tael.storage.clickhouse.client import ClickHouse, Limits
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.traceql import compared
from tael.storage.clickhouse.traceql.blocks import static_of
from tael.storage.clickhouse.traceql.compared import INTRINSICS, MAPS, Compared, Map, Valued
from tael.traceql import comparison
from tael.traceql.ast import Static, Type

_SETTINGS: Final = {
    "cancel_http_readonly_queries_on_client_close": 1,
    # An attribute may have a different value on each of millions of spans: grouping on disk is slower, but stays within the memory of a query.
    "max_bytes_before_external_group_by": 300 << 20,
}
MANY: Final = 20_000
"""Beyond this many spans, one statement should not unfold all their attributes."""
_SAMPLE: Final = 50_000
"""About how many spans are read to find the frequent keys."""
_TYPES: Final = {"kind": Type.KIND, "status": Type.STATUS}


class ValueCounts:
    """Counts values of the attributes of spans; more than ``many`` of them attribute by attribute."""

    def __init__(self, clickhouse: ClickHouse, limits: Limits, *, many: int = MANY) -> None:
        self._clickhouse = clickhouse
        self._limits = limits
        self._many = many

    async def count(self, spans: Compared, size: int, most: int) -> comparison.Counts:
        """The counts over ``size`` steps, as from ``comparison.counts_of``; at least the ``most`` frequent values of each attribute separately."""
        ((count, *sizes),) = await self._clickhouse.query(*_of(compared.sizes(spans)), self._limits)
        if int(count) <= self._many:
            return await self._counts(compared.count_at_once(spans), size)
        held = {one: int(entries) for one, entries in zip(MAPS, sizes, strict=True) if entries}
        keys = await self._frequent_keys(spans, list(held), int(count)) if held else {}
        found: comparison.Counts = {}
        for valued in INTRINSICS:
            comparison.add(found, await self._count(spans, valued, size, most))
        for one, entries in held.items():
            # False reads like a missing key, so counting boolean keys by themselves would miss half of the two values.
            alone = keys.get(one, {}) if one.kind != "bool" else {}
            for counts in await self._count_map(spans, one, entries, alone, size, most):
                comparison.add(found, counts)
        return found

    async def _frequent_keys(self, spans: Compared, maps: Sequence[Map], count: int) -> Mapping[Map, Mapping[str, bool]]:
        """The keys that are worth a statement of their own, and whether they seem to have few values. A wrong guess costs time but no exactness."""
        length = spans.time_range.end_ns - spans.time_range.start_ns
        first = spans.time_range.start_ns + length // 2
        statement = compared.frequent_keys(spans, maps, first, first + length * _SAMPLE // count)
        found: dict[Map, dict[str, bool]] = {}
        by_column = {one.column: one for one in maps}
        for column, key, few in await self._clickhouse.query(*_of(statement), self._limits):
            found.setdefault(by_column[text(column)], {})[text(key)] = bool(few)
        return found

    async def _count_map(
        self, spans: Compared, one: Map, entries: int, keys: Mapping[str, bool], size: int, most: int
    ) -> list[comparison.Counts]:
        found: list[comparison.Counts] = []
        for number, (key, few) in enumerate(keys.items()):
            valued = compared.of_key(one, number, few=few)
            found.append(await self._count(spans, valued, size, most, **{f"key_{number}": key}))
        if sum(int(counts.sum()) for own in found for counts in own.values()) != entries:
            # Of each counted key only one value is left, so it is tried first to return every value.
            found.append(await self._either(lambda few: compared.count_entries(spans, one, most, list(keys), few=few), size))
        return found

    async def _count(self, spans: Compared, valued: Valued, size: int, most: int, **parameters: object) -> comparison.Counts:
        if not valued.few:
            return await self._counts(compared.count_by_step(spans, valued, most, **parameters), size)
        return await self._either(lambda few: compared.count_by_step(spans, replace(valued, few=few), most, **parameters), size)

    async def _either(self, build: Callable[[bool], Statement], size: int) -> comparison.Counts:
        """Count as if there were few values; if the answer is too large there are many, and it is counted again that way."""
        try:
            return await self._counts(build(True), size)  # few
        except TooLarge:
            return await self._counts(build(False), size)  # many

    async def _counts(self, statement: Statement, size: int) -> comparison.Counts:
        body = await self._clickhouse.native(*_of(statement), self._limits, _SETTINGS)
        return await asyncio.to_thread(lambda: comparison.counts_of(_values(native.read(body)), size))


def _of(statement: Statement) -> tuple[str, Mapping[str, object]]:
    return statement.sql, statement.parameters


def _values(columns: Sequence[native.Column]) -> Iterable[tuple[bool, str, Static | None, int, int]]:
    if not columns:
        return
    chosen, slots, counts = (native.numbers(columns[at]).tolist() for at in (0, 3, 4))
    names, texts = native.strings(columns[1]), native.strings(columns[2])
    labels, index = names.tolist(), np.asarray(texts.index).tolist()
    statics = [static_of(word) for word in texts.words]
    for own, name, at, slot, count in zip(chosen, labels, index, slots, counts, strict=True):
        if statics[at] is not None or not texts.words[at]:  # values without a type in TraceQL are not counted
            yield bool(own), name, _typed(name, statics[at]), slot, count


def _typed(name: str, value: Static | None) -> Static | None:
    return Static(_TYPES[name], value.value) if value is not None and name in _TYPES else value
