"""How far the hot tier is behind a shard's WAL, pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

_MAX_MARKS = 4096


@dataclass(slots=True)
class Ages:
    """How old the oldest entry is that waits, by watching the WAL grow: nothing in it says when it came."""

    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def observe(self, last: int, committed: int, now: float) -> float:
        """Seconds that the entry after ``committed`` has been seen to be there; 0 when there is none."""
        # A WAL that was recreated counts from 1 again; against its old marks nothing in it would ever be seen to arrive.
        if self._marks and last < self._marks[-1][1]:
            self._marks.clear()
        if not self._marks or last > self._marks[-1][1]:
            self._marks.append((now, last))
        # The first mark beyond committed is the look at which the entry after committed was first there.
        while self._marks and self._marks[0][1] <= committed:
            self._marks.popleft()
        if len(self._marks) > _MAX_MARKS:
            # Bounded memory for an age that is at most one gap too young; the newest mark stays, so that growth is still seen.
            thinned = [mark for number, mark in enumerate(self._marks) if number % 2 == 0 or number == len(self._marks) - 1]
            self._marks = deque(thinned)
        return now - self._marks[0][0] if self._marks else 0.0
