"""A token bucket, pure: a sustained rate, and a burst after a pause."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """Fills at ``rate`` per second, up to ``burst``. Times are seconds of one monotonic clock.

    An amount above ``burst`` is taken from a full bucket and leaves a debt, so that a large request is delayed but not impossible.
    """

    rate: float
    burst: float
    level: float
    at: float

    @classmethod
    def full(cls, rate: float, burst_seconds: float, now: float) -> TokenBucket:
        """A bucket that is full."""
        return cls(rate, rate * burst_seconds, rate * burst_seconds, now)

    def delay_seconds(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` may be taken; 0 if it may be taken now."""
        self.level = min(self.burst, self.level + max(0.0, now - self.at) * self.rate)
        self.at = max(self.at, now)
        # An amount above the burst waits only until the bucket is full: the level never gets higher, and take() leaves the rest as a debt.
        return max(0.0, min(amount, self.burst) - self.level) / self.rate

    def take(self, amount: float) -> None:
        """Take ``amount`` after ``delay_seconds`` returned 0; a negative amount gives back."""
        self.level = min(self.burst, self.level - amount)
