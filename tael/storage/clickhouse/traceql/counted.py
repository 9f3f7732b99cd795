"""SQL for metrics over the traces whose spans satisfy a limit, such as ``{ status = error } | count() > 2 | rate()``, pure.

Counting what is in the range is right for a trace unless some of its spans were sent twice, or it has spans far outside of the range, which
count if it is known to be cut there. Those traces are found here, and are left to the evaluation of whole traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tael.model import predicate as p
from tael.model.time import TimeRange
from tael.storage.clickhouse.columns import SPAN_COLUMNS
from tael.storage.clickhouse.conditions import Conditions, Statement, instant
from tael.storage.clickhouse.predicate import condition
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.traceql.statements import AMONG, DAY_NS, widened
from tael.traceql.counted import Counted, Limit

_DURATION: Final = "greatest(duration_ns, 0)"
_AGGREGATES: Final = {
    "count": "count()",
    **{call: f"{call}({_DURATION})" for call in ("min", "max", "sum")},
    # An average of durations is one, in whole nanoseconds. Spans that end in a wrong unit last centuries, so their sum is no integer.
    "avg": f"toInt64(sum(toFloat64({_DURATION})) / count())",
}


@dataclass(frozen=True, slots=True)
class CountedTraces:
    """The traces that satisfy a pipeline's limits by their spans in a range and five minutes around it, except some."""

    counted: Counted
    time_range: TimeRange
    without: Sequence[bytes] = ()

    def condition(self, source: Source, tenant: str, parameters: dict[str, Any]) -> str:
        """That a span's trace is one of these."""
        around, where = widened(self.time_range), Conditions(tenant)
        where.within("start_time", around, "around_start", "around_end")
        where.add(condition(self.counted.counted, SPAN_COLUMNS, parameters))
        limits = " AND ".join(_holds(limit, at, parameters) for at, limit in enumerate(self.counted.limits))
        having = f"\n    GROUP BY trace_id HAVING {limits}" if limits else ""
        parameters |= where.parameters
        found = f"trace_id IN (\n    SELECT trace_id FROM {source.rows('spans', tenant, around)}\n    WHERE {where}{having}\n  )"  # noqa: S608  # names of ours and parameters
        if not self.without:
            return found
        parameters["trace_ids"] = [trace_id.hex() for trace_id in self.without]
        return f"{found}\n  AND NOT {AMONG}"


def any_copies(source: Source, tenant: str, traces: CountedTraces) -> Statement:
    """One row: whether any counted span around the range may have been sent twice, which its id alone says cheaply."""
    around, where, near = widened(traces.time_range), Conditions(tenant), Conditions(tenant)
    where.within("start_time", around)
    # Only to choose parts and granules: what is beyond the range does no harm, and starts are not read.
    near.add(f"indexHint({where})")
    rows = source.rows("spans", tenant, around)
    if traces.counted.counted != p.EVERYTHING:
        where.add(condition(traces.counted.counted, SPAN_COLUMNS, where.parameters))
        # Half of an id makes a set that stays in the processor's caches; whole ids are compared after it.
        half = "reinterpretAsUInt32(span_id)"
        near.add(f"{half} IN (\n    SELECT {half} FROM {rows}\n    WHERE {where}\n  )")  # noqa: S608  # names of ours and parameters
    sql = f"SELECT uniqExact(reinterpretAsUInt64(span_id)) < count()\nFROM {rows}\nWHERE {near}"  # the same
    return Statement(sql, where.parameters)


def find_copied(source: Source, tenant: str, traces: CountedTraces, limit: int) -> Statement:
    """At most ``limit`` ids, in hex, of traces with copies of spans around the range that may satisfy the limits."""
    around, where = widened(traces.time_range), Conditions(tenant)
    where.within("start_time", around)
    # A trace that does not satisfy growing limits with its copies does not without them.
    known = traces.counted if traces.counted.is_growing else replace(traces.counted, limits=())
    if known.limits or known.counted != p.EVERYTHING:
        where.add(replace(traces, counted=known).condition(source, tenant, where.parameters))
    sql = (
        f"SELECT DISTINCT hex(trace_id)\nFROM {source.rows('spans', tenant, around)}\nWHERE {where}\n"  # names of ours and parameters
        "GROUP BY trace_id, start_time, span_id\nHAVING count() > 1\nLIMIT {limit:UInt64}"
    )
    return Statement(sql, {**where.parameters, "limit": limit})


def any_far(source: Source, tenant: str, traces: CountedTraces) -> Statement:
    """A row if there is any span far outside of the range, within a day."""
    where = _far(tenant, traces)
    return Statement(f"SELECT 1\nFROM {source.rows('trace_index', tenant)}\nWHERE {where}\nLIMIT 1", where.parameters)  # names of ours


def find_far(source: Source, tenant: str, traces: CountedTraces, limit: int) -> Statement:
    """At most ``limit`` ids, in hex, of traces with a span that is kept in the range and others far outside of it, within a day."""
    far, kept = _far(tenant, traces), Conditions(tenant)
    kept.within("start_time", traces.time_range)
    kept.add(condition(traces.counted.kept, SPAN_COLUMNS, kept.parameters))
    has_kept = f"trace_id IN (SELECT trace_id FROM {source.rows('spans', tenant, traces.time_range)} WHERE {kept})"  # noqa: S608  # names of ours and parameters
    rows = source.rows("trace_index", tenant)
    sql = f"SELECT DISTINCT hex(trace_id)\nFROM {rows}\nWHERE {far}\n  AND {has_kept}\nLIMIT {{limit:UInt64}}"  # the same
    return Statement(sql, {**far.parameters, **kept.parameters, "limit": limit})


def _far(tenant: str, traces: CountedTraces) -> Conditions:
    """What the index has of spans far outside of the range."""
    around, where = widened(traces.time_range), Conditions(tenant)
    where.within_hours("hour", TimeRange(max(0, around.start_ns - DAY_NS), around.end_ns + DAY_NS))
    where.add(
        f"(first_start < {instant('around_start')} OR last_start >= {instant('around_end')})",
        around_start=around.start_ns,
        around_end=around.end_ns,
    )
    return where


def _holds(limit: Limit, at: int, parameters: dict[str, Any]) -> str:
    parameters[f"limit{at}"] = limit.value
    return f"{_AGGREGATES[limit.aggregate]} {limit.op} {{limit{at}:{'Float64' if isinstance(limit.value, float) else 'Int64'}}}"
