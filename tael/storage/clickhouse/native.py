"""Reads ClickHouse's Native format into columns, with work for each block but none for each row, as millions of samples require.

    block   = varint columns, varint rows, { name, type, data } for each column
    name    = varint length, bytes; type the same
    data    = numbers                      rows of the type's width, little endian
              Nullable(T)                  one byte a row (1: NULL), then T's data
              Array(T)                     UInt64 a row, where it ends, then T's data
              Map(K, V)                    as Array(Tuple(K, V)), whose data are K's and then V's
              LowCardinality(String)       UInt64 flags, UInt64 keys, the keys, UInt64 rows, their numbers; nothing for no rows
              String                       varint length, bytes of each row

The data of a column whose type contains LowCardinality begin with a version (UInt64) for each occurrence. Types that none of our
statements select are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from tael.errors import Unavailable

_WIDTHS: Final = {
    **{f"UInt{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"Int{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"Float{bits}": f"<f{bits // 8}" for bits in (32, 64)},
    "Bool": "<u1",
    "DateTime": "<u4",
    "DateTime64": "<i8",
}
_INDEXES: Final = ("<u1", "<u2", "<u4", "<u8")
_TYPE: Final = re.compile(r"(\w+)(?:\((.*)\))?", re.DOTALL)

Numbers: TypeAlias = "npt.NDArray[Any]"


@dataclass(frozen=True, slots=True)
class Strings:
    """Row ``i`` is ``words[index[i]]``; ``words`` may contain duplicates."""

    words: list[str]
    index: Numbers

    def __len__(self) -> int:
        return len(self.index)

    def tolist(self) -> list[str]:
        """The string of each row."""
        return list(map(self.words.__getitem__, self.index.tolist()))


@dataclass(frozen=True, slots=True)
class Blobs:
    """Row ``i`` is ``values[i]``, undecoded bytes."""

    values: list[bytes]


@dataclass(frozen=True, slots=True)
class Optional:
    """Row ``i`` is NULL if ``missing[i]``; ``values`` is arbitrary there."""

    missing: npt.NDArray[np.bool_]
    values: Column


@dataclass(frozen=True, slots=True)
class Lists:
    """Row ``i`` is ``values[offsets[i]:offsets[i + 1]]``."""

    offsets: npt.NDArray[np.int64]
    values: Column


@dataclass(frozen=True, slots=True)
class Pairs:
    """The keys and values of the entries of maps."""

    keys: Column
    values: Column


Column: TypeAlias = "Numbers | Strings | Blobs | Optional | Lists | Pairs"


def read(body: bytes, *, blobs: bool = False) -> list[Column]:
    """The columns of an answer, all blocks joined; no columns when there are no rows. Raises Unavailable for a body that ends too early.

    With ``blobs``, columns of type String become Blobs instead of Strings.
    """
    return join(read_blocks(body, blobs=blobs))


def join(blocks: Sequence[Sequence[Column]]) -> list[Column]:
    """The columns of several blocks as those of one."""
    return [_join(parts) for parts in zip(*blocks, strict=True)]


def read_blocks(body: bytes, *, blobs: bool = False) -> list[list[Column]]:
    """The columns of each block. Raises Unavailable for a body that ends too early."""
    blocks: list[list[Column]] = []
    end = 0
    for columns, end in complete_blocks(body, blobs=blobs):  # noqa: B007  # the last end is used below
        blocks.append(columns)
    if end < len(body):
        raise Unavailable(f"ClickHouse's answer ended early, in the block from byte {end} of {len(body)}")
    return blocks


def complete_blocks(body: bytes, *, blobs: bool = False) -> Iterator[tuple[list[Column], int]]:
    """The columns of each block that ``body`` has all of, and where the block ends."""
    cursor = Cursor(body, blobs=blobs)
    while cursor.at < len(body):
        try:
            columns, rows = cursor.varint(), cursor.varint()
            block = [_read_column(cursor, rows) for _ in range(columns)]
        except (IndexError, ValueError):
            return
        yield block, cursor.at


class Cursor:
    """A position in the body."""

    def __init__(self, body: bytes, *, blobs: bool = False) -> None:
        self._body = body
        self.blobs = blobs
        self.at = 0

    def varint(self) -> int:
        """The next number of variable length (LEB128)."""
        result = shift = 0
        while True:
            byte = self._body[self.at]
            self.at += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result
            shift += 7

    def numbers(self, dtype: str, count: int) -> Numbers:
        """The next numbers of a fixed width."""
        found = np.frombuffer(self._body, dtype, count, self.at)
        self.at += found.nbytes
        return found

    def texts(self, count: int) -> list[str]:
        """The next strings, as UTF-8 with replacements."""
        return [value.decode("utf-8", "replace") for value in self.blobs_of(count)]

    def blobs_of(self, count: int) -> list[bytes]:
        """The next strings, as bytes."""
        # In one loop over locals: a call for each string would take longer than all else about it.
        body, at, found = self._body, self.at, list[bytes]()
        for _ in range(count):
            size = body[at]
            at += 1
            if size > 0x7F:
                self.at = at - 1
                size, at = self.varint(), self.at
            found.append(body[at : at + size])
            at += size
        # Slicing beyond the end returns fewer bytes instead of failing.
        if at > len(body):
            raise IndexError(at)
        self.at = at
        return found

    def text(self) -> str:
        """The next string."""
        return self.texts(1)[0]


def _read_column(cursor: Cursor, rows: int) -> Column:
    cursor.text()
    kind = cursor.text()
    if rows:
        # The server begins with a block without rows: it has types but no data, and so no versions.
        cursor.at += 8 * kind.count("LowCardinality(")
    return _read(cursor, kind, rows)


def _read(cursor: Cursor, kind: str, rows: int) -> Column:
    match = _TYPE.fullmatch(kind)
    name, inner = (match[1], match[2] or "") if match else (kind, "")
    if name in _WIDTHS:
        return cursor.numbers(_WIDTHS[name], rows)
    if name == "Nullable":
        missing = cursor.numbers("<u1", rows).view(np.bool_)
        return Optional(missing, _read(cursor, inner, rows))
    if name in ("Array", "Map"):
        offsets = np.concatenate((np.zeros(1, np.int64), cursor.numbers("<i8", rows)))
        entries = int(offsets[-1])
        if name == "Array":
            return Lists(offsets, _read(cursor, inner, entries))
        key, value = _two(inner)
        return Lists(offsets, Pairs(_read(cursor, key, entries), _read(cursor, value, entries)))
    if name == "String":
        return Blobs(cursor.blobs_of(rows)) if cursor.blobs else Strings(cursor.texts(rows), np.arange(rows))
    if name == "LowCardinality" and inner == "String":
        return _read_words(cursor, rows)
    raise Unavailable(f"ClickHouse answered with a column of {kind}, which is unexpected")


def _read_words(cursor: Cursor, rows: int) -> Strings:
    if not rows:
        return Strings([], np.empty(0, np.int64))
    flags, keys = (int(number) for number in cursor.numbers("<u8", 2))
    words = cursor.texts(keys)
    (count,) = cursor.numbers("<u8", 1)
    # The low byte of the flags selects the width of the index.
    return Strings(words, cursor.numbers(_INDEXES[flags & 0xFF], int(count)))


def _two(inner: str) -> tuple[str, str]:
    """K and V of ``Map(K, V)``. Splitting at the first comma is enough, because no key type has several parameters."""
    key, _, value = inner.partition(", ")
    return key, value


def _join(parts: Sequence[Column]) -> Column:  # noqa: PLR0911  # one for each kind of column
    if len(parts) == 1:
        return parts[0]
    match parts[0]:
        case Strings():
            texts = [strings(part) for part in parts]
            # Each block has its own dictionary, so its indices are shifted by the number of words of the blocks before it.
            starts = np.cumsum([0, *(len(part.words) for part in texts)])
            index = np.concatenate([part.index + start for part, start in zip(texts, starts[:-1], strict=True)])
            return Strings([word for part in texts for word in part.words], index)
        case Blobs():
            return Blobs([value for part in parts for value in blobs(part).values])
        case Optional():
            several = [optional(part) for part in parts]
            return Optional(np.concatenate([part.missing for part in several]), _join([part.values for part in several]))
        case Pairs():
            entries = [pairs(part) for part in parts]
            return Pairs(_join([part.keys for part in entries]), _join([part.values for part in entries]))
        case Lists():
            rows = [lists(part) for part in parts]
            starts = np.cumsum([0, *(int(part.offsets[-1]) for part in rows)])
            ends = [part.offsets[1:] + start for part, start in zip(rows, starts[:-1], strict=True)]
            return Lists(np.concatenate([np.zeros(1, np.int64), *ends]), _join([part.values for part in rows]))
        case _:
            return np.concatenate([numbers(part) for part in parts])


def numbers(column: Column) -> Numbers:
    """The column, of which its statement guarantees that it holds numbers; the functions below do the same for other kinds."""
    assert isinstance(column, np.ndarray)
    return column


def strings(column: Column) -> Strings:
    """A column that holds strings."""
    assert isinstance(column, Strings)
    return column


def blobs(column: Column) -> Blobs:
    """A column of bytes."""
    assert isinstance(column, Blobs)
    return column


def optional(column: Column) -> Optional:
    """A column that may hold NULL."""
    assert isinstance(column, Optional)
    return column


def lists(column: Column) -> Lists:
    """A column that holds arrays or maps."""
    assert isinstance(column, Lists)
    return column


def pairs(column: Column) -> Pairs:
    """A column that holds entries of maps."""
    assert isinstance(column, Pairs)
    return column
