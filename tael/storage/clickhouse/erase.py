"""EraseStore of one shard: counts the rows to delete by partition, and rewrites the partitions that have some."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from tael.cold.files import ROLLED
from tael.model.time import NS_PER_SECOND
from tael.otlp.genai import KEYS
from tael.storage.clickhouse.attribute_keys import TABLES as KEY_TABLES
from tael.storage.clickhouse.conditions import instant
from tael.storage.clickhouse.llm import quoted
from tael.storage.clickhouse.mutations import MUTATION_LIMITS, Mutations
from tael.storage.clickhouse.references import KNOWN, LOOSE_ITEM, NO_ITEM, OF_LOG, left_alone, used
from tael.storage.clickhouse.schema import KEPT
from tael.storage.erase import Cause, Condemned, Erasure, Kept, Selection, StreamHour

_TIMES: Final = {
    "spans": "received_at",
    "logs": "received_at",
    "payloads": "received_at",
    "payload_hours": "received_at",
    "payload_references": "received_at",
    "samples": "ts",
    "histograms": "ts",
    "exemplars": "ts",
    "red": "slot",
    "service_minutes": "minute",
}
"""The column with the time at which a row came or, where that is not stored, the row's own time; other tables have an hour."""
_OWNERS: Final = {
    "user": ("llm_user_id", (*KEYS["user_id"], "enduser.id")),
    "session": ("llm_session_id", KEYS["session_id"]),
}
"""For each kind of owner, the column and the attributes that name a span's user or session."""
_BEFORE: Final = instant("before")
OF_TRACES: Final = "trace_id IN (SELECT arrayJoin(arrayMap(id -> toFixedString(unhex(id), 16), {traces:Array(String)})))"
LATER: Final = f"tenant = {{tenant:String}} AND {OF_TRACES} AND received_at > {_BEFORE}"
"""The condition that a span came after the request. Its trace keeps its index, which is needed to find the span."""
_LAST_ID: Final = "ff" * 16
_BETWEEN: Final = "hex(trace_id) > upper({above:String}) AND hex(trace_id) <= upper({most:String})"
OF_AN_HOUR: Final = "hour = toDateTime({hour:Int64}, 'UTC')"
OF_HASHES: Final = "hash IN (SELECT arrayJoin(arrayMap(h -> toFixedString(unhex(h), 32), {hashes:Array(String)})))"
OF_A_TRACE: Final = ("logs", "exemplars", "spans")
"""The tables with rows of traces. Spans are last: the traces of a user or session are found by them."""
_VALUES: Final = ("attribute_string_values", "resource_string_values")
_OF_PAYLOADS: Final = ("payloads", "payload_hours", "payload_references")
"""Tables that a deletion leaves alone: payloads are condemned, and collected once nobody relies on them."""
_OF_ITEMS: Final = "item IN (SELECT arrayJoin(arrayMap(id -> toFixedString(unhex(id), 16), {traces:Array(String)})))"
LOOSE: Final = f"trace_id = {NO_ITEM} AND notEmpty({OF_LOG})"
"""The condition that a log record is in no trace and refers to payloads."""
_NOT_COLD: Final = "(stream, toUnixTimestamp(hour)) NOT IN (SELECT pair.1, pair.2 FROM (SELECT arrayJoin(arrayZip({streams:Array(UInt64)}, {hours:Array(UInt32)})) AS pair))"
_ITEMS_AT_ONCE: Final = 1_000
_WHOLE_OF_A_TENANT: Final = tuple(table for table in KEPT if table not in (*_OF_PAYLOADS, "logs", "log_streams", "trace_index"))
CONDEMNED: Final = "tael_condemned_payloads"
"""The table of payloads that await their second look."""


class ClickHouseErase(Mutations):
    """See EraseStore."""

    async def next_traces(self, what: Erasure, limit: int) -> Sequence[bytes]:
        """See EraseStore."""
        if what.kind not in _OWNERS:
            return ()
        found: dict[bytes, int] = {}
        # An hour that is being rolled has its rows in the rolling twin, so both are asked.
        for table in _tables("spans"):
            rows = await self._clickhouse.query(
                f"SELECT trace_id, toUnixTimestamp64Nano(min(start_time)) FROM {self._named(table)}\n"  # noqa: S608  # names of ours and parameters
                f"WHERE {before_request('spans')} AND {names_owner(what)} GROUP BY trace_id ORDER BY 2 LIMIT {{limit:UInt32}}",
                parameters_of(what) | {"limit": limit},
                MUTATION_LIMITS,
            )
            for trace_id, start in rows:
                found[bytes(trace_id)] = min(int(start), found.get(bytes(trace_id), int(start)))
        return sorted(found, key=lambda trace_id: found[trace_id])[:limit]

    async def erase_traces(self, what: Erasure, traces: Sequence[bytes]) -> int:
        """See EraseStore."""
        rows = 0
        for table, where, parameters in _of_traces(what, traces):
            delete = self._delete_lines if table in _tables("logs") else self._delete
            rows += await delete(table, where, parameters)
        return rows

    async def erase_index(self, what: Erasure, traces: Sequence[bytes]) -> int:
        """See EraseStore."""
        # Spans that came after the request are kept, and found by their trace's index.
        later = " UNION ALL ".join(f"SELECT trace_id FROM {self._named(table)} WHERE {LATER}" for table in _tables("spans"))  # noqa: S608  # the same
        where = f"tenant = {{tenant:String}} AND {OF_TRACES} AND trace_id NOT IN ({later})"
        return await self._delete("trace_index", where, parameters_of(what, traces))

    async def erase_rest(self, what: Erasure, kept: Kept | None = None) -> int:
        """See EraseStore."""
        if what.kind == "trace":
            return 0
        parameters = parameters_of(what)
        if what.kind == "tenant":
            rows = sum([await self._delete_lines(named, before_request("logs"), parameters) for named in _tables("logs")])
            rows += sum(
                [await self._delete(named, before_request(table), parameters) for table in _WHOLE_OF_A_TENANT for named in _tables(table)]
            )
            if kept is not None:
                rows += await self._delete_traces(parameters, kept.traces) + await self._delete_streams(parameters, kept.streams)
            return rows
        of_nobody = condition("logs", Selection(what))
        rows = sum([await self._delete_lines(named, of_nobody, parameters) for named in _tables("logs")])
        for table in KEY_TABLES.values():
            await self._forget(table, what)
        return rows

    async def _delete_traces(self, parameters: Mapping[str, Any], kept: Collection[bytes]) -> int:
        """Delete the index of a tenant's traces, except of those with spans that came after the request, which are found by it."""
        later = " UNION ALL ".join(
            f"SELECT trace_id FROM {self._named(table)} WHERE tenant = {{tenant:String}} AND received_at > {_BEFORE}"  # noqa: S608  # the same
            for table in _tables("spans")
        )
        rows, named = 0, sorted(trace_id.hex() for trace_id in kept)
        # A statement names a thousand traces at most, and is about the ids up to the last of these.
        for start in range(0, len(named) + 1, _ITEMS_AT_ONCE):
            batch = named[start : start + _ITEMS_AT_ONCE]
            bounds = {"above": named[start - 1] if start else "", "most": batch[-1] if start + _ITEMS_AT_ONCE < len(named) else _LAST_ID}
            where = f"{before_request('trace_index')} AND {_BETWEEN} AND NOT {OF_TRACES} AND trace_id NOT IN ({later})"
            rows += await self._delete("trace_index", where, {**parameters, **bounds, "traces": batch})
        return rows

    async def _delete_streams(self, parameters: Mapping[str, Any], kept: Collection[StreamHour]) -> int:
        """Delete a tenant's streams. Where records of a stream and hour came after the request, only its minutes are emptied."""
        parameters = {**parameters, "streams": [stream for stream, _ in kept], "hours": [hour_ns // NS_PER_SECOND for _, hour_ns in kept]}
        later = " UNION ALL ".join(
            f"SELECT stream, toStartOfHour(timestamp) FROM {self._named(table)} WHERE tenant = {{tenant:String}} AND received_at > {_BEFORE}"  # noqa: S608  # the same
            for table in _tables("logs")
        )
        rows = await self._delete(
            "log_streams", f"{before_request('log_streams')} AND (stream, hour) NOT IN ({later}) AND {_NOT_COLD}", parameters
        )
        await self._recount(parameters["tenant"], await self._count("log_streams", before_request("log_streams"), parameters))
        return rows

    async def loose_items(self, what: Erasure) -> Sequence[bytes]:
        """See EraseStore."""
        if what.kind not in _OWNERS:
            return ()
        found: set[bytes] = set()
        for named in _tables("logs"):
            sql = f"SELECT DISTINCT {LOOSE_ITEM} FROM {self._named(named)} WHERE {condition('logs', Selection(what))} AND {LOOSE}"  # noqa: S608  # the same
            found.update(bytes(item) for (item,) in await self._clickhouse.query(sql, parameters_of(what), MUTATION_LIMITS))
        return sorted(found)

    async def condemn(self, what: Erasure, items: Sequence[bytes], cause: Cause) -> None:
        """See EraseStore."""
        if what.kind == "tenant":
            await self._condemn(before_request("payload_references"), parameters_of(what), cause)
        for start in range(0, len(items), _ITEMS_AT_ONCE):
            parameters = parameters_of(what, items[start : start + _ITEMS_AT_ONCE])
            await self._condemn(f"{before_request('payload_references')} AND {_OF_ITEMS}", parameters, cause)

    async def _condemn(self, where: str, parameters: dict[str, Any], cause: Cause) -> None:
        """Condemn the payloads that the references name, and only then delete the references: after a crash in between, they are condemned
        again.
        """
        await self._clickhouse.command(
            f"INSERT INTO {self._named(CONDEMNED)} SELECT DISTINCT tenant, hour, hash, {{cause:String}}, {instant('since')}, {instant('due')}\n"  # the same
            f"FROM {self._named('payload_references')} WHERE {where} SETTINGS insert_deduplicate = 0",
            parameters | {"cause": cause.name, "since": cause.since_ns, "due": cause.due_ns},
            MUTATION_LIMITS,
        )
        # Rows without an item represent the payloads themselves. They stay, because the second look reads them.
        await self._delete("payload_references", f"{where} AND item != {NO_ITEM}", parameters)

    async def condemned(self, cause: str) -> Condemned:
        """See EraseStore."""
        own = f"SELECT tenant, hour, hash, due FROM {self._named(CONDEMNED)} FINAL WHERE cause = {{cause:String}}"  # noqa: S608  # the same
        referred = used(self._named("payload_references"), f"(tenant, hash) IN (SELECT tenant, hash FROM ({own}))")  # noqa: S608  # the same
        sql = (
            f"SELECT count(), toUnixTimestamp64Nano(max(due)) FROM ({own})\n"  # noqa: S608  # the same
            f"WHERE (tenant, hour, hash) NOT IN (SELECT tenant, hour, hash FROM ({referred}) WHERE referred > 0 OR {left_alone(self._named('tael_migrations'), self._named(KNOWN))})"
        )
        [(count, due)] = await self._clickhouse.query(sql, {"cause": cause}, MUTATION_LIMITS)
        return Condemned(int(count), int(due))

    async def _forget(self, table: str, what: Erasure) -> None:
        """Remove the user or session from the values that suggestions remember."""
        keys = ", ".join(quoted(_OWNERS[what.kind][1]))
        for column in _VALUES:
            named = f"arrayExists(pair -> pair.2 = {{value:String}} AND pair.1 IN ({keys}), {column})"
            rest = f"arrayFilter(pair -> NOT (pair.2 = {{value:String}} AND pair.1 IN ({keys})), {column})"
            where = f"{before_request(table)} AND {named}"
            for partition in await self._count(table, where, parameters_of(what)):
                statement = f"ALTER TABLE {self._named(table)} UPDATE {column} = {rest} IN PARTITION ID {{partition:String}} WHERE {where}"
                await self._mutate(statement, parameters_of(what) | {"partition": partition})


def _of_traces(what: Erasure, traces: Sequence[bytes]) -> Iterable[tuple[str, str, dict[str, Any]]]:
    for table in OF_A_TRACE:
        for named in _tables(table):
            yield named, condition(table, Selection(what, tuple(traces))), parameters_of(what, traces)


def condition(table: str, selection: Selection) -> str:
    """The condition that a row of the table belongs to the selection, with the parameters of ``parameters_of_all``."""
    if selection.hour_ns is not None:
        return f"{before_request(table)} AND {OF_AN_HOUR}{f' AND {OF_HASHES}' if selection.hashes else ''}"
    if selection.traces:
        return f"{before_request(table)} AND {OF_TRACES}"
    if selection.what.kind == "tenant":
        return before_request(table)
    return f"{before_request(table)} AND {names_owner(selection.what, of_spans=False)}"


def _tables(table: str) -> tuple[str, ...]:
    """The table and, if its hours are rolled, its rolling twin."""
    return (table, f"{table}_rolling") if table in ROLLED else (table,)


def before_request(table: str) -> str:
    """The condition that a row is the tenant's and came no later than the request."""
    column = _TIMES.get(table, "hour")
    # These columns hold the start of an hour, slot or minute; the one in which the request came is deleted as a whole.
    bound = _BEFORE if column not in ("hour", "slot", "minute") else f"toDateTime({_BEFORE}, 'UTC')"
    return f"tenant = {{tenant:String}} AND {column} <= {bound}"


def names_owner(what: Erasure, *, of_spans: bool = True) -> str:
    """The condition that a span or a log record names the user or session."""
    column, keys = _OWNERS[what.kind]
    maps = [f"{name}['{key}'] = {{value:String}}" for key in keys for name in ("attributes_string", "resource_string")]
    return f"({' OR '.join([f'{column} = {{value:String}}', *maps] if of_spans else maps)})"


def parameters_of(what: Erasure, traces: Sequence[bytes] = ()) -> dict[str, Any]:
    """The parameters of the conditions."""
    named = {"tenant": what.tenant, "value": what.value, "before": what.before_ns}
    return named | {"traces": [trace_id.hex() for trace_id in traces]} if traces else named


def parameters_of_all(selection: Selection) -> dict[str, Any]:
    """The parameters of the conditions for a selection."""
    named = parameters_of(selection.what, selection.traces)
    hour = (selection.hour_ns or 0) // NS_PER_SECOND
    return named | {"hour": hour, "hashes": [sha256.hex() for sha256 in selection.hashes]}
