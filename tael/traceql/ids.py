"""Span ids as an array of numbers that reads as a sequence of bytes, pure: millions of ids are compared, but only a few are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

_SIZE = 8


class Ids(Sequence[bytes]):
    """Ids of eight bytes, each as its little-endian number; with ``absent``, zero reads as an empty id."""

    def __init__(self, numbers: NDArray[np.uint64], *, absent: bool = False) -> None:
        self.numbers = numbers
        self._absent = absent

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Ids: ...
    def __getitem__(self, at: int | slice) -> bytes | Ids:
        """One id, or a slice of the ids."""
        if isinstance(at, slice):
            return Ids(self.numbers[at], absent=self._absent)
        number = int(self.numbers[at])
        return number.to_bytes(_SIZE, "little") if number or not self._absent else b""

    def __iter__(self) -> Iterator[bytes]:
        return (self[at] for at in range(len(self)))


def numbers_of(ids: Iterable[bytes]) -> NDArray[np.uint64]:
    """Ids of at most eight bytes as numbers; shorter ones are padded with zeros."""
    if isinstance(ids, Ids):
        return ids.numbers
    return np.frombuffer(b"".join(id_.ljust(_SIZE, b"\0") for id_ in ids), dtype="<u8")
