"""Time ranges in nanoseconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000
MAX_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Half open, ``start_ns <= t < end_ns``."""

    start_ns: int
    end_ns: int

    @classmethod
    def last(cls, seconds: float, *, now_ns: int) -> TimeRange:
        """The ``seconds`` before ``now_ns``, and a little after it for clocks that run ahead."""
        return cls(max(0, now_ns - int(seconds * NS_PER_SECOND)), now_ns + 60 * NS_PER_SECOND)


ALL_TIME = TimeRange(-(1 << 63), MAX_NS)
