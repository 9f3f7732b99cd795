"""Heartbeats, and the judgement of who is alive (docs/adr/0003)."""

from __future__ import annotations

import contextlib

from tael.cluster.api import KeyValue
from tael.cluster.lease import MEMBER_PREFIX, Member
from tael.errors import Retryable
from tael.runtime.observe import get_logger
from tael.runtime.service import Stop

log = get_logger("membership")


class Liveness:
    """Judges which keys still change, from observed revisions. All times are of one monotonic clock. Pure."""

    def __init__(self, ttl_seconds: float) -> None:
        self._ttl_seconds = ttl_seconds
        self._changed: dict[str, tuple[int, float]] = {}

    def observe(self, revisions: dict[str, int], now: float) -> None:
        """Record every present key with its revision; keys that are missing are forgotten."""
        self._changed = {
            # A key seen for the first time counts as just changed: how long it has been there is unknown, and waiting is safe.
            key: known if (known := self._changed.get(key)) is not None and known[0] == revision else (revision, now)
            for key, revision in revisions.items()
        }

    def age_seconds(self, key: str, now: float) -> float | None:
        """Time since the key was last seen to change, None for a key that does not exist."""
        known = self._changed.get(key)
        return None if known is None else now - known[1]

    def alive(self, key: str, now: float) -> bool:
        """Whether the key exists and has changed within the TTL."""
        age = self.age_seconds(key, now)
        return age is not None and age < self._ttl_seconds


async def heartbeat(kv: KeyValue, member: Member, stop: Stop, ttl_seconds: float) -> None:
    """Rewrite the member's key three times per ``ttl_seconds`` until ``stop``, then remove it."""
    key = MEMBER_PREFIX + member.node_id
    beat = 0
    while not stop.is_set:
        beat += 1
        try:
            await kv.put(key, member.model_copy(update={"beat": beat}).encode())
        except Retryable as error:
            log.warning("the heartbeat failed", reason=str(error))
        await stop.sleep(ttl_seconds / 3)
    # Removing the key ends membership at once; otherwise the member would keep its leases until its heartbeat is missed.
    with contextlib.suppress(Retryable):
        await kv.delete(key)
