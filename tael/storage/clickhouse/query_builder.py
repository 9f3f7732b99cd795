"""SQL for the questions that SpanReader asks, pure: values go in as parameters, never into the text.

Finding is two statements. The first reads no more than the columns that filter and order, and yields the keys of the page; the second
fetches the wide columns of exactly those spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tael.model.span import STATUS_ERROR
from tael.model.time import TimeRange
from tael.storage.api import Cursor, SpanQuery
from tael.storage.clickhouse import llm, rows
from tael.storage.clickhouse.conditions import Conditions, Statement, instant
from tael.storage.merge import signed_ns


@dataclass(frozen=True, slots=True)
class SpanKey:
    """What locates a span in the table and orders it in an answer; ``start_ns`` as the table holds it, signed."""

    service: str
    start_ns: int
    trace_id: bytes
    span_id: bytes


def find_keys(database: str, tenant: str, query: SpanQuery) -> Statement:
    """The keys of the page, in its order."""
    where = Conditions(tenant)
    bounded = where.within("start_time", query.time_range)
    if query.service:
        where.add("service = {service:String}", service=query.service)
    _filter_span(where, query)
    for index, (key, value) in enumerate(query.attributes):
        where.attribute(index, key, value)
    if query.text:
        _filter_text(where, query.text)
    if query.after is not None:
        _follow(where, query.after)
    where.parameters["limit"] = query.limit
    # With the service fixed this is the order of the table, and reading stops when the page is full.
    order = "toStartOfHour(start_time) DESC, start_time DESC" if bounded and query.service else "start_time DESC"
    sql = (
        "SELECT service, toUnixTimestamp64Nano(start_time), trace_id, span_id\n"
        f"FROM {database}.spans\nWHERE {where}\nORDER BY {order}, trace_id, span_id\nLIMIT {{limit:UInt64}}"
    )
    return Statement(sql, where.parameters)


def fetch(database: str, tenant: str, keys: Sequence[SpanKey]) -> Statement:
    """The spans of these keys (at least one), in no order."""
    where = Conditions(tenant)
    starts = [key.start_ns for key in keys]
    where.add("service IN {services:Array(String)}", services=sorted({key.service for key in keys}))
    where.add(f"start_time >= {instant('first')}", first=min(starts))
    where.add(f"start_time <= {instant('last')}", last=max(starts))
    where.add(
        "trace_id IN (SELECT arrayJoin(arrayMap(id -> toFixedString(unhex(id), 16), {trace_ids:Array(String)})))",
        trace_ids=sorted({key.trace_id.hex() for key in keys}),
    )
    where.add(
        "(toUnixTimestamp64Nano(start_time), hex(trace_id), hex(span_id)) IN {keys:Array(Tuple(Int64, String, String))}",
        keys=[(key.start_ns, key.trace_id.hex().upper(), key.span_id.hex().upper()) for key in keys],
    )
    return Statement(f"SELECT {', '.join(rows.COLUMNS)}\nFROM {database}.spans\nWHERE {where}", where.parameters)


def get_trace(database: str, tenant: str, trace_id: bytes) -> Statement:
    """The spans of a trace, in no order; the index says between which times to look."""
    sql = (
        f"WITH (SELECT (min(first_start), max(last_start)) FROM {database}.trace_index\n"  # noqa: S608  # only names of ours and parameters
        "      WHERE tenant = {tenant:String} AND trace_id = toFixedString(unhex({trace_id:String}), 16)) AS bounds\n"
        f"SELECT {', '.join(rows.COLUMNS)}\nFROM {database}.spans\n"
        "WHERE tenant = {tenant:String}\n  AND trace_id = toFixedString(unhex({trace_id:String}), 16)\n"
        "  AND start_time >= bounds.1\n  AND start_time <= bounds.2"
    )
    return Statement(sql, {"tenant": tenant, "trace_id": trace_id.hex()})


def list_services(database: str, tenant: str, time_range: TimeRange) -> Statement:
    """Sums by service, by name."""
    where = Conditions(tenant)
    where.within("start_time", time_range)
    sql = (
        f"SELECT service, count(), uniqExact(trace_id), countIf(status_code = {STATUS_ERROR}),\n"
        f"  sum(toUInt128(greatest(duration_ns, 0)))\nFROM {database}.spans\nWHERE {where}\nGROUP BY service\nORDER BY service"
    )
    return Statement(sql, where.parameters)


def _filter_span(where: Conditions, query: SpanQuery) -> None:
    if query.operation:
        where.add("position(name, {operation:String}) > 0", operation=query.operation)
    if query.min_duration_ns is not None and query.min_duration_ns > 0:
        where.add("duration_ns >= {min_duration_ns:Int64}", min_duration_ns=query.min_duration_ns)
    if query.max_duration_ns is not None:
        where.add("duration_ns <= {max_duration_ns:Int64}", max_duration_ns=query.max_duration_ns)
    if query.status_code is not None:
        where.add("status_code = {status_code:Int32}", status_code=query.status_code)
    if query.model:
        where.add("llm_model = {model:String}", model=query.model)
    if query.min_cost_usd is not None:
        where.add("llm_cost_usd >= {min_cost_usd:Float64}", min_cost_usd=query.min_cost_usd)


def _filter_text(where: Conditions, text: str) -> None:
    """Every word in some prompt or completion; structured messages are searched in their encoded form, which holds text as it is."""
    content = (
        f"arrayConcat(mapValues(mapFilter((k, v) -> {llm.is_content('k')}, attributes_string)),\n"
        f"    arrayMap(v -> base64Decode(substring(v, 2)), mapValues(mapFilter((k, v) -> {llm.is_content('k')}, attributes_other))),\n"
        f"    arrayFlatten(arrayMap(e -> mapValues(mapFilter((k, v) -> {llm.is_content('k')}, e)), events.attributes_string)))"
    )
    where.add("llm_operation != ''")
    where.add(
        f"arrayAll(word -> arrayExists(text -> positionCaseInsensitiveUTF8(text, word) > 0,\n    {content}), {{words:Array(String)}})",
        words=text.split(),
    )


def _follow(where: Conditions, after: Cursor) -> None:
    where.add(
        f"(start_time < {instant('after')} OR (start_time = {instant('after')}\n"
        "    AND (hex(trace_id), hex(span_id)) > ({after_trace:String}, {after_span:String})))",
        after=signed_ns(after.start_ns),
        after_trace=after.trace_id.hex().upper(),
        after_span=after.span_id.hex().upper(),
    )
