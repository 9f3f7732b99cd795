"""HoldingReader of one shard: rows are counted by tenant and partition, and bytes shared out by rows."""

from __future__ import annotations

from tael.model.time import HOUR_NS, NS_PER_SECOND
from tael.runtime.tasks import together
from tael.storage.api import Answer
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.schema import KEPT
from tael.storage.holdings import Holding, merged_holdings

ITEM_TABLES = frozenset(("spans", "logs", "samples", "histograms", "payloads"))
"""Their rows are what a tenant sent; those of the others are made of them."""
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


class ClickHouseHoldings:
    """See HoldingReader."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def holdings(self, tenant: str | None) -> Answer[list[Holding]]:
        """See HoldingReader."""
        of_tables = await together((self._of(table, tenant) for table in KEPT), name="holdings")
        return Answer(merged_holdings(one for several in of_tables for one in several))

    async def _of(self, table: str, tenant: str | None) -> list[Holding]:
        database, kept = self._clickhouse.database, KEPT[table]
        statement = _OF_A_TABLE.format(database=database, table=table, where="1" if tenant is None else "tenant = {tenant:String}")
        rows = await self._clickhouse.query(statement, {"database": database, "table": table, "tenant": tenant or ""})
        found = []
        for name, count, size, start, oldest_bytes in rows:
            start_ns = int(start) * NS_PER_SECOND
            items = int(count) if table in ITEM_TABLES else 0
            found.append(Holding(text(name), kept.signal, items, int(size), start_ns, start_ns + kept.hours * HOUR_NS, int(oldest_bytes)))
        return found
