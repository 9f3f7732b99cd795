"""OTLP's trace and log messages as ClickHouse decodes them: the column type of the landing table, and the protobuf schema for the insert.

Both are generated from one tree, so they cannot disagree. ``array_value`` and ``kvlist_value`` are declared as bytes (the same on the
wire): nesting ends there, the cost of an insert does not grow with the depth, and ``tael.otlp.anyvalue`` decodes them when they are read.
ClickHouse skips fields that the tree does not have. The fields are those of trace.proto and logs.proto in opentelemetry/proto.
"""

from __future__ import annotations

from dataclasses import dataclass

_COLUMN_TYPES = {
    "string": "String",
    "bytes": "String",
    "bool": "Bool",
    "int32": "Int32",
    "int64": "Int64",
    "uint32": "UInt32",
    "double": "Float64",
    "fixed32": "UInt32",
    "fixed64": "UInt64",
    "sfixed64": "Int64",
    "sint32": "Int32",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A protobuf message. If ``oneof`` is not empty, all fields are members of the oneof with that name."""

    name: str
    fields: tuple[Field, ...]
    oneof: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its number, its name, and a scalar type's name or a message."""

    number: int
    name: str
    type: str | Message
    repeated: bool = False


ANY_VALUE = Message(
    "AnyValue",
    (
        Field(1, "string_value", "string"),
        Field(2, "bool_value", "bool"),
        Field(3, "int_value", "int64"),
        Field(4, "double_value", "double"),
        Field(5, "array_value", "bytes"),
        Field(6, "kvlist_value", "bytes"),
        Field(7, "bytes_value", "bytes"),
    ),
    oneof="value",
)
KEY_VALUE = Message("KeyValue", (Field(1, "key", "string"), Field(2, "value", ANY_VALUE)))
RESOURCE = Message("Resource", (Field(1, "attributes", KEY_VALUE, repeated=True), Field(2, "dropped_attributes_count", "uint32")))
SCOPE = Message(
    "InstrumentationScope",
    (
        Field(1, "name", "string"),
        Field(2, "version", "string"),
        Field(3, "attributes", KEY_VALUE, repeated=True),
        Field(4, "dropped_attributes_count", "uint32"),
    ),
)
EVENT = Message(
    "Event",
    (
        Field(1, "time_unix_nano", "fixed64"),
        Field(2, "name", "string"),
        Field(3, "attributes", KEY_VALUE, repeated=True),
        Field(4, "dropped_attributes_count", "uint32"),
    ),
)
LINK = Message(
    "Link",
    (
        Field(1, "trace_id", "bytes"),
        Field(2, "span_id", "bytes"),
        Field(3, "trace_state", "string"),
        Field(4, "attributes", KEY_VALUE, repeated=True),
        Field(5, "dropped_attributes_count", "uint32"),
        Field(6, "flags", "fixed32"),
    ),
)
STATUS = Message("Status", (Field(2, "message", "string"), Field(3, "code", "int32")))
SPAN = Message(
    "Span",
    (
        Field(1, "trace_id", "bytes"),
        Field(2, "span_id", "bytes"),
        Field(3, "trace_state", "string"),
        Field(4, "parent_span_id", "bytes"),
        Field(5, "name", "string"),
        Field(6, "kind", "int32"),
        Field(7, "start_time_unix_nano", "fixed64"),
        Field(8, "end_time_unix_nano", "fixed64"),
        Field(9, "attributes", KEY_VALUE, repeated=True),
        Field(10, "dropped_attributes_count", "uint32"),
        Field(11, "events", EVENT, repeated=True),
        Field(12, "dropped_events_count", "uint32"),
        Field(13, "links", LINK, repeated=True),
        Field(14, "dropped_links_count", "uint32"),
        Field(15, "status", STATUS),
        Field(16, "flags", "fixed32"),
    ),
)
SCOPE_SPANS = Message("ScopeSpans", (Field(1, "scope", SCOPE), Field(2, "spans", SPAN, repeated=True), Field(3, "schema_url", "string")))
RESOURCE_SPANS = Message(
    "ResourceSpans",
    (Field(1, "resource", RESOURCE), Field(2, "scope_spans", SCOPE_SPANS, repeated=True), Field(3, "schema_url", "string")),
)
TRACE_REQUEST = Message("ExportTraceServiceRequest", (Field(1, "resource_spans", RESOURCE_SPANS, repeated=True),))
LOG_RECORD = Message(
    "LogRecord",
    (
        Field(1, "time_unix_nano", "fixed64"),
        Field(2, "severity_number", "int32"),
        Field(3, "severity_text", "string"),
        Field(5, "body", ANY_VALUE),
        Field(6, "attributes", KEY_VALUE, repeated=True),
        Field(7, "dropped_attributes_count", "uint32"),
        Field(8, "flags", "fixed32"),
        Field(9, "trace_id", "bytes"),
        Field(10, "span_id", "bytes"),
        Field(11, "observed_time_unix_nano", "fixed64"),
        Field(12, "event_name", "string"),
    ),
)
SCOPE_LOGS = Message(
    "ScopeLogs", (Field(1, "scope", SCOPE), Field(2, "log_records", LOG_RECORD, repeated=True), Field(3, "schema_url", "string"))
)
RESOURCE_LOGS = Message(
    "ResourceLogs",
    (Field(1, "resource", RESOURCE), Field(2, "scope_logs", SCOPE_LOGS, repeated=True), Field(3, "schema_url", "string")),
)
LOGS_REQUEST = Message("ExportLogsServiceRequest", (Field(1, "resource_logs", RESOURCE_LOGS, repeated=True),))
BATCH_MESSAGE = "WalBatch"


def wal_batch(request: Message) -> Message:
    """proto/wal.proto's ``WalBatch`` with the record's request spelled out."""
    record = Message("WalRecord", (Field(1, "tenant", "string"), Field(2, "received_at", "fixed64"), Field(3, "request", request)))
    return Message(BATCH_MESSAGE, (Field(1, "records", record, repeated=True),))


def landing_columns(batch: Message) -> str:
    """The column list of the Null table that receives ``batch``, with one column for each field."""
    return ", ".join(f"{field.name} {_field_type(field)}" for field in batch.fields)


def format_schema(batch: Message) -> str:
    """The ``.proto`` text with which ClickHouse's ProtobufSingle format reads ``batch``."""
    return 'syntax = "proto3";\n' + "\n".join(_declarations(batch, set())) + "\n"


def _field_type(field: Field) -> str:
    inner = _tuple_type(field.type) if isinstance(field.type, Message) else _COLUMN_TYPES[field.type]
    return f"Array({inner})" if field.repeated else inner


def _tuple_type(message: Message) -> str:
    members = [f"{field.name} {_field_type(field)}" for field in message.fields]
    if message.oneof:
        tags = ", ".join(f"'{field.name}' = {field.number}" for field in message.fields)
        # ClickHouse writes into the column with the oneof's name which member was set, or 0.
        members.insert(0, f"{message.oneof} Enum8('unset' = 0, {tags})")
    return f"Tuple({', '.join(members)})"


def _declarations(message: Message, done: set[str]) -> list[str]:
    lines: list[str] = []
    for field in message.fields:
        if isinstance(field.type, Message) and field.type.name not in done:
            lines += _declarations(field.type, done)
    done.add(message.name)
    body = " ".join(_field_declaration(field) for field in message.fields)
    if message.oneof:
        body = f"oneof {message.oneof} {{ {body} }}"
    return [*lines, f"message {message.name} {{ {body} }}"]


def _field_declaration(field: Field) -> str:
    kind = field.type.name if isinstance(field.type, Message) else field.type
    return f"{'repeated ' if field.repeated else ''}{kind} {field.name} = {field.number};"
