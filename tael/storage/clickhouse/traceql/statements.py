"""SQL for TraceQL, pure: the traces to read, their spans as columns, and sums if the store can evaluate each span by itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tael.model import predicate as p
from tael.model.predicate import Predicate
from tael.model.time import HOUR_NS, NS_PER_SECOND, TimeRange
from tael.storage.clickhouse.columns import SPAN_COLUMNS
from tael.storage.clickhouse.conditions import Conditions, Statement, instant
from tael.storage.clickhouse.flatten import MAP_NAMES
from tael.storage.clickhouse.predicate import condition
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.span_expressions import RANKS
from tael.storage.clickhouse.traceql.fields import FieldColumns
from tael.traceql.ast import MetricsAggregate, Named, Scope
from tael.traceql.metrics import Grid
from tael.traceql.needs import AllOf, HasSpan, TraceTest

DAY_NS = 24 * HOUR_NS
AROUND_NS: Final = 300 * NS_PER_SECOND
"""A trace that overlaps a range is found by its spans that start up to this long before or after the range."""
ROOT = p.Compare(p.intrinsic("parent_span_id"), "=", b"")
"""A span without a parent."""
START = "toUnixTimestamp64Nano(start_time)"
"""When a span started, in nanoseconds."""
_IDS = (
    "reinterpretAsUInt64(substring(trace_id, 1, 8)) AS trace_high",
    "reinterpretAsUInt64(substring(trace_id, 9, 8)) AS trace_low",
    "reinterpretAsUInt64(span_id) AS span",
    "reinterpretAsUInt64(substring(parent_span_id, 1, 8)) AS parent",
    f"{START} AS start_ns",
    "greatest(duration_ns, 0) AS own_duration_ns",
)
"""The ids as numbers whose little-endian bytes are those of the id: a column of fixed width is read at once, strings one by one."""

AMONG = "trace_id IN (SELECT arrayJoin(arrayMap(id -> toFixedString(unhex(id), 16), {trace_ids:Array(String)})))"
"""The condition that a trace is one of the parameter's."""
_UNION = "\n  UNION ALL\n"
_EXEMPLAR = (*(f"reinterpretAsUInt64(substring(any(trace_id), {at}, 8))" for at in (1, 9)), "any(start_ns)")
"""Any span of a group. The numbers of its trace's id are computed once for each group and not for each row."""
SLOT = "intDiv(start_ns - {grid_ns:Int64} + 2 * {step_ns:Int64} - 1, {step_ns:Int64}) - 1"
"""The step in which a span is counted, rounded up. The range begins one step before the grid, and intDiv truncates towards zero, so a step
is added first and subtracted at the end: the dividend is never negative.
"""
_MAPS = {
    Scope.SPAN: [f"mapKeys(attributes_{name})" for name in MAP_NAMES],
    Scope.RESOURCE: [f"mapKeys(resource_{name})" for name in MAP_NAMES],
    Scope.INSTRUMENTATION: ["mapKeys(scope_string)", "mapKeys(scope_other)"],
    Scope.EVENT: [
        "arrayFlatten(arrayMap(x -> mapKeys(x), events.attributes_string))",
        "arrayFlatten(arrayMap(x -> mapKeys(x), events.attributes_other))",
    ],
    Scope.LINK: [
        "arrayFlatten(arrayMap(x -> mapKeys(x), links.attributes_string))",
        "arrayFlatten(arrayMap(x -> mapKeys(x), links.attributes_other))",
    ],
}


def widened(time_range: TimeRange) -> TimeRange:
    """A range and AROUND_NS on both sides."""
    return TimeRange(max(0, time_range.start_ns - AROUND_NS), time_range.end_ns + AROUND_NS)


def read_traces(
    source: Source,
    tenant: str,
    trace_ids: Sequence[bytes],
    fields: Sequence[Named],
    hours: Collection[int] | None = None,
    *,
    once: bool = False,
    named_service: bool = False,
) -> tuple[Statement, list[Named]]:
    """All spans of these traces, by trace and start, and the fields in the order of their columns.

    With ``named_service`` the service is UNKNOWN_SERVICE also where none was sent, and no map is read for it. ``hours`` are those in which
    the traces have spans, if known. The answer has every copy of a span that was sent more than once, or with ``once`` only the most
    complete copy, which requires reading all columns that show how complete it is.
    """
    columns = FieldColumns(named_service=named_service)
    selected = [(named, text) for named in fields if (text := columns.column(named)) is not None]
    where = "tenant = {tenant:String} AND " + AMONG
    sql = (
        f"WITH (SELECT (min(first_start), max(last_start)) FROM {source.rows('trace_index', tenant)} WHERE {where}) AS bounds\n"  # noqa: S608  # names of ours and parameters
        f"SELECT {', '.join((*_IDS, *(f'{text} AS f{at}' for at, (_, text) in enumerate(selected))))}\n"
        f"FROM {source.rows('spans', tenant, hours=hours)}\nWHERE {where}\n  AND start_time >= bounds.1\n  AND start_time <= bounds.2\n{_order(once=once)}"
    )
    parameters: Mapping[str, Any] = {"tenant": tenant, "trace_ids": [trace_id.hex() for trace_id in trace_ids]}
    return Statement(sql, {**columns.parameters, **parameters}), [named for named, _ in selected]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The traces that pass a test by their spans in a range, and that have any span in a ``window`` of it or are ``among`` some, if there
    are such; of these, the ``part``-th of ``parts`` by a hash of their id. Traces ``without`` which these are not complete in the range.
    """

    test: TraceTest
    time_range: TimeRange
    window: TimeRange | None = None
    among: tuple[bytes, ...] = ()
    without: frozenset[bytes] = frozenset()
    part: int = 0
    parts: int = 1


def _order(*, once: bool) -> str:
    if not once:
        # Numbers are sorted in half the time of the ids that they are; the id decides only where they are equal.
        return "ORDER BY trace_high, trace_low, start_ns, span_id"
    by_id = ("trace_id", "start_time", "span_id")
    return f"ORDER BY {', '.join((*by_id, *(f'{rank} DESC' for rank in RANKS)))}\nLIMIT 1 BY {', '.join(by_id)}"


def read_candidates(
    source: Source,
    tenant: str,
    wanted: Candidates,
    fields: Sequence[Named],
    known: Sequence[Predicate],
    lists: Sequence[Predicate],
    *,
    once: bool = False,
) -> tuple[Statement, list[Named]]:
    """The spans in a range of the traces that pass a test, in the form of ``read_traces``.

    After the ids come a column for each ``known`` predicate, and one that tells whether the span satisfies any of ``lists``.
    """
    columns, where, rows = FieldColumns(), _within(tenant, wanted), source.rows("spans", tenant, wanted.time_range)
    selected = [(named, text) for named in fields if (text := columns.column(named)) is not None]
    flags = [condition(one, SPAN_COLUMNS, where.parameters) for one in (*known, p.Or(tuple(lists)))]
    of_trace = _is_candidate(source, tenant, wanted, where)
    shown = (*_IDS, *(f"CAST({flag}, 'UInt8')" for flag in flags), *(f"{text} AS f{at}" for at, (_, text) in enumerate(selected)))
    sql = f"SELECT {', '.join(shown)}\nFROM {rows}\nWHERE {where}\n  AND {of_trace}\n{_order(once=once)}"  # names of ours and parameters
    return Statement(sql, {**columns.parameters, **where.parameters}), [named for named, _ in selected]


def is_of_any(test: TraceTest) -> bool:
    """Whether every trace passes a test."""
    if isinstance(test, HasSpan):
        return test.predicate == p.EVERYTHING
    return (all if isinstance(test, AllOf) else any)(is_of_any(part) for part in test.parts)


def find_cut(source: Source, tenant: str, window: TimeRange, near: TimeRange, around: TimeRange, limit: int) -> Statement:
    """At most ``limit`` ids, in hex, of traces with a span in the window and another one that is ``around`` it but not ``near``."""
    where = Conditions(tenant)
    where.within("start_time", around)
    where.add(
        f"(start_time < {instant('near_start')} OR start_time >= {instant('near_end')})", near_start=near.start_ns, near_end=near.end_ns
    )
    inside = _inside(source, tenant, window, where)
    sql = f"SELECT DISTINCT hex(trace_id)\nFROM {source.rows('spans', tenant, around)}\nWHERE {where}\n  AND {inside}\nLIMIT {{limit:UInt64}}"  # names of ours and parameters
    return Statement(sql, {**where.parameters, "limit": limit})


def find_longer(source: Source, tenant: str, wanted: Candidates, trace_ids: Sequence[bytes] = ()) -> Statement:
    """The ids, in hex, of these traces, or of all candidates, that have spans outside of the range, within a day."""
    where = _within(tenant, wanted)
    if trace_ids:
        of_trace = AMONG
        where.parameters["trace_ids"] = [trace_id.hex() for trace_id in trace_ids]
    else:
        of_trace = _is_candidate(source, tenant, wanted, where)
    near = Conditions(tenant)
    near.within_hours("hour", TimeRange(max(0, wanted.time_range.start_ns - DAY_NS), wanted.time_range.end_ns + DAY_NS))
    parameters = {**where.parameters, **near.parameters, "start": wanted.time_range.start_ns, "end": wanted.time_range.end_ns}
    sql = (
        f"SELECT hex(trace_id)\nFROM {source.rows('trace_index', tenant)}\nWHERE {near}\n  AND {of_trace}\nGROUP BY trace_id\n"  # names of ours and parameters
        f"HAVING min(first_start) < {instant('start')} OR max(last_start) >= {instant('end')}"
    )
    return Statement(sql, parameters)


def _within(tenant: str, wanted: Candidates) -> Conditions:
    where = Conditions(tenant)
    where.within("start_time", wanted.time_range)
    if wanted.parts > 1:
        where.add("cityHash64(trace_id) % {parts:UInt64} = {part:UInt64}", parts=wanted.parts, part=wanted.part)
    return where


def _is_candidate(source: Source, tenant: str, wanted: Candidates, where: Conditions) -> str:
    """The condition that a trace is one of the candidates, whose spans satisfy ``where``."""
    first = ""
    if wanted.window is not None:
        first = _inside(source, tenant, wanted.window, where)
    elif wanted.among:
        first = AMONG
        where.parameters["trace_ids"] = [trace_id.hex() for trace_id in wanted.among]
    spans = f"FROM {source.rows('spans', tenant, wanted.time_range)}\n    WHERE {where}"
    return _passing(wanted.test, spans, where.parameters, first) or "true"


def _inside(source: Source, tenant: str, window: TimeRange, where: Conditions) -> str:
    """The condition that a trace has a span in the window; its parameters are added to ``where``."""
    inside = Conditions(tenant)
    inside.within("start_time", window, "window_start", "window_end")
    where.parameters |= inside.parameters
    return f"trace_id IN (SELECT trace_id FROM {source.rows('spans', tenant, window)} WHERE {inside})"  # noqa: S608  # names of ours and parameters


def _passing(test: TraceTest, spans: str, parameters: dict[str, Any], also: str = "") -> str:
    """The condition that a trace passes a test and ``also``, empty for none; ``spans`` are FROM and WHERE."""
    if isinstance(test, HasSpan):
        if test.predicate == p.EVERYTHING:
            return also
        more = f"\n    AND {also}" if also else ""
        return f"trace_id IN (\n    SELECT trace_id {spans}\n    AND {condition(test.predicate, SPAN_COLUMNS, parameters)}{more}\n  )"  # names of ours and parameters
    if isinstance(test, AllOf):
        # Nested, so that each part's subquery reads only traces that pass the parts before it.
        for part in test.parts:
            also = _passing(part, spans, parameters, also)
        return also
    return f"({' OR '.join(_passing(part, spans, parameters, also) or 'true' for part in test.parts) or 'false'})"


def read_spans(
    source: Source, tenant: str, predicate: Predicate, time_range: TimeRange, fields: Sequence[Named]
) -> tuple[Statement, list[Named]]:
    """The spans of a range that satisfy a predicate, in the form of ``read_traces``, each once."""
    columns, where = FieldColumns(), Conditions(tenant)
    selected = [(named, text) for named in fields if (text := columns.column(named)) is not None]
    where.within("start_time", time_range)
    where.add(condition(predicate, SPAN_COLUMNS, where.parameters))
    sql = (
        f"SELECT {', '.join((*_IDS, *(f'{text} AS f{at}' for at, (_, text) in enumerate(selected))))}\n"
        f"FROM {source.rows('spans', tenant, time_range)}\nWHERE {where}\nORDER BY trace_id, start_time, span_id\nLIMIT 1 BY trace_id, start_time, span_id"
    )
    return Statement(sql, {**columns.parameters, **where.parameters}), [named for named, _ in selected]


def range_of(grid: Grid) -> TimeRange:
    """The spans that a grid counts."""
    first, last = grid.range_ns
    return TimeRange(max(0, first + 1), last + 1)


def sum_spans(
    source: Source,
    tenant: str,
    predicate: Predicate,
    function: MetricsAggregate,
    grid: Grid,
    *,
    exemplars: bool,
    of_traces: Callable[[dict[str, Any]], str] | None = None,
) -> Statement | None:
    """Counts and sums of the spans that satisfy a predicate, by step and group; None for a function that needs the spans themselves.

    ``of_traces`` is a condition on their traces, which adds its parameters.

    Columns: slot, each group's value as text, power of two (if the function has buckets), count, sum, minimum, maximum, and with
    ``exemplars`` any span of the group: its trace as two numbers, its start and its value.
    """
    columns = FieldColumns()
    groups = [columns.column(named) for named in function.by]
    value = columns.number(function.of) if function.of is not None else ""
    if value is None or any(group is None or "arrayMap" in group for group in groups):
        return None
    where = Conditions(tenant)
    time_range = range_of(grid)
    where.within("start_time", time_range)
    where.add(condition(predicate, SPAN_COLUMNS, where.parameters))
    if of_traces is not None:
        where.add(of_traces(where.parameters))
    if value:
        where.add("isNotNull(v)")
    bucketed = function.op in ("quantile_over_time", "histogram_over_time")
    summed = bool(value) and not bucketed
    keys = ["slot", *(f"g{at}" for at in range(len(groups))), *(["power"] if bucketed else [])]
    selected = [
        f"{SLOT} AS slot",
        *(f"{group} AS g{at}" for at, group in enumerate(groups)),
        *(["if(v >= 2, toInt64(ceil(log2(assumeNotNull(v)))), 0) AS power"] if bucketed else []),
    ]
    # Cases are used only for a single group: two groups would have four combinations, each another read of the table.
    cases = columns.cases(function.by[0]) if len(function.by) == 1 else [("true", "")]
    parts = []
    for case, column in cases:
        own = [selected[0], f"{column} AS g0", *selected[2:]] if column else selected
        inner = ", ".join((*(("trace_id",) if exemplars else ()), _IDS[4], *((f"{value} AS v",) if value else ()), *own))
        parts.append(f"  SELECT {inner}\n  FROM {source.rows('spans', tenant, time_range)}\n  WHERE {where} AND {case}")  # noqa: S608  # names of ours and parameters
    sql = f"SELECT {', '.join((*keys, *_sums(summed=summed, of_value=bool(value), exemplars=exemplars)))}\nFROM (\n{_UNION.join(parts)}\n)\nGROUP BY {', '.join(keys)}"  # the same
    return Statement(sql, {**columns.parameters, **where.parameters, "grid_ns": grid.start_ns, "step_ns": grid.step_ns})


def _sums(*, summed: bool, of_value: bool, exemplars: bool) -> list[str]:
    """The aggregates of ``sum_spans``. Without a value spans are only counted, each as 1."""
    sums = ["count()", *(f"{call}(assumeNotNull(v))" if summed else "toFloat64(1)" for call in ("sum", "min", "max"))]
    return [*sums, *_EXEMPLAR, "any(assumeNotNull(v))" if of_value else "toFloat64(1)"] if exemplars else sums


def count_spans(source: Source, tenant: str, time_range: TimeRange) -> Statement:
    """The number of spans in a range."""
    where = Conditions(tenant)
    where.within("start_time", time_range)
    return Statement(f"SELECT count()\nFROM {source.rows('spans', tenant, time_range)}\nWHERE {where}", where.parameters)  # names of ours


def tag_names(source: Source, tenant: str, predicate: Predicate, time_range: TimeRange, scopes: Sequence[Scope], limit: int) -> Statement:
    """One row: for each of these scopes the first ``limit`` attribute keys, in order, on the spans that satisfy a predicate."""
    where = Conditions(tenant)
    where.within("start_time", time_range)
    where.add(condition(predicate, SPAN_COLUMNS, where.parameters))
    where.parameters["limit"] = limit
    keys = ", ".join(
        f"arraySlice(arraySort(groupUniqArrayArray(CAST(arrayConcat({', '.join(_MAPS[scope])}), 'Array(String)'))), 1, {{limit:UInt64}})"
        for scope in scopes
    )
    return Statement(f"SELECT {keys}\nFROM {source.rows('spans', tenant, time_range)}\nWHERE {where}", where.parameters)  # names of ours


def tag_values(source: Source, tenant: str, predicate: Predicate, time_range: TimeRange, named: Named, limit: int) -> Statement | None:
    """A field's values on the spans that satisfy a predicate, as text (fields.py) or a number; None for a field that the table does not
    store.
    """
    columns, where = FieldColumns(), Conditions(tenant)
    if columns.column(named) is None:
        return None
    where.within("start_time", time_range)
    where.add(condition(predicate, SPAN_COLUMNS, where.parameters))
    where.parameters["limit"] = limit
    parts = [
        f"  SELECT DISTINCT toString({_each(column)}) AS value\n  FROM {source.rows('spans', tenant, time_range)}\n"  # noqa: S608  # names of ours
        f"  WHERE {where} AND {case} AND value != ''"
        for case, column in columns.cases(named)
    ]
    sql = f"SELECT DISTINCT value\nFROM (\n{_UNION.join(parts)}\n)\nORDER BY value\nLIMIT {{limit:UInt64}}"  # the same
    return Statement(sql, {**columns.parameters, **where.parameters})


def root_values(source: Source, tenant: str, predicate: Predicate, time_range: TimeRange, of: Named, limit: int) -> Statement:
    """A field's values, in the form of ``tag_values``, on the roots of the traces with a span that satisfies a predicate.

    A trace's root is the most complete copy of its last span without a parent, as in the answer to a search; a trace without such a span
    has no value.
    """
    columns, where = FieldColumns(), Conditions(tenant)
    where.within("start_time", time_range)
    rows, found = source.rows("spans", tenant, time_range), str(where)
    where.add(condition(ROOT, SPAN_COLUMNS, where.parameters))
    if predicate != p.EVERYTHING:
        wanted = condition(predicate, SPAN_COLUMNS, where.parameters)
        where.add(f"trace_id IN (SELECT trace_id FROM {rows} WHERE {found} AND {wanted})")  # noqa: S608  # names of ours
    where.parameters["limit"] = limit
    sql = (
        f"SELECT DISTINCT toString(argMax({columns.column(of)}, ({', '.join(('start_time', 'span_id', *RANKS))}))) AS value\n"  # the same
        f"FROM {rows}\nWHERE {where}\nGROUP BY trace_id\nORDER BY value\nLIMIT {{limit:UInt64}}"
    )
    return Statement(sql, {**columns.parameters, **where.parameters})


def _each(column: str) -> str:
    return f"arrayJoin({column})" if column.startswith("arrayMap") else column
