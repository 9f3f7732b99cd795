"""Time ranges in nanoseconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass

NS_PER_SECOND = 1_000_000_000
NS_PER_MS = 1_000_000
HOUR_NS = 3_600 * NS_PER_SECOND
DAY_NS = 24 * HOUR_NS
MAX_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A half-open range, ``start_ns <= t < end_ns``."""

    start_ns: int
    end_ns: int

    @classmethod
    def last(cls, seconds: float, *, now_ns: int) -> TimeRange:
        """The ``seconds`` before ``now_ns``, and one minute after it for clocks that run ahead."""
        return cls(max(0, now_ns - int(seconds * NS_PER_SECOND)), now_ns + 60 * NS_PER_SECOND)


ALL_TIME = TimeRange(-(1 << 63), MAX_NS)


def whole_hours(time_range: TimeRange) -> TimeRange:
    """The range extended back to the start of its first hour: rows that are kept by the hour have that time."""
    return TimeRange(max(time_range.start_ns - time_range.start_ns % HOUR_NS, ALL_TIME.start_ns), time_range.end_ns)


def signed_ns(time_ns: int) -> int:
    """An unsigned time as the signed one that the hot tier orders by: from 2^63 on it is negative, before 1970."""
    return time_ns - (1 << 64) if time_ns > MAX_NS else time_ns
