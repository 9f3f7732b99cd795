"""Converts between OTLP's JSON encoding and messages, by tables built from the messages' descriptors.

It is protobuf's JSON with the differences of the OTLP specification ("JSON Protobuf Encoding"): trace and span ids are hex, in upper or
lower case, other bytes base64; enums are integers only; keys are lowerCamelCase only, and unknown ones are ignored. 64-bit integers are
accepted as strings or numbers, and written as strings.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from tael.errors import Rejected
from tael.model.json_text import encodable
from tael.otlp.census import allowed, require_few_values, too_many

M = TypeVar("M", bound=Message)
Read: TypeAlias = "Callable[[Any, str, int], Any]"
Write: TypeAlias = "Callable[[Any], Any]"
_F = FieldDescriptor
_HEX_IDS = frozenset({"trace_id", "span_id", "parent_span_id"})
_MAX_DEPTH = 100
_CONTAINER_BYTES, _VALUE_BYTES = 240, 60
# Python parses integers in quadratic time, so a text of a megabyte must not get that far.
_INTEGER = re.compile(r"[+-]?\d{1,40}")
_INTEGER_BITS = {
    _F.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    _F.TYPE_SINT32: (-(1 << 31), (1 << 31) - 1),
    _F.TYPE_SFIXED32: (-(1 << 31), (1 << 31) - 1),
    _F.TYPE_UINT32: (0, (1 << 32) - 1),
    _F.TYPE_FIXED32: (0, (1 << 32) - 1),
    _F.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    _F.TYPE_SINT64: (-(1 << 63), (1 << 63) - 1),
    _F.TYPE_SFIXED64: (-(1 << 63), (1 << 63) - 1),
    _F.TYPE_UINT64: (0, (1 << 64) - 1),
    _F.TYPE_FIXED64: (0, (1 << 64) - 1),
}
_WIDE = frozenset({_F.TYPE_INT64, _F.TYPE_SINT64, _F.TYPE_SFIXED64, _F.TYPE_UINT64, _F.TYPE_FIXED64})
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def weigh_json(text: bytes, most_messages: int) -> int:
    """The approximate memory that the parsed text needs, judged by its punctuation. Raises TooLarge for more values than its
    size allows.
    """
    containers, commas = text.count(b"{") + text.count(b"["), text.count(b",")
    if containers > (limit := allowed(len(text), most_messages * 2)):
        raise too_many("objects and arrays", limit)
    require_few_values(commas, len(text), most_messages)
    return len(text) + containers * _CONTAINER_BYTES + commas * _VALUE_BYTES


def decode_json(kind: type[M], text: bytes) -> M:
    """The message of ``kind`` encoded in ``text``. Raises Rejected with the JSON path of the mistake."""
    return decode_request(kind, text)[0]


def decode_request(kind: type[M], text: bytes) -> tuple[M, tuple[str, ...]]:
    """The message, and warnings for the sender: fields under their protobuf name instead of their JSON name are ignored, like all unknown
    ones.
    """
    value = load_json(text)
    message = kind(**_read_message(_table(kind.DESCRIPTOR), value, "", 0))
    misspelt = [f"{key} (OTLP/JSON has {name})" for key, name in _misspelt(_table(kind.DESCRIPTOR), value)]
    return message, (f"ignored fields of unknown name: {', '.join(misspelt)}",) if misspelt else ()


def _misspelt(table: dict[str, _Reader], value: Any) -> Iterator[tuple[str, str]]:
    """Keys that are a field's protobuf name, with its JSON name; only the first object of each list is examined."""
    for key, item in value.items() if isinstance(value, dict) else ():
        reader = table.get(key)
        if reader is None:
            head, *rest = key.split("_")
            name = head + "".join(word[:1].upper() + word[1:] for word in rest)
            if name in table:
                yield key[:60], name
        elif reader.kind is not None:
            first = item[0] if isinstance(item, list) and item else item
            yield from _misspelt(_table(reader.kind), first)


def load_json(text: bytes) -> Any:
    """The value of a JSON text; a byte order mark is skipped, and invalid UTF-8 is replaced. Raises Rejected."""
    try:
        return json.loads(text.decode("utf-8-sig", "replace"), parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise Rejected(f"the body is not JSON: {error}", where="body") from error
    except RecursionError as error:
        raise _too_deep("body") from error
    except ValueError as error:
        raise Rejected(f"the body holds a number that is not JSON: {error}", where="body") from error


def encode_json(message: Message) -> dict[str, Any]:
    """A message as a value for ``json.dumps``; unset fields are left out."""
    table = _writers(message.DESCRIPTOR)
    out: dict[str, Any] = {}
    for field, value in message.ListFields():
        name, write, repeated = table[field.number]
        out[name] = [write(item) for item in value] if repeated else write(value)
    return out


def dump_json(message: Message) -> bytes:
    """A message as compact JSON text."""
    return json.dumps(encode_json(message), ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class _Reader:
    """One field: its Python name, the function that reads one value, whether it is repeated, and its message type, if any."""

    name: str
    read: Read
    repeated: bool
    kind: Descriptor | None


@cache
def _table(descriptor: Descriptor) -> dict[str, _Reader]:
    return {f.json_name: _Reader(f.name, _reader(f), f.is_repeated, f.message_type) for f in descriptor.fields}


@cache
def _writers(descriptor: Descriptor) -> dict[int, tuple[str, Write, bool]]:
    return {f.number: (f.json_name, _writer(f), f.is_repeated) for f in descriptor.fields}


def _reader(field: FieldDescriptor) -> Read:
    if field.type == _F.TYPE_MESSAGE:
        kind = field.message_type
        return lambda value, path, depth: _read_message(_table(kind), value, path, depth)
    if field.type == _F.TYPE_BYTES:
        return _read_hex if field.name in _HEX_IDS else _read_base64
    if field.type in _INTEGER_BITS:
        low, high = _INTEGER_BITS[field.type]
        return lambda value, path, _depth: _read_integer(value, path, low, high)
    return _SCALAR_READERS[field.type]


def _read_message(table: dict[str, _Reader], value: Any, path: str, depth: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(path, value, "an object")
    if depth > _MAX_DEPTH:
        raise _too_deep(path)
    out: dict[str, Any] = {}
    for key, item in value.items():
        reader = table.get(key)
        if reader is None or item is None:
            continue
        where = f"{path}.{key}" if path else key
        if reader.repeated:
            if not isinstance(item, list):
                raise _wrong(where, item, "an array")
            read = reader.read
            out[reader.name] = [read(element, f"{where}[{i}]", depth + 1) for i, element in enumerate(item)]
        else:
            out[reader.name] = reader.read(item, where, depth + 1)
    return out


def _read_hex(value: Any, path: str, _depth: int) -> bytes:
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return binascii.unhexlify(value)
    raise _wrong(path, value, "an id in hexadecimal")


def _read_base64(value: Any, path: str, _depth: int) -> bytes:
    # Like protobuf's own JSON parsers, accept the URL-safe alphabet too, and missing padding.
    if isinstance(value, str):
        text = value.rstrip("=").replace("-", "+").replace("_", "/")
        with_padding = text + "=" * (-len(text) % 4)
        with contextlib.suppress(ValueError):
            return base64.b64decode(with_padding, validate=True)
    raise _wrong(path, value, "base64")


def _read_enum(value: Any, path: str, _depth: int) -> int:
    if isinstance(value, str):
        raise _wrong(path, value, "an enum as an integer, never its name")
    return _read_integer(value, path, -(1 << 31), (1 << 31) - 1)


def _read_integer(value: Any, path: str, low: int, high: int) -> int:
    number: int | None = None
    if isinstance(value, str):
        number = int(value) if _INTEGER.fullmatch(value) else None
    elif isinstance(value, float):
        # 1e3 and 3.0 are integers in protobuf's JSON.
        number = int(value) if value.is_integer() else None
    elif isinstance(value, int) and not isinstance(value, bool):
        number = value
    if number is None or not low <= number <= high:
        raise _wrong(path, value, f"an integer from {low} to {high}")
    return number


def _read_double(value: Any, path: str, _depth: int) -> float:
    if isinstance(value, str):
        if value in _NOT_FINITE:
            return _NOT_FINITE[value]
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    elif isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            return float(value)
    raise _wrong(path, value, 'a number, "NaN", "Infinity" or "-Infinity"')


def _read_bool(value: Any, path: str, _depth: int) -> bool:
    if isinstance(value, bool):
        return value
    raise _wrong(path, value, "true or false")


def _read_string(value: Any, path: str, _depth: int) -> str:
    if not isinstance(value, str):
        raise _wrong(path, value, "a string")
    return encodable(value)


_SCALAR_READERS: dict[int, Read] = {
    _F.TYPE_ENUM: _read_enum,
    _F.TYPE_DOUBLE: _read_double,
    _F.TYPE_FLOAT: _read_double,
    _F.TYPE_BOOL: _read_bool,
    _F.TYPE_STRING: _read_string,
}


def _writer(field: FieldDescriptor) -> Write:
    if field.type == _F.TYPE_MESSAGE:
        return encode_json
    if field.type == _F.TYPE_BYTES:
        return bytes.hex if field.name in _HEX_IDS else lambda value: base64.b64encode(value).decode()
    if field.type in (_F.TYPE_DOUBLE, _F.TYPE_FLOAT):
        return _write_double
    return str if field.type in _WIDE else lambda value: value


def _write_double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _wrong(path: str, value: Any, accepted: str) -> Rejected:
    shown = repr(value)
    return Rejected(f"cannot read {shown if len(shown) <= 60 else shown[:60] + '…'}", where=path or "body", accepted=accepted)


def _too_deep(path: str) -> Rejected:
    return Rejected(f"nested deeper than {_MAX_DEPTH} levels", where=path[:200])


def _no_constant(name: str) -> float:
    raise ValueError(f'{name} must be written "{name}"')
