"""Converts rows of ``logs`` to LogRecords, pure, like rows.py."""

from __future__ import annotations

import marshal
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import ArrayValue, KeyValueList

from tael.model.attributes import AttributeValue
from tael.model.log import LogRecord
from tael.model.span import Resource, Scope
from tael.otlp.anyvalue import decode_array, decode_attributes
from tael.storage.clickhouse import rows
from tael.storage.clickhouse.rows import MAPS, RESOURCE_COLUMNS, SCOPE_COLUMNS, Row, other_value, text

_UINT64 = (1 << 64) - 1
COLUMNS = (
    "toUnixTimestamp64Nano(timestamp) AS time_ns",
    "serial",
    "toUnixTimestamp64Nano(observed_timestamp) AS observed_ns",
    "trace_id",
    "span_id",
    "severity_number",
    "severity_text",
    "toInt8(level) AS level_number",
    "event_name",
    "toInt8(body_type) AS body_type_number",
    "body",
    *(f"attributes_{name}" for name in MAPS),
    "dropped_attributes_count",
    "flags",
    *RESOURCE_COLUMNS,
    *SCOPE_COLUMNS,
)
"""The columns of a row, in the order in which ``log_records`` reads them."""
_OF_RECORD: Final = len(COLUMNS) - len(RESOURCE_COLUMNS) - len(SCOPE_COLUMNS)


def log_records(found: Sequence[Row]) -> list[LogRecord]:
    """The records of rows selected with ``COLUMNS``. Those of one resource and scope share them."""
    keys, origins = _Texts(), _Origins()
    return [_record(row[:_OF_RECORD], keys, *origins.of(row[_OF_RECORD:])) for row in found]


class _Origins:
    """Resources and scopes, decoded once for the rows of a page, which have few. Nothing is kept beyond the page: one resource may be
    megabytes.
    """

    def __init__(self) -> None:
        self._decoded: dict[bytes, tuple[Resource, Scope]] = {}

    def of(self, row: Row) -> tuple[Resource, Scope]:
        """The resource and the scope of these columns."""
        # Bytes distinguish what equality does not, such as 0.0 and -0.0. Version 2, because later ones depend on identities.
        key = marshal.dumps(tuple(row), 2)
        known = self._decoded.get(key)
        if known is None:
            value = iter(row)
            known = self._decoded[key] = (rows.resource(value), rows.scope(value))
        return known


def _record(row: Row, keys: Mapping[bytes, str], resource: Resource, scope: Scope) -> LogRecord:
    time_ns, serial, observed_ns, trace_id, span_id, number, severity, level, event, kind, body, *maps, dropped, flags = row
    strings, ints, doubles, bools, others = maps
    attributes: dict[str, AttributeValue] = {keys[key]: item.decode("utf-8", "replace") for key, item in strings.items()}
    for typed in (ints, doubles, bools):
        if typed:
            attributes.update({keys[key]: item for key, item in typed.items()})
    if others:
        attributes.update({keys[key]: other_value(text(item)) for key, item in others.items()})
    return LogRecord(
        timestamp_ns=time_ns & _UINT64,
        serial=serial,
        observed_ns=observed_ns & _UINT64,
        trace_id=_id(trace_id),
        span_id=_id(span_id),
        severity_number=number,
        severity_text=keys[severity],
        level=level,
        event_name=keys[event],
        body=text(body) if kind == _TEXT else decoded_body(kind, bytes(body)),
        attributes=attributes,
        dropped_attributes_count=dropped,
        flags=flags,
        resource=resource,
        scope=scope,
    )


class _Texts(dict[bytes, str]):
    """Texts that many rows have, decoded once."""

    def __missing__(self, value: bytes) -> str:
        self[value] = decoded = text(value)
        return decoded


def _id(value: bytes) -> bytes:
    return value if value.strip(b"\0") else b""


_TEXT: Final = 1
_BODIES: dict[int, Callable[[bytes], AttributeValue]] = {
    0: lambda _: None,
    _TEXT: text,
    2: lambda held: held == b"true",
    3: int,
    4: float,
    5: lambda held: decode_array(ArrayValue.FromString(held)),
    6: lambda held: decode_attributes(KeyValueList.FromString(held).values),
    7: bytes,
}
"""The decoder of a body, by its ``body_type``."""


def decoded_body(kind: int, body: bytes) -> AttributeValue:
    """The body of a row with this ``body_type``."""
    return _BODIES[kind](body)
