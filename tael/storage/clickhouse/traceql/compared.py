"""SQL for ``compare()``, pure: how many of very many spans have each value of each attribute, by step and by whether they are selected.

A key that many spans have is counted by itself, because reading one key of a map is several times as fast as reading the map. The rest is counted from the
maps' entries: rare keys, and values that read like a missing key ('', 0, false). The sizes of maps, which are cheap to read, show whether anything is
left. Counts by step are returned for the most frequent values, and one total for the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tael.model.time import TimeRange
from tael.storage.clickhouse.conditions import Conditions, Statement
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.traceql.statements import SLOT, START
from tael.traceql.ast import Compare, Pipeline
from tael.traceql.columns import Mask, Rows
from tael.traceql.metrics import Grid
from tael.traceql.spans import Block
from tael.traceql.spansets import matched

FEW: Final = 100
"""Up to this many values of an attribute are counted by step without finding the frequent ones first."""
_KEYS_OF_A_MAP: Final = 16
_IDS_AT_ONCE: Final = 1_000
"""The most ids in one statement: ClickHouse accepts parameters of up to 128 KiB."""
_TEXTS: Final = {
    "string": "concat('s', {0})",
    "int": "concat('i', toString({0}))",
    "double": "concat('d', toString({0}))",
    "bool": "if({0}, 't', 'f')",
    "text": "{0}",
}
"""SQL for a value as text with a letter for its type (fields.py)."""
_DEFAULTS: Final = {"string": "''", "int": "0", "double": "0", "bool": "false", "text": "''"}


@dataclass(frozen=True, slots=True)
class Map:
    """A column of attributes: their scope, and the type of their values."""

    column: str
    scope: str
    kind: str


MAPS: Final = (
    *(Map(f"attributes_{kind}", "span", kind) for kind in ("string", "int", "double", "bool")),
    *(Map(f"resource_{kind}", "resource", kind) for kind in ("string", "int", "double", "bool")),
    Map("scope_string", "instrumentation", "string"),
    Map("scope_other", "instrumentation", "text"),
)


@dataclass(frozen=True, slots=True)
class Valued:
    """One value for each span for which ``when`` holds; ``name`` and ``value`` are expressions. ``few``: there are few distinct values."""

    name: str
    value: str
    kind: str
    when: str = "true"
    few: bool = False


INTRINSICS: Final = (
    Valued("'name'", "name", "string"),
    Valued("'kind'", "kind", "int", few=True),
    Valued("'status'", "status_code", "int", few=True),
    Valued("'statusMessage'", "status_message", "string"),
    Valued("'instrumentation:name'", "scope_name", "string"),
    Valued("'instrumentation:version'", "scope_version", "string"),
)


@dataclass(frozen=True, slots=True)
class Compared:
    """Spans to compare: ``base`` and ``selected`` are conditions on ``rows``, with the parameters that they and the steps need."""

    rows: str
    base: str
    selected: str
    parameters: Mapping[str, Any]
    time_range: TimeRange

    def statement(self, sql: str, **more: Any) -> Statement:
        """A statement with the parameters of these spans and ``more``."""
        return Statement(sql, {**self.parameters, **more})


def compared(
    source: Source,
    tenant: str,
    time_range: TimeRange,
    conditions: Sequence[str],
    parameters: Mapping[str, Any],
    compare: Compare,
    grid: Grid,
) -> Compared:
    """The spans of a range for which the first condition holds; the second selects some of them, within the time range of ``compare`` if it has one."""
    base, selected = conditions
    where = Conditions(tenant)
    where.within("start_time", time_range)
    where.add(base)
    bounds = {"grid_ns": grid.start_ns, "step_ns": grid.step_ns}
    if compare.start_ns and compare.end_ns:
        selected = f"({selected} AND {START} >= {{chosen_from:Int64}} AND {START} < {{chosen_until:Int64}})"
        bounds |= {"chosen_from": compare.start_ns, "chosen_until": compare.end_ns}
    rows = source.rows("spans", tenant, time_range)
    return Compared(rows, str(where), selected, {**parameters, **where.parameters, **bounds}, time_range)


def among(source: Source, tenant: str, spans: Block, base: Mask, compare: Compare, grid: Grid) -> Iterator[Compared]:
    """The spans of a mask, by their ids: as many at a time as a statement can hold, in order of time, so that each reads few granules."""
    selected = base & matched(Pipeline((compare.selection,)), spans)
    first, last = grid.range_ns
    rows = np.flatnonzero(base & (spans.start_ns > first) & (spans.start_ns <= last))
    rows = rows[np.argsort(spans.start_ns[rows], kind="stable")]
    for at in range(0, len(rows), _IDS_AT_ONCE):
        own = rows[at : at + _IDS_AT_ONCE]
        time_range = TimeRange(int(spans.start_ns[own].min()), int(spans.start_ns[own].max()) + 1)
        parameters: dict[str, Any] = {}
        conditions = [_among(spans, chosen, name, parameters) for chosen, name in ((own, "base"), (own[selected[own]], "chosen"))]
        yield compared(source, tenant, time_range, conditions, parameters, compare, grid)


def _among(spans: Block, rows: Rows, name: str, parameters: dict[str, Any]) -> str:
    """The condition that a span is one of these, by its own id and its trace's first half as numbers."""
    ids = ((spans.span_ids[row], spans.trace_ids[spans.trace[row]][:8]) for row in rows.tolist())
    parameters[name] = [tuple(int.from_bytes(id_, "little") for id_ in pair) for pair in ids]
    return f"(reinterpretAsUInt64(span_id), reinterpretAsUInt64(substring(trace_id, 1, 8))) IN {{{name}:Array(Tuple(UInt64, UInt64))}}"


def sizes(spans: Compared) -> Statement:
    """The number of spans, and the number of attributes in each of MAPS."""
    columns = ", ".join(f"sum({one.column}.size0)" for one in MAPS)
    return spans.statement(f"SELECT count(), {columns}\nFROM {spans.rows}\nWHERE {spans.base}")  # names of ours and parameters


def count_at_once(spans: Compared) -> Statement:
    """The counts of ``count_by_step`` for all attributes in one statement, for spans that are not many."""
    own = [f"[({one.name}, {_TEXTS[one.kind].format(one.value)})]" for one in INTRINSICS]
    maps = [
        f"arrayMap((k, v) -> (concat('{one.scope}.', k), {_TEXTS[one.kind].format('v')}), mapKeys({one.column}), mapValues({one.column}))"
        for one in MAPS
    ]
    return spans.statement(
        "SELECT chosen, pair.1 AS name, pair.2 AS text, slot, count()\nFROM (\n"  # noqa: S608  # names of ours and parameters
        f"  SELECT toUInt8({spans.selected}) AS chosen, {SLOT} AS slot, {START} AS start_ns,\n    arrayJoin(arrayConcat({', '.join((*own, *maps))})) AS pair\n"
        f"  FROM {spans.rows}\n  WHERE {spans.base}\n)\nGROUP BY chosen, name, text, slot"
    )


def frequent_keys(spans: Compared, maps: Collection[Map], first_ns: int, last_ns: int) -> Statement:
    """Rows of column, key and whether the key has few values, for the frequent keys of spans that start between two instants."""
    between = f"{spans.base} AND {START} BETWEEN {{sample_first:Int64}} AND {{sample_last:Int64}}"
    parts = [
        f"  SELECT '{one.column}' AS held, mapKeys({one.column}) AS own_keys, arrayMap(x -> xxh3(x), mapValues({one.column})) AS own_values\n"  # noqa: S608  # names of ours and parameters
        f"  FROM {spans.rows}\n  WHERE {between}"
        for one in maps
    ]
    union = "\n  UNION ALL\n".join(parts)
    sql = (
        f"SELECT held, key, uniqUpTo({FEW})(value) <= {FEW}\nFROM (\n{union}\n)\nARRAY JOIN own_keys AS key, own_values AS value\n"  # the same
        f"GROUP BY held, key\nORDER BY held, count() DESC\nLIMIT {_KEYS_OF_A_MAP} BY held"
    )
    return spans.statement(sql, sample_first=first_ns, sample_last=last_ns)


def of_key(one: Map, number: int, *, few: bool) -> Valued:
    """An attribute with any value but its type's default; its key is the parameter ``key_<number>``."""
    key = f"{{key_{number}:String}}"
    value = f"{one.column}[{key}]"
    return Valued(f"concat('{one.scope}.', {key})", value, one.kind, f"{value} != {_DEFAULTS[one.kind]}", few)


def count_by_step(spans: Compared, valued: Valued, most: int, **parameters: Any) -> Statement:
    """Columns: selected, name with its scope, value as text (empty for all that are not among the ``most`` frequent ones), slot, count."""
    rows = f"FROM {spans.rows}\n  WHERE {spans.base} AND {valued.when}"
    if valued.few:
        frequent, place, text = "", f"{valued.value} AS place", _TEXTS[valued.kind].format("place")
    else:
        frequent = f"WITH (\n{_frequent(spans, valued, most)}\n) AS top\n"
        place = f"toUInt16(transform({valued.value}, top, arrayEnumerate(top), 0)) AS place"
        text = f"if(place = 0, '', {_TEXTS[valued.kind].format('top[place]')})"
    sql = (
        f"{frequent}SELECT chosen, {valued.name} AS own_name, {text} AS text, slot, count()\nFROM (\n"  # names of ours and parameters
        f"  SELECT {_chosen(spans)}, {place}\n  {rows}\n)\nGROUP BY chosen, place, slot"
    )
    return spans.statement(sql, **parameters)


def count_entries(spans: Compared, one: Map, most: int, counted: Sequence[str], *, few: bool) -> Statement:
    """The same for the attributes of a map that counting the ``counted`` keys with ``of_key`` left out; with ``few``, every value is returned."""
    known, more = "true", ""
    if not few:
        frequent = f"arrayJoin(arrayMap(x -> x.3, groupArraySorted({most})((-toInt64(spans), toString(value), value))))"
        more = (
            f"  SELECT key, {frequent}\n  FROM (\n  SELECT chosen, key, value, count() AS spans\n  FROM (\n{_entries(spans, one)}\n  )\n"  # noqa: S608  # the same
            "  GROUP BY chosen, key, value\n  )\n  GROUP BY chosen, key"
        )
        known = f"(key, value) IN (\n{more}\n)"
    sql = (
        f"SELECT chosen, concat('{one.scope}.', key) AS own_name, if(known, {_TEXTS[one.kind].format('shown')}, '') AS text, slot, count()\nFROM (\n"  # noqa: S608  # the same
        f"  SELECT chosen, key, {known} AS known, if(known, value, {_DEFAULTS[one.kind]}) AS shown, slot\n  FROM (\n{_entries(spans, one)}\n  )\n)\n"
        "GROUP BY chosen, key, known, shown, slot"
    )
    return spans.statement(sql, counted=list(counted))


def _frequent(spans: Compared, valued: Valued, most: int) -> str:
    """SQL for an array of the values that are frequent on the selected spans or on the others."""
    tops = ", ".join(
        f"arrayMap(x -> x.3, groupArraySortedIf({most})((-toInt64({own}), toString(value), value), {own} > 0))"
        for own in ("chosen_spans", "others")
    )
    counts = f"countIf({spans.selected}) AS chosen_spans, count() - chosen_spans AS others"
    inner = (
        f"    SELECT {valued.value} AS value, {counts}\n    FROM {spans.rows}\n    WHERE {spans.base} AND {valued.when}\n    GROUP BY value"  # noqa: S608  # names of ours and parameters
    )
    return f"  SELECT arrayDistinct(arrayConcat({tops}))\n  FROM (\n{inner}\n  )"  # noqa: S608  # the same


def _entries(spans: Compared, one: Map) -> str:
    """SQL for a row for each attribute of the map that was not counted by its key."""
    held = one.column
    inner = (
        f"SELECT {_chosen(spans)}, mapKeys({held}) AS keys, mapValues({held}) AS entries\n    FROM {spans.rows}\n"  # noqa: S608  # names of ours and parameters
        f"    WHERE {spans.base} AND {held}.size0 > 0"
    )
    left = f"NOT (has({{counted:Array(String)}}, key) AND value != {_DEFAULTS[one.kind]})"
    return f"    SELECT chosen, slot, key, value\n    FROM (\n    {inner}\n    )\n    ARRAY JOIN keys AS key, entries AS value\n    WHERE {left}"  # noqa: S608  # the same


def _chosen(spans: Compared) -> str:
    return f"toUInt8({spans.selected}) AS chosen, toUInt32({SLOT}) AS slot, {START} AS start_ns"
