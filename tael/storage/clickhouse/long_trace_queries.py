"""SQL that reads long traces a part at a time; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from tael.storage.clickhouse import rows, span_bytes
from tael.storage.clickhouse.conditions import Statement, instant
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.span_expressions import RANKS
from tael.storage.long_traces import Form, Key, Part

_ID: Final = "toFixedString(unhex({trace_id:String}), 16)"
_NUMBER: Final = "reinterpretAsUInt64(reverse(span_id))"
_KEY: Final = f"toUnixTimestamp64Nano(start_time), {_NUMBER}"
_ORIGIN: Final = f"sipHash64({', '.join((*rows.RESOURCE_COLUMNS, *rows.SCOPE_COLUMNS))})"
CALL_COLUMNS: Final = ("span_id", "parent_span_id", "toUnixTimestamp64Nano(start_time) AS start_ns", "duration_ns", *rows.LLM_COLUMNS)


def outline(source: Source, tenant: str, trace_id: bytes, most: int, step: int, hours: Collection[int] | None) -> Statement:
    """Every ``step``-th key of a trace's first ``most`` spans, in order, each with the number of all spans and whether any belongs to an
    LLM call.
    """
    with_bounds, where, parameters = _of_trace(source, tenant, trace_id, hours)
    # Grouped by key first, so that copies of a span count once; 1 % step keeps every key for a step of 1.
    sql = (
        f"WITH {with_bounds}\n"  # only names of ours and parameters, here and below
        "SELECT toUnixTimestamp64Nano(start_time), number, spans, called\nFROM (\n"
        "SELECT start_time, number, count() OVER () AS spans, max(call) OVER () AS called, row_number() OVER (ORDER BY start_time, number) AS place\nFROM (\n"
        f"SELECT start_time, {_NUMBER} AS number, max(toUInt8(llm_operation != '')) AS call\n{where}\nGROUP BY start_time, number\n"
        ")\n)\nWHERE place <= {most:UInt64} AND place % {step:UInt64} = 1 % {step:UInt64}\nORDER BY start_time, number"
    )
    return Statement(sql, parameters | {"most": most, "step": step})


def bytes_of_part(source: Source, tenant: str, part: Part, form: Form, hours: Collection[int] | None) -> Statement:
    """Key, origin, ranks and bytes of each span of a part once, in order of keys; of several copies, the one with the highest rank."""
    with_bounds, where, parameters = _of_part(source, tenant, part, hours)
    ranks = [f"{text} AS rank_{place}" for place, text in enumerate(RANKS)]
    order = ", ".join(f"rank_{place} DESC" for place in range(len(RANKS)))
    sql = (
        f"WITH {span_bytes.lambdas(form)},\n  {with_bounds}\n"
        f"SELECT {_KEY} AS number, {_ORIGIN}, {', '.join(ranks)},\n  {span_bytes.expression(form)} AS body\n{where}\n"
        f"ORDER BY start_time, number, {order}\nLIMIT 1 BY start_time, number\nLIMIT {{limit:UInt64}}"
    )
    return Statement(sql, parameters | {"limit": part.limit})


def spans_of_part(source: Source, tenant: str, part: Part, hours: Collection[int] | None) -> Statement:
    """The row of each span of a part once, in order of keys; of several copies, the one with the highest rank."""
    with_bounds, where, parameters = _of_part(source, tenant, part, hours)
    order = ", ".join((f"{text} DESC") for text in RANKS)
    sql = (
        f"WITH {with_bounds}\nSELECT {', '.join(rows.COLUMNS)}\n{where}\n"
        f"ORDER BY start_time, {_NUMBER}, {order}\nLIMIT 1 BY start_time, {_NUMBER}\nLIMIT {{limit:UInt64}}"
    )
    return Statement(sql, parameters | {"limit": part.limit})


def spans_of_keys(source: Source, tenant: str, part: Part, keys: Sequence[Key], hours: Collection[int] | None) -> Statement:
    """The rows of the spans with these keys, in no particular order; a span may have several."""
    with_bounds, where, parameters = _of_part(source, tenant, part, hours)
    wanted = f"({_KEY}) IN {{keys:Array(Tuple(Int64, UInt64))}}"
    sql = f"WITH {with_bounds}\nSELECT {', '.join(rows.COLUMNS)}\n{where}\n  AND {wanted}"
    return Statement(sql, parameters | {"keys": list(map(tuple, keys))})


def origins_of_part(source: Source, tenant: str, part: Part, hours: Collection[int] | None) -> Statement:
    """The number of each origin in a part, and its columns."""
    with_bounds, where, parameters = _of_part(source, tenant, part, hours)
    columns = ", ".join((*rows.RESOURCE_COLUMNS, *rows.SCOPE_COLUMNS))
    return Statement(f"WITH {with_bounds}\nSELECT {_ORIGIN} AS origin, {columns}\n{where}\nLIMIT 1 BY origin", parameters)


def calls(source: Source, tenant: str, trace_id: bytes, hours: Collection[int] | None) -> Statement:
    """``CALL_COLUMNS`` of the spans of LLM calls."""
    with_bounds, where, parameters = _of_trace(source, tenant, trace_id, hours)
    return Statement(f"WITH {with_bounds}\nSELECT {', '.join(CALL_COLUMNS)}\n{where}\n  AND llm_operation != ''", parameters)


def lineage(source: Source, tenant: str, trace_id: bytes, hours: Collection[int] | None) -> Statement:
    """The number of every span and that of its parent, 0 for none."""
    with_bounds, where, parameters = _of_trace(source, tenant, trace_id, hours)
    parent = "if(length(parent_span_id) = 8, reinterpretAsUInt64(reverse(parent_span_id)), 0)"
    return Statement(f"WITH {with_bounds}\nSELECT {_NUMBER}, {parent}\n{where}", parameters)


def _of_trace(source: Source, tenant: str, trace_id: bytes, hours: Collection[int] | None) -> tuple[str, str, dict[str, object]]:
    """The text after WITH, the text from FROM on, and the parameters. The trace index gives the times to look between."""
    of_trace = f"tenant = {{tenant:String}} AND trace_id = {_ID}"
    bounds = f"(SELECT (min(first_start), max(last_start)) FROM {source.rows('trace_index', tenant)} WHERE {of_trace}) AS bounds"  # noqa: S608
    rows_of_trace = source.rows("spans", tenant, hours=hours)
    where = f"FROM {rows_of_trace}\nWHERE {of_trace}\n  AND start_time >= bounds.1 AND start_time <= bounds.2"
    return bounds, where, {"tenant": tenant, "trace_id": trace_id.hex()}


def _of_part(source: Source, tenant: str, part: Part, hours: Collection[int] | None) -> tuple[str, str, dict[str, object]]:
    bounds, where, parameters = _of_trace(source, tenant, part.trace_id, hours)
    texts = [where]
    for name, key, sign in (("first", part.first, ">"), ("end", part.end, "<")):
        if key is not None:
            # The start is compared by itself as well, because only that condition lets ClickHouse skip granules.
            at, or_at = instant(f"{name}_start"), ">=" if name == "first" else "<"
            texts.append(f"start_time {sign}= {at} AND (start_time {sign} {at} OR {_NUMBER} {or_at} {{{name}_number:UInt64}})")
            parameters |= {f"{name}_start": key.start_ns, f"{name}_number": key.number}
    return bounds, "\n  AND ".join(texts), parameters
