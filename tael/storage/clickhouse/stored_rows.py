"""RowStore of one shard. Deleting rewrites the partition's parts without the rows, so that their space is free when it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tael.errors import Rejected
from tael.model.retention import Tenants
from tael.model.time import NS_PER_SECOND
from tael.storage.clickhouse.client import ClickHouse, Limits
from tael.storage.clickhouse.schema import KEPT
from tael.storage.partitions import PartitionSize

_COUNT = """SELECT toUInt32(_partition_id), count() FROM {database}.{table}
WHERE _partition_id IN {{ids:Array(String)}} AND {tenants} GROUP BY 1"""
# mutations_sync = 2: on every replica of the shard.
_DELETE = "ALTER TABLE {database}.{table} DELETE IN PARTITION ID {{start:String}} WHERE {tenants} SETTINGS mutations_sync = 2"
_DELETE_LIMITS = Limits(seconds=600)


class ClickHouseRows:
    """See RowStore."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def count_rows(self, partitions: Sequence[PartitionSize], tenants: Tenants) -> Mapping[PartitionSize, int]:
        """See RowStore."""
        by_start = {partition.start_ns // NS_PER_SECOND: partition for partition in partitions}
        statement = _COUNT.format(database=self._clickhouse.database, table=_table(partitions[0]), tenants=_are(tenants))
        parameters = {"ids": [str(start) for start in by_start], "tenants": sorted(tenants.names)}
        return {by_start[int(start)]: int(rows) for start, rows in await self._clickhouse.query(statement, parameters)}

    async def delete_rows(self, partition: PartitionSize, tenants: Tenants) -> None:
        """See RowStore."""
        statement = _DELETE.format(database=self._clickhouse.database, table=_table(partition), tenants=_are(tenants))
        parameters: dict[str, Any] = {"start": str(partition.start_ns // NS_PER_SECOND), "tenants": sorted(tenants.names)}
        await self._clickhouse.command(statement, parameters, _DELETE_LIMITS)


def _are(tenants: Tenants) -> str:
    return f"tenant {'NOT IN' if tenants.all_but else 'IN'} {{tenants:Array(String)}}"


def _table(partition: PartitionSize) -> str:
    # The table's name becomes a part of the statement.
    if partition.table not in KEPT:
        raise Rejected(f"{partition.table} is not a table whose rows may be deleted", where="table", accepted=", ".join(KEPT))
    return partition.table
