"""Deletes rows from a shard's tables: counts them by partition, and rewrites the partitions that have some without them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from tael.storage.clickhouse.client import ClickHouse, Limits
from tael.storage.clickhouse.log_minutes import NONE

MUTATION_LIMITS: Final = Limits(seconds=600)


class Mutations:
    """Base of stores that delete rows. Conditions are SQL text of ours with parameters."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def _delete(self, table: str, where: str, parameters: Mapping[str, Any]) -> int:
        """Delete rows, on every replica by the time this returns, and return how many."""
        # Counted first: the caller reports the number, and partitions without such rows need no mutation.
        return await self._delete_counted(table, where, parameters, await self._count(table, where, parameters))

    async def _delete_counted(self, table: str, where: str, parameters: Mapping[str, Any], counts: Mapping[str, int]) -> int:
        for partition in counts:
            statement = f"ALTER TABLE {self._named(table)} DELETE IN PARTITION ID {{partition:String}} WHERE {where}"
            await self._mutate(statement, {**parameters, "partition": partition})
        return sum(counts.values())

    async def _delete_lines(self, table: str, where: str, parameters: Mapping[str, Any]) -> int:
        """``_delete`` for log records of one tenant."""
        counts = await self._count(table, where, parameters)
        await self._recount(parameters["tenant"], counts)
        rows = await self._delete_counted(table, where, parameters, counts)
        # Records that arrived since the first recount are deleted too, but their minutes were added again.
        await self._recount(parameters["tenant"], counts)
        return rows

    async def _recount(self, tenant: str, partitions: Collection[str]) -> None:
        """Empty the tenant's minutes in these hours before log records are deleted from them, so that counts read the rows instead
        (log_minutes.py).
        """
        where, parameters = "tenant = {tenant:String} AND notEmpty(minutes.1)", {"tenant": tenant}
        within = f"{where} AND _partition_id IN {{partitions:Array(String)}}"
        full = await self._count("log_streams", within, {**parameters, "partitions": list(partitions)}) if partitions else ()
        for partition in full:
            statement = (
                f"ALTER TABLE {self._named('log_streams')} UPDATE minutes = {NONE} IN PARTITION ID {{partition:String}} WHERE {where}"
            )
            await self._mutate(statement, {**parameters, "partition": partition})

    async def _count(self, table: str, where: str, parameters: Mapping[str, Any]) -> dict[str, int]:
        """The number of rows by partition; partitions without any are left out."""
        statement = f"SELECT _partition_id, count() FROM {self._named(table)} WHERE {where} GROUP BY 1"  # noqa: S608  # names of ours and parameters
        return {bytes(name).decode(): int(rows) for name, rows in await self._clickhouse.query(statement, parameters, MUTATION_LIMITS)}

    async def _mutate(self, statement: str, parameters: Mapping[str, Any]) -> None:
        await self._clickhouse.command(
            # 2: return only when the rows are gone on every replica. The other setting allows subqueries in the conditions.
            f"{statement} SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1",
            parameters,
            MUTATION_LIMITS,
        )

    def _named(self, table: str) -> str:
        return f"{self._clickhouse.database}.{table}"
