"""Spans by service, counted as they are written: the SQL that fills the tables of counts, and the SQL that reads them. Pure.

A range is split by time: its whole hours are read from ``service_hours``, the whole minutes around them from ``service_minutes``, and the
rest at both ends, less than a minute each, from the spans. So spans, errors and durations are exact. Traces are counted by a mergeable
state, which is exact up to some hundreds and has a standard error of 1.2 % beyond.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tael.model.span import STATUS_ERROR
from tael.model.time import HOUR_NS, NS_PER_SECOND, TimeRange
from tael.storage.clickhouse.conditions import Conditions, Statement, bounded
from tael.storage.clickhouse.source import Source

_COUNT: Final = "uniqCombined64"
_PRECISION: Final = 13
"""The binary logarithm of the number of a state's registers; a state takes at most 6 kB."""
_MINUTE_NS: Final = 60 * NS_PER_SECOND
TRACE_STATE: Final = f"AggregateFunction({_COUNT}({_PRECISION}), FixedString(16))"
TRACE_STATE_MERGED: Final = f"{_COUNT}MergeState({_PRECISION})"
COUNTED_START: Final = "start_time >= toDateTime64(0, 9, 'UTC') AND start_time < fromUnixTimestamp64Nano(4294967296000000000, 'UTC')"
SUMS: Final = ",\n    ".join(
    (
        "count() AS spans",
        f"countIf(status_code = {STATUS_ERROR}) AS errors",
        "sum(toUInt128(greatest(duration_ns, 0))) AS duration_ns",
        f"{_COUNT}State({_PRECISION})(trace_id) AS traces",
    )
)
_COLUMNS: Final = "service, spans, errors, duration_ns, traces"


class Place(NamedTuple):
    """The rows of a table whose instants, in ``column``, are in a range."""

    table: str
    column: str
    time_range: TimeRange


def list_services(source: Source, tenant: str, time_range: TimeRange, since_ns: int) -> Statement:
    """Rows of service, spans, traces, errors and nanoseconds, by service; the tables of counts cover every span from ``since_ns`` on."""
    cut = list(places(time_range, since_ns)) or [Place("spans", "start_time", time_range)]
    parameters: dict[str, Any] = {}
    parts = []
    for number, (table, column, held) in enumerate(cut):
        where = Conditions(tenant)
        where.within(column, held)
        # All parts are in one statement, so each gets its own parameter names.
        renamed = {name: name if name == "tenant" else f"{name}_{number}" for name in where.parameters}
        text = str(where)
        for name, own in renamed.items():
            text = text.replace(f"{{{name}:", f"{{{own}:")
        parameters |= {own: where.parameters[name] for name, own in renamed.items()}
        columns = _COLUMNS if table != "spans" else f"service,\n    {SUMS}"
        grouped = "" if table != "spans" else "\nGROUP BY service"
        parts.append(f"SELECT {columns}\nFROM {source.rows(table, tenant, held)}\nWHERE {text}{grouped}")
    every = "\nUNION ALL\n".join(parts)
    sql = (
        f"SELECT service, sum(spans), {_COUNT}Merge({_PRECISION})(traces), sum(errors), sum(duration_ns)\nFROM (\n{every}\n)\n"  # names of ours and parameters
        "GROUP BY service\nORDER BY service"
    )
    return Statement(sql, parameters)


def counted_since(source: Source, tenant: str) -> Statement:
    """The instant, in nanoseconds, from which on the tables of counts cover every span; the same for every tenant."""
    return Statement(f"SELECT toUnixTimestamp64Nano(max(since))\nFROM {source.rows('tael_counted_since', tenant)}", {})


def places(time_range: TimeRange, since_ns: int) -> Iterator[Place]:
    """The places to read the range from, with each instant in exactly one of them; none if the range has no whole minute that
    was counted.
    """
    if not bounded(time_range):
        return
    start, end = time_range.start_ns, time_range.end_ns
    # Rounded inwards: a partial minute, and what was written before the tables existed, are counted from the spans.
    first, last = _up(max(start, since_ns), _MINUTE_NS), _down(end, _MINUTE_NS)
    if first >= last:
        return
    first_hour, last_hour = _up(first, HOUR_NS), _down(last, HOUR_NS)
    if first_hour < last_hour:
        minutes = [(first, first_hour), (last_hour, last)]
        yield Place("service_hours", "hour", TimeRange(first_hour, last_hour))
    else:
        minutes = [(first, last)]
    yield from (Place("service_minutes", "minute", TimeRange(*part)) for part in minutes if part[0] < part[1])
    yield from (Place("spans", "start_time", TimeRange(*part)) for part in ((start, first), (last, end)) if part[0] < part[1])


def _up(instant_ns: int, unit_ns: int) -> int:
    return -(-instant_ns // unit_ns) * unit_ns


def _down(instant_ns: int, unit_ns: int) -> int:
    return instant_ns // unit_ns * unit_ns
