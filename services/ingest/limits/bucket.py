"""A token bucket, pure: so many a second, and after a pause so many at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """``rate`` a second, never more than ``burst`` saved up. Times are seconds of one monotonic clock.

    What is larger than ``burst`` is taken from a full bucket and leaves a debt, so that a large request is late but not impossible.
    """

    rate: float
    burst: float
    level: float
    at: float

    @classmethod
    def full(cls, rate: float, burst_seconds: float, now: float) -> TokenBucket:
        """One that has saved up all it can."""
        return cls(rate, rate * burst_seconds, rate * burst_seconds, now)

    def delay_seconds(self, amount: float, now: float) -> float:
        """How long until ``amount`` may be taken; 0 when it may be now."""
        self.level = min(self.burst, self.level + max(0.0, now - self.at) * self.rate)
        self.at = max(self.at, now)
        # An amount above the burst waits for a full bucket only: it could never be saved up, and take() leaves the rest as a debt.
        return max(0.0, min(amount, self.burst) - self.level) / self.rate

    def take(self, amount: float) -> None:
        """Take, after ``delay_seconds`` said 0; a negative amount gives back."""
        self.level = min(self.burst, self.level - amount)
