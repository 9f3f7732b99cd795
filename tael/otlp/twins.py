"""Twins of OTLP's messages: wire-compatible classes with some fields declared as bytes, which parsing neither descends into nor checks.

In every twin the items of an export request are bytes. In a loose twin, texts and the containers of AnyValue are bytes too.
"""

from __future__ import annotations

from functools import cache

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2
from opentelemetry.proto.logs.v1.logs_pb2 import ScopeLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import ScopeMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans

_Field = descriptor_pb2.FieldDescriptorProto
_FILES: tuple[FileDescriptor, ...] = (trace_service_pb2.DESCRIPTOR, logs_service_pb2.DESCRIPTOR, metrics_service_pb2.DESCRIPTOR)
_ITEMS_NUMBER = 2
_ITEMS = {kind.DESCRIPTOR.fields_by_number[_ITEMS_NUMBER].full_name for kind in (ScopeSpans, ScopeLogs, ScopeMetrics)}
_ANY = common_pb2.AnyValue.DESCRIPTOR.full_name
CONTAINERS = {
    f"{_ANY}.array_value": common_pb2.ArrayValue.DESCRIPTOR.full_name,
    f"{_ANY}.kvlist_value": common_pb2.KeyValueList.DESCRIPTOR.full_name,
}
"""AnyValue's nesting fields and their message types, by full names."""


@cache
def opened(full_name: str) -> type[Message]:
    """The strict twin of a message, with items as bytes."""
    return message_factory.GetMessageClass(_pool(loose=False).FindMessageTypeByName(full_name))


@cache
def loose(full_name: str) -> type[Message]:
    """The loose twin of a message."""
    return message_factory.GetMessageClass(_pool(loose=True).FindMessageTypeByName(full_name))


@cache
def texts() -> frozenset[str]:
    """The full names of all text fields."""
    found: set[str] = set()
    files = list(_FILES)
    while files:
        file = files.pop()
        files += file.dependencies
        for message in _proto(file).message_type:
            _loosen(message, f"{file.package}.{message.name}", found)
    return frozenset(found)


@cache
def _pool(*, loose: bool) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in _FILES:
        _add(pool, file, loose=loose)
    return pool


def _add(pool: descriptor_pool.DescriptorPool, file: FileDescriptor, *, loose: bool) -> None:
    for dependency in file.dependencies:
        _add(pool, dependency, loose=loose)
    proto = _proto(file)
    del proto.service[:]
    for message in proto.message_type:
        name = f"{proto.package}.{message.name}"
        for field in message.field:
            if f"{name}.{field.name}" in _ITEMS:
                _as_bytes(field)
        if loose:
            _loosen(message, name, set())
    pool.AddSerializedFile(proto.SerializeToString())


def _proto(file: FileDescriptor) -> descriptor_pb2.FileDescriptorProto:
    # Text, bytes and messages are all length-delimited on the wire, so only the descriptor has to change.
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    return proto


def _loosen(message: descriptor_pb2.DescriptorProto, full_name: str, texts: set[str]) -> None:
    """Declare text fields and AnyValue's containers as bytes, and add the names of the text fields to ``texts``."""
    for field in message.field:
        name = f"{full_name}.{field.name}"
        if field.type == _Field.TYPE_STRING:
            texts.add(name)
            _as_bytes(field)
        elif name in CONTAINERS:
            _as_bytes(field)
    for inner in message.nested_type:
        _loosen(inner, f"{full_name}.{inner.name}", texts)


def _as_bytes(field: descriptor_pb2.FieldDescriptorProto) -> None:
    field.type = _Field.TYPE_BYTES
    field.ClearField("type_name")
