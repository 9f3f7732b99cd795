"""Decides when a process that exited is restarted, and when it is in a crash loop. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_SECONDS, LONGEST_SECONDS, STABLE_SECONDS = 0.25, 15.0, 20.0
LOOP_AT = 3


@dataclass(frozen=True)
class Restarts:
    """The number of consecutive exits without a stable run in between."""

    in_a_row: int = 0

    def after_exit(self, uptime_seconds: float) -> Restarts:
        """Count one more exit; after a run of at least STABLE_SECONDS the count starts again."""
        return Restarts(1 if uptime_seconds >= STABLE_SECONDS else self.in_a_row + 1)

    def delay_seconds(self, chance: float) -> float:
        """How long to wait before the restart: doubling up to LONGEST_SECONDS, shortened by up to a half by ``chance`` (0 to 1)."""
        doubled = FIRST_SECONDS * 2.0 ** min(self.in_a_row - 1, 10)
        # Jitter, so that processes that exited together for one cause do not all restart at once.
        return min(LONGEST_SECONDS, doubled) * (1 - chance / 2)

    @property
    def is_loop(self) -> bool:
        """Whether to report a crash loop, with the last lines of output: at the third exit in a row, and at every fifth after that."""
        return self.in_a_row >= LOOP_AT and (self.in_a_row - LOOP_AT) % 5 == 0
