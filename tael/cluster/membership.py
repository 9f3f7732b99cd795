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
    """Which keys still change: fed with revisions, asked with the same monotonic clock. Pure."""

    def __init__(self, ttl_seconds: float) -> None:
        self._ttl_seconds = ttl_seconds
        self._changed: dict[str, tuple[int, float]] = {}

    def observe(self, revisions: dict[str, int], now: float) -> None:
        """Every key that is there now, with its revision; keys that are missing are forgotten."""
        self._changed = {
            # A key that is seen for the first time counts as just changed: nobody knows how long it has been there, and waiting is the safe
            # side.
            key: known if (known := self._changed.get(key)) is not None and known[0] == revision else (revision, now)
            for key, revision in revisions.items()
        }

    def age_seconds(self, key: str, now: float) -> float | None:
        """Time since the key was last seen to change, None for one that is not there."""
        known = self._changed.get(key)
        return None if known is None else now - known[1]

    def alive(self, key: str, now: float) -> bool:
        """Whether the key is there and changed within the lease's length."""
        age = self.age_seconds(key, now)
        return age is not None and age < self._ttl_seconds


async def heartbeat(kv: KeyValue, member: Member, stop: Stop, ttl_seconds: float) -> None:
    """Rewrite the member's key three times in ``ttl_seconds`` until ``stop``, then remove it."""
    key = MEMBER_PREFIX + member.node_id
    beat = 0
    while not stop.is_set:
        beat += 1
        try:
            await kv.put(key, member.model_copy(update={"beat": beat}).encode())
        except Retryable as error:
            log.warning("the heartbeat failed", reason=str(error))
        await stop.sleep(ttl_seconds / 3)
    # A clean end is seen at once; without it the member would keep its leases until its heartbeat is missed.
    with contextlib.suppress(Retryable):
        await kv.delete(key)
