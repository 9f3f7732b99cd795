"""SpanCountReader of one shard: calls from the table ``red``, edges by joining the spans of the range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from tael.errors import TooLarge
from tael.model.series import TOO_MANY_SAMPLES
from tael.model.span_counts import EDGE_BOUNDS, SpanCounts
from tael.model.time import NS_PER_MS, NS_PER_SECOND, TimeRange
from tael.storage.api import Answer
from tael.storage.clickhouse import native
from tael.storage.clickhouse.client import ClickHouse, Limits
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.native import Column, Strings
from tael.storage.clickhouse.source import HotTables, Source

SLOT_SECONDS: Final = 15
"""The length of a slot of the table ``red``."""
JOINED_SPANS: Final = 4_000_000
"""How many spans of a range are joined for edges at most; beyond that, a sample of the traces stands for all."""
_CLIENT_EARLIER_SECONDS: Final = 60
"""How long before the range a client span may have begun whose server span began in it."""
_LIMITS: Final = Limits(seconds=120, memory_bytes=1 << 30)
_SETTINGS: Final = {"cancel_http_readonly_queries_on_client_close": 1}
_UNTIL: Final = "greatest({start:Int64}, intDiv({end_of_slot} + {step:Int64} - 1, {step:Int64}) * {step:Int64})"


class ClickHouseSpanCounts:
    """See SpanCountReader."""

    def __init__(self, clickhouse: ClickHouse, source: Source | None = None) -> None:
        self._clickhouse = clickhouse
        self._source = source or HotTables(clickhouse.database)

    async def count_calls(self, tenant: str, start_ms: int, end_ms: int, slot_ms: int, max_rows: int) -> Answer[SpanCounts]:
        """See SpanCountReader."""
        return await self._counts(count_calls(self._source, tenant, start_ms, end_ms, slot_ms, max_rows + 1), 4, max_rows)

    async def span_kinds(self, tenant: str, start_ms: int, end_ms: int) -> Answer[set[int]]:
        """See SpanCountReader."""
        statement = span_kinds(self._source, tenant, start_ms, end_ms)
        return Answer({int(kind) for (kind,) in await self._clickhouse.query(statement.sql, statement.parameters)})

    async def count_edges(self, tenant: str, start_ms: int, end_ms: int, slot_ms: int, max_rows: int) -> Answer[SpanCounts]:
        """See SpanCountReader."""
        source = self._source
        statement = count_spans(source, tenant, start_ms, end_ms)
        [(spans,)] = await self._clickhouse.query(statement.sql, statement.parameters)
        # Rounded up, so that never more than JOINED_SPANS are joined.
        one_in = max(1, -(-int(spans) // JOINED_SPANS))
        return await self._counts(count_edges(source, tenant, start_ms, end_ms, slot_ms, max_rows + 1, one_in), 5, max_rows)

    async def _counts(self, statement: Statement, key_columns: int, max_rows: int) -> Answer[SpanCounts]:
        columns = native.read(await self._clickhouse.native(statement.sql, statement.parameters, _LIMITS, _SETTINGS))
        found = counts_of(columns, key_columns)
        if len(found.group) > max_rows:
            raise TooLarge(TOO_MANY_SAMPLES)
        return Answer(found)


def count_calls(source: Source, tenant: str, start_ms: int, end_ms: int, slot_ms: int, limit: int) -> Statement:
    """Rows of service, name, kind, status, end of the slot, newest end, bucket, calls, seconds."""
    until = _until(f"toInt64(toUnixTimestamp(slot)) + {SLOT_SECONDS}")
    # HAVING drops a slot that ends after the range: only a part of its calls may be there yet.
    sql = (
        f"SELECT service, name, kind, status_code, {until} AS until,\n"  # only names of ours and parameters
        f"  max(toInt64(toUnixTimestamp(slot))) + {SLOT_SECONDS} AS newest, bucket, toFloat64(sum(calls)), sum(seconds)\n"
        f"FROM {source.rows('red', tenant)}\nWHERE tenant = {{tenant:String}} AND slot < toDateTime({{end:UInt32}}, 'UTC')\n"
        "GROUP BY service, name, kind, status_code, until, bucket\nHAVING until <= {end:Int64}\nLIMIT {limit:UInt64}"
    )
    return Statement(sql, _range(tenant, start_ms, end_ms, slot_ms) | {"limit": limit})


def span_kinds(source: Source, tenant: str, start_ms: int, end_ms: int) -> Statement:
    """The distinct kinds."""
    sql = (
        f"SELECT DISTINCT kind\nFROM {source.rows('red', tenant)}\nWHERE tenant = {{tenant:String}}"  # the same
        "\n  AND slot >= toDateTime({start:UInt32}, 'UTC') AND slot <= toDateTime({end:UInt32}, 'UTC')"
    )
    return Statement(sql, _range(tenant, max(0, start_ms - 1000 * SLOT_SECONDS), end_ms, 1000))


def count_spans(source: Source, tenant: str, start_ms: int, end_ms: int) -> Statement:
    """The number of spans that began in the range."""
    sql = f"SELECT count()\nFROM {source.rows('spans', tenant, _seconds(start_ms, end_ms))}\nWHERE {_began(0)}"  # the same
    return Statement(sql, _range(tenant, start_ms, end_ms, 1000))


def count_edges(source: Source, tenant: str, start_ms: int, end_ms: int, slot_ms: int, limit: int, one_in: int) -> Statement:
    """Rows of client, server, connection type, failed, side, end of the slot, newest end, bucket, calls, seconds, estimated from one in
    ``one_in`` traces.
    """
    # Sampled by trace, with the same hash on both sides of the join, so that either both spans of a call are read or neither.
    sampled = f" AND sipHash64(trace_id) % {one_in} = 0" if one_in > 1 else ""
    bounds = ", ".join(str(round(bound * 1e9)) for bound in EDGE_BOUNDS)
    ended = "intDiv(toUnixTimestamp64Nano(s.start_time) + greatest(s.duration_ns, 0), 1000000000)"
    columns = "trace_id, service, status_code, kind, start_time, duration_ns"
    sql = (
        f"SELECT client, server, connection, failed, side.1 AS whose, {_until('ended')} AS until, max(ended) AS newest,\n"  # noqa: S608  # the same
        f"  toUInt8(arrayCount(bound -> side.2 > bound, [{bounds}])) AS bucket, toFloat64(count() * {one_in}), sum(side.2 / 1e9) * {one_in}\n"
        "FROM\n(\n"
        "  SELECT c.service AS client, s.service AS server, if(c.kind = 4, 'messaging_system', '') AS connection,\n"
        f"    if(c.status_code = 2 OR s.status_code = 2, 'failed', '') AS failed, {ended} AS ended,\n"
        "    arrayJoin([('client', greatest(c.duration_ns, 0)), ('server', greatest(s.duration_ns, 0))]) AS side\n"
        f"  FROM (SELECT {columns}, reinterpretAsUInt64(parent_span_id) AS parent FROM {source.rows('spans', tenant, _seconds(start_ms, end_ms))}\n"
        f"    WHERE {_began(0)} AND kind IN (2, 5) AND parent_span_id != ''{sampled}) AS s\n"
        f"  INNER JOIN (SELECT {columns}, reinterpretAsUInt64(span_id) AS id FROM {source.rows('spans', tenant, _seconds(start_ms, end_ms))}\n"
        f"    WHERE {_began(_CLIENT_EARLIER_SECONDS)} AND kind IN (3, 4){sampled}) AS c\n"
        "  ON c.trace_id = s.trace_id AND c.id = s.parent\n"
        ")\nGROUP BY client, server, connection, failed, whose, until, bucket\nHAVING until <= {end:Int64}\nLIMIT {limit:UInt64}"
    )
    return Statement(sql, _range(tenant, start_ms, end_ms, slot_ms) | {"limit": limit})


def _until(end_of_slot: str) -> str:
    """SQL for the end of the slot of ``slot_ms`` that contains a time, but no earlier than the start of the range."""
    return _UNTIL.replace("{end_of_slot}", end_of_slot)


def _began(earlier_seconds: int) -> str:
    return (
        f"tenant = {{tenant:String}} AND start_time >= fromUnixTimestamp64Nano(({{start:Int64}} - {earlier_seconds}) * 1000000000, 'UTC')"
        " AND start_time < fromUnixTimestamp64Nano({end:Int64} * 1000000000, 'UTC')"
    )


def _range(tenant: str, start_ms: int, end_ms: int, slot_ms: int) -> dict[str, str | int]:
    step = slot_ms // 1000
    return {"tenant": tenant, "start": max(0, start_ms // slot_ms * step), "end": min(max(0, end_ms // 1000), (1 << 32) - 1), "step": step}


def counts_of(columns: Sequence[Column], key_columns: int) -> SpanCounts:
    """The counts in the answer to either statement: ``key_columns`` columns of the group, then the rest."""
    if not columns:
        none = np.empty(0, np.int64)
        return SpanCounts((), none, none, none, none, np.empty(0), np.empty(0))
    # Each combination becomes one number, with a digit for each column in the base of its number of words, because unique() of numbers is a
    # single sort. The words are names and kinds of a tenant's services; the product of their numbers is far below 2**63.
    coded = [_coded(column) for column in columns[:key_columns]]
    combined = np.zeros(len(coded[0][1]), np.int64)
    for words, code in coded:
        combined = combined * len(words) + code
    _, first, group = np.unique(combined, return_index=True, return_inverse=True)
    groups = list(zip(*([words[code] for code in codes[first].tolist()] for words, codes in coded), strict=True))
    until, newest, bucket, calls, seconds = (native.numbers(column) for column in columns[key_columns:])
    return SpanCounts(groups, group, until * 1000, newest * 1000, bucket.astype(np.int64), calls, seconds)


def _coded(column: Column) -> tuple[list[str], np.typing.NDArray[np.int64]]:
    """The distinct words of a column (numbers as text), and for each row the position of its word."""
    if isinstance(column, Strings):
        codes: dict[str, int] = {}
        places = np.array([codes.setdefault(word, len(codes)) for word in column.words], np.int64)
        return list(codes), places[column.index]
    values, places = np.unique(native.numbers(column), return_inverse=True)
    return [str(value) for value in values.tolist()], places


def _seconds(start_ms: int, end_ms: int) -> TimeRange:
    """The range in which spans counted from ``start_ms`` on may have begun, a little earlier for client spans."""
    return TimeRange((start_ms // 1000 - _CLIENT_EARLIER_SECONDS) * NS_PER_SECOND, end_ms * NS_PER_MS)
