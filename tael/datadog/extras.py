"""Parses the links, events and structured values of a Datadog span.

Newer tracers send links and events as msgpack if the agent declares support for them; others put them into ``meta`` as JSON text. What
cannot be parsed as either is kept unchanged, as an attribute.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack

from tael.model import json_text
from tael.model.attributes import AttributeValue
from tael.model.span import Event, Link

_MAX_DEPTH, _MAX_ITEMS = 16, 1 << 12
_U32, _U64 = (1 << 32) - 1, (1 << 64) - 1
_I64 = range(-(1 << 63), 1 << 63)
_FLAGS_SET = 1 << 31
"""Datadog's bit that distinguishes flags of zero from absent flags; it is not one of W3C's."""
_TYPED: tuple[tuple[str, AttributeValue], ...] = (
    ("string_value", ""),
    ("bool_value", False),
    ("int_value", 0),
    ("double_value", 0.0),
    ("array_value", ()),
)
"""By ``type``: the member that holds the value of an event's attribute, and its default."""


def read_links(value: object) -> list[Link] | None:
    """The links in a list or JSON text; None for anything else."""
    items = _items(value)
    links = [_link(item) for item in items] if items is not None else [None]
    return None if None in links else [link for link in links if link]


def read_events(value: object) -> list[Event] | None:
    """The events in a list or JSON text; None for anything else."""
    items, typed = _items(value), not isinstance(value, str)
    events = [_event(item, typed) for item in items] if items is not None else [None]
    return None if None in events else [event for event in events if event]


def read_struct(encoded: bytes) -> AttributeValue:
    """The value of a ``meta_struct`` entry; the bytes themselves if they are not msgpack, or have no value that an attribute can hold."""
    try:
        # Bounded, as a few bytes can declare a huge list; without extension types, which no attribute can hold.
        value = msgpack.unpackb(
            encoded, max_array_len=_MAX_ITEMS, max_map_len=_MAX_ITEMS, max_ext_len=0, strict_map_key=False, unicode_errors="replace"
        )
        return _value(value)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        return encoded


def _items(value: object) -> Sequence[Any] | None:
    if isinstance(value, str):
        try:
            value = json_text.from_text(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list | tuple) and len(value) <= _MAX_ITEMS else None


def _link(raw: Any) -> Link | None:
    """A link; None if it is malformed. Ids are hex in JSON; in msgpack they are numbers, the trace id in two halves."""
    try:
        trace_id = _id(raw["trace_id"], 16)
        if isinstance(raw["trace_id"], int):
            trace_id = (int(raw.get("trace_id_high", 0)) & _U64).to_bytes(8, "big") + trace_id[8:]
        return Link(
            trace_id=trace_id,
            span_id=_id(raw["span_id"], 8),
            trace_state=_text(raw.get("tracestate") or ""),
            attributes=_attributes(raw, _value),
            dropped_attributes_count=int(raw.get("dropped_attributes_count") or 0) & _U32,
            flags=int(raw.get("flags") or 0) & _U32 & ~_FLAGS_SET,
        )
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _id(value: Any, size: int) -> bytes:
    if isinstance(value, int):
        return (value & _U64).to_bytes(8, "big").rjust(size, b"\0")
    if not re.fullmatch(rf"[0-9a-fA-F]{{1,{size * 2}}}", value):
        raise ValueError("not hex")
    return bytes.fromhex(value.rjust(size * 2, "0"))


def _event(raw: Any, typed: bool) -> Event | None:
    try:
        attributes = _attributes(raw, _typed if typed else _value)
        return Event(time_ns=int(raw.get("time_unix_nano") or 0) & _U64, name=_text(raw["name"]), attributes=attributes)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError):
        return None


def _attributes(raw: Mapping[str, Any], read: Callable[[Any], AttributeValue]) -> dict[str, AttributeValue]:
    attributes = raw.get("attributes") or {}
    return {_text(key): read(value) for key, value in attributes.items() if value is not None}


def _typed(value: Any) -> AttributeValue:
    """The plain value of ``{"type": 0, "string_value": …}``; an array contains such maps, but no arrays."""
    member, empty = _TYPED[value["type"]]
    inner = value.get(member)
    if member == "array_value":
        return [_scalar(item) for item in (inner or {}).get("values") or ()]
    return _value(empty if inner is None else inner)


def _scalar(value: Any) -> AttributeValue:
    member, empty = _TYPED[value["type"]]
    return _value(value.get(member, empty))


def _value(value: Any, depth: int = 0) -> AttributeValue:
    """The value as an attribute value. Raises ValueError for one nested too deeply, OverflowError for an integer beyond doubles."""
    if depth > _MAX_DEPTH:
        raise ValueError("too deep")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool | float | bytes) or value is None:
        return value
    if isinstance(value, int):
        return value if value in _I64 else float(value)
    if isinstance(value, dict):
        return {_text(key): _value(item, depth + 1) for key, item in value.items()}
    return [_value(item, depth + 1) for item in value]


def _text(value: Any) -> str:
    return json_text.encodable(str(value))
