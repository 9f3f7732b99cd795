"""A page of the newest rows of a range, looked for in the newest part of it first: pure.

The tables are ordered by service before time, so the newest rows of all services are found by sorting every row of the range. Those of a short time are read
from few granules, and where they are common they fill the page.
"""

from __future__ import annotations

from tael.model.time import NS_PER_SECOND, TimeRange

_FIRST_NS = 10 * NS_PER_SECOND


class Newest:
    """Pieces of a range, newest first: each is as long as what the one before it had lets expect; a piece without any row is followed by all the rest."""

    def __init__(self, time_range: TimeRange) -> None:
        self._start_ns = time_range.start_ns
        self._end_ns = time_range.end_ns
        self._size_ns = _FIRST_NS

    def next(self) -> TimeRange | None:
        """The next piece; None behind the last one."""
        if self._end_ns <= self._start_ns:
            return None
        piece = TimeRange(max(self._start_ns, self._end_ns - self._size_ns), self._end_ns)
        self._end_ns = piece.start_ns
        return piece

    def had(self, found: int, missing: int) -> None:
        """Say that the last piece had so many rows, and that so many are still missing."""
        rest = self._end_ns - self._start_ns
        self._size_ns = min(rest, self._size_ns * 2 * -(-missing // found)) if found else rest
