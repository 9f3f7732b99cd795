"""RollStore of one shard: ClickHouse itself moves, writes and reads all rows, by the statements that are built here.

Statements name objects by their URLs and never contain credentials: the server signs its requests to the bucket (docs/operations.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tael.cold.files import DAY_HOURS, ROLLED, ROLLUP_FORMAT, ROLLUP_SECONDS, ColdFile, day_of, overlap
from tael.cold.manifest import OpenHour
from tael.cold.plan import Partition, Partitions
from tael.errors import Rejected, TooLarge, Unavailable
from tael.model.time import NS_PER_SECOND
from tael.runtime.observe import get_logger
from tael.storage.clickhouse import pack_words, parquet, rollup, thinned
from tael.storage.clickhouse.client import ClickHouse, Limits, Row
from tael.storage.clickhouse.parquet import Columns
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.span_expressions import RANKS as SPAN_RANKS
from tael.storage.rolling import Pace

_PARTITIONS: Final = """SELECT table, toUInt32(partition_id), sum(rows), sum(bytes_on_disk), toUnixTimestamp(max(modification_time))
FROM system.parts WHERE active AND database = {database:String} AND table IN {tables:Array(String)} AND rows > 0
GROUP BY table, partition_id ORDER BY 2, 1"""
# The fullest of several disks counts: it stops inserts first.
_FREE: Final = "SELECT min(free_space) FROM system.disks WHERE is_remote = 0"
# alter_sync = 2: wait for every replica of the shard, because readers may ask any of them.
_MOVE: Final = "ALTER TABLE {database}.{table} MOVE PARTITION ID {{id:String}} TO TABLE {database}.{table}_rolling SETTINGS alter_sync = 2"
_DROP: Final = "ALTER TABLE {database}.{table}_rolling DROP PARTITION ID {{id:String}} SETTINGS alter_sync = 2"
_COPY_IDS: Final = {"spans": SPAN_RANKS}
"""What tells copies of an item apart that have the same ids: of a span that was sent again, the most complete copy has to stay."""
_IN_BOTH: Final = """SELECT count(), countIf({ids} IN (SELECT {ids} FROM {database}.{table} WHERE _partition_id = {{id:String}}))
FROM {database}.{table}_rolling WHERE _partition_id = {{id:String}}"""
_DROP_COPIES: Final = """ALTER TABLE {database}.{table}_rolling DELETE IN PARTITION ID {{id:String}}
WHERE {ids} IN (SELECT {ids} FROM {database}.{table} WHERE _partition_id = {{id:String}})
SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1"""
SUFFIX: Final = "_rolling"
_COLUMNS: Final = """SELECT name, type FROM system.columns
WHERE database = {database:String} AND table = {table:String} AND default_kind IN ('', 'DEFAULT') ORDER BY position"""
_WRITE: Final[Mapping[str, Any]] = {
    "output_format_parquet_write_bloom_filter": 1,
    # A group ends with the block that reaches its size. Small blocks and groups, so that looking an id up reads few rows.
    "output_format_parquet_row_group_size": 32_768,
    "optimize_read_in_order": 1,
}
_WRITE_OF: Final[Mapping[str, Mapping[str, Any]]] = {
    # Samples are ordered by series, and nothing searches for a value: filters would be a third of the file.
    "samples": {"output_format_parquet_write_bloom_filter": 0},
    "payloads": {
        # Contents are arbitrary bytes, and large: reading one payload means reading its group.
        "output_format_parquet_string_as_string": 0,
        "output_format_parquet_row_group_size_bytes": 2 << 20,
        "max_block_size": 64,
    },
}
"""The settings in which a table differs."""
_MERGE: Final = "use_hive_partitioning = 0, input_format_null_as_default = 1, max_bytes_before_external_sort = 268435456"
_FEWER_ROWS: Final = (512, 16)
"""In place of the usual sizes. What thousands of rows share, such as a resource of a megabyte, is one value of a dictionary in the hot
table, but a value of each row where a group of rows is made into a file.
"""
_STORE: Final = "s3_retry_attempts = 3, s3_connect_timeout_ms = 3000, s3_request_timeout_ms = 30000"
"""A store that does not answer is soon given up, because the roll is retried."""
_READ: Final = f"SETTINGS use_hive_partitioning = 0, input_format_null_as_default = 1, {_STORE}"
_CHECK_LIMITS: Final = Limits(seconds=600, memory_bytes=1 << 30, threads=1)
_MOVE_LIMITS: Final = Limits(seconds=60)
_MAX_BOUND: Final = 256
log = get_logger("rolling")


class ColdFiles:
    """Writes files of the cold tier from others. ``bucket_url`` is the prefix of objects' URLs as the ClickHouse server reaches them."""

    def __init__(self, clickhouse: ClickHouse, bucket_url: str) -> None:
        self._clickhouse = clickhouse
        self._bucket_url = bucket_url

    async def _merge(
        self,
        files: Sequence[ColdFile],
        generation: int,
        pace: Pace,
        *,
        without: str = "",
        parameters: Mapping[str, Any] | None = None,
    ) -> ColdFile:
        return await self._written(replace(files[0], generation=generation), files, pace, without=without, parameters=parameters)

    async def _written(
        self, file: ColdFile, files: Sequence[ColdFile], pace: Pace, *, without: str = "", parameters: Mapping[str, Any] | None = None
    ) -> ColdFile:
        columns = [*await self._columns(file.table), *(rollup.BESIDE[file.table] if file.resolution else ())]
        newest_first = sorted(files, key=lambda one: -one.generation)
        sql = merge_statement(
            file, columns, self._url(file), [self._url(one) for one in newest_first], without=without, apart=not overlap(files)
        )
        await self._write(sql, parameters or {}, pace)
        return await self._with_words(await self._read_back(file, columns), pace)

    async def _write(self, sql: str, parameters: Mapping[str, Any], pace: Pace) -> None:
        """Run a statement that ends in the settings of a file; where it does not fit into memory, with smaller groups of rows."""
        for rows in _FEWER_ROWS:
            try:
                await self._clickhouse.command(sql, parameters, _limits(pace))
                break
            except TooLarge:
                sql += f", max_block_size = {rows}, output_format_parquet_row_group_size = {rows}"
        else:
            await self._clickhouse.command(sql, parameters, _limits(pace))

    async def _read_back(self, file: ColdFile, columns: Columns) -> ColdFile:
        rows = await self._clickhouse.query(read_back_statement(file.table, columns, self._url(file)), {}, _CHECK_LIMITS)
        # No rows, or several tenants': the file is damaged, or it is not the one that was just written.
        if len(rows) != 1:
            raise Unavailable(f"{file.key} holds {len(rows)} tenants' rows")
        [(tenant, size, *measures)] = rows
        return replace(_measured(replace(file, tenant=text(tenant)), measures), bytes=int(size))

    async def _with_words(self, file: ColdFile, pace: Pace) -> ColdFile:
        """The file after its words were written, if it is a pack: by any method that writes one, from what it wrote."""
        if file.table != "payloads":
            return file
        pack, words = self._url(file), self._bucket_url + file.words_key
        try:
            await self._clickhouse.command(pack_words.write_statement(pack, words, pace.memory_bytes // 4), {}, _limits(pace))
        except Rejected as error:
            # Without its words a pack is searched slowly, but a pack that is never committed would fill the hot tier's disk.
            log.warning("a pack's words cannot be written; it is searched without them", key=file.key, reason=error.reason)
            return file
        [(count, size)] = await self._clickhouse.query(pack_words.size_statement(words), {}, _CHECK_LIMITS)
        return replace(file, words=int(size) if int(count) else 0)

    async def _columns(self, table: str) -> Columns:
        rows = await self._clickhouse.query(_COLUMNS, {"database": self._clickhouse.database, "table": table})
        return [(text(name), text(kind)) for name, kind in rows]

    def _url(self, file: ColdFile) -> str:
        return self._bucket_url + file.key


class ClickHouseRolling(ColdFiles):
    """See RollStore."""

    async def partitions(self) -> Partitions:
        """See RollStore."""
        tables = [name for table in ROLLED for name in (table, table + SUFFIX)]
        rows = await self._clickhouse.query(_PARTITIONS, {"database": self._clickhouse.database, "tables": tables})
        hot: list[Partition] = []
        rolling: list[Partition] = []
        for name, *numbers in rows:
            table = text(name).removesuffix(SUFFIX)
            (hot if table == text(name) else rolling).append(_partition(table, *map(int, numbers)))
        return Partitions(tuple(hot), tuple(rolling))

    async def free_bytes(self) -> int:
        """See RollStore."""
        [(free,)] = await self._clickhouse.query(_FREE, {})
        return int(free)

    async def move(self, hour: OpenHour) -> None:
        """See RollStore."""
        await self._alter(_MOVE, hour)

    async def drop(self, hour: OpenHour) -> None:
        """See RollStore."""
        await self._alter(_DROP, hour)

    async def untangle(self, hour: OpenHour) -> bool:
        """See RollStore.

        The engine copies every part before it removes the first one. So if the move was cut off, all rows of the rolling table are in the
        hot table as well, except those that a retention has deleted there since; rows that came late after a complete move are different
        ones, or equal copies.
        """
        ids = (*ROLLED[hour.table].ids, *_COPY_IDS.get(hour.table, ()))
        names = {"database": self._clickhouse.database, "table": hour.table, "ids": f"({', '.join(ids)})"}
        [(rows, twice)] = await self._clickhouse.query(_IN_BOTH.format(**names), {"id": hour.partition_id}, _CHECK_LIMITS)
        # The copies in the rolling table are dropped and not those in the hot one, which may have got late rows since.
        if int(rows) == int(twice):
            await self.drop(hour)
        elif int(twice):
            await self._clickhouse.command(_DROP_COPIES.format(**names), {"id": hour.partition_id}, _CHECK_LIMITS)
        return int(rows) == int(twice)

    async def contents(self, hour: OpenHour, shard: int) -> Sequence[ColdFile]:
        """See RollStore."""
        sql = contents_statement(self._clickhouse.database, hour.table)
        rows = await self._clickhouse.query(sql, {"id": hour.partition_id}, _CHECK_LIMITS)
        file = ColdFile(hour.table, "", shard, hour.hour_ns, hour.generation, 0, 0, "", 0, 0)
        return [_measured(replace(file, tenant=text(tenant)), measures) for tenant, *measures in rows]

    async def export(self, file: ColdFile, pace: Pace) -> ColdFile:
        """See RollStore."""
        columns = await self._columns(file.table)
        sql = export_statement(self._clickhouse.database, file, columns, self._url(file))
        await self._write(sql, {"id": str(file.hour_ns // NS_PER_SECOND), "tenant": file.tenant}, pace)
        return await self._with_words(await self._read_back(file, columns), pace)

    async def merge(self, files: Sequence[ColdFile], generation: int, pace: Pace) -> ColdFile:
        """See RollStore."""
        return await self._merge(files, generation, pace)

    async def gather(self, files: Sequence[ColdFile], generation: int, pace: Pace) -> ColdFile:
        """See RollStore."""
        first = files[0]
        return await self._written(replace(first, hour_ns=day_of(first.hour_ns), hours=DAY_HOURS, generation=generation), files, pace)

    async def roll_up(self, raw: ColdFile, generation: int, pace: Pace) -> tuple[ColdFile, int]:
        """See RollStore."""
        file = replace(raw, generation=generation, resolution=ROLLUP_SECONDS, format=ROLLUP_FORMAT)
        columns = await self._columns(raw.table)
        await self._clickhouse.command(roll_up_statement(raw, columns, self._url(file), self._url(raw), pace), {}, _limits(pace))
        written = await self._read_back(file, columns)
        [(samples,)] = await self._clickhouse.query(rolled_up_statement(raw.table, self._url(file)), {}, _CHECK_LIMITS)
        return written, int(samples)

    async def _alter(self, statement: str, hour: OpenHour) -> None:
        sql = statement.format(database=self._clickhouse.database, table=hour.table)
        await self._clickhouse.command(sql, {"id": hour.partition_id}, _MOVE_LIMITS)


def _partition(table: str, start_seconds: int, rows: int, size: int, newest_seconds: int) -> Partition:
    return Partition(table, start_seconds * NS_PER_SECOND, rows, size, newest_seconds * NS_PER_SECOND)


def _measures(table: str) -> str:
    """The selected columns for number of rows, checksum, and first and last time, service and name."""
    rolled = ROLLED[table]
    bounds = [f"min({column}), max({column})" if column else "NULL, NULL" for column in (rolled.service, rolled.name)]
    time = f"toUnixTimestamp64Nano(toDateTime64({{}}({rolled.time}), 9, 'UTC'))"
    times = f"{time.format('min')}, {time.format('max')}"
    return f"count(), {checksum(table)}, {times}, {', '.join(bounds)}"


def checksum(table: str) -> str:
    """The checksum of rows of a table: a sum modulo 2^64, so that their order does not matter and the sum of some rows can be
    subtracted.
    """
    return f"hex(sum(cityHash64({', '.join(ROLLED[table].ids)})))"


def _rows_of(database: str, table: str) -> str:
    return f"{database}.{table}{SUFFIX}{' FINAL' if ROLLED[table].replaces else ''} WHERE _partition_id = {{id:String}}"


def contents_statement(database: str, table: str) -> str:
    """The measures of each tenant's file of the hour ``id``."""
    return f"SELECT tenant, {_measures(table)}\nFROM {_rows_of(database, table)}\nGROUP BY tenant ORDER BY tenant"


def export_statement(database: str, file: ColdFile, columns: Columns, url: str) -> str:
    """Write the rows of the hour ``id`` and the ``tenant`` to the file, in the order of the table."""
    return (
        f"INSERT INTO FUNCTION s3('{url}', 'Parquet') SELECT {parquet.written(file.table, columns)}\n"
        f"FROM {_rows_of(database, file.table)} AND tenant = {{tenant:String}}\n"
        f"ORDER BY {', '.join(ROLLED[file.table].order)}\n{_settings(file.table)}"
    )


def merge_statement(
    file: ColdFile, columns: Columns, url: str, newest_first: Sequence[str], *, without: str = "", apart: bool = False
) -> str:
    """Write the rows of several files of a tenant and hour or day to one, except those for which ``without`` holds.

    ``apart``: no two files have rows with the same key, so duplicates need not be looked for.
    """
    rolled = ROLLED[file.table]
    names = ", ".join(f"`{name}`" for name, _ in columns)
    kept = f" WHERE NOT ({without})" if without else ""
    sources = [_from_file(file.table, columns, each) + kept for each in newest_first]
    branches = [f"SELECT {names}, {place} AS place FROM {source}" for place, source in enumerate(sources)]  # noqa: S608  # names of columns
    # LIMIT 1 BY keeps the first row of each key, which is the one of the latest generation. The time is a part of the key, because in the
    # files of a day each hour may have the same series.
    key = rolled.order if rolled.time in rolled.order else (*rolled.order, rolled.time)
    once = f"LIMIT 1 BY {', '.join(key)}\n" if rolled.replaces and not apart else ""
    return (
        f"INSERT INTO FUNCTION s3('{url}', 'Parquet') SELECT {parquet.written(file.table, columns)}\n"  # noqa: S608  # names of columns, and keys of ours
        f"FROM (SELECT {names} FROM ({' UNION ALL '.join(branches)})\n"
        f"ORDER BY {', '.join((*key, 'place'))} {once})\n{_settings(file.table)}, {_MERGE}"
    )


def roll_up_statement(raw: ColdFile, columns: Columns, url: str, raw_url: str, pace: Pace) -> str:
    """Write the rollup of a file to another. What does not fit into memory is sorted and grouped on disk."""
    spill, rows = pace.memory_bytes // 4, _from_file(raw.table, columns, raw_url)
    rolled = rollup.rolled_up(rows, raw) if raw.table == "samples" else thinned.thinned(rows, columns)
    return (
        f"INSERT INTO FUNCTION s3('{url}', 'Parquet') {rolled}\n"
        f"{_settings(raw.table)}, use_hive_partitioning = 0, max_bytes_before_external_sort = {spill}, max_bytes_before_external_group_by = {spill}"
    )


def rolled_up_statement(table: str, url: str) -> str:
    """The number of raw rows that a rollup stands for."""
    made_of = "sum(`count`) + sum(stale)" if table == "samples" else "toUInt64(sum(weight))"
    return f"SELECT {made_of}\nFROM s3('{url}', 'Parquet', {parquet.structure(rollup.BESIDE[table])})\n{_READ}"  # the same


def read_back_statement(table: str, columns: Columns, url: str) -> str:
    """Tenant, size and measures of a file."""
    return f"SELECT tenant, any(_size), {_measures(table)}\nFROM {_from_file(table, columns, url, ', _size')}\nGROUP BY tenant\n{_READ}"


def _from_file(table: str, columns: Columns, url: str, also: str = "") -> str:
    return f"(SELECT {parquet.read(table, columns)}{also} FROM s3('{url}', 'Parquet', {parquet.structure(columns)}))"  # noqa: S608  # the same


def _settings(table: str) -> str:
    return f"{parquet.write({**_WRITE, **_WRITE_OF.get(table, {})})}, {_STORE}"


def _limits(pace: Pace) -> Limits:
    return Limits(seconds=pace.seconds, memory_bytes=pace.memory_bytes, threads=pace.threads)


def _measured(file: ColdFile, measures: Row) -> ColdFile:
    rows, checksum, first, last, *bounds = measures
    least_service, most_service, least_name, most_name = map(_bound, bounds)
    return replace(
        file,
        rows=int(rows),
        checksum=text(checksum),
        min_time_ns=int(first),
        max_time_ns=int(last),
        min_service=least_service,
        max_service=most_service,
        min_name=least_name,
        max_name=most_name,
    )


def _bound(value: bytes | str | None) -> str | None:
    """A bound for the manifest; None for a value that is not UTF-8 or too long. It cannot be cut, because a cut maximum would be
    too small.
    """
    try:
        found = value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return None
    return found if found is not None and len(found) <= _MAX_BOUND else None
