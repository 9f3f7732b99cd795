"""When a process that ended is started again, and when to call it a crash loop. Pure."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_SECONDS, LONGEST_SECONDS, STABLE_SECONDS = 0.25, 15.0, 20.0
LOOP_AT = 3


@dataclass(frozen=True)
class Restarts:
    """How often in a row a process ended without having been stable."""

    in_a_row: int = 0

    def after_exit(self, uptime_seconds: float) -> Restarts:
        """Count one more end; a run of at least STABLE_SECONDS starts the count again."""
        return Restarts(1 if uptime_seconds >= STABLE_SECONDS else self.in_a_row + 1)

    def delay_seconds(self, chance: float) -> float:
        """How long to wait: doubling up to LONGEST_SECONDS, of which ``chance`` (0 to 1) takes off up to a half."""
        doubled = FIRST_SECONDS * 2.0 ** min(self.in_a_row - 1, 10)
        # By chance, so that processes which ended together, by one cause, do not all come back at once.
        return min(LONGEST_SECONDS, doubled) * (1 - chance / 2)

    @property
    def is_loop(self) -> bool:
        """Whether a person should be told, with the last lines: at the third end in a row and at every fifth after it."""
        return self.in_a_row >= LOOP_AT and (self.in_a_row - LOOP_AT) % 5 == 0
