"""Parses the bodies that Datadog's tracers send to an agent, trace by trace.

    v0.3, v0.4   [[span, ...], ...]                    msgpack or JSON; a span is a map
    v0.5         [[text, ...], [[span, ...], ...]]     msgpack; a span is an array of 12, and texts are positions in the first array

A trace here means the spans of a trace that the tracer flushed together. Bodies are read item by item, and the lengths that they declare
are checked against their actual size, so that a few bytes can never cause large allocations. What the agent accepts as empty (nil) is empty
here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Any, TypeAlias, TypeVar

import msgpack

from tael.datadog.span import DatadogSpan
from tael.errors import Rejected
from tael.model.json_text import encodable
from tael.otlp.census import MOST_MESSAGES, require_few_values
from tael.otlp.json import load_json, weigh_json

Trace: TypeAlias = "list[DatadogSpan]"
C = TypeVar("C", bound=Sized)
_MAX_ITEMS = 1 << 16
"""The maximum declared length of one list or map inside a span."""
_CONTAINER_VALUES = 4
"""What a list or map itself counts as, in values, in addition to its content."""
_U64 = (1 << 64) - 1
_V05_FIELDS = 12


def read_msgpack(body: bytes, most: int = MOST_MESSAGES) -> Iterator[Trace]:
    """The traces of a v0.3 or v0.4 body in msgpack; ``most`` limits its content. Raises Rejected or TooLarge, even after some traces."""
    reader = _Reader(body, most)
    for position in range(reader.array("the payload")):
        yield [_span_of_map(reader.item(f"trace {position}"), f"trace {position}") for _ in range(reader.array(f"trace {position}"))]
    reader.end()


def read_v05(body: bytes, most: int = MOST_MESSAGES) -> Iterator[Trace]:
    """The traces of a v0.5 body. See ``read_msgpack``."""
    reader = _Reader(body, most)
    if reader.array("the payload") != 2:
        raise _wrong("the payload", "an array of two: the texts and the traces")
    texts = [_text(reader.item("the texts"), "the texts") for _ in range(reader.array("the texts"))]
    for position in range(reader.array("the traces")):
        where = f"trace {position}"
        yield [_span_of_array(reader.item(where), texts, where) for _ in range(reader.array(where))]
    reader.end()


def read_json(body: bytes, most: int = MOST_MESSAGES) -> Iterator[Trace]:
    """The traces of a v0.3 or v0.4 body in JSON. See ``read_msgpack``."""
    weigh_json(body, most)
    payload = load_json(body)
    for position, trace in enumerate(_list(payload, "the payload")):
        where = f"trace {position}"
        yield [_span_of_map(span, where) for span in _list(trace, where)]


class _Reader:
    """A msgpack body, read in order; every failure is a Rejected that names the place."""

    def __init__(self, body: bytes, most: int) -> None:
        self._values, self._most = 0, most
        self._unpacker = msgpack.Unpacker(
            max_buffer_size=max(len(body), 1),
            max_array_len=_MAX_ITEMS,
            max_map_len=_MAX_ITEMS,
            max_ext_len=0,
            strict_map_key=False,
            unicode_errors="replace",
            object_hook=self._count,
            list_hook=self._count,
        )
        self._size = len(body)
        self._unpacker.feed(body)

    def array(self, where: str) -> int:
        """The length of the next array, whose items are then read one by one."""
        length = self._take(self._unpacker.read_array_header, where)
        # Each item takes at least a byte, so a length above the remaining bytes is false, and must not be looped over.
        if length > self._size - self._unpacker.tell():
            raise _early(where)
        self._require_few(length + 1)
        return int(length)

    def item(self, where: str) -> Any:
        """The next value."""
        return self._take(self._unpacker.unpack, where)

    def _count(self, container: C) -> C:
        self._require_few(len(container) + _CONTAINER_VALUES)
        return container

    def _require_few(self, more: int) -> None:
        """Count values, as an empty list is one byte on the wire but sixty in memory. Raises TooLarge."""
        self._values += more
        require_few_values(self._values, self._size, self._most)

    def end(self) -> None:
        """Refuse bytes after the payload."""
        if self._unpacker.tell() != self._size:
            raise Rejected(f"{self._size - self._unpacker.tell()} bytes follow the payload", where="body", accepted="one payload")

    def _take(self, read: Callable[[], Any], where: str) -> Any:
        try:
            return read()
        except msgpack.OutOfData:
            raise _early(where) from None
        except (ValueError, msgpack.UnpackException, RecursionError, OverflowError, TypeError) as error:
            reason = str(error) or type(error).__name__
            raise Rejected(f"{where} is not the msgpack that is expected: {reason}", where="body") from None


def _span_of_map(value: Any, trace: str) -> DatadogSpan:
    raw = _map(value, f"a span of {trace}")
    where = f"{trace}, span {str(raw.get('name'))[:60]!r}"
    return DatadogSpan(
        service=_text(raw.get("service"), where, "service"),
        name=_text(raw.get("name"), where, "name"),
        resource=_text(raw.get("resource"), where, "resource"),
        type=_text(raw.get("type"), where, "type"),
        trace_id=_id(raw.get("trace_id"), where, "trace_id"),
        span_id=_id(raw.get("span_id"), where, "span_id"),
        parent_id=_id(raw.get("parent_id"), where, "parent_id"),
        start=_whole(raw.get("start"), where, "start"),
        duration=_whole(raw.get("duration"), where, "duration"),
        error=_whole(raw.get("error"), where, "error"),
        meta=_entries(raw.get("meta"), f"{where}, meta", str | bool | int | float, "text"),
        metrics=_entries(raw.get("metrics"), f"{where}, metrics", int | float, "numbers"),
        meta_struct=_entries(raw.get("meta_struct"), f"{where}, meta_struct", bytes, "bytes"),
        links=_list(raw.get("span_links"), f"{where}, span_links"),
        events=_list(raw.get("span_events"), f"{where}, span_events"),
    )


def _span_of_array(value: Any, texts: list[str], trace: str) -> DatadogSpan:
    where = f"a span of {trace}"
    raw = _list(value, where)
    if len(raw) != _V05_FIELDS:
        raise _wrong(where, f"an array of {_V05_FIELDS}")

    def text(position: Any) -> str:
        if not isinstance(position, int) or not 0 <= position < len(texts):
            raise Rejected(f"{where} names text {str(position)[:20]}, and there are {len(texts)}", where="body")
        return texts[position]

    numbers = _entries({text(key): number for key, number in _map(raw[10], where).items()}, where, int | float, "numbers")
    return DatadogSpan(
        service=text(raw[0]),
        name=text(raw[1]),
        resource=text(raw[2]),
        trace_id=_id(raw[3], where, "trace_id"),
        span_id=_id(raw[4], where, "span_id"),
        parent_id=_id(raw[5], where, "parent_id"),
        start=_whole(raw[6], where, "start"),
        duration=_whole(raw[7], where, "duration"),
        error=_whole(raw[8], where, "error"),
        meta={text(key): text(position) for key, position in _map(raw[9], where).items()},
        metrics=numbers,
        type=text(raw[11]),
    )


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise _wrong(where, "an array")
    return value


def _map(value: Any, where: str) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _wrong(where, "a map")
    return value


def _entries(value: Any, where: str, kinds: Any, accepted: str) -> dict[str, Any]:
    """A map from text to values of ``kinds``, without nil values."""
    entries: dict[str, Any] = {}
    for key, item in _map(value, where).items():
        if item is not None:
            if not isinstance(item, kinds) or (accepted == "numbers" and isinstance(item, bool)):
                raise _wrong(f"{where}, {str(key)[:60]!r}", accepted)
            entries[_text(key, where)] = encodable(item) if isinstance(item, str) else item
    return entries


def _text(value: Any, where: str, field: str = "") -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if not isinstance(value, str):
        raise _wrong(f"{where}, {field}" if field else where, "text")
    return encodable(value)


def _whole(value: Any, where: str, field: str) -> int:
    if value is None:
        return 0
    # Some tracers only have floats, and send 1.0 where others send 1.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not -(1 << 63) <= value <= _U64:
        raise _wrong(f"{where}, {field}", "an integer of 64 bits")
    return value


def _id(value: Any, where: str, field: str) -> int:
    """An id; some tracers send it as a signed number with the same bits."""
    return _whole(value, where, field) & _U64


def _early(where: str) -> Rejected:
    return Rejected(f"the body ends within {where}", where="body")


def _wrong(where: str, accepted: str) -> Rejected:
    return Rejected(f"{where} has another type", where="body", accepted=accepted)
