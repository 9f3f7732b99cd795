"""What spans' prompts and completions say, where payloads are in packs: which parts of packs have to be read (docs/adr/0031)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from tael.model.predicate import Compare, Contains, Predicate, Words, all_of, conjuncts, intrinsic, mentions
from tael.model.time import TimeRange, whole_hours
from tael.storage.api import Cursor, SpanQuery
from tael.storage.clickhouse import pack_words, query_builder
from tael.storage.clickhouse.columns import Column
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.pack_words import CONTENT, Held
from tael.storage.clickhouse.query_builder import SpanKey
from tael.storage.clickhouse.rows import Row, text
from tael.storage.clickhouse.source import Source

Id: TypeAlias = tuple[int, bytes, bytes]
"""What tells spans apart: start, trace and span id."""
MOST_NEWEST: Final = 256
"""How many spans are looked at one by one: contents of more of them are in most row groups of a pack."""
LARGE: Final = 160 << 20
"""Packs of fewer bytes are read in full for less than the statements and the row groups of single spans cost."""
_MOST_PARTS: Final = 2 * MOST_NEWEST
_HAS_CONTENTS: Final = Compare(intrinsic("llm_operation"), "!=", "")


@dataclass
class ContentSearch:
    """The search for one predicate. ``ask`` runs a statement; what it found of packs' words is remembered."""

    ask: Callable[[Statement], Awaitable[list[Row]]]
    source: Source
    tenant: str
    predicate: Predicate
    columns: Mapping[str, Column]
    _known: dict[str, Mapping[int, frozenset[int] | None]] = field(default_factory=dict)
    _sizes: dict[str, int] = field(default_factory=dict)

    async def held(self, time_range: TimeRange) -> Held:
        """Where the words that the predicate looks for in contents are in the packs of the range."""
        if not self._of_contents:
            return Held()
        packs, objects, every = self.source.packs(self.tenant, whole_hours(time_range))
        if any(pack.key not in self._known for pack in packs):
            words = [pack_words.crc(word) for word in pack_words.searched(self.predicate)]
            statement = Statement(pack_words.find_statement(objects), {"words": words})
            self._known |= pack_words.held(packs, await self.ask(statement) if words else ()).found
            self._sizes |= {pack.key: pack.bytes for pack in packs}
        return Held({pack.key: self._known[pack.key] for pack in packs}, every)

    async def narrowed(self, query: SpanQuery) -> Held:
        """Where words that many contents have need to be looked for: in what the spans with the query's other words refer to, if that is
        little.
        """
        held = await self.held(query.time_range)
        common = held.common(self.predicate)
        if not common:
            return held
        others = replace(query, predicate=all_of(leaf for leaf in conjuncts(self.predicate) if leaf not in common))
        statement = query_builder.referred(self.source, self.tenant, others, self.columns, held, pack_words.MOST_PARTS + 1)
        parts = _parts(await self.ask(statement))
        return held.within(common, parts) if len(parts) <= pack_words.MOST_PARTS else held

    async def newest(self, query: SpanQuery, held: Held, keys: dict[Id, SpanKey]) -> SpanQuery | None:
        """Look only at contents of the newest spans that satisfy the rest of the predicate, while so many of them match that the page is
        likely to be full before others would be looked at. Adds keys, and returns the query for what is left, None if nothing is.

        A word of most contents is in all parts of a pack: without this, one page would read all of it.
        """
        contents = self._of_contents
        large = not held.every or sum(self._sizes[key] for key in held.in_full(contents)) > LARGE
        if not contents or not large or not all(isinstance(part, Words | Contains) for part in contents):
            return query
        others = all_of([_HAS_CONTENTS, *(part for part in conjuncts(self.predicate) if part not in contents)])
        missing = query.limit - len(keys)
        count = missing + missing // 4
        while 0 < count <= MOST_NEWEST:
            page = replace(query, predicate=others, limit=count)
            rows = await self.ask(query_builder.find_keys(self.source, self.tenant, page, self.columns))
            newest = list({id_of(key): key for key in map(key_of, rows)}.values())
            found = await self._matching(newest, held) if newest else []
            if found is None:
                return query
            keys |= {id_of(key): key for key in found}
            missing -= len(found)
            if missing <= 0 or len(rows) < count:
                return None
            query = replace(query, after=cursor_of(newest[-1]))
            count = missing * len(newest) * 5 // (4 * len(found)) if found else 0
        return query

    async def _matching(self, newest: Sequence[SpanKey], held: Held) -> list[SpanKey] | None:
        """Those of the spans that satisfy the predicate, each once; None where their contents are in too many parts."""
        parts = _parts(await self.ask(query_builder.referred_by(self.source, self.tenant, newest, self.columns, _MOST_PARTS + 1)))
        if len(parts) > _MOST_PARTS:
            return None
        among = replace(held, only=frozenset(parts))
        rows = await self.ask(query_builder.matching(self.source, self.tenant, newest, self.predicate, self.columns, among))
        return list({id_of(key): key for key in map(key_of, rows)}.values())

    @property
    def _of_contents(self) -> list[Predicate]:
        return [part for part in conjuncts(self.predicate) if mentions(part, CONTENT)]


def key_of(row: Row) -> SpanKey:
    """The key that a row of ``find_keys`` is."""
    service, start, trace, span, empty = row
    return SpanKey(text(service), int(start), bytes(trace), bytes(span), int(empty))


def id_of(key: SpanKey) -> Id:
    """What tells its span apart."""
    return key.start_ns, key.trace_id, key.span_id


def cursor_of(key: SpanKey) -> Cursor:
    """The place in a list of spans after this one."""
    return Cursor(key.start_ns % (1 << 64), key.trace_id, key.span_id)


def _parts(rows: Sequence[Row]) -> list[int]:
    return [int(text(part), 16) for (part,) in rows]
