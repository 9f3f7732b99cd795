"""How long written entries stay in the WAL, pure: long enough that a resend is known even after NATS restarts, within a size."""

from __future__ import annotations

from collections import deque

from tael.wal.api import LogState

_KEEP_SECONDS = 30.0


class Retention:
    """Fed with what is committed and the state of the WAL, says through which sequence to trim it."""

    def __init__(self, keep_bytes: int) -> None:
        self._keep_bytes = keep_bytes
        self._committed: deque[tuple[float, int]] = deque()

    def trim_through(self, committed: int, state: LogState, now: float) -> int | None:
        """The last sequence that may go, or None while nothing may; ``now`` is monotonic seconds.

        The entry at ``committed`` stays: the WAL is recognised by it.
        """
        if not self._committed or self._committed[-1][1] < committed:
            self._committed.append((now, committed))
        keep_bytes = min(self._keep_bytes, state.max_bytes // 2 or self._keep_bytes)
        through = 0
        while self._committed and (now - self._committed[0][0] > _KEEP_SECONDS or state.size_bytes > keep_bytes):
            through = self._committed.popleft()[1]
        through = min(through, committed - 1)
        return through if through >= state.first else None

    def begin_anew(self) -> None:
        """Forget the sequences of a WAL that was lost."""
        self._committed.clear()
