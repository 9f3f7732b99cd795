"""Parses Thrift's binary protocol into plain values (Apache Thrift, "Thrift Binary protocol encoding"); pure.

    struct  { type: 1 byte, id: 2 bytes, value } … 00        list  type: 1 byte, size: 4 bytes, values
    text    size: 4 bytes, bytes                              numbers big-endian

A struct becomes a dict by field id. Unlike in Thrift's own libraries, which allocate whatever size a body declares, sizes are checked
against the remaining bytes before anything is allocated, and values are counted.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, TypeAlias

from tael.errors import Rejected
from tael.otlp.census import require_few_values

Fields: TypeAlias = "dict[int, Any]"
_STOP, _STRUCT, _MAP, _SET, _LIST, _BINARY, _BOOL = 0, 12, 13, 14, 15, 11, 2
_NUMBERS = {3: Struct(">b"), 4: Struct(">d"), 6: Struct(">h"), 8: Struct(">i"), 10: Struct(">q")}
_SIZE, _FIELD = Struct(">I"), Struct(">h")
_MAX_DEPTH = 16
_CONTAINER_VALUES = 4


def read_struct(body: bytes, most: int) -> Fields:
    """The struct that a body consists of; ``most`` limits its content. Raises Rejected or TooLarge."""
    reader = _Reader(body, most)
    fields = reader.struct(0)
    if reader.at != len(body):
        raise Rejected(f"{len(body) - reader.at} bytes follow the struct", where="body", accepted="one struct")
    return fields


class _Reader:
    """A body and the position up to which it has been read."""

    def __init__(self, body: bytes, most: int) -> None:
        self.at = 0
        self._body, self._most, self._values = body, most, 0

    def struct(self, depth: int) -> Fields:
        self._count(_CONTAINER_VALUES)
        if depth > _MAX_DEPTH:
            raise Rejected(f"it is nested deeper than {_MAX_DEPTH} levels", where="body")
        fields: Fields = {}
        while (kind := self._take(1)[0]) != _STOP:
            self._count(1)
            (number,) = _FIELD.unpack(self._take(2))
            fields[number] = self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _NUMBERS:
            layout = _NUMBERS[kind]
            return layout.unpack(self._take(layout.size))[0]
        if kind == _BINARY:
            return self._take(self._size())
        if kind == _BOOL:
            return self._take(1) != b"\0"
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            item = self._take(1)[0]
            return self._values_of((item,), depth)
        if kind == _MAP:
            return self._values_of(tuple(self._take(2)), depth)
        raise Rejected(f"unknown type {kind}", where=f"byte {self.at}", accepted="Thrift's binary protocol")

    def _values_of(self, kinds: tuple[int, ...], depth: int) -> list[Any]:
        """The elements of a list, or the alternating keys and values of a map."""
        size = self._size() * len(kinds)
        self._count(size + _CONTAINER_VALUES)
        if depth > _MAX_DEPTH:
            raise Rejected(f"it is nested deeper than {_MAX_DEPTH} levels", where="body")
        return [self._value(kinds[i % len(kinds)], depth + 1) for i in range(size)]

    def _size(self) -> int:
        (size,) = _SIZE.unpack(self._take(4))
        # Each element takes at least a byte, so this also bounds the allocation of a list.
        if size > len(self._body) - self.at:
            raise self._early()
        return int(size)

    def _take(self, size: int) -> bytes:
        taken = self._body[self.at : self.at + size]
        if len(taken) < size:
            raise self._early()
        self.at += size
        return taken

    def _count(self, values: int) -> None:
        self._values += values
        require_few_values(self._values, len(self._body), self._most)

    def _early(self) -> Rejected:
        return Rejected("the body ends early", where=f"byte {self.at}", accepted="Thrift's binary protocol")
