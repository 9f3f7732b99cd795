"""SQL for SpanReader's queries, pure: values are passed as parameters, never in the text.

Finding spans takes two statements. The first reads only the columns that filter and sort, and returns the keys of the page; the second
fetches the wide columns of exactly those spans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tael.cold.files import hour_of
from tael.model.payload import PREFIX
from tael.model.predicate import EVERYTHING, Compare, Contains, Or, Predicate, all_of, conjuncts, intrinsic, mentions, required_service
from tael.model.time import MAX_NS, TimeRange, signed_ns, whole_hours
from tael.storage.api import Cursor, SpanQuery
from tael.storage.clickhouse import groups
from tael.storage.clickhouse.columns import SPAN_COLUMNS, Column
from tael.storage.clickhouse.conditions import CONDITION_FIRST, Conditions, Statement, instant
from tael.storage.clickhouse.pack_words import CONTENT, Held
from tael.storage.clickhouse.predicate import conditions, is_narrow
from tael.storage.clickhouse.source import Source

_KEY_COLUMNS: Final = f"service, start_time, trace_id, span_id, {', '.join(groups.COLUMNS)}"
_KEY: Final = f"service, toUnixTimestamp64Nano(start_time), trace_id, span_id, {groups.MASK}"
"""The columns of a SpanKey."""


@dataclass(frozen=True, slots=True)
class SpanKey:
    """The values that locate a span in the table and order it in an answer; ``start_ns`` is signed, as stored.

    ``empty`` is the mask of its column groups that are known to be empty (groups.py).
    """

    service: str
    start_ns: int
    trace_id: bytes
    span_id: bytes
    empty: int = 0


@dataclass(frozen=True, slots=True)
class TracePlace:
    """What the trace index says of a trace: the hours with spans, the first and the last start, and the groups of columns that are empty in
    all spans.
    """

    hours: frozenset[int]
    first_ns: int
    last_ns: int
    empty: int


def find_keys(
    source: Source,
    tenant: str,
    query: SpanQuery,
    columns: Mapping[str, Column] = SPAN_COLUMNS,
    *,
    named_since_ns: int = MAX_NS,
    held: Held | None = None,
) -> Statement:
    """The keys of the page, in its order. The table ``span_names`` covers every span from ``named_since_ns`` on; ``held`` is where words
    are in packs.
    """
    where = Conditions(tenant)
    bounded = where.within("start_time", query.time_range)
    # With a single service the page's order is that of the table, so that reading stops when the page is full.
    service = required_service(query.predicate)
    apart = bounded and not service and source.in_table("spans", query.time_range)
    predicate, alternatives = _split(query.predicate) if apart else (query.predicate, ())
    _satisfy(where, source, tenant, predicate, query.time_range, columns, held)
    of_name = all_of(
        part for part in conjuncts(query.predicate) if isinstance(part, Compare | Contains) and part.field == intrinsic("name")
    )
    if of_name != EVERYTHING and bounded and query.time_range.start_ns >= named_since_ns:
        where.add(_has_name(source, tenant, query.time_range, of_name, where.parameters))
    if query.after is not None:
        _follow(where, query.after)
    where.parameters["limit"] = query.limit
    each = [" AND ".join(conditions(one, columns, where.parameters)) for one in alternatives]
    spans = source.rows("spans", tenant, query.time_range, service=service, used=f"{_KEY_COLUMNS} {where} {' '.join(each)}")
    found = f"{spans}\nWHERE {where}"
    if alternatives:
        parts = "\n  UNION ALL\n".join(f"  SELECT {_KEY_COLUMNS} FROM {spans}\nWHERE {where}\n  AND {one}" for one in each)  # noqa: S608  # names of ours and parameters
        found = f"(\n{parts}\n)"
    order = "toStartOfHour(start_time) DESC, start_time DESC" if bounded and service else "start_time DESC"
    sql = (
        f"SELECT {_KEY}\nFROM {found}\nORDER BY {order}, trace_id, span_id\nLIMIT {{limit:UInt64}}"
        f"{CONDITION_FIRST if bounded and not service else ''}"
    )
    return Statement(sql, where.parameters)


def referred(source: Source, tenant: str, query: SpanQuery, columns: Mapping[str, Column], held: Held, most: int) -> Statement:
    """The parts (pack_words.py), in hex, of payloads that the contents of the query's spans refer to; any ``most`` of them. The query has
    contents.
    """
    where = Conditions(tenant)
    where.within("start_time", query.time_range)
    _satisfy(where, source, tenant, query.predicate, query.time_range, columns, held)
    # The expression is written in the condition, by whose name it is known here.
    parts = _parts(columns[CONTENT.key].named)
    spans = source.rows("spans", tenant, query.time_range, service=required_service(query.predicate), used=f"{parts} {where}")
    return Statement(f"SELECT DISTINCT {parts}\nFROM {spans}\nWHERE {where}\nLIMIT {{most:UInt64}}", where.parameters | {"most": most})


def referred_by(source: Source, tenant: str, keys: Sequence[SpanKey], columns: Mapping[str, Column], most: int) -> Statement:
    """``referred`` of the spans of these keys (at least one)."""
    where, parts = _of_keys(tenant, keys), _parts(columns[CONTENT.key].value)
    spans = _rows_of_keys(source, tenant, keys, f"{parts} {where}")
    return Statement(f"SELECT DISTINCT {parts}\nFROM {spans}\nWHERE {where}\nLIMIT {{most:UInt64}}", where.parameters | {"most": most})


def _parts(contents: str) -> str:
    return f"arrayJoin(arrayMap(x -> substring(x, {len(PREFIX) + 1}, 4), arrayFilter(x -> startsWith(x, '{PREFIX}'), {contents})))"


def matching(
    source: Source, tenant: str, keys: Sequence[SpanKey], predicate: Predicate, columns: Mapping[str, Column], held: Held
) -> Statement:
    """Those of these keys (at least one) with a copy that satisfies the predicate, in no particular order; of several copies, each."""
    where = _of_keys(tenant, keys)
    _satisfy(where, source, tenant, predicate, between(keys), columns, held)
    return Statement(
        f"SELECT {_KEY}\nFROM {_rows_of_keys(source, tenant, keys, f'{_KEY_COLUMNS} {where}')}\nWHERE {where}", where.parameters
    )


def _split(predicate: Predicate) -> tuple[Predicate, Sequence[Predicate]]:
    """A predicate as one that is cheap to test and alternatives, of which at least one holds too, if there are several; a row may satisfy
    several.

    Texts are looked for by indexes, which apply to no alternatives of which they cover only some, and rows that match nothing have every
    column of a condition read: numbers are looked for in statements of their own, one for spans and one for resources.
    """
    parts = conjuncts(predicate)
    several = [part for part in parts if isinstance(part, Or) and len(_by_column(part)) > 1]
    rest = all_of(part for part in parts if part not in several[:1])
    if not several or not is_narrow(rest):
        return predicate, ()
    return rest, _by_column(several[0])


def _by_column(predicate: Or) -> list[Predicate]:
    """The alternatives of a comparison of attributes: texts, and other values by their scope. Empty for other predicates."""
    found: dict[str, list[Predicate]] = {}
    for part in predicate.parts:
        if not isinstance(part, Compare) or part.field.scope not in ("attribute", "resource"):
            return []
        found.setdefault("text" if isinstance(part.value, str) else part.field.scope, []).append(part)
    return [Or(tuple(own)) for own in found.values()]


def fetch(
    source: Source,
    tenant: str,
    keys: Sequence[SpanKey],
    predicate: Predicate = EVERYTHING,
    columns: Mapping[str, Column] = SPAN_COLUMNS,
    *,
    empty: int = 0,
    words: Held | None = None,
) -> Statement:
    """The spans of these keys (at least one), in no particular order, with every copy that satisfies the predicate of a span sent more than
    once.

    The columns of the ``empty`` groups are not selected; the last column is the mask of the groups that are empty in the row. ``words`` is
    where words are in packs.
    """
    where = _of_keys(tenant, keys)
    _satisfy(where, source, tenant, predicate, between(keys), columns, words)
    selected = _selected(empty)
    return Statement(
        f"SELECT {selected}\nFROM {_rows_of_keys(source, tenant, keys, f'{selected} {where}')}\nWHERE {where}", where.parameters
    )


def between(keys: Sequence[SpanKey]) -> TimeRange:
    """From the first start of these keys (at least one) to the last."""
    starts = [key.start_ns for key in keys]
    return TimeRange(min(starts), max(starts) + 1)


def _rows_of_keys(source: Source, tenant: str, keys: Sequence[SpanKey], used: str) -> str:
    services = {key.service for key in keys}
    service = services.pop() if len(services) == 1 else ""
    return source.rows("spans", tenant, between(keys), hours={hour_of(key.start_ns) for key in keys}, service=service, used=used)


def _of_keys(tenant: str, keys: Sequence[SpanKey]) -> Conditions:
    """The condition that a span has one of these keys."""
    where, held = Conditions(tenant), between(keys)
    # The last condition alone would be enough. Those before it let ClickHouse skip granules by the table's key and its indexes.
    where.add("service IN {services:Array(String)}", services=sorted({key.service for key in keys}))
    where.add(f"start_time >= {instant('first')}", first=held.start_ns)
    where.add(f"start_time <= {instant('last')}", last=held.end_ns - 1)
    where.add(
        "trace_id IN (SELECT arrayJoin(arrayMap(id -> toFixedString(unhex(id), 16), {trace_ids:Array(String)})))",
        trace_ids=sorted({key.trace_id.hex() for key in keys}),
    )
    where.add(
        "(toUnixTimestamp64Nano(start_time), hex(trace_id), hex(span_id)) IN {keys:Array(Tuple(Int64, String, String))}",
        keys=[(key.start_ns, key.trace_id.hex().upper(), key.span_id.hex().upper()) for key in keys],
    )
    return where


def trace_hours(source: Source, tenant: str, trace_ids: Sequence[bytes]) -> Statement:
    """The distinct hours in which any of these traces has spans: their starts, in seconds."""
    ids = "(SELECT arrayJoin(arrayMap(id -> toFixedString(unhex(id), 16), {trace_ids:Array(String)})))"
    sql = (
        f"SELECT DISTINCT toUnixTimestamp(hour)\nFROM {source.rows('trace_index', tenant)}\n"
        f"WHERE tenant = {{tenant:String}} AND trace_id IN {ids}"
    )
    return Statement(sql, {"tenant": tenant, "trace_ids": [trace_id.hex() for trace_id in trace_ids]})


def trace_place(source: Source, tenant: str, trace_id: bytes) -> Statement:
    """The values of a TracePlace, in one row; no row for a trace that is not there."""
    sql = (
        "SELECT groupArray(toUnixTimestamp(hour)), toUnixTimestamp64Nano(min(first_start)), toUnixTimestamp64Nano(max(last_start)), "
        f"groupBitAnd({groups.OF_TRACE})\n"
        f"FROM {source.rows('trace_index', tenant)}\n"
        "WHERE tenant = {tenant:String} AND trace_id = toFixedString(unhex({trace_id:String}), 16)\nHAVING count() > 0"
    )
    return Statement(sql, {"tenant": tenant, "trace_id": trace_id.hex()})


def get_trace(source: Source, tenant: str, trace_id: bytes, place: TracePlace, limit: int | None = None, *, empty: int = 0) -> Statement:
    """The spans of a trace, or any of them and at least ``limit``, in no particular order and in the columns of ``fetch``.

    A row of a file has no mask of its own. The trace index had it before the file was there, and is taken at its word.
    """
    where = (
        "WHERE tenant = {tenant:String}\n  AND trace_id = toFixedString(unhex({trace_id:String}), 16)\n"
        f"  AND start_time >= {instant('first')}\n  AND start_time <= {instant('last')}"
    )
    parameters: dict[str, Any] = {"tenant": tenant, "trace_id": trace_id.hex(), "first": place.first_ns, "last": place.last_ns}
    if limit is not None:
        where, parameters = f"{where}\nLIMIT {{limit:UInt64}}", parameters | {"limit": limit}
    columns = ", ".join(groups.columns(empty))
    each = [
        f"SELECT {columns}, {empty if rows.in_files else groups.MASK}\nFROM {rows.sql}\n{where}"  # only names of ours and parameters
        for rows in source.each("spans", tenant, f"{_selected(empty)} {where}", hours=place.hours)
    ]
    return Statement("\nUNION ALL\n".join(each), parameters)


def _selected(empty: int) -> str:
    return ", ".join((*groups.columns(empty), groups.MASK))


def _has_name(source: Source, tenant: str, time_range: TimeRange, of_name: Predicate, parameters: dict[str, Any]) -> str:
    """The condition that (service, name) occurs in ``span_names`` with a matching name: services without such a name are then not read."""
    hours = Conditions(tenant)
    hours.within_hours("hour", time_range)
    # Parameters are named by their number, so the new ones must be numbered after those of the statement.
    hours.parameters |= parameters
    hours.satisfy(of_name, SPAN_COLUMNS)
    parameters |= hours.parameters
    return f"(service, name) IN (\n    SELECT service, name FROM {source.rows('span_names', tenant, time_range)}\n    WHERE {hours}\n  )"  # noqa: S608  # only names of ours and parameters


def _satisfy(
    where: Conditions,
    source: Source,
    tenant: str,
    predicate: Predicate,
    time_range: TimeRange,
    columns: Mapping[str, Column],
    held: Held | None,
) -> None:
    if mentions(predicate, CONTENT):
        content = replace(
            columns[CONTENT.key],
            payloads=_payloads(where, source, tenant, time_range, held or Held()),
            payloads_indexed=source.in_table("payloads", whole_hours(time_range)),
        )
        columns = {**columns, CONTENT.key: content}
    where.satisfy(predicate, columns)


def _payloads(where: Conditions, source: Source, tenant: str, time_range: TimeRange, held: Held) -> Callable[[Sequence[str]], str]:
    """See Column: of the payloads that spans in the range may refer to."""
    within = Conditions(tenant)
    within.within_hours("hour", time_range)
    where.parameters |= within.parameters

    def of(words: Sequence[str]) -> str:
        rows = source.payloads(tenant, whole_hours(time_range), held, words)
        return f"SELECT lower(hex(hash)) FROM {rows} WHERE {' AND '.join(within.texts)}"  # noqa: S608  # only names of ours and parameters

    return of


def _follow(where: Conditions, after: Cursor) -> None:
    # Hex in one case has the order of the bytes, in which ORDER BY sorts ids.
    where.add(
        f"(start_time < {instant('after')} OR (start_time = {instant('after')}\n"
        "    AND (hex(trace_id), hex(span_id)) > ({after_trace:String}, {after_span:String})))",
        after=signed_ns(after.start_ns),
        after_trace=after.trace_id.hex().upper(),
        after_span=after.span_id.hex().upper(),
    )
