"""A second chance for a request that the strict parse refuses: text that is not UTF-8 is replaced, nesting beyond what protobuf takes is cut.

One broken string must not cost a batch (the protocol lets a receiver change it, a client that is refused drops everything). What the strict
parse refuses is parsed again by loose twins (tael.otlp.twins); only the resources, scopes and items that are broken are walked. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from tael.errors import Rejected
from tael.otlp.twins import CONTAINERS, loose, texts

MAX_DEPTH = 30
"""Arrays and maps within each other; whatever holds them, so many are within the 100 levels of messages that protobuf takes."""
MAX_REPAIR_BYTES = 2 << 20
"""Bytes of broken items in a request that are walked: about half a second."""
_CUT_TEXT = f"(nested deeper than {MAX_DEPTH} levels)".encode()


@dataclass(slots=True)
class _Repair:
    """What was changed so far, and the bytes that may still be walked."""

    texts: int = 0
    cut: int = 0
    left_bytes: int = MAX_REPAIR_BYTES

    def take(self, size_bytes: int) -> None:
        """Walk so many bytes. Raises Rejected when they are too many."""
        self.left_bytes -= size_bytes
        if self.left_bytes < 0:
            raise Rejected(
                f"more than {MAX_REPAIR_BYTES} bytes of it are in items with text that is not UTF-8 or with nesting that is too deep",
                where="body",
                accepted="OTLP protobuf",
            )

    def warnings(self) -> tuple[str, ...]:
        said = []
        if self.texts:
            said.append(f"{self.texts} texts are not UTF-8, their invalid bytes were replaced by U+FFFD")
        if self.cut:
            said.append(f"{self.cut} values nested deeper than {MAX_DEPTH} levels were cut")
        return tuple(said)


def repair(kind: type[Message], item: type[Message], request: bytes) -> tuple[bytes, tuple[str, ...]] | None:
    """The request as the strict parse takes it, and what was changed; None when it is broken in another way.

    ``kind`` is the class of an export request and ``item`` that of its items. Raises Rejected when more is broken than is worth the time.
    """
    done = _Repair()
    try:
        twin = loose(kind.DESCRIPTOR.full_name).FromString(request)
        for group in _held(twin, 1):
            _fix_frame(group, done)
            for scoped in _held(group, 2):
                _fix_frame(scoped, done)
                items = _held(scoped, 2)
                for at, raw in enumerate(items):
                    if (fixed := _repaired(raw, item, done)) is not raw:
                        items[at] = fixed
    except DecodeError:
        return None
    return (twin.SerializeToString(), done.warnings()) if done.texts or done.cut else None


def _fix_frame(frame: Any, done: _Repair) -> None:
    """Fix the resource or scope of a group, and its own text."""
    frame.schema_url = _text(frame.schema_url, done)
    field = frame.DESCRIPTOR.fields_by_number[1]
    if frame.HasField(field.name):
        owner = getattr(frame, field.name)
        if not _is_fine(owner):
            done.take(owner.ByteSize())
            _fix(owner, done, 0)


def _repaired(raw: bytes, kind: type[Message], done: _Repair) -> bytes:
    """One item as the strict parse takes it; the same object when it does already. Raises DecodeError when it is broken in another way."""
    try:
        kind.FromString(raw)
    except DecodeError:
        done.take(len(raw))
        twin = loose(kind.DESCRIPTOR.full_name).FromString(raw)
        _fix(twin, done, 0)
        fixed = twin.SerializeToString()
        # Raises where something else is broken as well.
        kind.FromString(fixed)
        return fixed
    return raw


def _held(message: Any, number: int) -> Any:
    return getattr(message, message.DESCRIPTOR.fields_by_number[number].name)


def _is_fine(part: Any) -> bool:
    try:
        message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(part.DESCRIPTOR.full_name)).FromString(
            part.SerializeToString()
        )
    except DecodeError:
        return False
    return True


def _fix(message: Any, done: _Repair, depth: int) -> None:
    for field, value in message.ListFields():
        if field.full_name in CONTAINERS:
            _fix_container(message, field, value, done, depth)
        elif field.full_name in texts():
            if field.is_repeated:
                value[:] = [_text(item, done) for item in value]
            elif (fixed := _text(value, done)) is not value:
                setattr(message, field.name, fixed)
        elif field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                _fix(inner, done, depth)


def _fix_container(message: Any, field: Any, value: bytes, done: _Repair, depth: int) -> None:
    if depth == MAX_DEPTH:
        message.string_value = _CUT_TEXT
        done.cut += 1
        return
    inner = loose(CONTAINERS[field.full_name]).FromString(value)
    _fix(inner, done, depth + 1)
    setattr(message, field.name, inner.SerializeToString())


def _text(value: bytes, done: _Repair) -> bytes:
    try:
        value.decode()
    except UnicodeDecodeError:
        done.texts += 1
        return value.decode(errors="replace").encode()
    return value
