"""SQL that finds the traces with a span that satisfies a predicate, those with the newest such span first; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tael.model.predicate import Listed, Or, Predicate
from tael.model.time import TimeRange
from tael.storage.clickhouse.columns import SPAN_COLUMNS
from tael.storage.clickhouse.conditions import Conditions, Statement
from tael.storage.clickhouse.groups import may_be_filled
from tael.storage.clickhouse.predicate import condition
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.traceql.statements import START

_MOST_SPANS: Final = 1_000
"""Of a trace with so many spans that satisfy the predicate, they are not listed."""
_MAPS: Final = {"attribute": "attributes_other", "resource": "resource_other"}
"""Where lists are, by scope, if a byte tells which rows have none."""
_UNION: Final = "\n  UNION ALL\n"


@dataclass(frozen=True, slots=True)
class Found:
    """A trace with spans that satisfy the predicate, and when the first and the last of those started.

    ``spans`` are their starts and the numbers of their ids (statements.py), None where they are not known.
    """

    trace_id: bytes
    newest_ns: int
    oldest_ns: int
    spans: frozenset[tuple[int, int]] | None = None


def find_traces(
    source: Source,
    tenant: str,
    wanted: Sequence[Predicate],
    lists: Sequence[Listed],
    time_range: TimeRange,
    limit: int,
    after: Found | None,
    *,
    spans: bool = False,
) -> Statement:
    """Rows for ``read_found``: traces with a span in the range that satisfies any of ``wanted``, those with the newest such span first,
    behind the last one of the page before.

    Each of the predicates is looked for by itself: an index applies to a condition, but to no alternatives of which it covers only some.
    All but the first require one of ``lists``. With ``spans`` those that satisfy the first one are listed where no span satisfies
    another one.
    """
    where = Conditions(tenant)
    where.within("start_time", time_range)
    rows = source.rows("spans", tenant, time_range)
    found = [
        f"  SELECT trace_id, start_time{f', span_id, {at} AS number' if spans else ''}\n  FROM {rows}\n  WHERE {where}\n"  # noqa: S608  # names of ours and parameters
        f"  AND {condition(one, SPAN_COLUMNS, where.parameters)}{f' AND {may_be_lists(lists)}' if at else ''}"
        for at, one in enumerate(wanted)
    ]
    listed = f", groupArray({_MOST_SPANS})(({START}, reinterpretAsUInt64(span_id))), max(number)" if spans else ""
    having = ""
    if after is not None:
        having = "HAVING (newest, hex(trace_id)) < ({after_ns:Int64}, {after_id:String})\n"
        where.parameters |= {"after_ns": after.newest_ns, "after_id": after.trace_id.hex().upper()}
    where.parameters["limit"] = limit
    sql = (
        f"SELECT hex(trace_id), max({START}) AS newest, min({START}){listed}\nFROM (\n{_UNION.join(found)}\n)\nGROUP BY trace_id\n"
        f"{having}ORDER BY newest DESC, hex(trace_id) DESC\nLIMIT {{limit:UInt64}}"
    )
    return Statement(sql, where.parameters)


def may_be_lists(lists: Sequence[Listed]) -> str:
    """A condition of one byte a row that is true where an attribute is one of these lists."""
    scopes = {own for one in lists for own in (("attribute", "resource") if one.field.scope == "any" else (one.field.scope,))}
    if not scopes <= _MAPS.keys():
        return "true"
    return f"({' OR '.join(may_be_filled(_MAPS[scope]) for scope in sorted(scopes))})"


def any_list(source: Source, tenant: str, lists: Sequence[Listed], time_range: TimeRange) -> Statement:
    """A row if an attribute of any span of a range is one of these lists."""
    where = Conditions(tenant)
    where.within("start_time", time_range)
    where.add(may_be_lists(lists))
    where.add(condition(Or(tuple(lists)), SPAN_COLUMNS, where.parameters))
    sql = f"SELECT 1\nFROM {source.rows('spans', tenant, time_range)}\nWHERE {where}\nLIMIT 1"  # names of ours and parameters
    return Statement(sql, where.parameters)


def read_found(row: Sequence[Any]) -> Found:
    """What a row of ``find_traces`` says."""
    trace_id, newest, oldest, *listed = row
    spans = None
    if listed and not listed[1] and len(listed[0]) < _MOST_SPANS:
        spans = frozenset((int(start), int(span)) for start, span in listed[0])
    return Found(bytes.fromhex(bytes(trace_id).decode()), int(newest), int(oldest), spans)
