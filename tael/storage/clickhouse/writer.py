"""BatchWriter of one shard: hands a joined body to the landing table of its signal, where ClickHouse decodes and flattens it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tael.errors import Rejected
from tael.storage.clickhouse import flatten, flatten_logs, metric_wire, wire
from tael.storage.clickhouse.client import ClickHouse
from tael.wal.api import LOGS, METRICS, TOTALS, TRACES

MAX_HOURS = 1_000
"""A batch that spreads over more hours is refused, and so cut in two by the writer: each hour becomes a part of its own."""


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
}

_SETTINGS: Final[dict[str, Any]] = {
    "async_insert": 0,
    "insert_deduplicate": 1,
    # The index is fed again when only the table had taken the block; it recognises the token for itself.
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "format_schema_source": "string",
    "format_schema_message_name": wire.BATCH_MESSAGE,
    "input_format_protobuf_oneof_presence": 1,
    "max_partitions_per_insert_block": MAX_HOURS,
    "throw_on_max_partitions_per_insert_block": 1,
    # Planning the flattening is most of what a small insert costs, and merging its steps a third of the planning.
    "query_plan_merge_expressions": 0,
}


class ClickHouseWriter:
    """See BatchWriter."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def write(self, signal: str, body: bytes, token: str) -> None:
        """See BatchWriter."""
        landing = LANDINGS.get(signal)
        if landing is None:
            raise Rejected(f"no table takes {signal}", where="signal", accepted=", ".join(LANDINGS))
        settings = {**_SETTINGS, "format_schema": landing.format_schema, "insert_deduplication_token": token}
        await self._clickhouse.insert(landing.table, body, "ProtobufSingle", settings)
