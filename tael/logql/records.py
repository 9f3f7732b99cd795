"""Converts a log record to Loki's form: a stream's labels, structured metadata and a line.

Loki's defaults for OTLP: a few attributes of the resource become the stream's labels, everything else metadata; characters that are invalid
in a label's name become underscores, maps are flattened, arrays are JSON. Source: Loki's documentation, "Ingesting logs to Loki using
OpenTelemetry Collector".
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from tael.logql.hints import ALL, Hints
from tael.logql.levels import LEVEL, detected_level
from tael.logql.row import Row
from tael.model.attributes import Attributes, AttributeValue
from tael.model.json_text import to_text
from tael.model.log import LogRecord
from tael.model.span import Resource, Scope
from tael.model.streams import INDEX_LABELS, PUSHED_SCOPE, stream_labels
from tael.syntax.literals import compact

_STREAM_KEYS: Final = frozenset(INDEX_LABELS.values())
_REMEMBERED: Final = 4 << 20
"""How many characters of labels and metadata are remembered, by resource and scope: enough for the common small ones, and a few
large ones.
"""
_SIZE_OF_ONE: Final = 1_000
"""About what the objects around the texts of one resource and scope take."""
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9]+")
# Characters that Go's JSON encoder escapes although JSON need not; Loki's lines and labels have them escaped.
_ESCAPED: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@lru_cache(maxsize=65_536)
def label_of(key: str) -> str:
    """The label name for an attribute's key; empty for a key without any valid character."""
    if key.startswith("__") and key.endswith("__") and len(key) > 4:
        return f"__{label_of(key[2:-2])}__"
    name = _NOT_IN_NAMES.sub("_", key)
    return "" if name == "_" else f"key_{name}" if name[:1].isdigit() else name


class Entry(NamedTuple):
    """A record's line. ``stream`` and ``metadata`` may be shared with other entries and must not be changed; ``serial`` is the record's."""

    timestamp_ns: int
    line: str
    stream: Mapping[str, str]
    metadata: Mapping[str, str]
    serial: int = 0

    def row(self, hints: Hints = ALL) -> Row:
        """The entry as a row for a pipeline."""
        return Row(self.timestamp_ns, self.line, self.stream, self.metadata, hints)


def entry(record: LogRecord) -> Entry:
    """The line of a record."""
    stream, shared = _ORIGINS.of(record.resource, record.scope)
    line = text_of(record.body)
    # The last of equal names wins, in this order: resource, scope, the record's attributes, the record's own fields.
    metadata = shared.copy()
    attributes = record.attributes
    if record.event_name and "event_name" in attributes:
        attributes = {key: value for key, value in attributes.items() if key != "event_name"}
    add_attributes(metadata, attributes)
    _add_fields(metadata, record)
    if LEVEL not in metadata:
        metadata[LEVEL] = detected_level(stream, metadata, record.severity_number, line)
    return Entry(record.timestamp_ns, line, stream, metadata, record.serial)


class Origins:
    """The stream's labels and the metadata that resources and scopes give; remembered, because the records of a page share them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[tuple[int, int], tuple[Resource, Scope, dict[str, str], dict[str, str]]] = {}
        self._size = 0

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)

    def of(self, resource: Resource, scope: Scope) -> tuple[dict[str, str], dict[str, str]]:
        """Those of one resource and scope."""
        key = (id(resource), id(scope))
        known = self._known.get(key)
        if known is None:
            # Both are held, so that no other object gets their ids.
            known = (resource, scope, *labels_of_origin(resource, scope))
            size = _SIZE_OF_ONE + sum(len(name) + len(value) for pairs in known[2:] for name, value in pairs.items())
            # Threads may do this at once: the worst is that one of them forgets what another has remembered.
            if self._size + size > self._most:
                self._known, self._size = {}, 0
            self._known[key] = known
            self._size += size
        return known[2:]


_ORIGINS: Final = Origins(_REMEMBERED)


def labels_of_origin(resource: Resource, scope: Scope) -> tuple[dict[str, str], dict[str, str]]:
    """The stream's labels, and the metadata of every record, that a resource and a scope give."""
    attributes = resource.attributes
    if scope.name == PUSHED_SCOPE:
        others: dict[str, str] = {}
        add_attributes(others, {key: value for key, value in attributes.items() if not isinstance(value, str)})
        return {**others, **dict(stream_labels(attributes, pushed=True))}, {}
    metadata: dict[str, str] = {}
    add_attributes(metadata, {key: value for key, value in attributes.items() if not (key in _STREAM_KEYS and isinstance(value, str))})
    found: dict[str, str] = {}
    add_attributes(found, scope.attributes)
    fields = {
        "scope_name": scope.name,
        "scope_version": scope.version,
        "scope_dropped_attributes_count": str(scope.dropped_attributes_count or ""),
    }
    found |= {key: value for key, value in fields.items() if value}
    return dict(stream_labels(attributes)), metadata | found


def text_of(value: AttributeValue) -> str:  # noqa: PLR0911 - one line a type
    """A value as Loki formats it in a label or a line."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        # Go's JSON encoder writes e-7 where its %g writes e-07.
        return re.sub(r"e([+-])0", r"e\1", compact(value))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return to_text(_plain(value), sort_keys=True).translate(_ESCAPED)


def _plain(value: AttributeValue) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    return value if value is None or isinstance(value, str | bool | int) else [_plain(inner) for inner in value]


def add_attributes(metadata: dict[str, str], attributes: Attributes, prefix: str = "") -> None:
    """Add attributes as labels; of two with the same label the later wins, and empty values are left out."""
    for key, value in attributes.items():
        name = label_of(f"{prefix}_{key}" if prefix else key)
        if isinstance(value, str):
            text = value
        elif isinstance(value, Mapping):
            add_attributes(metadata, value, name)
            continue
        else:
            text = text_of(value)
        if name and text:
            metadata[name] = text


def _add_fields(metadata: dict[str, str], record: LogRecord) -> None:
    """Add the record's own fields."""
    if record.observed_ns:
        metadata["observed_timestamp"] = str(record.observed_ns)
    if record.severity_number:
        metadata["severity_number"] = str(record.severity_number)
    if record.severity_text and record.scope.name != PUSHED_SCOPE:
        metadata["severity_text"] = record.severity_text
    if record.dropped_attributes_count:
        metadata["dropped_attributes_count"] = str(record.dropped_attributes_count)
    if record.flags:
        metadata["flags"] = str(record.flags)
    if record.trace_id:
        metadata["trace_id"] = record.trace_id.hex()
    if record.span_id:
        metadata["span_id"] = record.span_id.hex()
    if record.event_name:
        metadata["event_name"] = record.event_name
