"""proto/metrics.proto as ClickHouse decodes it: the messages of the landing tables, derived from the descriptors.

Deltas are left out: the writer adds them up, and ClickHouse skips fields that are not in its schema.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from tael.pb.metrics_pb2 import MetricBatch, TotalBatch
from tael.storage.clickhouse.wire import Field, Message

LANDING_TABLE = "metrics_in_1"
TOTALS_LANDING_TABLE = "totals_in_1"
_DELTAS = MetricBatch.DESCRIPTOR.fields_by_name["deltas"].number
_TYPES = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_FIXED32: "fixed32",
    FieldDescriptor.TYPE_FIXED64: "fixed64",
    FieldDescriptor.TYPE_SFIXED64: "sfixed64",
    FieldDescriptor.TYPE_SINT32: "sint32",
    FieldDescriptor.TYPE_UINT32: "uint32",
}


def message_of(descriptor: Any, *, without: int = 0) -> Message:
    """The message of a protobuf descriptor, without the field number ``without``."""
    return Message(descriptor.name, tuple(_field(field) for field in descriptor.fields if field.number != without))


def _field(field: Any) -> Field:
    kind = message_of(field.message_type) if field.message_type is not None else _TYPES[field.type]
    return Field(field.number, field.name, kind, field.is_repeated)


METRIC_BATCH = message_of(MetricBatch.DESCRIPTOR, without=_DELTAS)
TOTAL_BATCH = message_of(TotalBatch.DESCRIPTOR)
