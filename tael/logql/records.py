"""A log record as Loki has it: a stream's labels, structured metadata and a line.

Loki's defaults for OTLP: a few attributes of the resource are the stream's labels, everything else is metadata; characters that may not
stand in a label's name are underscores, maps are flattened, arrays are JSON. Source: Loki's documentation, "Ingesting logs to Loki using
OpenTelemetry Collector".
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from tael.logql.hints import ALL, Hints
from tael.logql.levels import LEVEL, detected_level
from tael.logql.row import Row
from tael.model.attributes import Attributes, AttributeValue
from tael.model.log import LogRecord
from tael.model.span import Resource, service_of
from tael.syntax.literals import compact

SERVICE: Final = "service_name"
STREAM_KEYS: Final = (
    "service.name", "service.namespace", "service.instance.id", "deployment.environment", "deployment.environment.name", "cloud.region",
    "cloud.availability_zone", "k8s.cluster.name", "k8s.namespace.name", "k8s.pod.name", "k8s.container.name", "container.name",
    "k8s.replicaset.name", "k8s.deployment.name", "k8s.statefulset.name", "k8s.daemonset.name", "k8s.cronjob.name", "k8s.job.name",
)  # fmt: skip
"""The attributes of a resource that are labels of its streams."""

_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9]+")
_ESCAPED: Final = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


@lru_cache(maxsize=65_536)
def label_of(key: str) -> str:
    """The label that an attribute's key becomes; empty for a key of which nothing can be kept."""
    if key.startswith("__") and key.endswith("__") and len(key) > 4:
        return f"__{label_of(key[2:-2])}__"
    name = _NOT_IN_NAMES.sub("_", key)
    return "" if name == "_" else f"key_{name}" if name[:1].isdigit() else name


STREAM_LABELS: Final[dict[str, str]] = {label_of(key): key for key in STREAM_KEYS}
"""The attribute behind each label that a stream may have."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record's line; ``stream`` may be shared with other entries of the resource and must not be changed."""

    timestamp_ns: int
    line: str
    stream: Mapping[str, str]
    metadata: dict[str, str]

    def row(self, hints: Hints = ALL) -> Row:
        """For a pipeline."""
        return Row(self.timestamp_ns, self.line, self.stream, self.metadata, hints)


def entry(record: LogRecord) -> Entry:
    """The line of a record."""
    stream = stream_labels(record.resource.attributes)
    line = text_of(record.body)
    metadata = dict(_metadata(record))
    if LEVEL not in metadata:
        metadata[LEVEL] = detected_level(stream, metadata, record.severity_number, line)
    return Entry(record.timestamp_ns, line, stream, metadata)


def stream_labels(attributes: Attributes) -> dict[str, str]:
    """The labels of a resource's streams."""
    found = {label_of(key): text_of(attributes[key]) for key in STREAM_KEYS if _plain_label(attributes.get(key))}
    return found | {SERVICE: service_of(Resource(attributes))}


def _plain_label(value: AttributeValue) -> bool:
    """Whether the value of one of ``STREAM_KEYS`` is a label: a text, an integer or a boolean that is not empty."""
    return isinstance(value, str | int) and value != ""


def text_of(value: AttributeValue) -> str:  # noqa: PLR0911 - one line a type
    """A value as Loki writes it into a label or a line."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return re.sub(r"e([+-])0", r"e\1", compact(value))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), sort_keys=True).translate(_ESCAPED)


def _plain(value: AttributeValue) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    return value if value is None or isinstance(value, str | bool | int) else [_plain(inner) for inner in value]


def _metadata(record: LogRecord) -> Iterator[tuple[str, str]]:
    """Labels of the resource, the scope, the attributes and the record's own fields: the later wins, what is empty is left out."""
    own = [("", record.attributes)]
    if record.event_name:
        own = [("", {key: value for key, value in record.attributes.items() if key != "event_name"})]
    rest = {key: value for key, value in record.resource.attributes.items() if key not in STREAM_KEYS or not _plain_label(value)}
    for prefix, attributes in (("", rest), ("", record.scope.attributes), *own):
        yield from (pair for pair in _flat(attributes, prefix) if pair[1])
    yield from (pair for pair in _fields(record) if pair[1])


def _flat(attributes: Attributes, prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in attributes.items():
        name = label_of(f"{prefix}_{key}" if prefix else key)
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        elif name:
            yield name, text_of(value)


def _fields(record: LogRecord) -> Iterator[tuple[str, str]]:
    yield "scope_name", record.scope.name
    yield "scope_version", record.scope.version
    for name, count in (
        ("scope_dropped_attributes_count", record.scope.dropped_attributes_count),
        ("observed_timestamp", record.observed_ns),
        ("severity_number", record.severity_number),
        ("dropped_attributes_count", record.dropped_attributes_count),
        ("flags", record.flags),
    ):
        yield name, str(count) if count else ""
    yield "severity_text", record.severity_text
    yield "trace_id", record.trace_id.hex()
    yield "span_id", record.span_id.hex()
    yield "event_name", record.event_name
