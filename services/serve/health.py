"""Decides when a running process is unhealthy, and when it has been so for so long that it must be restarted. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

UNHEALTHY_SECONDS, SILENT_SECONDS, STARTING_SECONDS = 5.0, 60.0, 300.0
"""How long a process may report an error, not answer at all, and take until it is healthy for the first time."""
_LONGEST_PROBLEM = 300
_NEVER_PASSES = "write error"


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check: an empty ``problem`` means healthy. ``answered`` is False when no answer came in time."""

    problem: str = ""
    answered: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """The results of one process's checks since its start. Times are monotonic seconds."""

    started_at: float
    was_healthy: bool = False
    unhealthy_since: float | None = None

    def after(self, check: Check, now: float) -> Health:
        """The health after one more check."""
        if not check.problem:
            return replace(self, was_healthy=True, unhealthy_since=None)
        return self if self.unhealthy_since is not None else replace(self, unhealthy_since=now)

    def needs_restart(self, check: Check, now: float) -> bool:
        """Whether the problem has lasted so long that it is not expected to pass by itself."""
        if self.unhealthy_since is None:
            return False
        # A nats-server that starts on a full disk reports its write error until it is restarted, so waiting as for a slow start is
        # pointless.
        if not self.was_healthy and _NEVER_PASSES not in check.problem:
            return now - self.started_at >= STARTING_SECONDS
        return now - self.unhealthy_since >= (UNHEALTHY_SECONDS if check.answered else SILENT_SECONDS)


def problem_of(status: int, body: bytes) -> str:
    """The problem in an answer to a check: NATS' ``error``, our own ``reasons``, or the bare status; empty for a 200."""
    if status == 200:
        return ""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    answer = answer if isinstance(answer, dict) else {}
    reasons = answer.get("reasons")
    parts = [f"{part}: {reason}" for part, reason in reasons.items()] if isinstance(reasons, dict) else [answer.get("error")]
    text = "; ".join(str(part) for part in parts if part)
    return (text or f"its health check answered with status {status}")[:_LONGEST_PROBLEM]
