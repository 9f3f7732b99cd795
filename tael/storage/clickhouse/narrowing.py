"""Finds a page of a range's newest rows by searching its newest part first; pure.

The tables are ordered by service before time, so finding the newest rows of all services means sorting every row of the range. The rows of
a short time are in few granules, and if matches are common they fill the page.
"""

from __future__ import annotations

from tael.model.time import NS_PER_SECOND, TimeRange

_FIRST_NS = 10 * NS_PER_SECOND


class Newest:
    """The pieces of a range, newest first. The length of each is estimated from the rows of the piece before; a piece without rows is
    followed by one that is ``growth`` times as long, or by the whole rest.
    """

    def __init__(self, time_range: TimeRange, first_ns: int = _FIRST_NS, growth: int = 0) -> None:
        self._start_ns = time_range.start_ns
        self._end_ns = time_range.end_ns
        self._size_ns = first_ns
        self._growth = growth

    def next(self) -> TimeRange | None:
        """The next piece; None after the last one."""
        if self._end_ns <= self._start_ns:
            return None
        piece = TimeRange(max(self._start_ns, self._end_ns - self._size_ns), self._end_ns)
        self._end_ns = piece.start_ns
        return piece

    def had(self, found: int, missing: int) -> None:
        """Report how many rows the last piece had, and how many the page still lacks."""
        rest = self._end_ns - self._start_ns
        # Twice the estimate, because a piece that is too short costs another statement.
        times = 2 * -(-missing // found) if found else self._growth
        self._size_ns = min(rest, self._size_ns * times) if times else rest
