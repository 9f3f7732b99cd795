"""How far the hot tier is behind a shard's WAL; pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_MAX_MARKS = 4096


@dataclass(slots=True)
class Ages:
    """The age of the oldest waiting entry, from observations of the WAL's last sequence: a WAL's state does not give entries' times."""

    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def observe(self, last: int, committed: int, now: float) -> float:
        """Seconds since the entry after ``committed`` was first seen; 0 when there is none."""
        # A recreated WAL counts from 1 again: compared with the old marks, none of its entries would be noticed.
        if self._marks and last < self._marks[-1][1]:
            self._marks.clear()
        if not self._marks or last > self._marks[-1][1]:
            self._marks.append((now, last))
        # The first mark beyond ``committed`` is the observation that first saw the entry after ``committed``.
        while self._marks and self._marks[0][1] <= committed:
            self._marks.popleft()
        if len(self._marks) > _MAX_MARKS:
            # Bounds memory: every other mark is dropped, so an age may be too small by one gap. The newest mark is kept, so that growth is
            # noticed.
            thinned = [mark for number, mark in enumerate(self._marks) if number % 2 == 0 or number == len(self._marks) - 1]
            self._marks = deque(thinned)
        return now - self._marks[0][0] if self._marks else 0.0
