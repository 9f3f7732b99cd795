"""SQL for what ``compare()`` counts of a span's trace, pure: the name and service of the root, and the number of the span's children.

A span's relatives need not be among the compared spans, and may start outside of their range. They are looked for as far around it as a
search looks for a trace's spans; a root that is not found there is the empty text, as in the answer to a search.

The answers have the columns of ``compared.count_few``, for the keys ROOTS and CHILDREN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tael.model.span import UNKNOWN_SERVICE
from tael.model.time import TimeRange
from tael.storage.clickhouse.conditions import Conditions, Statement, instant
from tael.storage.clickhouse.traceql.compared import Compared, Valued, index_of
from tael.storage.clickhouse.traceql.statements import START

ROOTS: Final = (Valued("rootName", "", "string"), Valued("rootServiceName", "", "string"))
CHILDREN: Final = (Valued("span:childCount", "", "int"),)
_SERVICE: Final = (
    (f"service != '{UNKNOWN_SERVICE}'", "service"),
    # The column has this name also for resources without one, but reading the map takes as long as all else.
    (f"service = '{UNKNOWN_SERVICE}'", "resource_string['service.name']"),
)
"""The service of a span by cases; it is the empty text where it was not sent. It needs a name of its own: as ``service`` it would be what
the case compares, which no key of the table finds.
"""
_TRACE: Final = "cityHash64(trace_id)"
_SPAN, _PARENT = (f"cityHash64(reinterpretAsUInt64(trace_id), reinterpretAsUInt64({own}))" for own in ("span_id", "parent_span_id"))
"""A span and its parent as one number, of the first eight bytes of each id, which is grouped in a third of the time of two ids."""
_SHORT_SPAN, _SHORT_PARENT = (
    f"toUInt32(bitXor(reinterpretAsUInt64({own}), bitShiftRight(reinterpretAsUInt64({own}), 32)))" for own in ("span_id", "parent_span_id")
)
"""Their ids as numbers of four bytes, whatever the trace: a set of these takes half the memory, and memory is what looking up waits for."""
_LAST: Final = " + ".join(
    f"bitShiftLeft(toUInt256({number}), {64 * at})"
    for at, number in enumerate(
        (
            "toUInt64(duration_ns) + 9223372036854775808",
            "byteSwap(reinterpretAsUInt64(span_id))",
            f"toUInt64({START}) + 9223372036854775808",
        )
    )
)
"""The order of start, id and duration as one number: numbers are compared much faster than tuples. The sign of what has one is inverted, so
that negative numbers come first.
"""
_ROOT: Final = "concat(char(bitShiftRight(length(sent), 16), bitShiftRight(length(sent), 8), length(sent)), sent, name)"
"""Service and name as one text, with the length of the service before them: one text takes a third of the memory of two, and grouping stays
in memory.
"""
_SERVICE_BYTES: Final = "reinterpretAsUInt32(reverse(substring(root, 1, 3)))"
NO_ROOT: Final = 0
SEVERAL: Final = 1
"""The code of spans whose trace has several roots that only their ids and durations tell apart."""
MOST_CODES: Final = 4_000
_CODE: Final = f"greatest(cityHash64(sent, name), {SEVERAL + 1})"


def count_roots(spans: Compared, most: int, steps: int) -> Statement:
    """The spans by the name and by the service of their trace's root: its last span without a parent; of copies of that, the longest.

    The text is empty for values that are not among the ``most`` frequent ones, neither of the selected spans nor of the others.
    """
    around = _around(spans)
    unnamed = f"(SELECT count() > 0 FROM {spans.rows_around} WHERE {around} AND service = '{UNKNOWN_SERVICE}')"  # noqa: S608  # names of ours and parameters
    around.add("parent_span_id = ''")
    read = "trace_id, start_time, span_id, duration_ns, name"
    # Only the roots of compared traces are joined, so the joined table is no larger than what is compared. Each case has a set of them,
    # also one that has no rows: where every service was sent, the second set is empty.
    found = "\n        UNION ALL\n".join(
        f"        SELECT {read}, {service} AS sent\n"  # noqa: S608  # the same
        f"        FROM {spans.rows_around}\n        WHERE {around} AND trace_id IN (SELECT trace_id FROM {spans.rows} WHERE {spans.base}{also}) AND {case}"
        for (case, service), also in zip(_SERVICE, ("", f" AND {unnamed}"), strict=True)
    )
    roots = f"SELECT trace_id, argMax({_ROOT}, {_LAST}) AS root\n      FROM (\n{found}\n      )\n      GROUP BY trace_id"  # noqa: S608  # the same
    joined = (
        f"SELECT at, substring(root, 4 + {_SERVICE_BYTES}) AS name, substring(root, 4, {_SERVICE_BYTES}) AS service\n    FROM (SELECT trace_id, {index_of(spans)} FROM {spans.rows} WHERE {spans.base}) AS own\n"  # noqa: S608  # the same
        f"    LEFT JOIN (\n      {roots}\n    ) AS roots USING (trace_id)"
    )
    counted = (
        "SELECT toUInt8(grouping(name)) AS number, if(number = 0, name, service) AS value, concat('s', value) AS text,\n"  # noqa: S608  # the same
        f"    countResample(0, {2 * steps}, 1)(at) AS counts, countIf(at % 2 = 1) AS chosen, count() - chosen AS others\n"
        f"  FROM (\n    {joined}\n  )\n  GROUP BY GROUPING SETS ((name), (service))"
    )
    places = ", ".join(f"row_number() OVER (PARTITION BY number ORDER BY {own} DESC, text)" for own in ("chosen", "others"))
    sql = (
        f"SELECT number, if(place <= {{most:UInt64}}, text, '') AS shown, sumForEach(counts)\nFROM (\n"  # noqa: S608  # the same
        f"  SELECT number, text, counts, least({places}) AS place\n  FROM (\n  {counted}\n  )\n)\nGROUP BY number, shown"
    )
    return spans.statement(sql, **around.parameters, most=most)


def count_codes(spans: Compared, steps: int, *, few: bool) -> Statement:
    """The spans by a number for the name and service of their trace's root. Columns: this code, and the counts as in ``count_few``.

    Of the roots that start last in their trace, the one with the greatest code and the one with the smallest are the same code, or there is
    a choice that needs ``count_roots``. So no text, id or duration of a root is kept for each trace, which takes twice as long. There are
    more than MOST_CODES if so many are returned.
    """
    around = _around(spans)
    around.add("parent_span_id = ''")
    also = f" AND trace IN (SELECT {_TRACE} FROM {spans.rows} WHERE {spans.base})" if few else ""  # noqa: S608  # names of ours and parameters
    cases = "\n        UNION ALL\n".join(
        f"        SELECT {_TRACE} AS trace, bitShiftLeft(toUInt128(toUInt64({START}) + 9223372036854775808), 64) AS start, {_CODE} AS own\n"  # noqa: S608  # the same
        f"        FROM (SELECT trace_id, start_time, name, {service} AS sent\n          FROM {spans.rows_around}\n          WHERE {around} AND {case})\n"
        f"        WHERE true{also}"
        for case, service in _SERVICE
    )
    roots = (
        "SELECT trace, toUInt64(max(start + own)) AS greatest, bitNot(toUInt64(max(start + bitNot(own)))) AS least\n"  # noqa: S608  # the same
        f"      FROM (\n{cases}\n      )\n      GROUP BY trace"
    )
    sql = (
        f"SELECT code, countResample(0, {2 * steps}, 1)(at)\nFROM (\n  SELECT at, if(greatest = least, greatest, {SEVERAL}) AS code\n"  # noqa: S608  # the same
        f"  FROM (SELECT {_TRACE} AS trace, {index_of(spans)} FROM {spans.rows} WHERE {spans.base}) AS own\n"
        f"  LEFT JOIN (\n      {roots}\n  ) AS roots USING (trace)\n)\nGROUP BY code\nLIMIT {MOST_CODES + 1}"
    )
    return spans.statement(sql, **around.parameters)


def decode(spans: Compared, codes: Sequence[int], within: TimeRange) -> Statement:
    """Rows of code, service and name, for those of the codes that roots within a range have."""
    around = _around(spans, within)
    around.add("parent_span_id = ''")
    cases = "\n  UNION ALL\n".join(
        f"  SELECT name, {service} AS sent\n  FROM {spans.rows_around}\n  WHERE {around} AND {case}"  # noqa: S608  # names of ours and parameters
        for case, service in _SERVICE
    )
    sql = f"SELECT {_CODE} AS code, any(sent), any(name)\nFROM (\n{cases}\n)\nWHERE code IN {{codes:Array(UInt64)}}\nGROUP BY code"  # the same
    return spans.statement(sql, **around.parameters, codes=list(codes))


def count_children(spans: Compared, steps: int, *, few: bool) -> Statement:
    """The spans by the number of their children. If they are ``few``, others' children are left out, which takes a set of them but groups
    much less.
    """
    around = _around(spans)
    around.add("parent_span_id != ''")
    if few:
        # What passes without being a child of theirs is a group without a span of its own.
        around.add(f"{_SHORT_PARENT} IN (SELECT {_SHORT_SPAN} FROM {spans.rows} WHERE {spans.base})")  # noqa: S608  # names of ours and parameters
    own = f"SELECT {_SPAN} AS span, {index_of(spans)}, 1 AS own\n    FROM {spans.rows}\n    WHERE {spans.base}"  # noqa: S608  # the same
    children = f"SELECT {_PARENT} AS span, 0 AS at, 0 AS start_ns, 0 AS own\n    FROM {spans.rows_around}\n    WHERE {around}"  # noqa: S608  # the same
    # One GROUP BY over both and not a join, because it can go on on disk when millions of spans are compared.
    sql = (
        f"SELECT toUInt8(0), concat('i', toString(children)) AS text, sumResample(0, {2 * steps}, 1)(spans, at)\nFROM (\n"  # noqa: S608  # the same
        f"  SELECT sum(own) AS spans, count() - spans AS children, max(at) AS at\n  FROM (\n    {own}\n    UNION ALL\n    {children}\n  )\n"
        "  GROUP BY span\n  HAVING spans > 0\n)\nGROUP BY text"
    )
    return spans.statement(sql, **around.parameters)


def _around(spans: Compared, within: TimeRange | None = None) -> Conditions:
    found, own = Conditions(spans.tenant), within or spans.wider
    for operator, name, at in ((">=", "around_start", own.start_ns), ("<", "around_end", own.end_ns)):
        found.add(f"start_time {operator} {instant(name)}", **{name: at})
    return found
