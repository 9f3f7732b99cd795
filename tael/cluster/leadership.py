"""Leader election: one leader at a time, each with a larger epoch than the one before.

A candidate takes the leader's key by compare-and-set when it is free, or has not changed for the lease's TTL on the candidate's own
clock. The leader rewrites it three times per TTL; when it loses that compare-and-set, or could not renew in time, it steps down.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tael.cluster.api import KeyValue, Versioned
from tael.cluster.lease import LEADER_KEY, Lease, bare_lease
from tael.errors import Conflict, Fenced, Unavailable


@dataclass(frozen=True, slots=True)
class Observed:
    """The revision of the leader's key at its last observed change, and when that was observed (monotonic seconds)."""

    revision: int
    since: float


def may_take(found: Versioned | None, observed: Observed | None, *, node_id: str, ttl_seconds: float, now: float) -> bool:
    """Whether a candidate may take the lease: nobody holds it, the candidate itself held it, or it has not changed for its TTL."""
    if found is None:
        return True
    lease = bare_lease(found)
    # The candidate's own name means that this process was restarted or could not renew in time: no other process acts under it.
    if lease.holder in {"", node_id}:
        return True
    return observed is not None and observed.revision == found.revision and now - observed.since >= ttl_seconds


class Leadership:
    """One candidate. Call ``step`` three times per TTL; ``epoch`` is above 0 while this process leads."""

    def __init__(self, kv: KeyValue, node_id: str, ttl_seconds: float) -> None:
        self._kv = kv
        self._node_id = node_id
        self._ttl_seconds = ttl_seconds
        self._observed: Observed | None = None
        self._held: tuple[Lease, int] | None = None
        self._renewed = 0.0

    @property
    def epoch(self) -> int:
        """The epoch of this process's leadership; 0 when it does not lead, or could not renew for the lease's TTL."""
        # Checked against the clock, not only on renewal: a process that was frozen must not act as leader when it resumes.
        if self._held is None or time.monotonic() - self._renewed >= self._ttl_seconds:
            return 0
        return self._held[0].epoch

    async def step(self) -> None:
        """Renew the lease, or try to take it. Raises Fenced once when the lease was lost, Unavailable when the store cannot be reached."""
        if self._held is None:
            await self._try()
        else:
            await self._renew(*self._held)

    async def release(self) -> None:
        """Give the lease up, so that a standby need not wait for the TTL."""
        if self._held is not None:
            # By compare-and-set: a leader that lost the lease unknowingly must not release its successor's.
            lease, revision = self._held
            self._held = None
            await self._kv.update(LEADER_KEY, lease.model_copy(update={"holder": ""}).encode(), revision)

    async def _try(self) -> None:
        now = time.monotonic()
        try:
            found = await self._kv.get(LEADER_KEY)
        except Unavailable:
            self._observed = None  # nobody could renew meanwhile: the TTL counts from when the store is back
            raise
        # Only the time between this process's own observations counts: no other clock is consulted (docs/adr/0003).
        if found is not None and (self._observed is None or self._observed.revision != found.revision):
            self._observed = Observed(found.revision, now)
        if not may_take(found, self._observed, node_id=self._node_id, ttl_seconds=self._ttl_seconds, now=now):
            return
        before = bare_lease(found) if found else Lease(holder="", epoch=0)
        lease = before.grant(self._node_id, granted_by=0)
        try:
            revision = await (
                self._kv.update(LEADER_KEY, lease.encode(), found.revision) if found else self._kv.create(LEADER_KEY, lease.encode())
            )
        except Conflict:
            return
        # The time before the write, as in _renew.
        self._held, self._renewed = (lease, revision), now

    async def _renew(self, lease: Lease, revision: int) -> None:
        started = time.monotonic()
        try:
            revision = await self._kv.update(LEADER_KEY, lease.encode(), revision)
        except Conflict:
            await self._lost(lease)
            return
        except Unavailable:
            if time.monotonic() - self._renewed >= self._ttl_seconds:
                self._held = None
            raise
        # The time before the request: others may count the TTL from the moment when the write reached the store.
        self._held, self._renewed = (lease, revision), started

    async def _lost(self, lease: Lease) -> None:
        found = await self._kv.get(LEADER_KEY)
        # The conflict is with our own renewal whose acknowledgement was lost. Others count the TTL from that write, at a time unknown
        # here: only another renewal starts the TTL at a known time.
        if found is not None and bare_lease(found) == lease:
            await self._renew(lease, found.revision)
            return
        self._held = self._observed = None
        current = bare_lease(found) if found else None
        raise Fenced(f"{current.holder or 'nobody'} leads with epoch {current.epoch}" if current else "the leader's lease is gone")
