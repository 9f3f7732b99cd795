"""Numbers the symbols of remote write 2.0 consistently across requests, so that a series is recognised by numbers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import numpy.typing as npt

from tael.metrics.cache import Group, SeriesCache

MAX_SYMBOLS = 200_000
"""The limit for one tenant; beyond it the table is cleared, and numbering continues with numbers that were never used."""
_MAX_WIDTH = 4


class Symbols:
    """Assigns numbers to strings, always the same number to the same string until the table is cleared."""

    def __init__(self, cache: SeriesCache, group: Group) -> None:
        self._cache, self._group = cache, group
        self._numbers: dict[bytes, int] = {}
        # Never starts again: keys of cached series are made of earlier numbers, and must not come to mean other strings.
        self._next = count()

    def numbers(self, symbols: Sequence[bytes]) -> npt.NDArray[np.uint64]:
        """The number of each of a request's symbols."""
        if len(self._numbers) > MAX_SYMBOLS:
            self._numbers = {}
        found = list(map(self._numbers.get, symbols))
        for at, number in enumerate(found):
            if number is None:
                found[at] = self._numbers.setdefault(symbols[at], next(self._next))
                self._cache.context_added(self._group)
        return np.array(found, np.uint64)


def read_references(packed: list[bytes]) -> tuple[npt.NDArray[np.int64], list[int]] | None:
    """The references of many series, concatenated, and the end of each series' references; None if they are not all short varints.

    ``packed`` holds the contents of packed fields.
    """
    raw = np.frombuffer(b"".join(packed), np.uint8)
    borders = np.cumsum(np.fromiter(map(len, packed), np.int64, len(packed)))
    last = raw < 0x80
    # A field that ends within a varint would run into the next one when they are concatenated.
    if not last[borders - 1].all():
        return None
    ends = np.flatnonzero(last)
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
    width = ends - starts + 1
    if width.max() > _MAX_WIDTH:
        return None
    # All varints are decoded at once: round ``at`` adds the byte at that position of each varint that is long enough.
    values = (raw[starts] & 0x7F).astype(np.int64)
    for at in range(1, int(width.max())):
        wide = width > at
        values[wide] |= (raw[starts[wide] + at] & 0x7F).astype(np.int64) << 7 * at
    return values, np.cumsum(last)[borders - 1].tolist()
