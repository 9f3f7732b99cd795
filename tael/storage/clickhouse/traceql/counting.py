"""Runs the statements of ``compare()`` on one shard (compared.py): a single one for few spans, one for several attributes for many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tael.errors import TooLarge
from tael.model.time import TimeRange
from tael.storage.clickhouse import native
from tael.storage.clickhouse.client import ClickHouse, Limits
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.traceql import compared, frequent, relatives
from tael.storage.clickhouse.traceql.blocks import static_of
from tael.storage.clickhouse.traceql.compared import INTRINSICS, MAPS, Compared, Map, Valued
from tael.traceql import comparison
from tael.traceql.ast import Static, Type

_SETTINGS: Final = {
    "cancel_http_readonly_queries_on_client_close": 1,
    # An attribute may have a different value on each of millions of spans: grouping on disk is slower, but stays within the memory of a
    # query.
    "max_bytes_before_external_group_by": 300 << 20,
}
MANY: Final = 20_000
"""More spans than one statement should unfold."""
_SAMPLE: Final = 10_000
"""About how many spans are read to find the frequent keys."""
_KEYS_AT_ONCE: Final = 16
_MANY_AT_ONCE: Final = 4
"""Keys with many values are grouped side by side, and each may have a value a span."""
_HASHES_AT_ONCE: Final = 2_500
_IN_A_SET: Final = 2_000_000
"""Up to this many spans fit in a set, of 16 to 32 bytes for each."""
_PIECES: Final = 16
"""The part of a range in which most names of roots are found."""
_TYPES: Final = {"kind": Type.KIND, "status": Type.STATUS}


class ValueCounts:
    """Counts values of the attributes of spans; more than ``many`` of them attribute by attribute."""

    def __init__(self, clickhouse: ClickHouse, limits: Limits, *, many: int = MANY) -> None:
        self._clickhouse = clickhouse
        self._limits = limits
        self._many = many

    async def count(self, spans: Compared, size: int, most: int) -> comparison.Counts:
        """The counts over ``size`` steps, as from ``comparison.counts_of``; at least the ``most`` frequent values of each attribute
        separately.
        """
        ((count, *sizes),) = await self._clickhouse.query(*_of(compared.sizes(spans)), self._limits)
        if int(count) <= self._many:
            return await self._rows(compared.count_at_once(spans), size)
        held = {one: int(entries) for one, entries in zip(MAPS, sizes, strict=True) if entries}
        found: comparison.Counts = {}
        alone: dict[Map, list[str]] = {one: [] for one in held}
        async for valued, counts in self._each(spans, await self._keys(spans, list(held), int(count)), size, most):
            comparison.add(found, counts)
            if valued.held is not None:
                alone[valued.held].append(valued.key)
                held[valued.held] -= sum(int(own.sum()) for own in counts.values())
        for one, left in held.items():
            if left:
                build = partial(compared.count_entries, spans, one, most, alone[one])
                comparison.add(found, await self._either(build, size))
        return found

    async def count_relatives(self, spans: Compared, size: int, most: int, counted: comparison.Counts) -> comparison.Counts:
        """The same for what spans have from their traces; ``counted`` is what ``count`` returned for them."""
        found: comparison.Counts = {}
        # Every span has a name, so the counts of names are the number of spans.
        few = sum(int(own.sum()) for (_, name, _), own in counted.items() if name == "name") <= _IN_A_SET
        roots = await self._by_code(spans, size, few=few)
        if roots is None:
            for counts in await self._arrays(relatives.count_roots(spans, most, size), relatives.ROOTS, size, _SETTINGS):
                comparison.add(found, counts)
        (children,) = await self._arrays(relatives.count_children(spans, size, few=few), relatives.CHILDREN, size, _SETTINGS)
        for counts in (roots or {}, children):
            comparison.add(found, counts)
        return found

    async def _by_code(self, spans: Compared, size: int, *, few: bool) -> comparison.Counts | None:
        """The counts of roots by their codes; None if that is not possible."""
        statement = relatives.count_codes(spans, size, few=few)
        columns = await asyncio.to_thread(native.read, await self._clickhouse.native(*_of(statement), self._limits, _SETTINGS))
        codes = native.numbers(columns[0]).tolist() if columns else []
        if len(codes) > relatives.MOST_CODES or relatives.SEVERAL in codes:
            return None
        named = await self._decoded(spans, {*codes} - {relatives.NO_ROOT})
        named[relatives.NO_ROOT] = ("", "")
        if not named.keys() >= {*codes}:
            return None
        counts = native.numbers(native.lists(columns[1]).values).astype(np.int64).reshape(-1, size, 2) if columns else ()
        return await asyncio.to_thread(_of_roots, [named[code] for code in codes], counts)

    async def _decoded(self, spans: Compared, codes: set[int]) -> dict[int, tuple[str, str]]:
        """Name and service of the roots with these codes. Most are also on roots of a short time, which are read first."""
        found: dict[int, tuple[str, str]] = {}
        length = spans.time_range.end_ns - spans.time_range.start_ns
        first = spans.time_range.start_ns + length // 2
        for within in (TimeRange(first, first + length // _PIECES + 1), spans.wider):
            if missing := sorted(codes - found.keys()):
                rows = await self._clickhouse.query(*_of(relatives.decode(spans, missing, within)), self._limits)
                found |= {int(code): (text(name), text(service)) for code, service, name in rows}
        return found

    async def _keys(self, spans: Compared, maps: Sequence[Map], count: int) -> Mapping[Valued, int]:
        """Intrinsics and the keys that are worth counting by themselves, and about how many values they have. A wrong guess costs time but
        no exactness.
        """
        length = spans.time_range.end_ns - spans.time_range.start_ns
        first = spans.time_range.start_ns + length // 2
        statement = compared.frequent_keys(spans, maps, first, first + length * _SAMPLE // max(1, count))
        found = dict.fromkeys(INTRINSICS, 0)
        intrinsics, by_column = {one.name: one for one in INTRINSICS}, {one.column: one for one in maps}
        for column, key, values in await self._clickhouse.query(*_of(statement), self._limits):
            one = by_column.get(text(column))
            # False reads like a missing key, so counting boolean keys by themselves would miss half of the two values.
            if one is None or one.kind != "bool":
                found[intrinsics[text(key)] if one is None else compared.of_key(one, text(key))] = int(values)
        return found

    async def _each(
        self, spans: Compared, keys: Mapping[Valued, int], size: int, most: int
    ) -> AsyncIterator[tuple[Valued, comparison.Counts]]:
        """Each of the keys with its counts."""
        most_few = compared.few(size)
        few = [one for one, values in keys.items() if values <= most_few // 2]
        many = [one for one, values in keys.items() if values > most_few // 2]
        # Spans without the key are one group more.
        bounded = {**_SETTINGS, "max_rows_to_group_by": most_few + 1}
        parts = [few[at : at + _KEYS_AT_ONCE] for at in range(0, len(few), _KEYS_AT_ONCE)]
        while parts:
            own = parts.pop()
            try:
                counted = await self._arrays(compared.count_few(spans, own, size), own, size, bounded)
            except TooLarge:  # one of them has more values than it seemed
                middle = len(own) // 2
                parts += [own[:middle], own[middle:]] if middle else []
                many += own if not middle else []
                continue
            for pair in zip(own, counted, strict=True):
                yield pair
        at_once = max(1, min(_MANY_AT_ONCE, _HASHES_AT_ONCE // (most + frequent.MOST_ALIKE)))
        for at in range(0, len(many), at_once):
            async for pair in self._with_many(spans, many[at : at + at_once], size, most):
                yield pair

    async def _with_many(
        self, spans: Compared, keys: Sequence[Valued], size: int, most: int
    ) -> AsyncIterator[tuple[Valued, comparison.Counts]]:
        """Each of some keys with very many values with its counts."""
        body = await self._clickhouse.native(*_of(frequent.find_frequent(spans, keys, most)), self._limits, _SETTINGS)
        wanted = dict(zip(keys, frequent.frequent(_levels(native.read(body)), len(keys), most), strict=True))
        known = {one: hashes for one, hashes in wanted.items() if hashes is not None}
        if known:
            statement = frequent.count_frequent(spans, known, size)
            for pair in zip(known, await self._arrays(statement, [*known], size, _SETTINGS), strict=True):
                yield pair
        for one in keys:
            if one not in known:
                (counts,) = await self._arrays(compared.count_many(spans, one, most, size), [one], size, _SETTINGS)
                yield one, counts

    async def _arrays(
        self, statement: Statement, keys: Sequence[Valued], size: int, settings: Mapping[str, object]
    ) -> list[comparison.Counts]:
        body = await self._clickhouse.native(*_of(statement), self._limits, settings)
        return await asyncio.to_thread(lambda: _by_key(native.read(body), keys, size))

    async def _either(self, build: Callable[..., Statement], size: int) -> comparison.Counts:
        """What has few values by each of them; it is found out by the size of the answer when they are many."""
        try:
            return await self._rows(build(few=True), size)
        except TooLarge:
            return await self._rows(build(few=False), size)

    async def _rows(self, statement: Statement, size: int) -> comparison.Counts:
        body = await self._clickhouse.native(*_of(statement), self._limits, _SETTINGS)
        return await asyncio.to_thread(lambda: comparison.counts_of(_values(native.read(body)), size))


def _of(statement: Statement) -> tuple[str, Mapping[str, object]]:
    return statement.sql, statement.parameters


def _by_key(columns: Sequence[native.Column], keys: Sequence[Valued], size: int) -> list[comparison.Counts]:
    """The rows of ``count_few`` by their key."""
    found: list[comparison.Counts] = [{} for _ in keys]
    if not columns:
        return found
    counts = native.numbers(native.lists(columns[2]).values).astype(np.int64).reshape(-1, size, 2)
    for number, word, own in zip(native.numbers(columns[0]).tolist(), native.strings(columns[1]).tolist(), counts, strict=True):
        value, name = static_of(word), keys[number].name
        for selected in (False, True):
            if (value is not None or not word) and own[:, int(selected)].any():
                comparison.add(found[number], {(selected, name, _typed(name, value)): own[:, int(selected)]})
    return found


def _levels(columns: Sequence[native.Column]) -> Iterable[tuple[int, bool, int, int, list[int]]]:
    """The rows of ``find_frequent``."""
    if columns:
        numbers = (native.numbers(column).tolist() for column in columns[:4])
        hashes = native.lists(columns[4])
        values = native.numbers(hashes.values).tolist()
        for number, chosen, spans, count, (start, end) in zip(*numbers, pairwise(hashes.offsets.tolist()), strict=True):
            yield number, bool(chosen), spans, count, values[start:end]


def _of_roots(roots: Sequence[tuple[str, str]], counts: Iterable[NDArray[np.int64]]) -> comparison.Counts:
    """The counts of pairs of name and service, an array of steps and of others and selected spans for each, by either of the two."""
    found: comparison.Counts = {}
    for root, own in zip(roots, counts, strict=True):
        for one, value in zip(relatives.ROOTS, root, strict=True):
            for selected in (False, True):
                if own[:, int(selected)].any():
                    comparison.add(found, {(selected, one.name, Static(Type.STRING, value)): own[:, int(selected)]})
    return found


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
