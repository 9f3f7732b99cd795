"""CollectStore of one shard: reads the index of references of each payload and hour in one pass, in the order of its key."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Final

from tael.model.time import NS_PER_SECOND
from tael.storage.clickhouse.client import Limits
from tael.storage.clickhouse.conditions import instant
from tael.storage.clickhouse.erase import CONDEMNED, OF_AN_HOUR, OF_HASHES, before_request, condition, parameters_of_all
from tael.storage.clickhouse.mutations import Mutations
from tael.storage.clickhouse.references import KNOWN, NEVER, NO_ITEM, left_alone, used
from tael.storage.clickhouse.rows import text
from tael.storage.collecting import Due, Stray

_LIMITS: Final = Limits(seconds=120, memory_bytes=1 << 30, threads=1)
_AT_ONCE: Final = 1_000
_DAYS: Final = """SELECT DISTINCT toUInt32(partition_id) FROM system.parts
WHERE active AND database = {database:String} AND table = 'payload_references' AND modification_time >= toDateTime({since:Int64}, 'UTC')
ORDER BY 1"""
_INDEX: Final = "payload_references"
_KEY: Final = "tenant, hour, hash"
_CONDEMNED_HOUR: Final = f"tenant = {{tenant:String}} AND {OF_AN_HOUR} AND since <= {instant('before')}"
_CONDEMNED: Final = f"{_CONDEMNED_HOUR} AND {OF_HASHES}"


class ClickHouseCollect(Mutations):
    """See CollectStore."""

    async def seen_empty(self) -> int | None:
        """See CollectStore."""
        rows = await self._ask(f"SELECT fact, toUnixTimestamp64Nano(max(at)) FROM {self._named(KNOWN)} GROUP BY fact", {})  # noqa: S608  # the same
        facts = {text(fact): int(at) for fact, at in rows}
        return None if "whole" in facts else facts.get("empty")

    async def declare_whole(self, seen_empty: int) -> None:
        """See CollectStore."""
        await self._clickhouse.command(
            f"INSERT INTO {self._named(KNOWN)} SELECT 'whole', at FROM {self._named(KNOWN)} WHERE fact = 'empty' AND at = {instant('at')}",  # noqa: S608  # the same
            {"at": seen_empty},
            _LIMITS,
        )

    async def changed_days(self, since_ns: int) -> Sequence[int]:
        """See CollectStore."""
        rows = await self._ask(_DAYS, {"database": self._clickhouse.database, "since": since_ns // NS_PER_SECOND})
        return [int(day) * NS_PER_SECOND for (day,) in rows]

    async def condemn(self, day_ns: int, sent_until_ns: int, now_ns: int, due_ns: int) -> None:
        """See CollectStore."""
        # Without deduplication of inserts: the same payloads may be condemned again after they were spared.
        condemned = f"SELECT {_KEY} FROM {self._named(CONDEMNED)}"  # noqa: S608  # names of ours and parameters
        await self._clickhouse.command(
            f"INSERT INTO {self._named(CONDEMNED)} SELECT {_KEY}, '', {instant('now')}, {instant('due')}\n"
            f"FROM ({used(self._named(_INDEX), '_partition_id = {day:String}')})\n"
            f"WHERE referred = 0 AND sent > {NEVER} AND NOT {self._left_alone} AND sent <= {instant('until')} AND ({_KEY}) NOT IN ({condemned})\n"
            "SETTINGS insert_deduplicate = 0, optimize_aggregation_in_order = 1",
            {"day": str(day_ns // NS_PER_SECOND), "until": sent_until_ns, "now": now_ns, "due": due_ns},
            _LIMITS,
        )

    async def strays(self, day_ns: int, limit: int) -> Sequence[Stray]:
        """See CollectStore."""
        rows = await self._ask(
            f"SELECT tenant, hash, toUnixTimestamp(hour) FROM ({used(self._named(_INDEX), '_partition_id = {day:String}')})\n"  # noqa: S608  # the same
            f"WHERE referred > 0 AND sent = {NEVER} ORDER BY last DESC LIMIT {{limit:UInt32}}",
            {"day": str(day_ns // NS_PER_SECOND), "limit": limit},
        )
        return [Stray(text(tenant), bytes(sha256), int(hour) * NS_PER_SECOND) for tenant, sha256, hour in rows]

    async def spare(self) -> None:
        """See CollectStore. The rows to delete are named one by one: replicas that evaluated the condition themselves might see other
        references.
        """
        # FINAL: of a payload that was condemned twice for one cause, the later time counts.
        uses = used(self._named(_INDEX), f"(tenant, hash) IN (SELECT tenant, hash FROM {self._named(CONDEMNED)})")  # noqa: S608  # the same
        rows = await self._ask(
            "SELECT c.tenant, toUnixTimestamp(c.hour), c.cause, toUnixTimestamp64Nano(max(c.since)), groupUniqArray(c.hash)\n"  # noqa: S608  # the same
            f"FROM {self._named(CONDEMNED)} AS c FINAL INNER JOIN (SELECT *, {self._left_alone} AS alone FROM ({uses})) AS u ON u.tenant = c.tenant AND u.hour = c.hour AND u.hash = c.hash\n"
            "WHERE u.referred > 0 OR u.sent > c.since OR u.alone\n"
            "GROUP BY c.tenant, c.hour, c.cause",
            {},
        )
        for tenant, hour, cause, since, hashes in rows:
            for part in Due(text(tenant), int(hour) * NS_PER_SECOND, int(since), tuple(map(bytes, hashes))).parts(_AT_ONCE):
                where, parameters = f"{_CONDEMNED} AND cause = {{cause:String}}", parameters_of_all(part.selection)
                await self._delete(CONDEMNED, where, parameters | {"cause": text(cause)})

    async def due(self, now_ns: int, limit: int) -> Sequence[Due]:
        """See CollectStore."""
        rows = await self._ask(
            "SELECT tenant, toUnixTimestamp(hour), toUnixTimestamp64Nano(since), groupUniqArray(hash)\n"
            f"FROM {self._named(CONDEMNED)} FINAL WHERE due <= {instant('now')}\n"
            "GROUP BY tenant, hour, since ORDER BY hour, tenant, since LIMIT {limit:UInt32}",
            {"now": now_ns, "limit": limit},
        )
        return [Due(text(tenant), int(hour) * NS_PER_SECOND, int(since), tuple(map(bytes, hashes))) for tenant, hour, since, hashes in rows]

    async def postpone(self, due: Due, until_ns: int) -> None:
        """See CollectStore. Of rows with the same key, the one that was inserted last counts."""
        for part in due.parts(_AT_ONCE):
            await self._clickhouse.command(
                f"INSERT INTO {self._named(CONDEMNED)} SELECT {_KEY}, cause, since, {instant('until')}\n"
                f"FROM {self._named(CONDEMNED)} FINAL WHERE {_CONDEMNED} SETTINGS insert_deduplicate = 0",
                parameters_of_all(part.selection) | {"until": until_ns},
                _LIMITS,
            )

    async def is_all(self, due: Due) -> bool:
        """See CollectStore."""
        # Counted by name: a compactor that died in ``forget`` may have left hashes in ``due`` that the index no longer holds. Comparing
        # numbers alone, these would make up for others that are still needed.
        where = f"{before_request(_INDEX)} AND {OF_AN_HOUR} AND item = {NO_ITEM}"
        held = await self._count_hashes(where, replace(due, hashes=()))
        for part in due.parts(_AT_ONCE):
            held -= await self._count_hashes(f"{where} AND {OF_HASHES}", part)
        return held <= 0

    async def _count_hashes(self, where: str, due: Due) -> int:
        sql = f"SELECT uniqExact(hash) FROM {self._named(_INDEX)} WHERE {where}"  # noqa: S608  # names of ours and parameters
        [(count,)] = await self._ask(sql, parameters_of_all(due.selection))
        return int(count)

    async def needed(self, tenant: str, hashes: Collection[bytes]) -> frozenset[bytes]:
        """See CollectStore."""
        uses = used(self._named(_INDEX), f"tenant = {{tenant:String}} AND {OF_HASHES}")
        asked = {"tenant": tenant, "hashes": [sha256.hex() for sha256 in hashes]}
        rows = await self._ask(f"SELECT DISTINCT hash FROM ({uses}) WHERE referred > 0 AND sent = {NEVER}", asked)  # noqa: S608  # the same
        return frozenset(bytes(sha256) for (sha256,) in rows)

    async def delete(self, due: Due) -> int:
        """See CollectStore."""
        where, parameters = condition("payloads", due.selection), parameters_of_all(due.selection)
        return sum([await self._delete(table, where, parameters) for table in ("payloads", "payloads_rolling")])

    async def forget(self, due: Due) -> None:
        """See CollectStore."""
        selection = due.selection
        parameters = parameters_of_all(selection)
        await self._delete("payload_hours", condition("payload_hours", selection), parameters)
        await self._delete(_INDEX, f"{condition(_INDEX, selection)} AND item = {NO_ITEM}", parameters)
        # The condemnation last: if this is cut off before, the payloads are still due and are forgotten again.
        await self._delete(CONDEMNED, _CONDEMNED if due.hashes else _CONDEMNED_HOUR, parameters)

    @property
    def _left_alone(self) -> str:
        return left_alone(self._named("tael_migrations"), self._named(KNOWN))

    async def _ask(self, sql: str, parameters: dict[str, Any]) -> Sequence[Sequence[Any]]:
        return await self._clickhouse.query(sql, parameters, _LIMITS)
