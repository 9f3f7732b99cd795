"""A second chance for a request that the strict parse refuses: text that is not UTF-8 is replaced, nesting beyond what protobuf takes is cut.

One broken string must not cost a batch (the protocol lets a receiver change it, a client that is refused drops everything). The request is
parsed again by twins of OTLP's messages, in which text and the containers of AnyValue are bytes, so that the parse neither checks text nor
descends; only the items that the strict parse refuses are walked. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.common.v1 import common_pb2

from tael.errors import Rejected

MAX_DEPTH = 30
"""Arrays and maps within each other; whatever holds them, so many are within the 100 levels of messages that protobuf takes."""
MAX_REPAIR_BYTES = 2 << 20
"""Bytes of broken items in a request that are walked: about half a second."""
_CUT_TEXT = f"(nested deeper than {MAX_DEPTH} levels)".encode()
_Field = descriptor_pb2.FieldDescriptorProto
_ANY = common_pb2.AnyValue.DESCRIPTOR.full_name
_CONTAINERS = {
    f"{_ANY}.array_value": common_pb2.ArrayValue.DESCRIPTOR.full_name,
    f"{_ANY}.kvlist_value": common_pb2.KeyValueList.DESCRIPTOR.full_name,
}


@dataclass(slots=True)
class _Repair:
    """What was changed so far, and the bytes that may still be walked."""

    texts: int = 0
    cut: int = 0
    left_bytes: int = MAX_REPAIR_BYTES

    def warnings(self) -> tuple[str, ...]:
        said = []
        if self.texts:
            said.append(f"{self.texts} texts are not UTF-8, what is not was replaced by U+FFFD")
        if self.cut:
            said.append(f"{self.cut} values nested deeper than {MAX_DEPTH} levels were cut")
        return tuple(said)


def repair(kind: type[Message], request: bytes) -> tuple[bytes, tuple[str, ...]] | None:
    """The request as the strict parse takes it, and what was changed; None when it is broken in another way.

    ``kind`` is the class of an export request. Raises Rejected when more is broken than is worth the time.
    """
    done = _Repair()
    try:
        twin = _twin(kind.DESCRIPTOR.full_name).FromString(request)
        for part, inside in _parts(twin):
            if not inside or not _is_fine(part):
                _take(done, part)
                _fix(part, done, 0, inside=inside)
        repaired = twin.SerializeToString()
        kind.FromString(repaired)
    except DecodeError:
        return None
    return (repaired, done.warnings()) if done.texts or done.cut else None


def _parts(request: Any) -> Iterator[tuple[Any, bool]]:
    """Every resource, scope and item, and the messages between, of which only their own fields are meant (False)."""
    for group in _held(request, 1):
        yield group, False
        for part in _held(group, 1):
            yield part, True
        for scoped in _held(group, 2):
            yield scoped, False
            for part in (*_held(scoped, 1), *_held(scoped, 2)):
                yield part, True


def _held(message: Any, number: int) -> Iterable[Any]:
    field = message.DESCRIPTOR.fields_by_number[number]
    if field.is_repeated:
        return getattr(message, field.name)  # type: ignore[no-any-return]  # messages of classes made at run time
    return (getattr(message, field.name),) if message.HasField(field.name) else ()


def _is_fine(part: Any) -> bool:
    try:
        message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(part.DESCRIPTOR.full_name)).FromString(
            part.SerializeToString()
        )
    except DecodeError:
        return False
    return True


def _take(done: _Repair, part: Any) -> None:
    done.left_bytes -= part.ByteSize() if part.DESCRIPTOR.name not in _BETWEEN else 0
    if done.left_bytes < 0:
        raise Rejected(
            f"more than {MAX_REPAIR_BYTES} bytes of it are in items with text that is not UTF-8 or with nesting that is too deep",
            where="body",
            accepted="OTLP protobuf",
        )


_BETWEEN = {f"{level}{signal}" for level in ("Resource", "Scope") for signal in ("Spans", "Logs", "Metrics")}


def _fix(message: Any, done: _Repair, depth: int, *, inside: bool = True) -> None:
    for field, value in message.ListFields():
        if field.full_name in _CONTAINERS:
            _fix_container(message, field, value, done, depth)
        elif field.full_name in _texts():
            if field.is_repeated:
                value[:] = [_text(item, done) for item in value]
            elif (fixed := _text(value, done)) is not value:
                setattr(message, field.name, fixed)
        elif inside and field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                _fix(inner, done, depth)


def _fix_container(message: Any, field: Any, value: bytes, done: _Repair, depth: int) -> None:
    if depth == MAX_DEPTH:
        message.string_value = _CUT_TEXT
        done.cut += 1
        return
    inner = _twin(_CONTAINERS[field.full_name]).FromString(value)
    _fix(inner, done, depth + 1)
    setattr(message, field.name, inner.SerializeToString())


def _text(value: bytes, done: _Repair) -> bytes:
    try:
        value.decode()
    except UnicodeDecodeError:
        done.texts += 1
        return value.decode(errors="replace").encode()
    return value


@cache
def _twin(full_name: str) -> type[Message]:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(full_name))


@cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for service in (trace_service_pb2, logs_service_pb2, metrics_service_pb2):
        _add(pool, service.DESCRIPTOR)
    return pool


def _add(pool: descriptor_pool.DescriptorPool, file: FileDescriptor) -> None:
    for dependency in file.dependencies:
        _add(pool, dependency)
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    del proto.service[:]
    for message in proto.message_type:
        _loosen(message, f"{proto.package}.{message.name}", set())
    pool.AddSerializedFile(proto.SerializeToString())


def _loosen(message: descriptor_pb2.DescriptorProto, full_name: str, texts: set[str]) -> set[str]:
    """Declare text and AnyValue's containers as bytes, which they are on the wire; adds the names of the texts to ``texts``."""
    for field in message.field:
        name = f"{full_name}.{field.name}"
        if field.type == _Field.TYPE_STRING:
            texts.add(name)
            field.type = _Field.TYPE_BYTES
        elif name in _CONTAINERS:
            field.type = _Field.TYPE_BYTES
            field.ClearField("type_name")
    for inner in message.nested_type:
        _loosen(inner, f"{full_name}.{inner.name}", texts)
    return texts


@cache
def _texts() -> frozenset[str]:
    """Full names of all fields that hold text."""
    texts: set[str] = set()
    files: list[FileDescriptor] = [service.DESCRIPTOR for service in (trace_service_pb2, logs_service_pb2, metrics_service_pb2)]
    while files:
        file = files.pop()
        files += file.dependencies
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        for message in proto.message_type:
            _loosen(message, f"{proto.package}.{message.name}", texts)
    return frozenset(texts)
