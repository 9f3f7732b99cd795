"""Reads columns of ``logs`` as LogQL's lines, pure: the same entries as tael.logql.records makes of records, with little work for each row.

A resource and its scope come as one text of low cardinality, which is decoded once for all rows that have it; the keys of attributes
likewise. Columns of which every row is empty take no time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from tael.logql.levels import LEVEL, LEVEL_NAMES, detected_level
from tael.logql.records import Entry, add_attributes, label_of, labels_of_origin, text_of
from tael.model.streams import PUSHED_SCOPE
from tael.storage.clickhouse import native, rows
from tael.storage.clickhouse.log_rows import decoded_body
from tael.storage.clickhouse.rows import RESOURCE_COLUMNS, SCOPE_COLUMNS, other_value

_ORIGIN: Final = f"toLowCardinality(hex(formatRowNoNewline('RowBinary', {', '.join((*RESOURCE_COLUMNS, *SCOPE_COLUMNS))})))"
_KEYS: Final = (
    "toUnixTimestamp64Nano(timestamp) AS time_ns",
    "serial",
    "body",
    "toInt8(body_type) AS body_type_number",
    _ORIGIN,
)
_ATTRIBUTES: Final = {
    "string": "CAST(attributes_string, 'Map(LowCardinality(String), String)')",
    **{
        kind: f"CAST(attributes_{kind}, 'Map(LowCardinality(String), {of})')"
        for kind, of in (("int", "Int64"), ("double", "Float64"), ("bool", "Bool"))
    },
    "other": "attributes_other",
}
_FIELDS: Final = {
    "observed_timestamp": "reinterpretAsUInt64(toUnixTimestamp64Nano(observed_timestamp))",
    "severity_number": "severity_number",
    # Loki's push knows no severity: there it is a level that is among the labels.
    "severity_text": f"if(scope_name = '{PUSHED_SCOPE}', '', severity_text)",
    "dropped_attributes_count": "dropped_attributes_count",
    "flags": "flags",
    "trace_id": "if(trace_id = toFixedString('', 16), '', lower(hex(trace_id)))",
    "span_id": "if(span_id = toFixedString('', 8), '', lower(hex(span_id)))",
    "event_name": "event_name",
}
"""The labels that a record's own fields become, in the order in which they replace others."""
_LEVELS: Final = frozenset(LEVEL_NAMES)
_UINT64: Final = (1 << 64) - 1


class LineColumns:
    """The columns that lines are made of, and the lines. With ``names``, metadata under other names is left out."""

    def __init__(self, names: Collection[str] | None = None) -> None:
        self._names = names if names is None or LEVEL not in names else {*names, *LEVEL_NAMES}
        self._fields = [name for name in _FIELDS if self._wanted(name) or (name == "severity_number" and self._wanted(LEVEL))]
        self.sql = (*_KEYS, *_ATTRIBUTES.values(), *(_FIELDS[name] for name in self._fields))

    def entries(self, body: bytes) -> list[Entry]:
        """The entries of an answer in the Native format to a statement that selects ``sql``."""
        columns = native.read(body, blobs=True)
        if not columns:
            return []
        times, serials, bodies, kinds, origins, *others = columns
        lines = _lines(native.blobs(bodies).values, native.numbers(kinds).tolist())
        shared = self._shared(native.strings(origins))
        metadata = self._metadata(others, [own for _, own in shared])
        stamps = [time & _UINT64 for time in native.numbers(times).tolist()]
        streams = [stream for stream, _ in shared]
        if self._wanted(LEVEL):
            numbers = native.numbers(others[len(_ATTRIBUTES) + self._fields.index("severity_number")]).tolist()
            _add_levels(streams, metadata, numbers, lines)
        return list(map(Entry, stamps, lines, streams, metadata, native.numbers(serials).tolist()))

    def _wanted(self, name: str) -> bool:
        return self._names is None or name in self._names

    def _shared(self, origins: native.Strings) -> list[tuple[dict[str, str], dict[str, str]]]:
        """For each row the labels of its stream, and the metadata that its resource and scope give."""
        known = []
        for word in origins.words:
            stream, metadata = _origin(bytes.fromhex(word)) if word else ({}, {})
            known.append((stream, {name: value for name, value in metadata.items() if self._wanted(name)}))
        return [known[place] for place in origins.index.tolist()]

    def _metadata(self, columns: Sequence[native.Column], shared: Sequence[dict[str, str]]) -> list[dict[str, str]]:
        """The metadata of each row. Of equal names the last wins: the resource's, the scope's, the record's attributes, its own fields."""
        metadata = [own.copy() for own in shared]
        fields = dict(zip(self._fields, columns[len(_ATTRIBUTES) :], strict=True))
        for kind, column in zip(_ATTRIBUTES, columns, strict=False):
            self._add_attributes(metadata, kind, native.lists(column))
        for name, column in fields.items():
            if self._wanted(name):
                for own, value in zip(metadata, _texts(column), strict=True):
                    if value:
                        own[name] = value
        return metadata

    def _add_attributes(self, metadata: list[dict[str, str]], kind: str, column: native.Lists) -> None:
        ends = column.offsets.tolist()
        if not ends[-1]:
            return
        entries = native.pairs(column.values)
        if kind == "other":
            self._add_others(metadata, ends, entries)
            return
        keys = native.strings(entries.keys)
        words = [name if self._wanted(name) else "" for name in map(label_of, keys.words)]
        if not any(words):
            return
        labels = [words[place] for place in keys.index.tolist()]
        texts = _VALUES[kind](entries.values)
        whole = all(labels) and all(texts)
        for own, first, end in zip(metadata, ends, ends[1:], strict=False):
            if first == end:
                continue
            found = zip(labels[first:end], texts[first:end], strict=True)
            own.update(found if whole else [pair for pair in found if pair[0] and pair[1]])

    def _add_others(self, metadata: list[dict[str, str]], ends: list[int], entries: native.Pairs) -> None:
        keys, values = (_decoded(native.blobs(column).values) for column in (entries.keys, entries.values))
        for own, first, end in zip(metadata, ends, ends[1:], strict=False):
            found: dict[str, str] = {}
            add_attributes(found, {key: other_value(value) for key, value in zip(keys[first:end], values[first:end], strict=True)})
            own.update({name: value for name, value in found.items() if self._wanted(name)})


def _decoded(values: Sequence[bytes]) -> list[str]:
    return [value.decode("utf-8", "replace") for value in values]


def _lines(bodies: Sequence[bytes], kinds: Sequence[int]) -> list[str]:
    """The text of each line."""
    if all(kind == 1 for kind in kinds):
        return _decoded(bodies)
    return [text_of(decoded_body(kind, body)) for kind, body in zip(kinds, bodies, strict=True)]


def _texts(column: native.Column) -> list[str]:
    """The text of a field in each row, empty for zero."""
    if isinstance(column, native.Strings):
        return column.tolist()
    if isinstance(column, native.Blobs):
        return _decoded(column.values)
    numbers = native.numbers(column)
    return [str(number) if number else "" for number in numbers.tolist()] if numbers.any() else [""] * len(numbers)


_VALUES: Final[dict[str, Callable[[Any], list[str]]]] = {
    "string": lambda column: _decoded(native.blobs(column).values),
    "int": lambda column: list(map(str, native.numbers(column).tolist())),
    "double": lambda column: list(map(text_of, native.numbers(column).tolist())),
    "bool": lambda column: ["true" if value else "false" for value in native.numbers(column).tolist()],
}
"""The texts of attributes' values, by type."""


def _add_levels(
    streams: Sequence[Mapping[str, str]], metadata: Sequence[dict[str, str]], numbers: Sequence[int], lines: Sequence[str]
) -> None:
    for stream, own, number, line in zip(streams, metadata, numbers, lines, strict=True):
        if LEVEL not in own:
            own[LEVEL] = detected_level(stream, own, number, line)


def _origin(text: bytes) -> tuple[dict[str, str], dict[str, str]]:
    value = _values(text, (*_TYPES[RESOURCE_COLUMNS], *_TYPES[SCOPE_COLUMNS]))
    return labels_of_origin(rows.resource(value), rows.scope(value))


_TYPES: Final = {
    RESOURCE_COLUMNS: ("string", "int", "double", "bool", "string", "number", "text"),
    SCOPE_COLUMNS: ("text", "text", "string", "string", "number", "text"),
}
"""The types of the columns: maps by their values' type, texts, and numbers of 32 bits."""


def _values(body: bytes, types: Sequence[str]) -> Iterator[Any]:
    """The values of these types in ClickHouse's RowBinary format, whose lengths, texts and numbers are those of Native."""
    cursor = native.Cursor(body)

    def text() -> bytes:
        return cursor.blobs_of(1)[0]

    def number(dtype: str) -> Any:
        return cursor.numbers(dtype, 1).item()

    for kind in types:
        if kind == "number":
            yield number("<u4")
        elif kind == "text":
            yield text()
        else:
            yield {text(): text() if kind == "string" else number(_DTYPES[kind]) for _ in range(cursor.varint())}


_DTYPES: Final = {"int": "<i8", "double": "<f8", "bool": "?"}
