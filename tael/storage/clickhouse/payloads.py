"""PayloadReader of one shard."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from tael.model.time import ALL_TIME, TimeRange
from tael.storage.api import Answer
from tael.storage.clickhouse.client import POINT_LIMITS, ClickHouse
from tael.storage.clickhouse.conditions import Conditions, Statement
from tael.storage.clickhouse.source import HotTables, Source
from tael.wal.payloads import joined

_AT_ONCE: Final = 1_000
"""How many are fetched at once: ClickHouse takes parameters of up to 128 KiB."""


class ClickHousePayloads:
    """See PayloadReader."""

    def __init__(self, clickhouse: ClickHouse, source: Source | None = None) -> None:
        self._clickhouse = clickhouse
        self._source = source or HotTables(clickhouse.database)

    async def get_payloads(self, tenant: str, hashes: Collection[bytes], time_range: TimeRange = ALL_TIME) -> Answer[dict[bytes, bytes]]:
        """See PayloadReader."""
        asked = sorted(hashes)
        pieces: dict[bytes, list[tuple[int, bytes]]] = {}
        sizes: dict[bytes, int] = {}
        for start in range(0, len(asked), _AT_ONCE):
            statement = fetch(self._source, tenant, asked[start : start + _AT_ONCE], time_range)
            for sha256, offset, size, content in await self._clickhouse.query(statement.sql, statement.parameters, POINT_LIMITS):
                pieces.setdefault(bytes(sha256), []).append((int(offset), bytes(content)))
                sizes[bytes(sha256)] = int(size)
        whole = ((sha256, joined(found, sizes[sha256])) for sha256, found in pieces.items())
        return Answer({sha256: content for sha256, content in whole if content is not None})


def fetch(source: Source, tenant: str, hashes: Sequence[bytes], time_range: TimeRange) -> Statement:
    """The pieces of these payloads, each once."""
    where = Conditions(tenant)
    where.within_hours("hour", time_range)
    where.add(
        "hash IN (SELECT arrayJoin(arrayMap(h -> toFixedString(unhex(h), 32), {hashes:Array(String)})))",
        hashes=[sha256.hex() for sha256 in hashes],
    )
    held = source.rows("payloads", tenant, time_range)
    return Statement(f"SELECT hash, offset, size, content\nFROM {held}\nWHERE {where}\nLIMIT 1 BY hash, offset", where.parameters)
