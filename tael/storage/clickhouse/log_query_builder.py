"""SQL for the questions that LogReader asks, pure, in two statements as for spans: the keys of the page, then the wide columns of exactly these."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tael.storage.api import LogCursor, LogQuery
from tael.storage.clickhouse import log_rows
from tael.storage.clickhouse.conditions import Conditions, Statement, instant
from tael.storage.merge import signed_ns

_WHOLE_WORD = re.compile(r"(?<=[^A-Za-z0-9\x80-\U0010ffff])[A-Za-z0-9]+(?=[^A-Za-z0-9\x80-\U0010ffff])")


@dataclass(frozen=True, slots=True)
class LogKey:
    """What locates a record in the table and orders it in an answer; ``timestamp_ns`` as the table holds it, signed."""

    service: str
    timestamp_ns: int
    serial: int


def find_keys(database: str, tenant: str, query: LogQuery) -> Statement:
    """The keys of the page, in its order."""
    where = Conditions(tenant)
    bounded = where.within("timestamp", query.time_range)
    if query.service:
        where.add("service = {service:String}", service=query.service)
    _filter_record(where, query)
    for index, (key, value) in enumerate(query.attributes):
        where.attribute(index, key, value)
    _filter_body(where, query)
    if query.after is not None:
        _follow(where, query.after)
    where.parameters["limit"] = query.limit
    # With the service fixed this is the order of the table, and reading stops when the page is full.
    order = "toStartOfHour(timestamp) DESC, timestamp DESC" if bounded and query.service else "timestamp DESC"
    sql = (
        f"SELECT service, toUnixTimestamp64Nano(timestamp), serial\nFROM {database}.logs\nWHERE {where}\n"
        f"ORDER BY {order}, serial\nLIMIT {{limit:UInt64}}"
    )
    return Statement(sql, where.parameters)


def fetch(database: str, tenant: str, keys: Sequence[LogKey]) -> Statement:
    """The records of these keys (at least one), in no order."""
    where = Conditions(tenant)
    times = [key.timestamp_ns for key in keys]
    where.add("service IN {services:Array(String)}", services=sorted({key.service for key in keys}))
    where.add(f"timestamp >= {instant('first')}", first=min(times))
    where.add(f"timestamp <= {instant('last')}", last=max(times))
    where.add(
        "(toUnixTimestamp64Nano(timestamp), serial) IN {keys:Array(Tuple(Int64, UInt64))}",
        keys=[(key.timestamp_ns, key.serial) for key in keys],
    )
    return Statement(f"SELECT {', '.join(log_rows.COLUMNS)}\nFROM {database}.logs\nWHERE {where}", where.parameters)


def _filter_record(where: Conditions, query: LogQuery) -> None:
    if query.level is not None:
        where.add("toInt8(level) = {level:Int8}", level=query.level)
    if query.min_level is not None:
        where.add("toInt8(level) >= {min_level:Int8}", min_level=query.min_level)
    if query.trace_id:
        where.add("trace_id = toFixedString(unhex({trace_id:String}), 16)", trace_id=query.trace_id.hex())
    if query.span_id:
        where.add("span_id = toFixedString(unhex({span_id:String}), 8)", span_id=query.span_id.hex())


def _filter_body(where: Conditions, query: LogQuery) -> None:
    """The index knows words; of a substring it knows those that the substring bounds on both sides."""
    words = sorted({word.lower() for word in _WHOLE_WORD.findall(query.body_contains)})
    if words:
        where.add("hasAllTokens(body, {inner_words:Array(String)})", inner_words=words)
    if query.body_contains:
        where.add("positionCaseInsensitiveUTF8(body, {body_contains:String}) > 0", body_contains=query.body_contains)
    if query.words:
        where.add("hasAllTokens(body, {words:String})", words=query.words)


def _follow(where: Conditions, after: LogCursor) -> None:
    where.add(
        f"(timestamp < {instant('after')} OR (timestamp = {instant('after')} AND serial > {{after_serial:UInt64}}))",
        after=signed_ns(after.timestamp_ns),
        after_serial=after.serial,
    )
