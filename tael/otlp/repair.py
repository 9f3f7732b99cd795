"""Repairs a request that the strict parse refuses: replaces invalid UTF-8, and cuts nesting that is too deep for protobuf.

One broken string must not cost a batch: the protocol lets a receiver change it, whereas a client that is refused drops the whole batch. The
request is parsed again by loose twins (tael.otlp.twins), and only broken resources, scopes and items are walked. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from tael.errors import Rejected
from tael.otlp.twins import CONTAINERS, loose, texts

MAX_DEPTH = 30
"""The maximum nesting of arrays and maps, which wherever they occur keeps within the 100 levels of messages that protobuf allows."""
MAX_REPAIR_BYTES = 2 << 20
"""The maximum size of the broken items of a request that are walked, which takes about half a second."""
_CUT_TEXT = f"(nested deeper than {MAX_DEPTH} levels)".encode()


@dataclass(slots=True)
class _Repair:
    """The number of changes so far, and the bytes that may still be walked."""

    texts: int = 0
    cut: int = 0
    left_bytes: int = MAX_REPAIR_BYTES

    def take(self, size_bytes: int) -> None:
        """Count ``size_bytes`` as walked. Raises Rejected when the limit is exceeded."""
        self.left_bytes -= size_bytes
        if self.left_bytes < 0:
            raise Rejected(
                f"more than {MAX_REPAIR_BYTES} bytes of it are in items with text that is not UTF-8 or with nesting that is too deep",
                where="body",
                accepted="OTLP protobuf",
            )

    def warnings(self) -> tuple[str, ...]:
        warnings = []
        if self.texts:
            warnings.append(f"{self.texts} texts are not UTF-8, their invalid bytes were replaced by U+FFFD")
        if self.cut:
            warnings.append(f"{self.cut} values nested deeper than {MAX_DEPTH} levels were cut")
        return tuple(warnings)


def repair(kind: type[Message], item: type[Message], request: bytes) -> tuple[bytes, tuple[str, ...]] | None:
    """The repaired request, which the strict parse accepts, and what was changed; None when it is broken in another way.

    ``kind`` is the class of the export request, ``item`` that of its items. Raises Rejected when more than MAX_REPAIR_BYTES are broken.
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
    """Fix a group's resource or scope, and its schema URL."""
    frame.schema_url = _text(frame.schema_url, done)
    field = frame.DESCRIPTOR.fields_by_number[1]
    if frame.HasField(field.name):
        owner = getattr(frame, field.name)
        if not _is_fine(owner):
            done.take(owner.ByteSize())
            _fix(owner, done, 0)


def _repaired(raw: bytes, kind: type[Message], done: _Repair) -> bytes:
    """One item in a form that the strict parse accepts; the same object if it is valid. Raises DecodeError when it is broken in another
    way.
    """
    try:
        kind.FromString(raw)
    except DecodeError:
        done.take(len(raw))
        twin = loose(kind.DESCRIPTOR.full_name).FromString(raw)
        _fix(twin, done, 0)
        fixed = twin.SerializeToString()
        # Raises if something else is broken as well.
        kind.FromString(fixed)
        return fixed
    return raw


def _held(message: Any, number: int) -> Any:
    return getattr(message, message.DESCRIPTOR.fields_by_number[number].name)


def _is_fine(part: Any) -> bool:
    try:
        # The loose twin accepts anything; the strict class of the same name decides.
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
