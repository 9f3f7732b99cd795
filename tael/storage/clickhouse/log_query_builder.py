"""SQL for LogReader's queries, pure. As for spans, finding takes two statements: the keys of the page, then the wide columns of exactly
those records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tael.cold.files import hour_of
from tael.model.log import LineFact
from tael.model.predicate import EVERYTHING, required_service
from tael.model.time import NS_PER_MS, TimeRange, signed_ns
from tael.storage.api import LogCounts, LogCursor, LogQuery
from tael.storage.clickhouse import log_lines, log_rows
from tael.storage.clickhouse.columns import log_columns
from tael.storage.clickhouse.conditions import CONDITION_FIRST, Conditions, Statement, Written, instant
from tael.storage.clickhouse.labels import matching
from tael.storage.clickhouse.needles import MOST_LINES, Begun
from tael.storage.clickhouse.predicate import conditions
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.streams import stream_matchers


@dataclass(frozen=True, slots=True)
class LogKey:
    """The values that locate a record in the table and order it in an answer; ``timestamp_ns`` is signed, as stored."""

    service: str
    timestamp_ns: int
    serial: int


def find_keys(source: Source, tenant: str, query: LogQuery, begun: Begun | None = None) -> Statement:
    """The keys of the page, in its order."""
    return page(source, tenant, query, ("service", "toUnixTimestamp64Nano(timestamp)", "serial"), begun)


def page(source: Source, tenant: str, query: LogQuery, columns: Sequence[str], begun: Begun | None = None) -> Statement:
    """These columns of the page's records, in its order; ``begun`` tells needles that few of them have."""
    where = Conditions(tenant)
    bounded = where.within("timestamp", query.time_range)
    where.satisfy(query.predicate, log_columns(indexed=source.in_table("logs", query.time_range), begun=begun))
    service = _of_streams(where, source, tenant, query)
    if query.unknown or query.known_if != EVERYTHING:
        known = [log_lines.KNOWN_IF[name] for name in query.unknown]
        where.add(f"NOT ({' AND '.join((*known, *conditions(query.known_if, log_columns(indexed=False), where.parameters)))})")
    if query.after is not None:
        _follow(where, query.after, ">" if query.oldest_first else "<")
    where.parameters["limit"] = query.limit
    # With a single service this is the order of the table, so that reading stops when the page is full.
    way = "" if query.oldest_first else " DESC"
    order = f"toStartOfHour(timestamp){way}, timestamp{way}" if bounded and service else f"timestamp{way}"
    rows = source.rows("logs", tenant, query.time_range, service=service)
    sql = (
        f"SELECT {', '.join(columns)}\nFROM {rows}\nWHERE {where}\n"
        f"ORDER BY {order}, serial\nLIMIT {{limit:UInt64}}{CONDITION_FIRST if bounded and not service and not query.oldest_first else ''}"
    )
    return Statement(sql, where.parameters)


def service_of(query: LogQuery | LogCounts) -> str:
    """The only service of the records; empty if they may be of several."""
    named = next((matcher.value for matcher in query.streams if matcher.name == "service_name" and matcher.op == "="), "")
    return named or required_service(query.predicate)


def count(source: Source, tenant: str, counts: LogCounts, within: TimeRange, limit: int, begun: Begun | None = None) -> Statement:
    """Rows of stream, whether all of ``counts.known`` is known, level, slot, number of records and bytes of bodies, for the part ``within``
    of the range. ``begun`` is as in ``page``.
    """
    size = "sum(body.size)" if counts.sizes else "0"
    if counts.value:
        return _grouped(
            source, tenant, counts, within, limit, begun, f"countIf(NOT known OR {_VALUE} != '')", f"sumIf(toInt64OrZero({_VALUE}), known)"
        )
    return _grouped(source, tenant, counts, within, limit, begun, "count()", size)


def read_values(source: Source, tenant: str, counts: LogCounts, limit: int, begun: Begun | None = None) -> Statement:
    """Rows of stream, whether all of ``counts.known`` is known, level, 0, and of the lines that have a value their instants, serials and
    values. ``begun`` is as in ``page``.
    """
    held = f"known AND {_VALUE} != ''"
    columns = (f"groupArrayIf(toUnixTimestamp64Nano(timestamp), {held})", f"groupArrayIf(serial, {held})")
    # Written once each in the answer, and read once.
    values = f"CAST(groupArrayIf({_VALUE}, {held}), 'Array(LowCardinality(String))')"
    return _grouped(source, tenant, replace(counts, slot_ns=0), counts.time_range, limit, begun, *columns, values)


_VALUE: Final = "extract(body, {value:String})"


def _grouped(
    source: Source, tenant: str, counts: LogCounts, within: TimeRange, limit: int, begun: Begun | None, *aggregates: str
) -> Statement:
    """``aggregates`` of each group, behind the columns that ``counted_groups`` names and before the texts."""
    where = Conditions(tenant)
    where.within("timestamp", within)
    where.satisfy(counts.predicate, log_columns(indexed=source.in_table("logs", within), begun=begun))
    service = _of_streams(where, source, tenant, replace(counts, time_range=within))
    groups = counted_groups(counts, "toUnixTimestamp64Nano(timestamp)", where.parameters)
    texts = {f"text_{place}": pattern for place, pattern in enumerate(counts.texts)}
    where.parameters |= {"limit": limit, **texts} | ({"value": counts.value} if counts.value else {})
    found = [f"if(known, extract(body, {{{name}:String}}), '') AS {name}" for name in texts]
    sql = (
        f"SELECT {', '.join((groups, *aggregates, *found))}\n"
        f"FROM {source.rows('logs', tenant, within, service=service)}\nWHERE {where}\n"
        f"GROUP BY {', '.join(('own_stream', 'known', 'severity', 'slot_number', *texts))}\nLIMIT {{limit:UInt64}}"
    )
    return Statement(sql, where.parameters)


def counted_groups(
    counts: LogCounts,
    instant_ns: str,
    parameters: dict[str, Any],
    facts: Mapping[LineFact, str] = log_lines.KNOWN_IF,
    stream: str = "stream",
) -> str:
    """The columns by which records are grouped, selected from rows with a stream, a level and an instant. ``facts`` test those of
    ``counts.known``.
    """
    satisfied = conditions(counts.known_if, log_columns(indexed=False), parameters)
    known = " AND ".join((*(facts[name] for name in counts.known), *satisfied)) or "true"
    level = log_lines.LEVEL_SHOWN if counts.by_level else "''"
    slot = "0"
    if counts.slot_ns:
        slot = f"intDiv({instant_ns} - {{slots_from:Int64}}, {{slot:Int64}})"
        parameters |= {"slots_from": counts.time_range.start_ns, "slot": counts.slot_ns}
    return f"{stream if counts.by_stream else '0'} AS own_stream, {known} AS known, {level} AS severity, {slot} AS slot_number"


def lines_of(words: str, beginning: str) -> Statement:
    """In how many lines are words that begin so, among those of ``Begun.source``; few more than MOST_LINES are counted, as there is no
    word without a line.
    """
    inner = f"SELECT cardinality FROM {words} AND startsWith(token, {{beginning:String}}) LIMIT {{most:UInt64}}"  # noqa: S608  # names of ours
    return Statement(f"SELECT sum(cardinality) FROM ({inner})", {"beginning": beginning, "most": MOST_LINES + 1})  # noqa: S608  # the same


def stream_labels(source: Source, tenant: str, counts: LogCounts) -> Statement:
    """The labels of each stream that may have been counted."""
    where = matching(tenant, stream_matchers(counts.streams), _hours(counts.time_range), {}, "labels['__name__']")
    # A stream is the hash of its labels, so that any of its rows has them.
    held = source.rows("log_streams", tenant, counts.time_range)
    return Statement(f"SELECT stream, any(labels)\nFROM {held}\nWHERE {where}\nGROUP BY stream", where.parameters)


def fetch(source: Source, tenant: str, keys: Sequence[LogKey], columns: Sequence[str] = log_rows.COLUMNS) -> Statement:
    """These columns of the records of these keys (at least one), in no particular order."""
    where = Conditions(tenant)
    times = [key.timestamp_ns for key in keys]
    held = TimeRange(min(times), max(times) + 1)
    services = sorted({key.service for key in keys})
    where.add("service IN {services:Array(String)}", services=services)
    where.add(f"timestamp >= {instant('first')}", first=min(times))
    where.add(f"timestamp <= {instant('last')}", last=max(times))
    where.add(
        # The bounds above choose granules by the table's key; the pairs choose the rows in them, for times alone may be shared.
        "(toUnixTimestamp64Nano(timestamp), serial) IN {keys:Array(Tuple(Int64, UInt64))}",
        keys=Written(f"[{','.join([f'({key.timestamp_ns},{key.serial})' for key in keys])}]"),
    )
    rows = source.rows("logs", tenant, held, hours={hour_of(time) for time in times}, service=services[0] if len(services) == 1 else "")
    return Statement(f"SELECT {', '.join(columns)}\nFROM {rows}\nWHERE {where}", where.parameters)


def _of_streams(where: Conditions, source: Source, tenant: str, query: LogQuery | LogCounts) -> str:
    """Restrict ``where`` to the streams that match, and return their only service; empty if they may be of several."""
    service = service_of(query)
    if not query.streams:
        return service
    streams = matching(tenant, stream_matchers(query.streams), _hours(query.time_range), where.parameters, "labels['__name__']")
    held = source.rows("log_streams", tenant, query.time_range)
    where.add(f"stream IN (SELECT stream FROM {held} WHERE {streams})")  # noqa: S608  # only names of ours and parameters
    # The table is ordered by service: said as well, it lets granules be skipped, unless the predicate has said it already.
    if service and service != required_service(query.predicate):
        where.add("service = {service:String}", service=service)
    return service


def _hours(time_range: TimeRange) -> tuple[int, int]:
    return time_range.start_ns // NS_PER_MS, time_range.end_ns // NS_PER_MS


def _follow(where: Conditions, after: LogCursor, beyond: str) -> None:
    where.add(
        f"(timestamp {beyond} {instant('after')} OR (timestamp = {instant('after')} AND serial > {{after_serial:UInt64}}))",
        after=signed_ns(after.timestamp_ns),
        after_serial=after.serial,
    )
