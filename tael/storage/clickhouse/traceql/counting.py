"""Runs what ``compare()`` needs of one shard's spans (compared.py): one statement where they are few, one for each attribute where they are many."""

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
    # An attribute that is another one on each of millions of spans: slower by way of the disk, and within the memory of a query.
    "max_bytes_before_external_group_by": 300 << 20,
}
MANY: Final = 20_000
"""More spans than one statement should unfold."""
_SAMPLE: Final = 50_000
"""About as many spans are looked at to find out which keys are frequent."""
_TYPES: Final = {"kind": Type.KIND, "status": Type.STATUS}


class ValueCounts:
    """Counts values of the attributes of spans; more than ``many`` of them attribute by attribute."""

    def __init__(self, clickhouse: ClickHouse, limits: Limits, *, many: int = MANY) -> None:
        self._clickhouse = clickhouse
        self._limits = limits
        self._many = many

    async def count(self, spans: Compared, size: int, most: int) -> comparison.Counts:
        """What ``comparison.counts_of`` makes of ``size`` steps; at least the ``most`` frequent values of each attribute by value."""
        ((count, *sizes),) = await self._clickhouse.query(*_of(compared.sizes(spans)), self._limits)
        if int(count) <= self._many:
            return await self._counts(compared.count_at_once(spans), size)
        held = {one: int(entries) for one, entries in zip(MAPS, sizes, strict=True) if entries}
        keys = await self._frequent_keys(spans, list(held), int(count)) if held else {}
        found: comparison.Counts = {}
        for valued in INTRINSICS:
            comparison.add(found, await self._count(spans, valued, size, most))
        for one, entries in held.items():
            # Of true and false, which are few, one reads as a missing key does.
            alone = keys.get(one, {}) if one.kind != "bool" else {}
            for counts in await self._count_map(spans, one, entries, alone, size, most):
                comparison.add(found, counts)
        return found

    async def _frequent_keys(self, spans: Compared, maps: Sequence[Map], count: int) -> Mapping[Map, Mapping[str, bool]]:
        """Keys worth a statement each, and whether they seem to have few values. What they are decides how to count, not what."""
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
            # What is left of the counted keys is one value of each, so it is tried with each value told.
            found.append(await self._either(lambda few: compared.count_entries(spans, one, most, list(keys), few=few), size))
        return found

    async def _count(self, spans: Compared, valued: Valued, size: int, most: int, **parameters: object) -> comparison.Counts:
        if not valued.few:
            return await self._counts(compared.count_by_step(spans, valued, most, **parameters), size)
        return await self._either(lambda few: compared.count_by_step(spans, replace(valued, few=few), most, **parameters), size)

    async def _either(self, build: Callable[[bool], Statement], size: int) -> comparison.Counts:
        """What has few values by each of them; it is found out by the size of the answer when they are many."""
        try:
            return await self._counts(build(True), size)  # whether they are few
        except TooLarge:
            return await self._counts(build(False), size)  # the same

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
        if statics[at] is not None or not texts.words[at]:  # what has no type in TraceQL is not counted
            yield bool(own), name, _typed(name, statics[at]), slot, count


def _typed(name: str, value: Static | None) -> Static | None:
    return Static(_TYPES[name], value.value) if value is not None and name in _TYPES else value
