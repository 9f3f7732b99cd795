"""EraseStore of one shard: rows are counted by partition, and the partitions that have some are written anew without them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from tael.cold.files import ROLLED
from tael.otlp.genai import KEYS
from tael.storage.clickhouse.attribute_keys import TABLES as KEY_TABLES
from tael.storage.clickhouse.client import ClickHouse, Limits
from tael.storage.clickhouse.conditions import instant
from tael.storage.clickhouse.llm import quoted
from tael.storage.clickhouse.schema import KEPT
from tael.storage.erase import Erasure, Selection

_TIMES: Final = {
    "spans": "received_at",
    "logs": "received_at",
    "payloads": "received_at",
    "payload_hours": "received_at",
    "samples": "ts",
    "histograms": "ts",
    "exemplars": "ts",
    "red": "slot",
    "service_minutes": "minute",
}
"""When a row came or, where that is not kept, when it was; the others are of an hour."""
_OWNERS: Final = {
    "user": ("llm_user_id", (*KEYS["user_id"], "enduser.id")),
    "session": ("llm_session_id", KEYS["session_id"]),
}
"""The column and the attributes that name a span's user or session."""
_LIMITS: Final = Limits(seconds=600)
_BEFORE: Final = instant("before")
OF_TRACES: Final = "trace_id IN (SELECT arrayJoin(arrayMap(id -> toFixedString(unhex(id), 16), {traces:Array(String)})))"
LATER: Final = f"tenant = {{tenant:String}} AND {OF_TRACES} AND received_at > {_BEFORE}"
"""Whether a span came after the request: its trace keeps its index, which says where it is."""
OF_A_TRACE: Final = ("logs", "exemplars", "spans")
"""The tables with rows of traces."""
_VALUES: Final = ("attribute_string_values", "resource_string_values")


class ClickHouseErase:
    """See EraseStore."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse

    async def next_traces(self, what: Erasure, limit: int) -> Sequence[bytes]:
        """See EraseStore."""
        if what.kind not in _OWNERS:
            return ()
        found: dict[bytes, int] = {}
        for table in _tables("spans"):
            rows = await self._clickhouse.query(
                f"SELECT trace_id, toUnixTimestamp64Nano(min(start_time)) FROM {self._named(table)}\n"  # noqa: S608  # names of ours and parameters
                f"WHERE {came('spans')} AND {belongs(what)} GROUP BY trace_id ORDER BY 2 LIMIT {{limit:UInt32}}",
                parameters_of(what) | {"limit": limit},
                _LIMITS,
            )
            for trace_id, start in rows:
                found[bytes(trace_id)] = min(int(start), found.get(bytes(trace_id), int(start)))
        return sorted(found, key=lambda trace_id: found[trace_id])[:limit]

    async def erase_traces(self, what: Erasure, traces: Sequence[bytes]) -> int:
        """See EraseStore."""
        return sum([await self._delete(table, where, parameters) for table, where, parameters in _of_traces(what, traces)])

    async def erase_index(self, what: Erasure, traces: Sequence[bytes]) -> int:
        """See EraseStore."""
        later = " UNION ALL ".join(f"SELECT trace_id FROM {self._named(table)} WHERE {LATER}" for table in _tables("spans"))  # noqa: S608  # the same
        where = f"tenant = {{tenant:String}} AND {OF_TRACES} AND trace_id NOT IN ({later})"
        return await self._delete("trace_index", where, parameters_of(what, traces))

    async def erase_rest(self, what: Erasure) -> int:
        """See EraseStore."""
        if what.kind == "trace":
            return 0
        parameters = parameters_of(what)
        if what.kind == "tenant":
            return sum([await self._delete(named, came(table), parameters) for table in KEPT for named in _tables(table)])
        rows = sum([await self._delete(named, condition("logs", Selection(what)), parameters) for named in _tables("logs")])
        for table in KEY_TABLES.values():
            await self._forget(table, what)
        return rows

    async def _forget(self, table: str, what: Erasure) -> None:
        """Take the user or session out of the values that suggestions remember."""
        keys = ", ".join(quoted(_OWNERS[what.kind][1]))
        for column in _VALUES:
            named = f"arrayExists(pair -> pair.2 = {{value:String}} AND pair.1 IN ({keys}), {column})"
            rest = f"arrayFilter(pair -> NOT (pair.2 = {{value:String}} AND pair.1 IN ({keys})), {column})"
            where = f"{came(table)} AND {named}"
            for partition in await self._count(table, where, parameters_of(what)):
                statement = f"ALTER TABLE {self._named(table)} UPDATE {column} = {rest} IN PARTITION ID {{partition:String}} WHERE {where}"
                await self._mutate(statement, parameters_of(what) | {"partition": partition})

    async def _delete(self, table: str, where: str, parameters: Mapping[str, Any]) -> int:
        # Counted first: the caller reports it, and no mutation is begun in a partition without such rows.
        counts = await self._count(table, where, parameters)
        for partition in counts:
            statement = f"ALTER TABLE {self._named(table)} DELETE IN PARTITION ID {{partition:String}} WHERE {where}"
            await self._mutate(statement, {**parameters, "partition": partition})
        return sum(counts.values())

    async def _count(self, table: str, where: str, parameters: Mapping[str, Any]) -> dict[str, int]:
        """Rows by partition."""
        statement = f"SELECT _partition_id, count() FROM {self._named(table)} WHERE {where} GROUP BY 1"  # noqa: S608  # the same
        return {bytes(name).decode(): int(rows) for name, rows in await self._clickhouse.query(statement, parameters, _LIMITS)}

    async def _mutate(self, statement: str, parameters: Mapping[str, Any]) -> None:
        await self._clickhouse.command(
            # 2: the rows have gone on every replica when this returns. The other setting allows the subqueries of the conditions.
            f"{statement} SETTINGS mutations_sync = 2, allow_nondeterministic_mutations = 1",
            parameters,
            _LIMITS,
        )

    def _named(self, table: str) -> str:
        return f"{self._clickhouse.database}.{table}"


def _of_traces(what: Erasure, traces: Sequence[bytes]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    for table in OF_A_TRACE:
        for named in _tables(table):
            yield named, condition(table, Selection(what, tuple(traces))), parameters_of(what, traces)


def condition(table: str, selection: Selection) -> str:
    """Whether a row of the table is to go; the parameters are those of ``parameters_of``."""
    if selection.traces:
        return f"{came(table)} AND {OF_TRACES}"
    if selection.what.kind == "tenant":
        return came(table)
    return f"{came(table)} AND {belongs(selection.what, of_spans=False)}"


def _tables(table: str) -> tuple[str, ...]:
    """The table, and where its hours are on their way to the cold tier."""
    return (table, f"{table}_rolling") if table in ROLLED else (table,)


def came(table: str) -> str:
    """Whether a row is the tenant's and of no later than the request."""
    column = _TIMES.get(table, "hour")
    bound = _BEFORE if column not in ("hour", "slot", "minute") else f"toDateTime({_BEFORE}, 'UTC')"
    return f"tenant = {{tenant:String}} AND {column} <= {bound}"


def belongs(what: Erasure, *, of_spans: bool = True) -> str:
    """Whether a span or a log record names the user or session."""
    column, keys = _OWNERS[what.kind]
    maps = [f"{name}['{key}'] = {{value:String}}" for key in keys for name in ("attributes_string", "resource_string")]
    return f"({' OR '.join([f'{column} = {{value:String}}', *maps] if of_spans else maps)})"


def parameters_of(what: Erasure, traces: Sequence[bytes] = ()) -> dict[str, Any]:
    """What the conditions name."""
    named = {"tenant": what.tenant, "value": what.value, "before": what.before_ns}
    return named | {"traces": [trace_id.hex() for trace_id in traces]} if traces else named
