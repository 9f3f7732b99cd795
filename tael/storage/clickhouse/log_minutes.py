"""Lines and bytes of streams by the minute, added up as records are written: the SQL that fills the minutes, and the SQL that reads them.
Pure.

A row of ``log_streams`` is a stream in an hour. Its ``minutes`` have the number and bytes of its lines in each minute, by level and other
known facts (log_lines.py). Lines of a minute's first nanosecond are counted separately: Loki's windows begin after it, other ranges with
it.
"""

from __future__ import annotations

from typing import Any, Final

from tael.model.log import LineFact
from tael.model.predicate import EVERYTHING, intrinsic, mentions_only
from tael.model.streams import INDEX_LABELS
from tael.model.time import NS_PER_MS, NS_PER_SECOND, TimeRange
from tael.storage.api import LogCounts
from tael.storage.clickhouse import log_lines
from tael.storage.clickhouse.columns import LOG_COLUMNS
from tael.storage.clickhouse.conditions import Statement, bounded
from tael.storage.clickhouse.labels import matching
from tael.storage.clickhouse.log_query_builder import counted_groups
from tael.storage.clickhouse.predicate import condition
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.streams import stream_matchers

MINUTE_NS: Final = 60 * NS_PER_SECOND
TYPE: Final = "SimpleAggregateFunction(sumMap, Tuple(Array(UInt16), Array(UInt64), Array(UInt64)))"
NONE: Final = "CAST(([], [], []), 'Tuple(Array(UInt16), Array(UInt64), Array(UInt64))')"
_MARKS: Final[dict[LineFact, int]] = {name: 1 << bit for bit, name in enumerate(name for name in log_lines.KNOWN_IF if name != "level")}
"""The bits of the facts, besides the level, that may be known of the lines of a minute."""
# 16 bits: the minute of the hour (8), whether a line is at the minute's first nanosecond (1), its level (4) and the other facts (3).
_KEY: Final = (
    "toUInt16(toMinute(timestamp) * 256 + (toUnixTimestamp64Nano(timestamp) % 60000000000 = 0) * 128 "
    f"+ toInt8(CAST(line_level AS {log_lines.LEVEL_TYPE})) * 8 + {' + '.join(f'({log_lines.KNOWN_IF[name]}) * {bit}' for name, bit in _MARKS.items())})"
)
_HELD: Final = "timestamp >= toDateTime64(0, 9, 'UTC') AND timestamp < fromUnixTimestamp64Nano(4294967296000000000, 'UTC')"
# Its minute would be the 255th of the hour, which no line has.
_REST: Final = 65_535
"""The key for those lines of a row that are in none of its minutes."""
OF_ROWS: Final = f"sumMapIf([{_KEY}], [toUInt64(1)], [toUInt64(length(body))], {_HELD})"


def whole(counts: LogCounts) -> TimeRange | None:
    """The part of the range that consists of whole minutes; None if there is none, if slots begin within minutes, or with a predicate on
    more than levels or texts to group by.
    """
    start, end = counts.time_range.start_ns, counts.time_range.end_ns
    if (
        counts.texts
        or counts.known_if != EVERYTHING
        or not bounded(counts.time_range)
        or not mentions_only(counts.predicate, intrinsic("detected_level"))
    ):
        return None
    # A range may begin at a minute or one nanosecond after: the lines in between have keys of their own.
    if counts.slot_ns and counts.slot_ns < end - start and (counts.slot_ns % MINUTE_NS or start % MINUTE_NS > 1):
        return None
    first = start if start % MINUTE_NS <= 1 else start + MINUTE_NS - start % MINUTE_NS
    last = end if end % MINUTE_NS <= 1 else end - end % MINUTE_NS
    return TimeRange(first, last) if first + MINUTE_NS <= last else None


def count(source: Source, tenant: str, counts: LogCounts, within: TimeRange, limit: int) -> Statement:
    """Like log_query_builder.count, over whole minutes, with one more column: whether the group has lines whose minute or level is not
    known.

    A group without slots, of streams that agree in some labels, has the labels of one of them in place of its number: a row for each is
    returned.
    """
    parameters: dict[str, Any] = {"limit": limit, "whole_start": within.start_ns, "whole_end": within.end_ns}
    hours = (within.start_ns // NS_PER_MS, (within.end_ns - 1) // NS_PER_MS)
    where = matching(tenant, stream_matchers(counts.streams), hours, parameters, "labels['__name__']")
    held = source.rows("log_streams", tenant, within)
    marked: dict[LineFact, str] = {name: f"bitTest(minute, {bit.bit_length() - 1})" for name, bit in _MARKS.items()}
    stream, grouped, alike, own = "stream", "own_stream, ", "stream" if counts.by_stream else "0", "stream"
    if counts.by_stream and counts.labels is not None:
        parameters["names"] = [INDEX_LABELS.get(name, name) for name in counts.labels]
        own = "stream" if counts.slot_ns else "labels"
        stream, grouped, alike = f"any({own})", "", "cityHash64(arrayMap(name -> labels[name], {names:Array(String)}))"
    groups = counted_groups(counts, "instant_ns", parameters, {**log_lines.KNOWN_IF, **marked}, stream)
    # To the minutes of a row its other lines are appended: there are some only if it was written before there were minutes, or lines were
    # deleted.
    rows = (
        f"SELECT {own}, {alike} AS alike, hour, arrayJoin(arrayZip(arrayPushBack(minutes.1, {_REST}), arrayPushBack(minutes.2, toUInt64(records - arraySum(minutes.2))), "  # noqa: S608  # names of ours and parameters
        f"arrayPushBack(minutes.3, 0))) AS part\n  FROM {held}\n  WHERE {where}"
    )
    minutes = (
        f"SELECT {own}, alike, part.1 AS minute, part.2 AS records, part.3 AS bytes, '' AS severity_text, "  # noqa: S608  # the same
        f"CAST(toInt8(intDiv(minute % 128, 8)) AS {log_lines.LEVEL_TYPE}) AS line_level, "
        f"minute = {_REST} AS is_rest, toInt64(toUnixTimestamp(hour)) * {NS_PER_SECOND} + intDiv(minute, 256) * {MINUTE_NS} "
        f"+ if(bitTest(minute, 7), 0, 1) AS instant_ns\n  FROM (\n  {rows}\n  )\n"
        "  WHERE is_rest ? records != 0 : (instant_ns >= {whole_start:Int64} AND instant_ns < {whole_end:Int64})"
    )
    # Without their severity texts, all lines with such a level may be counted.
    of_levels = "" if counts.predicate == EVERYTHING else f"WHERE incomplete OR {condition(counts.predicate, LOG_COLUMNS, parameters)}\n"
    sql = (
        f"SELECT {groups}, sum(records), {'sum(bytes)' if counts.sizes else '0'}, is_rest OR {log_lines.OTHER_LEVEL} AS incomplete\n"
        f"FROM (\n  {minutes}\n)\n{of_levels}GROUP BY {grouped}alike, known, severity, slot_number, incomplete\nLIMIT {{limit:UInt64}}"
    )
    return Statement(sql, parameters)
