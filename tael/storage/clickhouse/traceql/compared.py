"""SQL for ``compare()``, pure: how many of very many spans have each value of each attribute, by step and by whether they are selected.

A key that many spans have is counted by itself, because reading one key of a map is several times as fast as reading the map. Keys with few
values are counted in one statement; for those with many, a first pass finds the frequent values (frequent.py). Counts by step are an
array for each value, which costs half as much as groups by step. The rest is counted from the maps' entries: rare keys, and values that
read like a missing key ('', 0, false). The sizes of maps, which are cheap to read, show whether anything is left. Counts are returned
for the most frequent values, and one total for the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tael.model.time import TimeRange
from tael.storage.clickhouse.conditions import Conditions, Statement
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.traceql.statements import SLOT, START, widened
from tael.traceql import comparison
from tael.traceql.ast import Compare
from tael.traceql.columns import Mask, Rows
from tael.traceql.metrics import Grid
from tael.traceql.spans import Block

_MOST_FEW: Final = 1_000
_FEW_BY_STEP: Final = 500_000
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
    shown: str = ""
    """The text that is counted in place of each value, for values that are not compared."""

    @property
    def values(self) -> str:
        """SQL for the values, one for each of mapKeys."""
        return f"arrayMap(x -> '{self.shown}', mapKeys({self.column}))" if self.shown else f"mapValues({self.column})"


MAPS: Final = (
    *(Map(f"attributes_{kind}", "span", kind) for kind in ("string", "int", "double", "bool")),
    *(Map(f"resource_{kind}", "resource", kind) for kind in ("string", "int", "double", "bool")),
    *(Map(f"{column}_other", scope, "string", shown="nil") for column, scope in (("attributes", "span"), ("resource", "resource"))),
    Map("scope_string", "instrumentation", "string"),
    Map("scope_other", "instrumentation", "text"),
)


@dataclass(frozen=True, slots=True)
class Valued:
    """One value for each span, as an expression. An attribute has its column and key, and a span whose value is the type's default is left
    out.
    """

    name: str
    value: str
    kind: str
    held: Map | None = None
    key: str = ""

    def sql(self, number: int) -> str:
        """The expression, for a statement with the parameters of ``keys_of``."""
        return self.value.format(f"{{key_{number}:String}}")

    def has(self, value: str) -> str:
        """The condition that ``value`` is not what a missing key reads as."""
        return f"{value} != {_DEFAULTS[self.kind]}" if self.held else "true"


INTRINSICS: Final = (
    Valued("name", "name", "string"),
    Valued("kind", "kind", "int"),
    Valued("status", "status_code", "int"),
    Valued("statusMessage", "status_message", "string"),
    Valued("instrumentation:name", "scope_name", "string"),
    Valued("instrumentation:version", "scope_version", "string"),
)


@dataclass(frozen=True, slots=True)
class Compared:
    """Spans to compare: ``base`` and ``selected`` are conditions on ``rows``, with the parameters that they and the steps need."""

    rows: str
    base: str
    selected: str
    parameters: Mapping[str, Any]
    tenant: str
    time_range: TimeRange
    rows_around: str
    """The rows of ``wider``."""

    @property
    def wider(self) -> TimeRange:
        """The range in which relatives of these spans are looked for."""
        return widened(self.time_range)

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
    """The spans of a range for which the first condition holds; the second selects some of them, within the time range of ``compare`` if it
    has one.
    """
    base, selected = conditions
    where = Conditions(tenant)
    where.within("start_time", time_range)
    where.add(base)
    bounds = {"grid_ns": grid.start_ns, "step_ns": grid.step_ns}
    if compare.start_ns and compare.end_ns:
        selected = f"({selected} AND {START} > {{chosen_from:Int64}} AND {START} <= {{chosen_until:Int64}})"
        bounds |= {"chosen_from": compare.start_ns, "chosen_until": compare.end_ns}
    rows, around = (source.rows("spans", tenant, own) for own in (time_range, widened(time_range)))
    # A comparison with a service has the type of its column, LowCardinality.
    chosen = f"CAST({selected}, 'UInt8')"
    return Compared(rows, str(where), chosen, {**parameters, **where.parameters, **bounds}, tenant, time_range, around)


def among(source: Source, tenant: str, spans: Block, base: Mask, compare: Compare, grid: Grid) -> Iterator[Compared]:
    """The spans of a mask, by their ids: as many at a time as a statement can hold, in order of time, so that each reads few granules."""
    selected = comparison.selected(compare, spans, base)
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
    """The counts of all attributes in one statement, for spans that are not many. Columns: selected, name with its scope, value as text,
    slot, count.
    """
    own = [f"[('{one.name}', {_TEXTS[one.kind].format(one.value)})]" for one in INTRINSICS]
    maps = [
        f"arrayMap((k, v) -> (concat('{one.scope}.', k), {_TEXTS[one.kind].format('v')}), mapKeys({one.column}), {one.values})"
        for one in MAPS
    ]
    return spans.statement(
        "SELECT chosen, pair.1 AS name, pair.2 AS text, slot, count()\nFROM (\n"  # noqa: S608  # names of ours and parameters
        f"  SELECT toUInt8({spans.selected}) AS chosen, {SLOT} AS slot, {START} AS start_ns,\n    arrayJoin(arrayConcat({', '.join((*own, *maps))})) AS pair\n"
        f"  FROM {spans.rows}\n  WHERE {spans.base}\n)\nGROUP BY chosen, name, text, slot"
    )


def few(steps: int) -> int:
    """Up to this many values of an attribute are counted without finding the frequent ones first; each takes 16 bytes for each step."""
    return max(1, min(_MOST_FEW, _FEW_BY_STEP // steps))


def frequent_keys(spans: Compared, maps: Collection[Map], first_ns: int, last_ns: int) -> Statement:
    """Rows of column, key and number of values, for the frequent keys of spans that start between two instants; INTRINSICS have
    no column.
    """
    between = f"{spans.base} AND {START} BETWEEN {{sample_first:Int64}} AND {{sample_last:Int64}}"
    names, values = (", ".join(texts) for texts in zip(*((f"'{one.name}'", f"xxh3({one.value})") for one in INTRINSICS), strict=True))
    columns = [
        ("", f"[{names}]", f"[{values}]"),
        *((one.column, f"mapKeys({one.column})", f"arrayMap(x -> xxh3(x), {one.values})") for one in maps),
    ]
    parts = [
        f"  SELECT '{column}' AS held, {keys} AS own_keys, {hashes} AS own_values\n  FROM {spans.rows}\n  WHERE {between}"  # noqa: S608  # names of ours and parameters
        for column, keys, hashes in columns
    ]
    union = "\n  UNION ALL\n".join(parts)
    sql = (
        f"SELECT held, key, uniq(value)\nFROM (\n{union}\n)\nARRAY JOIN own_keys AS key, own_values AS value\n"  # the same
        f"GROUP BY held, key\nORDER BY held, count() DESC\nLIMIT {_KEYS_OF_A_MAP} BY held"
    )
    return spans.statement(sql, sample_first=first_ns, sample_last=last_ns)


def of_key(one: Map, key: str) -> Valued:
    """An attribute."""
    if one.shown:
        return Valued(f"{one.scope}.{key}", f"if(mapContains({one.column}, {{0}}), '{one.shown}', '')", one.kind, one, key)
    # The values of resources are repeated, so reading the whole map is faster than reading one key of it.
    shared = one.scope == "resource"
    value = f"mapValues({one.column})[indexOf(mapKeys({one.column}), {{0}})]" if shared else f"{one.column}[{{0}}]"
    return Valued(f"{one.scope}.{key}", value, one.kind, one, key)


@dataclass(frozen=True, slots=True)
class Group:
    """How the spans of a key are grouped: SQL with the alias of k and the key's number, the text of a group, and whether it counts."""

    value: str
    text: str
    counts: str


def count_few(spans: Compared, keys: Sequence[Valued], steps: int) -> Statement:
    """Columns: the number of the key, value as text, and for each step the number of other spans and of selected spans with this value."""
    groups = [
        Group(f"{one.sql(number)} AS k{number}", text_of(one, f"k{number}"), one.has(f"k{number}")) for number, one in enumerate(keys)
    ]
    return by_key(spans, groups, steps, **keys_of(keys))


def by_key(spans: Compared, groups: Sequence[Group], steps: int, **parameters: Any) -> Statement:
    """The statement of ``count_few`` for these groups."""
    own = [f"k{number}" for number in range(len(groups))]
    numbers, texts, counts = (
        f"multiIf({', '.join(f'grouping({name}) = 0, {text}' for name, text in zip(own, texts, strict=True))}, {default})"
        for texts, default in (
            ([f"toUInt8({number})" for number in range(len(groups))], "toUInt8(0)"),
            ([one.text for one in groups], "''"),
            ([one.counts for one in groups], "false"),
        )
    )
    sql = (
        f"SELECT number, text, counts\nFROM (\n  SELECT {numbers} AS number, {texts} AS text, {counts} AS own, {_counts(steps)} AS counts\n"  # noqa: S608  # names of ours and parameters
        f"  FROM (\n    SELECT {index_of(spans)}, {', '.join(one.value for one in groups)}\n    FROM {spans.rows}\n    WHERE {spans.base}\n  )\n"
        f"  GROUP BY GROUPING SETS ({', '.join(f'({name})' for name in own)})\n)\nWHERE own"
    )
    return spans.statement(sql, **parameters)


def count_many(spans: Compared, one: Valued, most: int, steps: int) -> Statement:
    """The same for one key with many values; the text is empty for those that are not among the ``most`` frequent ones."""
    value = one.sql(0)
    where = f"FROM {spans.rows}\n  WHERE {spans.base} AND {one.has(value)}"
    sql = (
        f"WITH (\n{_frequent(spans, value, where, most)}\n) AS top\n"
        f"SELECT toUInt8(0), if(place = 0, '', {_TEXTS[one.kind].format('top[place]')}) AS text, {_counts(steps)}\nFROM (\n"  # names of ours and parameters
        f"  SELECT {index_of(spans)}, toUInt16(transform({value}, top, arrayEnumerate(top), 0)) AS place\n  {where}\n)\nGROUP BY place"
    )
    return spans.statement(sql, **keys_of([one]))


def text_of(one: Valued, value: str) -> str:
    """SQL for a value of a key as text."""
    return _TEXTS[one.kind].format(value)


def keys_of(keys: Sequence[Valued]) -> dict[str, str]:
    """The parameters of ``Valued.sql``."""
    return {f"key_{number}": one.key for number, one in enumerate(keys) if one.held}


def count_entries(spans: Compared, one: Map, most: int, counted: Sequence[str], *, few: bool) -> Statement:
    """As ``count_at_once``, for the attributes of a map that counting the ``counted`` keys with ``of_key`` left out.

    With ``few``, every value is returned; without, the text is empty for those that are not among the ``most`` frequent ones.
    """
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


def _frequent(spans: Compared, value: str, where: str, most: int) -> str:
    """SQL for an array of the values that are frequent on the selected spans or on the others."""
    tops = ", ".join(
        f"arrayMap(x -> x.3, groupArraySortedIf({most})((-toInt64({own}), toString(value), value), {own} > 0))"
        for own in ("chosen_spans", "others")
    )
    inner = f"    SELECT {value} AS value, countIf({spans.selected}) AS chosen_spans, count() - chosen_spans AS others\n    {where}\n    GROUP BY value"
    return f"  SELECT arrayDistinct(arrayConcat({tops}))\n  FROM (\n{inner}\n  )"  # noqa: S608  # names of ours and parameters


def _entries(spans: Compared, one: Map) -> str:
    """SQL for a row for each attribute of the map that was not counted by its key."""
    held = one.column
    inner = (
        f"SELECT {_chosen(spans)}, mapKeys({held}) AS keys, {one.values} AS entries\n    FROM {spans.rows}\n"  # noqa: S608  # names of ours and parameters
        f"    WHERE {spans.base} AND {held}.size0 > 0"
    )
    left = f"NOT (has({{counted:Array(String)}}, key) AND value != {_DEFAULTS[one.kind]})"
    return f"    SELECT chosen, slot, key, value\n    FROM (\n    {inner}\n    )\n    ARRAY JOIN keys AS key, entries AS value\n    WHERE {left}"  # noqa: S608  # the same


def index_of(spans: Compared) -> str:
    """SQL for the index of a span in the counts of its value."""
    return f"toUInt32({SLOT}) * 2 + toUInt8({spans.selected}) AS at, {START} AS start_ns"


def _counts(steps: int) -> str:
    return f"countResample(0, {2 * steps}, 1)(at)"


def _chosen(spans: Compared) -> str:
    return f"toUInt8({spans.selected}) AS chosen, toUInt32({SLOT}) AS slot, {START} AS start_ns"
