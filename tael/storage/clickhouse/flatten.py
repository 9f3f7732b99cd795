"""The SELECT that turns one decoded ``WalBatch`` into rows of ``spans``, generated; ClickHouse runs it as a materialized view.

Pure text. The result is golden-filed (tests/golden/sql) and part of a migration. A landing table and its view are never altered: a
change creates another pair beside them, so that writers of two versions can run at once.

An attribute goes to the map of its type, unchanged. A value whose type has no map goes to ``other`` as a letter and its encoding:

    n         AnyValue with no member set          a<base64>  ArrayValue, encoded
    b<base64> bytes                                k<base64>  KeyValueList, encoded

Event, link and scope attributes have two maps only, strings and others, and there ``other`` also takes

    i<decimal> integer      d<decimal> double, shortest form that reads back      t, f  boolean

The attributes of a resource or scope are repeated in the row of every item under it. They are put into dictionaries (LowCardinality) before
items are unfolded, so that a row costs an index and not a copy: a resource of a megabyte over twenty thousand spans would be twenty
gigabytes. After that no function may be applied to them, because functions unpack dictionaries.
"""

from __future__ import annotations

import re

from tael.storage.clickhouse import llm

LANDING_TABLE = "spans_in_9"
UNKNOWN_SERVICE = "unknown_service"

_DICTIONARY = "LowCardinality(String)"
_TYPED_MAPS = (
    ("string", "string_value", "String"),
    ("int", "int_value", "Int64"),
    ("double", "double_value", "Float64"),
    ("bool", "bool_value", "Bool"),
)
MAP_NAMES = (*(name for name, _, _ in _TYPED_MAPS), "other")
_CONTAINERS = (
    ("array_value", "concat('a', base64Encode({}))"),
    ("kvlist_value", "concat('k', base64Encode({}))"),
    ("bytes_value", "concat('b', base64Encode({}))"),
)
_SCALARS = (
    ("int_value", "concat('i', toString({}))"),
    ("double_value", "concat('d', toString({}))"),
    ("bool_value", "if({}, 't', 'f')"),
)


def typed_maps(pairs: str) -> list[tuple[str, str]]:
    """Name and expression of the five maps of ``pairs``, an expression of type Array(KeyValue)."""
    maps = [(name, _map_of(pairs, member, column_type)) for name, member, column_type in _TYPED_MAPS]
    known = ", ".join(f"'{member}'" for _, member, _ in _TYPED_MAPS)
    return [*maps, ("other", _other_map(pairs, f"NOT IN ({known})", _CONTAINERS))]


def shared(maps: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The maps with dictionaries for their keys and string values."""
    return [(name, re.sub(r"::Map\(String, (\w+)\)$", _in_dictionaries, text)) for name, text in maps]


def _in_dictionaries(found: re.Match[str]) -> str:
    return f"::Map({_DICTIONARY}, {_DICTIONARY if found[1] == 'String' else found[1]})"


def two_maps(pairs: str) -> list[tuple[str, str]]:
    """Name and expression of the string map and of the map of everything else."""
    return [("string", _map_of(pairs, "string_value", "String")), ("other", _other_map(pairs, "!= 'string_value'", _SCALARS + _CONTAINERS))]


def _map_of(pairs: str, member: str, column_type: str) -> str:
    keys, values = (f"arrayFilter((x, o) -> o = '{member}', {pairs}.{part}, {pairs}.value.value)" for part in ("key", f"value.{member}"))
    return f"mapFromArrays({keys}, {values})::Map(String, {column_type})"


def _other_map(pairs: str, condition: str, encodings: tuple[tuple[str, str], ...]) -> str:
    matching = f"arrayFilter(x -> x.value.value {condition}, {pairs})"
    branches = ", ".join(f"x.value.value = '{member}', {text.format(f'x.value.{member}')}" for member, text in encodings)
    encoded = f"arrayMap(x -> multiIf({branches}, 'n'), {matching})"
    return f"mapFromArrays({matching}.key, {encoded})::Map(String, String)"


def instant(expression: str) -> str:
    """SQL that converts unsigned 64-bit nanoseconds to an instant of the tables' type."""
    return f"fromUnixTimestamp64Nano(reinterpretAsInt64({expression}), 'UTC')"


def _each(variable: str, expression: str, array: str) -> str:
    return f"arrayMap({variable} -> {expression}, {array})"


def _span_columns() -> list[tuple[str, str]]:
    return [
        ("tenant", "batch_tenant"),
        ("service", "resource_service"),
        ("start_time", instant("sp.start_time_unix_nano")),
        # Unsigned and then reinterpreted, so that an end before the start is a negative duration and no huge one.
        ("duration_ns", "reinterpretAsInt64(sp.end_time_unix_nano - sp.start_time_unix_nano)"),
        ("trace_id", "toFixedString(sp.trace_id, 16)"),
        ("span_id", "toFixedString(sp.span_id, 8)"),
        ("parent_span_id", "sp.parent_span_id"),
        ("name", "sp.name"),
        ("kind", "sp.kind"),
        ("status_code", "sp.status.code"),
        ("status_message", "sp.status.message"),
        ("trace_state", "sp.trace_state"),
        ("flags", "sp.flags"),
        ("dropped_attributes_count", "sp.dropped_attributes_count"),
        ("dropped_events_count", "sp.dropped_events_count"),
        ("dropped_links_count", "sp.dropped_links_count"),
        *((f"attributes_{name}", text) for name, text in typed_maps("sp.attributes")),
        *_event_columns(),
        *_link_columns(),
        *((name, f"call.{name}") for name, _ in llm.COLUMNS),
        ("received_at", instant("batch_received_at")),
    ]


def _event_columns() -> list[tuple[str, str]]:
    maps = dict(two_maps("e"))
    return [
        ("`events.time`", _each("t", instant("t"), "sp.events.time_unix_nano")),
        ("`events.name`", "sp.events.name"),
        ("`events.attributes_string`", _each("e", maps["string"], "sp.events.attributes")),
        ("`events.attributes_other`", _each("e", maps["other"], "sp.events.attributes")),
        ("`events.dropped_attributes_count`", "sp.events.dropped_attributes_count"),
    ]


def _link_columns() -> list[tuple[str, str]]:
    maps = dict(two_maps("l"))
    return [
        ("`links.trace_id`", "sp.links.trace_id"),
        ("`links.span_id`", "sp.links.span_id"),
        ("`links.trace_state`", "sp.links.trace_state"),
        ("`links.attributes_string`", _each("l", maps["string"], "sp.links.attributes")),
        ("`links.attributes_other`", _each("l", maps["other"], "sp.links.attributes")),
        ("`links.dropped_attributes_count`", "sp.links.dropped_attributes_count"),
        ("`links.flags`", "sp.links.flags"),
    ]


RESOURCE_COLUMNS = (
    *(f"resource_{name}" for name in MAP_NAMES),
    "resource_dropped_attributes_count",
    "resource_schema_url",
)
SCOPE_COLUMNS = (
    "scope_name",
    "scope_version",
    "scope_string",
    "scope_other",
    "scope_dropped_attributes_count",
    "scope_schema_url",
)
RESOURCE_VALUE_HASHES = "arrayMap(v -> xxHash32(v), mapValues(resource_string))"
"""The column for the index of resources' values (docs/adr/0020): an index of the values themselves would unpack them for every row."""
BATCH_COLUMNS = ("batch_tenant", "batch_received_at", "resource_service")


def spans_select(source: str) -> str:
    """The rows of ``spans`` from the landing table ``source``: records, then resources, then scopes, then spans, each unfolded once."""
    shared_columns = (*RESOURCE_COLUMNS, "resource_value_hashes", *SCOPE_COLUMNS)
    spans = unfolded(source, "resource_spans", "scope_spans", "spans", "sp", resource_value_hashes=RESOURCE_VALUE_HASHES)
    spans = select([*BATCH_COLUMNS, *shared_columns, "sp", f"{llm.call_tuple('sp')} AS call"], spans)
    columns = [f"{text} AS {name}" for name, text in _span_columns()]
    return select([*columns, *shared_columns], spans)


def unfolded(source: str, groups: str, scopes: str, items: str, item: str, **shared_by_resource: str) -> str:
    """A row for each item of the batches in ``source``, as column ``item``, with the columns of its batch, resource and scope.

    ``shared_by_resource`` are additional columns by name, computed once for each resource from its own columns and ``tenant``. ``groups``,
    ``scopes`` and ``items`` are the names of the request's fields, level by level. Each level takes two SELECTs, one that computes the
    shared columns and one that unfolds: in a single one ClickHouse might unfold first and compute the shared columns for every row.
    """
    records = f"SELECT arrayJoin(records) AS r FROM {source}"  # noqa: S608  # a table's name, ours
    resources = f"SELECT r.tenant AS tenant, r.received_at AS batch_received_at, arrayJoin(r.request.{groups}) AS rs\nFROM ({records})"
    shared_columns = [
        _dictionary("tenant", "batch_tenant"),
        "batch_received_at",
        *(f"{text} AS resource_{name}" for name, text in shared(typed_maps("rs.resource.attributes"))),
        _dictionary(_SERVICE, "resource_service"),
        "rs.resource.dropped_attributes_count AS resource_dropped_attributes_count",
        _dictionary("rs.schema_url", "resource_schema_url"),
        *(f"{text} AS {name}" for name, text in shared_by_resource.items()),
    ]
    resource_columns = (*RESOURCE_COLUMNS, *shared_by_resource)
    scoped = select([*shared_columns, f"rs.{scopes} AS scopes"], resources)
    scoped = select([*BATCH_COLUMNS, *resource_columns, "arrayJoin(scopes) AS ss"], scoped)
    scope_columns = [
        _dictionary("ss.scope.name", "scope_name"),
        _dictionary("ss.scope.version", "scope_version"),
        *(f"{text} AS scope_{name}" for name, text in shared(two_maps("ss.scope.attributes"))),
        "ss.scope.dropped_attributes_count AS scope_dropped_attributes_count",
        _dictionary("ss.schema_url", "scope_schema_url"),
    ]
    scoped = select([*BATCH_COLUMNS, *resource_columns, *scope_columns, f"ss.{items} AS items"], scoped)
    return select([*BATCH_COLUMNS, *resource_columns, *SCOPE_COLUMNS, f"arrayJoin(items) AS {item}"], scoped)


_SERVICE = (
    "coalesce(nullIf(arrayFirst(x -> x.key = 'service.name' AND x.value.value = 'string_value', rs.resource.attributes).value.string_value, ''), "
    f"'{UNKNOWN_SERVICE}')"
)


def _dictionary(expression: str, name: str) -> str:
    return f"({expression})::{_DICTIONARY} AS {name}"


def select(columns: list[str], source: str) -> str:
    """A SELECT of ``columns`` from another SELECT."""
    listed = ",\n  ".join(columns)
    return f"SELECT\n  {listed}\nFROM (\n{source}\n)"
