"""PayloadReader of one shard."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from tael.model.time import ALL_TIME, NS_PER_SECOND, TimeRange, whole_hours
from tael.storage.api import Answer
from tael.storage.clickhouse.client import POINT_LIMITS, ClickHouse
from tael.storage.clickhouse.conditions import Conditions, Statement
from tael.storage.clickhouse.source import HotTables, Source
from tael.wal.payloads import joined

_AT_ONCE: Final = 1_000
"""How many payloads are fetched at once: ClickHouse accepts parameters of up to 128 KiB."""


class ClickHousePayloads:
    """See PayloadReader. For hours outside the hot table an index gives the hours of a payload. It is whole in each of them, so its last
    hour is enough.
    """

    def __init__(self, clickhouse: ClickHouse, source: Source | None = None) -> None:
        self._clickhouse = clickhouse
        self._source = source or HotTables(clickhouse.database)

    async def get_payloads(self, tenant: str, hashes: Collection[bytes], time_range: TimeRange = ALL_TIME) -> Answer[dict[bytes, bytes]]:
        """See PayloadReader."""
        found: dict[bytes, bytes] = {}
        wanted = sorted(hashes)
        for start in range(0, len(wanted), _AT_ONCE):
            batch = wanted[start : start + _AT_ONCE]
            if not self._source.elsewhere("payloads"):
                found |= await self._fetch(tenant, batch, time_range, None)
                continue
            found |= await self._fetch(tenant, batch, time_range, await self._hours(tenant, batch, time_range, every=False))
            # If the last hour lacks a piece, for instance because it could not be written, the payload is assembled from all of its hours.
            if left := [sha256 for sha256 in batch if sha256 not in found]:
                found |= await self._fetch(tenant, left, time_range, await self._hours(tenant, left, time_range, every=True))
        return Answer(found)

    async def _hours(self, tenant: str, hashes: Sequence[bytes], time_range: TimeRange, *, every: bool) -> set[int]:
        statement = hours_of(self._source, tenant, hashes, time_range, every=every)
        rows = await self._clickhouse.query(statement.sql, statement.parameters, POINT_LIMITS)
        return {int(hour) * NS_PER_SECOND for (hour,) in rows}

    async def _fetch(
        self, tenant: str, hashes: Sequence[bytes], time_range: TimeRange, hours: Collection[int] | None
    ) -> dict[bytes, bytes]:
        """The payloads of which the hot table and these hours have all pieces."""
        statement = fetch(self._source, tenant, hashes, time_range, hours)
        pieces: dict[bytes, list[tuple[int, bytes]]] = {}
        sizes: dict[bytes, int] = {}
        for sha256, offset, size, content in await self._clickhouse.query(statement.sql, statement.parameters, POINT_LIMITS):
            pieces.setdefault(bytes(sha256), []).append((int(offset), bytes(content)))
            sizes[bytes(sha256)] = int(size)
        whole = ((sha256, joined(found, sizes[sha256])) for sha256, found in pieces.items())
        return {sha256: content for sha256, content in whole if content is not None}


def fetch(source: Source, tenant: str, hashes: Sequence[bytes], time_range: TimeRange, hours: Collection[int] | None = None) -> Statement:
    """The pieces of these payloads, each once; outside the hot table only of ``hours`` (their starts, ns), unless that is None."""
    where = _of_hashes(tenant, hashes, time_range)
    held = source.rows("payloads", tenant, whole_hours(time_range), hours=hours)
    return Statement(f"SELECT hash, offset, size, content\nFROM {held}\nWHERE {where}\nLIMIT 1 BY hash, offset", where.parameters)


def hours_of(source: Source, tenant: str, hashes: Sequence[bytes], time_range: TimeRange, *, every: bool) -> Statement:
    """The starts, in seconds, of the hours that have these payloads: the last hour of each payload, or every hour."""
    where = _of_hashes(tenant, hashes, time_range)
    held = source.rows("payload_hours", tenant, time_range)
    last = "" if every else "\nGROUP BY hash"
    return Statement(f"SELECT toUnixTimestamp({'hour' if every else 'max(hour)'})\nFROM {held}\nWHERE {where}{last}", where.parameters)


def _of_hashes(tenant: str, hashes: Sequence[bytes], time_range: TimeRange) -> Conditions:
    where = Conditions(tenant)
    where.within_hours("hour", time_range)
    where.add(
        "hash IN (SELECT arrayJoin(arrayMap(h -> toFixedString(unhex(h), 32), {hashes:Array(String)})))",
        hashes=[sha256.hex() for sha256 in hashes],
    )
    return where
