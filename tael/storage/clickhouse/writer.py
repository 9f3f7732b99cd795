"""BatchWriter of one shard: hands a joined body to the landing table of its signal, where ClickHouse decodes and flattens it."""

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
"""A batch that spreads over more hours is refused, and so cut in two by the writer: each hour becomes a part of its own."""
ASIDE_HOURS = 20
"""The same of items that lie far from now: an insert of theirs takes half a second or so, and others come in between."""


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a signal lands, and the schema that its bodies are read with."""

    table: str
    format_schema: str


LANDINGS: Final = {
    TRACES: Landing(flatten.LANDING_TABLE, wire.format_schema(wire.wal_batch(wire.TRACE_REQUEST))),
    LOGS: Landing(flatten_logs.LANDING_TABLE, wire.format_schema(wire.wal_batch(wire.LOGS_REQUEST))),
    TOTALS: Landing(metric_wire.TOTALS_LANDING_TABLE, wire.format_schema(wire.wal_batch(metric_wire.TOTAL_BATCH))),
    METRICS: Landing(metric_wire.LANDING_TABLE, wire.format_schema(wire.wal_batch(metric_wire.METRIC_BATCH))),
    PAYLOADS: Landing(payload_wire.LANDING_TABLE, wire.format_schema(wire.wal_batch(payload_wire.PAYLOAD_BATCH))),
}

_EARLIER: Final[dict[int, dict[str, str]]] = {0: {TRACES: "spans_in_5"}, 1: {TRACES: "spans_in_6"}}
"""The tables of earlier editions (tael.storage.api.LANDING) where they are others than those above; bodies are read alike."""

_SETTINGS: Final[dict[str, Any]] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    # The index is fed again when only the table had taken the block; it recognises the token for itself.
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "format_schema_source": "string",
    "format_schema_message_name": wire.BATCH_MESSAGE,
    "input_format_protobuf_oneof_presence": 1,
    "throw_on_max_partitions_per_insert_block": 1,
    # Planning the flattening is most of what a small insert costs, and merging its steps a third of the planning.
    "query_plan_merge_expressions": 0,
    # Where tables have replicas, most of them hold an insert before its entries leave the WAL; tables without replicas know no quorum.
    "insert_quorum": "auto",
    "insert_quorum_timeout": 60_000,
}


def settings_of(signal: str, token: str, max_hours: int = MAX_HOURS) -> dict[str, Any]:
    """ClickHouse's settings of an insert."""
    own = {
        "format_schema": LANDINGS[signal].format_schema,
        "insert_deduplication_token": token,
        "max_partitions_per_insert_block": max_hours,
    }
    return _SETTINGS | own


_STARVED_ATTEMPTS: Final = 5
"""So often an insert may meet a server without memory before it counts as too large for it."""


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
            # Its table is not known here, and a token is known to its own table alone: in another one the rows would be stored twice.
            raise Unavailable("this batch was begun by a newer version of tael, which has to complete it: upgrade every ingest process")
        table = _EARLIER.get(landing, {}).get(signal, LANDINGS[signal].table)
        insert = partial(self._clickhouse.insert, table, body, "ProtobufSingle", settings_of(signal, token, self._max_hours))
        try:
            await self._within_memory(insert, token)
        except TooLarge:
            if await self._rest(signal, body) == body:
                raise
            await self._complete(partial(insert, limits=replace(INSERT_LIMITS, memory_bytes=0)), signal, body, token)

    async def _complete(self, insert: Callable[[], Awaitable[None]], signal: str, body: bytes, token: str) -> None:
        """Write a body whose rows are there in part: a part of one hour is stored before the next is made, and before what is counted from it. Only the
        whole, under its token, completes these; where even that finds too little memory, the rows that are not there are to be written in pieces.
        """
        try:
            await self._within_memory(insert, f"{token} whole")
        except TooLarge as error:
            # What is there is not written again, nor are the views fed: no payload may be collected that it refers to.
            if (index := stored.index_references(self._clickhouse.database, signal, body)) is not None:
                await self._clickhouse.command(index.sql, index.parameters, INSERT_LIMITS)
            raise StoredInPart(error.reason, await self._rest(signal, body)) from error

    async def _within_memory(self, insert: Callable[[], Awaitable[None]], token: str) -> None:
        """Insert; a server that is out of memory may be so because of others, several times in a row because of this insert."""
        try:
            await insert()
        except Overloaded as error:
            self._starved[token] += OUT_OF_MEMORY in error.reason
            if self._starved[token] < _STARVED_ATTEMPTS:
                raise
            del self._starved[token]
            raise TooLarge(error.reason) from error
        self._starved.pop(token, None)

    async def _rest(self, signal: str, body: bytes) -> bytes:
        """The body without the items whose rows are there."""
        statement = stored.count_rows(self._clickhouse.database, signal, body)
        if statement is None:
            return body
        return stored.rest_of(signal, body, await self._clickhouse.query(statement.sql, statement.parameters))
