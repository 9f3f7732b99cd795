"""HoldingReader of one shard: counts rows by tenant and partition, and divides a partition's bytes by rows. The manifest has both for cold
files.
"""

from __future__ import annotations

from collections.abc import Iterable

from tael.cold.files import ColdFile
from tael.cold.manifest import OpenHour
from tael.model.time import HOUR_NS, NS_PER_SECOND
from tael.runtime.tasks import together
from tael.storage.api import Answer, AskedShard
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.schema import KEPT
from tael.storage.clickhouse.source import HotTables, Source
from tael.storage.holdings import Holding, merged_holdings

ITEM_TABLES = frozenset(("spans", "logs", "samples", "histograms", "payloads"))
"""The tables whose rows are items that a tenant sent; the rows of other tables are derived from them."""
_OF_A_TABLE = """SELECT tenant, sum(rows), toUInt64(sum(bytes)), min(start), argMin(toUInt64(bytes), start)
FROM
(
    SELECT tenant, toUInt32(id) AS start, rows, rows * any_bytes / any_rows AS bytes
    FROM (SELECT tenant, _partition_id AS id, count() AS rows FROM {database}.{table} WHERE {where} GROUP BY tenant, id) AS held
    INNER JOIN
    (
        SELECT partition_id, sum(rows) AS any_rows, sum(bytes_on_disk) AS any_bytes
        FROM system.parts WHERE active AND database = {{database:String}} AND table = {{table:String}} GROUP BY partition_id
    ) AS parts ON parts.partition_id = held.id
)
GROUP BY tenant"""


class TableHoldings:
    """Reads the holdings of one table, in every tier of the source."""

    def __init__(self, clickhouse: ClickHouse, source: Source | None = None) -> None:
        self._clickhouse = clickhouse
        self._source = source or HotTables(clickhouse.database)

    async def holdings(self, table: str, tenant: str | None) -> Answer[list[Holding]]:
        """The holdings of each tenant with rows in the table, or of one ``tenant``. Raises the errors of SpanReader."""
        places = self._source.places(table, tenant)
        found = await self._of(table, table, tenant)
        if places.rolling:
            found += await self._of(table, f"{table}_rolling", tenant, places.rolling)
        return Answer(merged_holdings([*found, *_of_files(table, places.files)]))

    async def _of(self, table: str, place: str, tenant: str | None, hours: Iterable[OpenHour] = ()) -> list[Holding]:
        database, kept = self._clickhouse.database, KEPT[table]
        where = ["tenant = {tenant:String}"] if tenant is not None else []
        where += ["_partition_id IN {ids:Array(String)}"] if hours else []
        statement = _OF_A_TABLE.format(database=database, table=place, where=" AND ".join(where) or "1")
        parameters = {"database": database, "table": place, "tenant": tenant or "", "ids": [hour.partition_id for hour in hours]}
        found = []
        for name, count, size, start, oldest_bytes in await self._clickhouse.query(statement, parameters):
            start_ns = int(start) * NS_PER_SECOND
            items = int(count) if table in ITEM_TABLES else 0
            found.append(
                Holding(text(name), kept.signal, items, int(size), 0, start_ns, start_ns + kept.hours * HOUR_NS, int(oldest_bytes))
            )
        return found


def _of_files(table: str, files: Iterable[ColdFile]) -> Iterable[Holding]:
    by_tenant: dict[str, list[ColdFile]] = {}
    for file in files:
        by_tenant.setdefault(file.tenant, []).append(file)
    for tenant, own in by_tenant.items():
        first = min(own, key=lambda file: file.end_ns)
        items = sum(file.rows for file in own) if table in ITEM_TABLES else 0
        freed = sum(file.bytes for file in own if file.end_ns == first.end_ns)
        yield Holding(tenant, KEPT[table].signal, items, 0, sum(file.bytes for file in own), first.hour_ns, first.end_ns, freed)


class ClickHouseHoldings:
    """See HoldingReader. Each table is read by a question of its own, so that a roll, which changes one table at a time, delays only that
    one.
    """

    def __init__(self, shard: AskedShard[TableHoldings]) -> None:
        self._shard = shard

    async def holdings(self, tenant: str | None) -> Answer[list[Holding]]:
        """See HoldingReader."""
        answers = await together((self._of(table, tenant) for table in KEPT), name="holdings")
        missing = dict.fromkeys(name for answer in answers for name in answer.missing)
        return Answer(merged_holdings(one for answer in answers for one in answer.value), tuple(missing))

    async def _of(self, table: str, tenant: str | None) -> Answer[list[Holding]]:
        return await self._shard.ask(lambda reader: reader.holdings(table, tenant))
