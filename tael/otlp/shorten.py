"""An item that is larger than one entry of the WAL takes, made to fit: its heaviest texts are cut, and it says which. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf.message import Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

MARK: Final = "tael.shortened"
"""The attribute of an item whose texts were cut: for each the key it stands under and the bytes that it had."""
_SLACK_BYTES: Final = 4 << 10
_MAX_NAMED, _MAX_KEY = 16, 100


def shorten(item: Any, room_bytes: int) -> bool:
    """Cut the longest texts of a span or log record to one length, the greatest with which it has at most ``room_bytes``; whether that is enough."""
    texts = [(key, value, size) for key, value in _texts(item, "") if (size := _size(value))]
    excess = item.ByteSize() - (room_bytes - _SLACK_BYTES)
    kept = _kept([size for _, _, size in texts], excess)
    if kept is None:
        return False
    cut = [f"{key[:_MAX_KEY]}: {size} bytes" for key, value, size in texts if size > kept and _cut(value, kept)]
    mark = item.attributes.add(key=MARK).value.array_value
    for line in cut[:_MAX_NAMED]:
        mark.values.add(string_value=line)
    return bool(item.ByteSize() <= room_bytes)


def _kept(sizes: list[int], excess: int) -> int | None:
    """The length beyond which texts are cut, so that ``excess`` bytes go; None when there are not so many."""
    longest = [*sorted(sizes, reverse=True), 0]
    above = 0
    for count, size in enumerate(longest[:-1], 1):
        above += size
        kept = (above - excess) // count
        if kept >= longest[count]:
            return int(kept)
    return None


def _texts(message: Message, key: str) -> Iterator[tuple[str, AnyValue]]:
    """Every text and every bytes value, with the key of the attribute that it stands under."""
    key = getattr(message, "key", key)
    if isinstance(message, AnyValue) and message.WhichOneof("value") in ("string_value", "bytes_value"):
        yield key, message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                yield from _texts(inner, key or field.name)


def _size(value: AnyValue) -> int:
    return len(value.string_value.encode()) if value.WhichOneof("value") == "string_value" else len(value.bytes_value)


def _cut(value: AnyValue, size: int) -> bool:
    if value.WhichOneof("value") == "string_value":
        value.string_value = value.string_value.encode()[:size].decode(errors="ignore")
    else:
        value.bytes_value = value.bytes_value[:size]
    return True
