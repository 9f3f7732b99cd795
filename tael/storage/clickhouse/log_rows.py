"""Converts a row of ``logs`` to a LogRecord, pure, like rows.py."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.proto.common.v1.common_pb2 import ArrayValue, KeyValueList

from tael.model.attributes import AttributeValue
from tael.model.log import LogRecord
from tael.otlp.anyvalue import decode_array, decode_attributes
from tael.storage.clickhouse import rows
from tael.storage.clickhouse.rows import MAPS, RESOURCE_COLUMNS, SCOPE_COLUMNS, Row, text

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
"""The columns of a row, in the order in which ``log_record`` reads them."""


def log_record(row: Row) -> LogRecord:
    """The record of a row selected with ``COLUMNS``."""
    value = iter(row)
    return LogRecord(
        timestamp_ns=int(next(value)) & _UINT64,
        serial=int(next(value)),
        observed_ns=int(next(value)) & _UINT64,
        trace_id=_id(next(value)),
        span_id=_id(next(value)),
        severity_number=int(next(value)),
        severity_text=text(next(value)),
        level=int(next(value)),
        event_name=text(next(value)),
        body=_BODIES[next(value)](bytes(next(value))),
        attributes=rows.attributes(value, len(MAPS)),
        dropped_attributes_count=next(value),
        flags=next(value),
        resource=rows.resource(value),
        scope=rows.scope(value),
    )


def _id(value: bytes) -> bytes:
    return bytes(value) if any(value) else b""


_BODIES: dict[int, Callable[[bytes], AttributeValue]] = {
    0: lambda _: None,
    1: text,
    2: lambda held: held == b"true",
    3: int,
    4: float,
    5: lambda held: decode_array(ArrayValue.FromString(held)),
    6: lambda held: decode_attributes(KeyValueList.FromString(held).values),
    7: bytes,
}
"""The decoder of a body, by its ``body_type``."""
