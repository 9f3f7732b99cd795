"""BatchWriter of one shard: inserts a joined body into the landing table of its signal, where ClickHouse decodes and flattens it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from tael.errors import Overloaded, Rejected, StoredInPart, TooLarge, Unavailable
from tael.model.signals import LOGS, METRICS, PAYLOADS, TOTALS, TRACES
from tael.storage.api import LANDING
from tael.storage.clickhouse import flatten, flatten_logs, metric_wire, payload_wire, stored, wire
from tael.storage.clickhouse.client import INSERT_LIMITS, OUT_OF_MEMORY, ClickHouse

MAX_HOURS = 100
"""A batch that spreads over more hours is refused, and then halved by the writer, because each hour becomes a part of its own."""
ASIDE_HOURS = 20
"""The limit for items far from now: their inserts take about half a second, and others get their turn in between."""


@dataclass(frozen=True, slots=True)
class Landing:
    """The landing table of a signal, and the schema with which ClickHouse reads its bodies."""

    table: str
    format_schema: str


LANDINGS: Final = {
    TRACES: Landing(flatten.LANDING_TABLE, wire.format_schema(wire.wal_batch(wire.TRACE_REQUEST))),
    LOGS: Landing(flatten_logs.LANDING_TABLE, wire.format_schema(wire.wal_batch(wire.LOGS_REQUEST))),
    TOTALS: Landing(metric_wire.TOTALS_LANDING_TABLE, wire.format_schema(wire.wal_batch(metric_wire.TOTAL_BATCH))),
    METRICS: Landing(metric_wire.LANDING_TABLE, wire.format_schema(wire.wal_batch(metric_wire.METRIC_BATCH))),
    PAYLOADS: Landing(payload_wire.LANDING_TABLE, wire.format_schema(wire.wal_batch(payload_wire.PAYLOAD_BATCH))),
}

_EARLIER: Final[dict[int, dict[str, str]]] = {
    edition: {TRACES: table, LOGS: "logs_in_3"}
    for edition, table in enumerate(("spans_in_5", "spans_in_6", "spans_in_7", "spans_in_8", "spans_in_9"))
}
"""The tables of earlier editions (tael.storage.api.LANDING) where they are others than those above; bodies are read alike."""

_SETTINGS: Final[dict[str, Any]] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    # Each table behind a view recognises the token by itself, so that a repeated insert fills those that the first attempt did not reach.
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "format_schema_source": "string",
    "format_schema_message_name": wire.BATCH_MESSAGE,
    "input_format_protobuf_oneof_presence": 1,
    "throw_on_max_partitions_per_insert_block": 1,
    # Planning the views is most of the cost of a small insert, and merging their steps a third of the planning.
    "query_plan_merge_expressions": 0,
    # With replicas, a majority of them holds an insert before its entries leave the WAL; tables without replicas ignore the setting.
    "insert_quorum": "auto",
    "insert_quorum_timeout": 60_000,
}


def settings_of(signal: str, token: str, max_hours: int = MAX_HOURS) -> dict[str, Any]:
    """ClickHouse's settings for an insert."""
    own = {
        "format_schema": LANDINGS[signal].format_schema,
        "insert_deduplication_token": token,
        "max_partitions_per_insert_block": max_hours,
    }
    return _SETTINGS | own


_STARVED_ATTEMPTS: Final = 5
"""How often an insert may find the server out of memory before it is considered too large for it."""


class ClickHouseWriter:
    """See BatchWriter."""

    def __init__(self, clickhouse: ClickHouse, *, max_hours: int = MAX_HOURS) -> None:
        self._clickhouse = clickhouse
        self._max_hours = max_hours
        self._starved: Counter[str] = Counter()

    async def write(self, signal: str, body: bytes, token: str, landing: int = LANDING) -> None:
        """See BatchWriter."""
        if signal not in LANDINGS:
            raise Rejected(f"no table for signal {signal}", where="signal", accepted=", ".join(LANDINGS))
        if landing > LANDING:
            # Its table is not known here, and a token counts only in its own table: in another one the rows would be stored twice.
            raise Unavailable("this batch was begun by a newer version of tael, which has to complete it: upgrade every ingest process")
        table = _EARLIER.get(landing, {}).get(signal, LANDINGS[signal].table)
        insert = partial(self._clickhouse.insert, table, body, "ProtobufSingle", settings_of(signal, token, self._max_hours))
        try:
            await self._within_memory(insert, token)
        except TooLarge:
            # Nothing is stored: the caller may halve the body. Once some rows are stored it may not, because the halves have other tokens
            # and would store those rows again.
            if await self._rest(signal, body) == body:
                raise
            await self._complete(partial(insert, limits=replace(INSERT_LIMITS, memory_bytes=0)), signal, body, token)

    async def _complete(self, insert: Callable[[], Awaitable[None]], signal: str, body: bytes, token: str) -> None:
        """Write a body of which some rows are stored already: ClickHouse stores the part of one hour before it makes the next, and before
        views count it. Only inserting the whole body under its token completes all tables. If even that takes too much memory, the missing
        rows have to be written in pieces.
        """
        try:
            await self._within_memory(insert, f"{token} whole")
        except TooLarge as error:
            # The stored rows are not inserted again, so the views may never see them. Their references at least must be indexed, or
            # payloads that they refer to would be collected.
            if (index := stored.index_references(self._clickhouse.database, signal, body)) is not None:
                await self._clickhouse.command(index.sql, index.parameters, INSERT_LIMITS)
            raise StoredInPart(error.reason, await self._rest(signal, body)) from error

    async def _within_memory(self, insert: Callable[[], Awaitable[None]], token: str) -> None:
        """Insert. A server may be out of memory because of other statements, but several times in a row probably because of this one."""
        try:
            await insert()
        except Overloaded as error:
            # By token, which the caller's next attempts at the same body have in common.
            self._starved[token] += OUT_OF_MEMORY in error.reason
            if self._starved[token] < _STARVED_ATTEMPTS:
                raise
            del self._starved[token]
            raise TooLarge(error.reason) from error
        self._starved.pop(token, None)

    async def _rest(self, signal: str, body: bytes) -> bytes:
        """The body without the items whose rows are stored."""
        statement = stored.count_rows(self._clickhouse.database, signal, body)
        if statement is None:
            return body
        return stored.rest_of(signal, body, await self._clickhouse.query(statement.sql, statement.parameters))
