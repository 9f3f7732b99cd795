"""Samples of an answer that is still arriving: what came is put into columns while the shard sends the rest."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from tael.errors import Unavailable
from tael.model.series import Floats, Longs
from tael.storage.clickhouse import native
from tael.storage.clickhouse.series.runs import Numbers

TOGETHER: Final = 1 << 20
"""Bytes that are read at a time: about a block, so that few bytes are looked at twice, and the buffer is small enough to be used again."""
_FIRST: Final = 1 << 16


class Arriving:
    """Takes an answer to ``query_builder.select_samples`` in pieces of any size."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._bytes = self._fresh = 0
        self._columns = (_Column(np.uint64), _Column(np.int64), _Column(np.float64))
        self._ends = [0]
        self._failed: Unavailable | None = None

    def take(self, piece: bytes) -> None:
        """The next piece. A piece that cannot be read only makes ``blocks`` fail, as the client knows better what is wrong with it."""
        self._waiting.append(piece)
        self._bytes += len(piece)
        self._fresh += len(piece)
        # Of a large block a part of its size, or each byte of it would be copied as often as there are pieces.
        if self._fresh >= max(TOGETHER, self._bytes // 4):
            self._read()

    def blocks(self) -> list[tuple[Numbers, Longs]]:
        """The series and times of each block, at least one. Raises Unavailable for an answer that ends early or cannot be read."""
        self._read()
        if self._failed is not None:
            raise self._failed
        if self._bytes:
            raise Unavailable(f"ClickHouse's answer ended early, {self._bytes} bytes after the last block")
        series, times, _ = self.columns
        return [(series[begin:end], times[begin:end]) for begin, end in pairwise(self._ends if len(series) else (0, 0))]

    @property
    def columns(self) -> tuple[Numbers, Longs, Floats]:
        """The series, times and values of all blocks that were read."""
        series, times, values = self._columns
        return series.rows, times.rows, values.rows

    def _read(self) -> None:
        """Move the rows of all blocks that are complete into the columns."""
        body = b"".join(self._waiting)
        done = 0
        try:
            for columns, end in native.complete_blocks(body):
                self._add(columns)
                done = end
        except Unavailable as error:
            self._failed = self._failed or error
        self._waiting, self._bytes, self._fresh = [body[done:]], len(body) - done, 0

    def _add(self, columns: Sequence[native.Column]) -> None:
        for column, added in zip(self._columns, columns, strict=True):
            column.extend(native.numbers(added))
        if len(self._columns[0].rows) > self._ends[-1]:
            self._ends.append(len(self._columns[0].rows))


class _Column:
    """An array that grows at its end. By doubling: numpy asks for huge pages for large arrays, and fresh small pages cost more than the
    copies.
    """

    def __init__(self, dtype: type[np.generic]) -> None:
        self._array: npt.NDArray[Any] = np.empty(_FIRST, dtype)
        self._size = 0

    @property
    def rows(self) -> npt.NDArray[Any]:
        return self._array[: self._size]

    def extend(self, more: npt.NDArray[Any]) -> None:
        size = self._size + len(more)
        if size > len(self._array):
            larger = np.empty(max(2 * len(self._array), size), self._array.dtype)
            larger[: self._size] = self.rows
            self._array = larger
        self._array[self._size : size] = more
        self._size = size
