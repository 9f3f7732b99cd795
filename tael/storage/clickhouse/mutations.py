"""Deletes rows out of a shard's tables: counted by partition, and the partitions that have some are written anew without them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from tael.storage.clickhouse.client import ClickHouse, Limits
from tael.storage.clickhouse.log_minutes import NONE

MUTATION_LIMITS: Final = Limits(seconds=600)


class Mutations:
    """Conditions are SQL of ours with parameters."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def _delete(self, table: str, where: str, parameters: Mapping[str, Any]) -> int:
        """How many rows went, in every replica, when this returns."""
        # Counted first: the caller reports it, and no mutation is begun in a partition without such rows.
        return await self._delete_counted(table, where, parameters, await self._count(table, where, parameters))

    async def _delete_counted(self, table: str, where: str, parameters: Mapping[str, Any], counts: Mapping[str, int]) -> int:
        for partition in counts:
            statement = f"ALTER TABLE {self._named(table)} DELETE IN PARTITION ID {{partition:String}} WHERE {where}"
            await self._mutate(statement, {**parameters, "partition": partition})
        return sum(counts.values())

    async def _delete_lines(self, table: str, where: str, parameters: Mapping[str, Any]) -> int:
        """As _delete, of log records of one tenant."""
        counts = await self._count(table, where, parameters)
        await self._recount(parameters["tenant"], counts)
        rows = await self._delete_counted(table, where, parameters, counts)
        # Records that came in between are gone too, and their minutes are not.
        await self._recount(parameters["tenant"], counts)
        return rows

    async def _recount(self, tenant: str, partitions: Collection[str]) -> None:
        """Empty the minutes of these hours before log records of them are deleted, so that counts read the rows (log_minutes.py)."""
        where, parameters = "tenant = {tenant:String} AND notEmpty(minutes.1)", {"tenant": tenant}
        within = f"{where} AND _partition_id IN {{partitions:Array(String)}}"
        full = await self._count("log_streams", within, {**parameters, "partitions": list(partitions)}) if partitions else ()
        for partition in full:
            statement = (
                f"ALTER TABLE {self._named('log_streams')} UPDATE minutes = {NONE} IN PARTITION ID {{partition:String}} WHERE {where}"
            )
            await self._mutate(statement, {**parameters, "partition": partition})

    async def _count(self, table: str, where: str, parameters: Mapping[str, Any]) -> dict[str, int]:
        """Rows by partition."""
        statement = f"SELECT _partition_id, count() FROM {self._named(table)} WHERE {where} GROUP BY 1"  # noqa: S608  # names of ours and parameters
        return {bytes(name).decode(): int(rows) for name, rows in await self._clickhouse.query(statement, parameters, MUTATION_LIMITS)}

    async def _mutate(self, statement: str, parameters: Mapping[str, Any]) -> None:
        await self._clickhouse.command(
            # 2: the rows have gone on every replica when this returns. The other setting allows the subqueries of the conditions.
            f"{statement} SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1",
            parameters,
            MUTATION_LIMITS,
        )

    def _named(self, table: str) -> str:
        return f"{self._clickhouse.database}.{table}"
