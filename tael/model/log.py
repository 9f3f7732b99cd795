"""A log record as it was received, with its resource, scope and detected level."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tael.model.attributes import Attributes, AttributeValue
from tael.model.series import Labels
from tael.model.span import Resource, Scope, service_of
from tael.model.streams import PUSHED_SCOPE, stream_labels

LEVELS = ("unspecified", "trace", "debug", "info", "warn", "error", "fatal")
"""From the least to the most severe; a record's ``level`` is an index into it."""
SEVERITIES_PER_LEVEL, MAX_SEVERITY = 4, 24

LEVEL_WORDS = {
    "trace": 1,
    "verbose": 1,
    "debug": 2,
    "dbg": 2,
    "info": 3,
    "information": 3,
    "informational": 3,
    "notice": 3,
    "warn": 4,
    "warning": 4,
    "error": 5,
    "err": 5,
    "fatal": 6,
    "critical": 6,
    "crit": 6,
    "alert": 6,
    "emerg": 6,
    "emergency": 6,
    "panic": 6,
}
"""The words that name a level, in lower case."""
LEVEL_KEYS = ("level", "severity", "lvl")
"""Attributes that may hold such a word, in order of precedence."""
LEVEL_BODY_BYTES = 64
"""How many bytes of a body are searched for such a word."""

_IN_BODY = re.compile(rb"\b(" + "|".join(sorted(LEVEL_WORDS, key=len, reverse=True)).encode() + rb")\b", re.IGNORECASE)

LineFact: TypeAlias = Literal["line", "labels", "level", "no level"]
"""Facts about a record's line (tael.logql.records) that may be known without reading it. ``line``: the line is the stored body; ``labels``:
no metadata stands in for a label that its stream lacks; ``level``: the level that it is shown with; ``no level``: no metadata is named like
a level."""


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One log record. Times are ns since the epoch; ids are empty where the record belongs to no trace or no span.

    ``timestamp_ns`` is the time of the event, or else of its observation, or else of its arrival; ``observed_ns`` is as received, 0 where
    unset. ``severity_number`` keeps OTLP's number, even an unknown one. ``serial`` distinguishes records with the same timestamp; the hot
    tier assigns it, it is not part of the received record.
    """

    timestamp_ns: int
    observed_ns: int
    resource: Resource
    scope: Scope
    body: AttributeValue = None
    trace_id: bytes = b""
    span_id: bytes = b""
    severity_number: int = 0
    severity_text: str = ""
    event_name: str = ""
    attributes: Attributes = field(default_factory=dict)
    dropped_attributes_count: int = 0
    flags: int = 0
    level: int = 0
    serial: int = field(default=0, compare=False)

    @property
    def service(self) -> str:
        """The resource's ``service.name``, or ``unknown_service``."""
        return service_of(self.resource)

    @property
    def stream(self) -> Labels:
        """The labels of the stream that the record belongs to."""
        return stream_labels(self.resource.attributes, pushed=self.scope.name == PUSHED_SCOPE)


def level_of_severity(severity_number: int) -> int:
    """The level of OTLP's severity number; 0 for one that has none (opentelemetry data model for logs, "Severity Fields")."""
    return (severity_number - 1) // SEVERITIES_PER_LEVEL + 1 if 1 <= severity_number <= MAX_SEVERITY else 0


def detect_level(severity_number: int, severity_text: str, attributes: Attributes, body: AttributeValue) -> int:
    """The level of a record: from its severity number, else its text, else an attribute, else the first level word near the start of its
    body.

    docs/formats.md states the rule; ClickHouse computes the same level when a record is inserted (tael/storage/clickhouse/flatten_logs.py).
    """
    level = level_of_severity(severity_number) or LEVEL_WORDS.get(severity_text.lower(), 0)
    if level:
        return level
    for key in LEVEL_KEYS:
        value = attributes.get(key)
        if isinstance(value, str) and value.lower() in LEVEL_WORDS:
            return LEVEL_WORDS[value.lower()]
    found = _IN_BODY.search(body.encode()[:LEVEL_BODY_BYTES]) if isinstance(body, str) else None
    return LEVEL_WORDS[found[1].decode().lower()] if found else 0
