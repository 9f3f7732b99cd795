"""A shard's schema: the migrations, the values of their placeholders, and the store that applies them.

A migration is one file, ``NNNN_<name>.sql``, whose statements can each be repeated. It is applied once all of them have run and it is
recorded in ``tael_migrations``. Files are never edited after a release, and neither is the text that ``flatten`` generates for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from typing import Literal

from tael.errors import Rejected
from tael.model.time import NS_PER_SECOND
from tael.storage.clickhouse import (
    attribute_keys,
    flatten,
    flatten_logs,
    groups,
    log_lines,
    log_minutes,
    metric_wire,
    payload_wire,
    references,
    service_counts,
    streams,
    wire,
)
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.rows import text
from tael.storage.partitions import DetachedPart, PartitionSize

Engine = Literal["mergetree", "replicated"]

DEDUPLICATION_WINDOW = 10_000
"""The number of recent blocks among which a table recognises an insert's token (docs/formats.md)."""

_TABLE_SETTINGS = ", ".join(
    (
        f"non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}",
        f"replicated_deduplication_window = {DEDUPLICATION_WINDOW}",
        "map_serialization_version = 'with_buckets'",
        "map_buckets_min_avg_size = 0",
        "map_buckets_coefficient = 2",
        # The part of an insert has one file for all columns: tens of files instead of a thousand.
        "min_bytes_for_wide_part = 268435456",
        # Merging costs more than inserting: many parts of similar size are merged at once, so that a row is rewritten once or twice and not
        # ten times.
        "merge_selector_base = 20",
    )
)
_AT_ONCE = "min_parts_to_merge_at_once = 20"
_RESOURCE = "CAST(resource_string, 'Map(String, String)')"
_ONE_PART_AFTERWARDS = "min_age_to_force_merge_seconds = 600, min_age_to_force_merge_on_partition_only = 1"
"""An hour to which nothing was added for ten minutes is merged into one part, so that reads need not merge its rows."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """The signal whose retention applies to a table, and the length of its partitions in hours."""

    signal: Literal["traces", "logs", "metrics", "payloads"]
    hours: int = 1


KEPT = {
    "spans": _Kept("traces"),
    "trace_index": _Kept("traces", 24),
    "service_minutes": _Kept("traces"),
    "service_hours": _Kept("traces"),
    "span_names": _Kept("traces"),
    "logs": _Kept("logs"),
    "log_streams": _Kept("logs"),
    "span_attribute_keys": _Kept("traces"),
    "log_attribute_keys": _Kept("logs"),
    "samples": _Kept("metrics"),
    "histograms": _Kept("metrics"),
    "exemplars": _Kept("metrics"),
    "series": _Kept("metrics"),
    "metric_families": _Kept("metrics"),
    "red": _Kept("metrics", 24),
    "payloads": _Kept("payloads"),
    "payload_hours": _Kept("payloads", 24),
    "payload_references": _Kept("payloads", 24),
}
"""Every table that grows with what is received."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: its number, its name and its statements, placeholders unfilled."""

    version: int
    name: str
    statements: tuple[str, ...]


def read_migrations() -> list[Migration]:
    """The migrations of this version of tael, oldest first."""
    folder = resources.files("tael.storage.clickhouse") / "migrations"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [_parse(file.name.removesuffix(".sql"), file.read_text()) for file in files]


def _parse(name: str, content: str) -> Migration:
    # A statement ends with a line that is only a semicolon, so that its text may contain others.
    statements = (part.strip() for part in re.split(r"(?m)^;$", content))
    return Migration(int(name.partition("_")[0]), name, tuple(part for part in statements if part))


def fill(statement: str, database: str, engine: Engine) -> str:
    """The statement with its placeholders filled in. Raises KeyError for an unknown placeholder."""
    prefix = "Replicated" if engine == "replicated" else ""
    batch = wire.wal_batch(wire.TRACE_REQUEST)
    values = {
        "database": database,
        "engine": f"{prefix}MergeTree",
        "aggregating_engine": f"{prefix}AggregatingMergeTree",
        "replacing_engine": f"{prefix}ReplacingMergeTree",
        "settings": f"{_TABLE_SETTINGS}, {_AT_ONCE}",
        "merged_settings": f"{_TABLE_SETTINGS}, {_ONE_PART_AFTERWARDS}",
        "spans_in_columns": wire.landing_columns(batch),
        "logs_in_columns": wire.landing_columns(wire.wal_batch(wire.LOGS_REQUEST)),
        "totals_in_1_columns": wire.landing_columns(wire.wal_batch(metric_wire.TOTAL_BATCH)),
        "metrics_in_1_columns": wire.landing_columns(wire.wal_batch(metric_wire.METRIC_BATCH)),
        "payloads_in_1_columns": wire.landing_columns(wire.wal_batch(payload_wire.PAYLOAD_BATCH)),
        "spans_in_1_select": _released("spans_in_1_select", database),
        "spans_in_2_select": _released("spans_in_4_select", database).replace("spans_in_4", "spans_in_2"),
        "spans_in_3_select": _released("spans_in_3_select", database),
        "spans_in_4_select": _released("spans_in_4_select", database),
        "spans_in_5_select": _released("spans_in_5_select", database),
        "spans_in_6_select": _released("spans_in_6_select", database),
        "spans_in_7_select": _released("spans_in_7_select", database),
        "spans_in_8_select": _released("spans_in_8_select", database),
        "spans_in_9_select": flatten.spans_select(f"{database}.spans_in_9"),
        **groups.EXPRESSIONS,
        "empty_mask": groups.MASK,
        "resource_value_hashes": flatten.RESOURCE_VALUE_HASHES,
        "logs_in_1_select": flatten_logs.logs_select_1(f"{database}.logs_in_1"),
        "logs_in_2_select": _released("logs_in_2_select", database),
        "logs_in_3_select": _released("logs_in_3_select", database),
        "logs_in_4_select": flatten_logs.logs_select(f"{database}.logs_in_4"),
        "line_names": log_lines.names(),
        "line_level_type": log_lines.LEVEL_TYPE,
        "line_level": log_lines.level(),
        "minutes_type": log_minutes.TYPE,
        "minutes_of_rows": log_minutes.OF_ROWS,
        "span_references_select": references.span_references_select(f"{database}.spans"),
        "log_references_select": references.log_references_select(f"{database}.logs"),
        "span_key_columns": attribute_keys.key_columns("traces"),
        "log_key_columns": attribute_keys.key_columns("logs"),
        "one_row_in": str(attribute_keys.ONE_ROW_IN),
        "attribute_keys_type": attribute_keys.KEYS_TYPE,
        "suggested_rows": attribute_keys.SUGGESTED_ROWS,
        "attribute_value_columns": attribute_keys.value_columns(),
        "span_keys_select": attribute_keys.keys_select("traces"),
        "log_keys_select": attribute_keys.keys_select("logs"),
        "own_span_keys_select": attribute_keys.own_keys_select("traces"),
        "own_log_keys_select": attribute_keys.own_keys_select("logs"),
        "shared_span_keys_select": attribute_keys.shared_keys_select("traces", f"{database}.spans_in_5"),
        "spans_in_6_keys_select": attribute_keys.shared_keys_select("traces", f"{database}.spans_in_6"),
        "spans_in_7_keys_select": attribute_keys.shared_keys_select("traces", f"{database}.spans_in_7"),
        "spans_in_8_keys_select": attribute_keys.shared_keys_select("traces", f"{database}.spans_in_8"),
        "spans_in_9_keys_select": attribute_keys.shared_keys_select("traces", f"{database}.spans_in_9"),
        "shared_log_keys_select": attribute_keys.shared_keys_select("logs", f"{database}.logs_in_3"),
        "logs_in_4_keys_select": attribute_keys.shared_keys_select("logs", f"{database}.logs_in_4"),
        "trace_state": service_counts.TRACE_STATE,
        "trace_state_merged": service_counts.TRACE_STATE_MERGED,
        "service_sums": service_counts.SUMS,
        "counted_start": service_counts.COUNTED_START,
        "stream_of_row": streams.stream_id("tenant", "CAST(resource_string, 'Map(String, String)')", "service"),
        "labels_type": streams.LABELS_TYPE,
        "labels_of_row": f"CAST({streams.labels(_RESOURCE, 'toString(service)')}, '{streams.LABELS_TYPE}')",
        "labels_of_pushed_row": streams.labels_of_row("tenant", _RESOURCE, "toString(service)", scope="scope_name", stream="stream"),
        "stream_labels": streams.labels("CAST(any(resource_string), 'Map(String, String)')", "toString(any(service))"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], statement)


def _released(name: str, database: str) -> str:
    """The SELECT of a view as it was released; writers of that version may still be running."""
    text = (resources.files("tael.storage.clickhouse") / "released" / f"{name}.sql").read_text()
    return text.strip().replace("{{database}}", database)


def pending(migrations: list[Migration], applied: set[int]) -> list[Migration]:
    """The migrations that have not run, oldest first. Raises Rejected if one was applied that this program does not know."""
    unknown = applied - {migration.version for migration in migrations}
    if unknown:
        named = ", ".join(map(str, sorted(unknown)))
        raise Rejected(f"the tables have migrations that this program does not know ({named}): run a newer tael", where="schema")
    return [migration for migration in migrations if migration.version not in applied]


_CREATE_DATABASE = "CREATE DATABASE IF NOT EXISTS {database}"
_CREATE_REPLICATED_DATABASE = (
    "CREATE DATABASE IF NOT EXISTS {database} ENGINE = Replicated('/clickhouse/databases/{database}', '{{shard}}', '{{replica}}')"
)
_CREATE_MIGRATIONS = """CREATE TABLE IF NOT EXISTS {{database}}.tael_migrations
(version UInt32, name String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'))
ENGINE = {{replacing_engine}} ORDER BY version"""
_RECORD = "INSERT INTO {database}.tael_migrations (version, name) SELECT {{version:UInt32}}, {{name:String}}"
_APPLIED = "SELECT DISTINCT version FROM {database}.tael_migrations"
_EXISTS = "SELECT count() FROM system.tables WHERE database = {database:String} AND name = 'tael_migrations'"
_PARTITIONS = """SELECT table, toUInt32(partition_id) AS start, sum(rows), sum(bytes_on_disk), count()
FROM system.parts WHERE active AND database = {database:String} AND table IN {tables:Array(String)}
GROUP BY table, partition_id ORDER BY start, table"""
_DETACHED = """SELECT table, name, reason, path, bytes_on_disk FROM system.detached_parts
WHERE database = {database:String} ORDER BY table, name"""
_DROP = "ALTER TABLE {database}.{table} DROP PARTITION ID {{start:String}}"


def create_database(database: str, engine: Engine) -> str:
    """The statement that creates a shard's database. A replicated database distributes every later statement to the shard's other servers
    by itself.
    """
    return (_CREATE_REPLICATED_DATABASE if engine == "replicated" else _CREATE_DATABASE).format(database=database)


def everywhere(database: str, cluster: str) -> list[str]:
    """The statements that create, for each table, another that reads it on all shards of a cluster in ClickHouse's configuration. These are
    for users' own SQL: tael queries each shard itself, to report which did not answer. They are recreated after migrations, because they
    keep the columns that they were created with.
    """
    return [
        statement
        for table in KEPT
        for statement in (
            f"DROP TABLE IF EXISTS {database}.{table}_all",
            f"CREATE TABLE IF NOT EXISTS {database}.{table}_all AS {database}.{table} ENGINE = Distributed('{cluster}', '{database}', '{table}')",
        )
    ]


class ClickHouseSchema:
    """SchemaStore of one shard; ``cluster`` is its name in ClickHouse's configuration, where it has one."""

    def __init__(
        self, clickhouse: ClickHouse, engine: Engine = "mergetree", migrations: list[Migration] | None = None, *, cluster: str = ""
    ) -> None:
        self._clickhouse = clickhouse
        self._cluster = cluster
        self._engine: Engine = engine
        self._migrations = read_migrations() if migrations is None else migrations

    async def migrate(self) -> list[str]:
        """See SchemaStore."""
        database = self._clickhouse.database
        await self._clickhouse.command(create_database(database, self._engine))
        await self._clickhouse.command(fill(_CREATE_MIGRATIONS, database, self._engine))
        waiting = await self._pending()
        for migration in waiting:
            await self._apply(migration)
        if self._cluster and waiting:
            for statement in everywhere(database, self._cluster):
                await self._clickhouse.command(statement)
        return [migration.name for migration in waiting]

    async def is_migrated(self) -> bool:
        """See SchemaStore."""
        [(there,)] = await self._clickhouse.query(_EXISTS, {"database": self._clickhouse.database})
        return bool(there) and not await self._pending()

    async def _pending(self) -> list[Migration]:
        rows = await self._clickhouse.query(_APPLIED.format(database=self._clickhouse.database), {})
        return pending(self._migrations, {int(version) for (version,) in rows})

    async def _apply(self, migration: Migration) -> None:
        database = self._clickhouse.database
        for statement in migration.statements:
            await self._clickhouse.command(fill(statement, database, self._engine))
        # Recorded after its last statement: a migration that was cut off runs again, as each of its statements may be repeated.
        await self._clickhouse.command(_RECORD.format(database=database), {"version": migration.version, "name": migration.name})

    async def list_partitions(self) -> list[PartitionSize]:
        """See SchemaStore."""
        rows = await self._clickhouse.query(_PARTITIONS, {"database": self._clickhouse.database, "tables": list(KEPT)})
        return [_partition(text(table), *map(int, numbers)) for table, *numbers in rows]

    async def list_detached(self) -> list[DetachedPart]:
        """See SchemaStore."""
        rows = await self._clickhouse.query(_DETACHED, {"database": self._clickhouse.database})
        return [
            DetachedPart(text(table), text(name), text(reason or b""), text(path), int(size)) for table, name, reason, path, size in rows
        ]

    async def drop_partition(self, partition: PartitionSize) -> None:
        """See SchemaStore."""
        # The table's name becomes a part of the statement.
        if partition.table not in KEPT:
            raise Rejected(f"{partition.table} is not a table whose partitions may be dropped", where="table", accepted=", ".join(KEPT))
        statement = _DROP.format(database=self._clickhouse.database, table=partition.table)
        await self._clickhouse.command(statement, {"start": str(partition.start_ns // NS_PER_SECOND)})


def _partition(table: str, start_seconds: int, rows: int, bytes_on_disk: int, parts: int) -> PartitionSize:
    kept = KEPT[table]
    return PartitionSize(table, start_seconds * NS_PER_SECOND, rows, bytes_on_disk, parts, kept.signal, kept.hours)
