"""The attribute keys of items, for suggestions: the SQL that fills the tables as items are written, and the SQL that reads them.

A row has the keys of one tenant and hour, as an array for each scope and type. One row for each key would be simpler, but planning the
statement that makes such rows costs more than collecting the keys. Only the first ``FIRST_ROWS`` rows of an insert are read, and one in
``ONE_ROW_IN`` of the others, because suggestions need not include rare keys. Of a key with more than ``VALUES_AT_ONCE`` values in an insert
no value is kept: they would crowd out all others.

Attributes of resources and scopes are in dictionaries, which functions and aggregates unpack for each row (flatten.py). Their keys are
therefore collected from the landing tables, where each resource and scope occurs once.
"""

from __future__ import annotations

from typing import Final

from tael.model.attribute_keys import AttributeKey, AttributeSignal, ValueScope
from tael.model.predicate import FieldScope, Kind, Value
from tael.model.time import NS_PER_SECOND, TimeRange
from tael.storage.api import Answer
from tael.storage.clickhouse import flatten
from tael.storage.clickhouse.client import SMALL_LIMITS, ClickHouse
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.labels import hour_of
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.source import HotTables, Source

TABLES: Final[dict[AttributeSignal, str]] = {"traces": "span_attribute_keys", "logs": "log_attribute_keys"}
MAX_KEYS, MAX_VALUES, VALUE_BYTES, VALUES_AT_ONCE = 5_000, 5_000, 128, 300
FIRST_ROWS, ONE_ROW_IN = 256, 8
SUGGESTED_ROWS: Final = f"(rowNumberInBlock() < {FIRST_ROWS} OR rowNumberInBlock() % {ONE_ROW_IN} = 0)"
_TYPES: Final[tuple[str, ...]] = ("string", "int", "double", "bool", "other")
_OWN_KEYS: Final = {f"attribute_{kind}": f"mapKeys(attributes_{kind})" for kind in _TYPES}
_SHARED_MAPS: Final = {f"resource_{kind}": f"resource_{kind}" for kind in _TYPES} | {
    f"instrumentation_{kind}": f"scope_{kind}" for kind in ("string", "other")
}
_NESTED_KEYS: Final = {
    f"{scope}_{kind}": f"arrayFlatten(arrayMap(m -> mapKeys(m), {scope}s.attributes_{kind}))"
    for scope in ("event", "link")
    for kind in ("string", "other")
}
_VALUES: Final = {"attribute_string": "String", "attribute_int": "Int64", "resource_string": "String"}
_LANDED: Final[dict[AttributeSignal, tuple[str, str, str, str]]] = {
    "traces": ("resource_spans", "scope_spans", "spans", "i.start_time_unix_nano"),
    "logs": (
        "resource_logs",
        "scope_logs",
        "log_records",
        "multiIf(i.time_unix_nano != 0, i.time_unix_nano, i.observed_time_unix_nano != 0, i.observed_time_unix_nano, batch_received_at)",
    ),
}
"""The fields of a signal's request, level by level, and SQL for the time of an item ``i`` in nanoseconds."""
_FEW_OF_EACH: Final = f"groupUniqArrayMap({VALUES_AT_ONCE + 1})"
KEYS_TYPE: Final = f"SimpleAggregateFunction(groupUniqArrayArray({MAX_KEYS}), Array(String)) CODEC(ZSTD(1))"


def key_columns(signal: AttributeSignal) -> str:
    """The columns of keys of the signal's table, with their types."""
    return ",\n    ".join(f"{name}_keys {KEYS_TYPE}" for name in _columns(signal))


def value_columns() -> str:
    """The columns of values, with their types."""
    return ",\n    ".join(
        f"{name}_values SimpleAggregateFunction(groupUniqArrayArray({MAX_VALUES}), Array(Tuple(String, {held}))) CODEC(ZSTD(1))"
        for name, held in _VALUES.items()
    )


def keys_select(signal: AttributeSignal) -> str:
    """The aggregates that fill the signal's table, with one row for each tenant and hour of an insert."""
    own = _OWN_KEYS | _NESTED_KEYS if signal == "traces" else _OWN_KEYS
    return ",\n    ".join([*map(_keys, own, own.values()), *map(_shared_keys, _SHARED_MAPS), *map(_values, _VALUES)])


def own_keys_select(signal: AttributeSignal) -> str:
    """The same without attributes of resources and scopes, which ``shared_keys_select`` collects."""
    own = _OWN_KEYS | _NESTED_KEYS if signal == "traces" else _OWN_KEYS
    return ",\n    ".join([*map(_keys, own, own.values()), *(_values(name) for name in _VALUES if name not in _SHARED_MAPS)])


def shared_keys_select(signal: AttributeSignal, source: str) -> str:
    """The rows of the same table for attributes of resources and scopes, from the landing table ``source``: no item is unfolded."""
    groups, scopes, items, time_ns = _LANDED[signal]
    resources = (
        "SELECT r.tenant AS tenant, r.received_at AS batch_received_at, "  # noqa: S608  # a table's name, ours
        f"arrayJoin(r.request.{groups}) AS rs\nFROM (SELECT arrayJoin(records) AS r FROM {source})"
    )
    hours = (
        f"arrayDistinct(arrayFlatten(arrayMap(ss -> arrayMap(i -> toStartOfHour({flatten.instant(time_ns)}), ss.{items}), rs.{scopes})))"
    )
    around = f"arrayFlatten(rs.{scopes}.scope.attributes) AS around"
    rows = flatten.select(["tenant", f"{hours} AS hours", "rs.resource.attributes AS own", around], resources)
    members = ", ".join(f"'{kind}_value'" for kind in _TYPES[:-1])
    keys = {f"resource_{kind}": _of_type("own", f"= '{kind}_value'") for kind in _TYPES[:-1]}
    keys |= {"resource_other": _of_type("own", f"NOT IN ({members})")}
    keys |= {f"instrumentation_{name}": _of_type("around", f"{sign} 'string_value'") for name, sign in (("string", "="), ("other", "!="))}
    short = f"arrayFilter(x -> x.value.value = 'string_value' AND length(x.value.string_value) <= {VALUE_BYTES}, own) AS short"
    rows = flatten.select(["tenant", "arrayJoin(hours) AS hour", *(f"{text} AS {name}" for name, text in keys.items()), short], rows)
    by_key = f"{_FEW_OF_EACH}(mapFromArrays(short.key, short.value.string_value)) AS resource_string_by_key"
    found = [*(_keys(name, name) for name in keys), _pairs("resource_string", by_key)]
    return flatten.select(["tenant", "hour", *found], rows) + "\nGROUP BY tenant, hour"


def _of_type(pairs: str, test: str) -> str:
    return f"arrayFilter((k, o) -> o {test}, {pairs}.key, {pairs}.value.value)"


def _keys(name: str, keys: str) -> str:
    return f"groupUniqArrayArray({MAX_KEYS})(CAST({keys}, 'Array(String)')) AS {name}_keys"


def _columns(signal: AttributeSignal) -> list[str]:
    """The names of the columns of keys in the order of the table, to which the last ones were added later."""
    return [*_OWN_KEYS, *_SHARED_MAPS, *(_NESTED_KEYS if signal == "traces" else ())]


def _shared_keys(name: str) -> str:
    each = f"arrayFlatten(CAST(arrayMap(m -> mapKeys(m), groupUniqArray({_SHARED_MAPS[name]})), 'Array(Array(String))'))"
    return f"arraySlice(arrayDistinct({each}), 1, {MAX_KEYS}) AS {name}_keys"


def _values(name: str) -> str:
    _scope, _, kind = name.partition("_")
    kept = f"Map(String, {_VALUES[name]})"
    short = f"mapFilter((k, v) -> length(v) <= {VALUE_BYTES}, {{}})".format if kind == "string" else "{}".format
    if name in _SHARED_MAPS:
        maps = f"arrayMap(m -> {short('m')}, CAST(groupUniqArray({_SHARED_MAPS[name]}), 'Array({kept})'))"
        return _pairs(name, f"arrayReduce('{_FEW_OF_EACH}', {maps}) AS {name}_by_key")
    return _pairs(name, f"{_FEW_OF_EACH}(CAST({short(f'attributes_{kind}')}, '{kept}')) AS {name}_by_key")


def _pairs(name: str, by_key: str) -> str:
    """(key, value) pairs, without keys that have too many values; ``by_key`` defines a map from keys to arrays of values."""
    # One value more than the limit was collected, to distinguish a key with too many values from one with exactly as many as allowed.
    few = f"if(length(vs) > {VALUES_AT_ONCE}, [], arrayMap(v -> (k, v), vs))"
    return f"arrayFlatten(arrayMap((k, vs) -> {few}, mapKeys({by_key}), mapValues({name}_by_key))) AS {name}_values"


class ClickHouseAttributeKeys:
    """Reads the keys of one shard's items, by whole hours. Raises the errors of SpanReader."""

    def __init__(self, clickhouse: ClickHouse, source: Source | None = None) -> None:
        self._clickhouse = clickhouse
        self._source = source or HotTables(clickhouse.database)

    async def list_keys(self, tenant: str, signal: AttributeSignal, time_range: TimeRange) -> Answer[list[AttributeKey]]:
        """The distinct keys of the signal's items, by scope, type and key. Common keys are included; rare ones may be missing."""
        statement = list_keys(self._source, tenant, signal, time_range)
        [found] = await self._clickhouse.query(statement.sql, statement.parameters, SMALL_LIMITS)
        pairs = sorted((name, key) for name, keys in zip(_columns(signal), found, strict=True) for key in map(text, keys))
        return Answer([_key(name, key) for name, key in pairs])

    async def list_values(
        self, tenant: str, signal: AttributeSignal, scope: ValueScope, key: str, time_range: TimeRange, limit: int
    ) -> Answer[list[Value]]:
        """At most ``limit`` distinct values of a key that are strings or, for attributes of the item itself, integers; strings first, in
        order.
        """
        _, values = await self._values(tenant, signal, scope, key, time_range, limit)
        return Answer(values)

    async def known_values(
        self, tenant: str, signal: AttributeSignal, scope: ValueScope, key: str, time_range: TimeRange, limit: int
    ) -> list[Value] | None:
        """The values of a key as from ``list_values``; None if items have, or may have, other values too."""
        (*kinds, pairs), values = await self._values(tenant, signal, scope, key, time_range, limit)
        kept = [f"{scope}_{kind}" in _VALUES for kind in _TYPES]
        # A full row may have lost values, and values of other types are not stored at all.
        if pairs >= MAX_VALUES or any(there and not is_kept for there, is_kept in zip(kinds, kept, strict=True)):
            return None
        # A key that occurs but has no stored value had too many values, or too long ones.
        return values if values or not any(kinds) else None

    async def _values(
        self, tenant: str, signal: AttributeSignal, scope: ValueScope, key: str, time_range: TimeRange, limit: int
    ) -> tuple[list[int], list[Value]]:
        """The first columns of ``key_values`` as numbers, and at most ``limit`` of its values."""
        statement = key_values(self._source, tenant, signal, scope, key, time_range, limit)
        [row] = await self._clickhouse.query(statement.sql, statement.parameters, SMALL_LIMITS)
        numbers, lists = row[: len(_TYPES) + 1], row[len(_TYPES) + 1 :]
        values: list[Value] = [int(value) if isinstance(value, int) else text(value) for each in lists for value in each]
        return [int(number) for number in numbers], values[:limit]


def _key(column: str, key: str) -> AttributeKey:
    scope, _, kind = column.partition("_")
    return AttributeKey(_SCOPES[scope], key, _KINDS.get(kind))


_SCOPES: Final[dict[str, FieldScope]] = {
    "attribute": "attribute",
    "resource": "resource",
    "instrumentation": "instrumentation",
    "event": "event",
    "link": "link",
}
_KINDS: Final[dict[str, Kind]] = {"string": "string", "int": "int", "double": "double", "bool": "bool"}


def list_keys(source: Source, tenant: str, signal: AttributeSignal, time_range: TimeRange) -> Statement:
    """One row with the distinct keys of each of the table's columns, in their order."""
    where, parameters = _hours(tenant, time_range)
    arrays = ", ".join(f"groupUniqArrayArray({name}_keys)" for name in _columns(signal))
    return Statement(f"SELECT {arrays}\nFROM {source.rows(TABLES[signal], tenant, time_range)}\nWHERE {where}", parameters)


def key_values(
    source: Source, tenant: str, signal: AttributeSignal, scope: ValueScope, key: str, time_range: TimeRange, limit: int
) -> Statement:
    """One row: whether the key has values, for each type; the number of pairs in the fullest row; and the first ``limit`` values of each
    stored type.
    """
    where, parameters = _hours(tenant, time_range)
    stored = [f"{name}_values" for name in _VALUES if name.startswith(scope)]
    kinds = [f"max(has({scope}_{kind}_keys, {{key:String}}))" for kind in _TYPES]
    pairs = f"max(arrayMax([{', '.join(f'length({name})' for name in stored)}]))"
    values = [
        f"arraySlice(arraySort(groupUniqArrayArray(arrayMap(p -> p.2, arrayFilter(p -> p.1 = {{key:String}}, {name})))), 1, {{limit:UInt64}})"
        for name in stored
    ]
    sql = f"SELECT {', '.join([*kinds, pairs, *values])}\nFROM {source.rows(TABLES[signal], tenant, time_range)}\nWHERE {where}"
    return Statement(sql, parameters | {"key": key, "limit": limit})


def _hours(tenant: str, time_range: TimeRange) -> tuple[str, dict[str, object]]:
    first, last = (hour_of(time_ns // NS_PER_SECOND) for time_ns in (time_range.start_ns, time_range.end_ns - 1))
    text = "tenant = {tenant:String} AND hour >= toDateTime({first_hour:UInt32}, 'UTC') AND hour <= toDateTime({last_hour:UInt32}, 'UTC')"
    return text, {"tenant": tenant, "first_hour": first, "last_hour": last}
