"""One leader at a time, each with a larger epoch than the one before.

A candidate takes the leader's key by compare-and-set when it is free, or has not changed for the lease's length on the candidate's own
clock. The leader rewrites it three times in that length; when it loses that compare-and-set, or could not renew in time, it steps down.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from tael.cluster.api import KeyValue, Versioned
from tael.cluster.lease import LEADER_KEY, Lease, bare_lease
from tael.errors import Conflict, Fenced, Unavailable


@dataclass(frozen=True, slots=True)
class Observed:
    """The leader's key as a candidate last saw it change, and when (monotonic)."""

    revision: int
    since: float


def may_take(found: Versioned | None, observed: Observed | None, *, node_id: str, ttl_seconds: float, now: float) -> bool:
    """Whether a candidate may try for the lease: nobody holds it, it is its own from before, or it has not moved for its length."""
    if found is None:
        return True
    lease = bare_lease(found)
    # Its own key means that this process was restarted or could not renew in time: nobody else acts under it.
    if lease.holder in {"", node_id}:
        return True
    return observed is not None and observed.revision == found.revision and now - observed.since >= ttl_seconds


class Leadership:
    """One candidate. ``step`` is called three times in the lease's length; ``epoch`` is above 0 while it leads."""

    def __init__(self, kv: KeyValue, node_id: str, ttl_seconds: float) -> None:
        self._kv = kv
        self._node_id = node_id
        self._ttl_seconds = ttl_seconds
        self._observed: Observed | None = None
        self._held: tuple[Lease, int] | None = None
        self._renewed = 0.0

    @property
    def epoch(self) -> int:
        """The epoch that this process leads with; 0 when it does not, or could not renew for the lease's length."""
        # Checked on the own clock and not only on renewal: a process that was frozen must not act on waking.
        if self._held is None or time.monotonic() - self._renewed >= self._ttl_seconds:
            return 0
        return self._held[0].epoch

    async def step(self) -> None:
        """Renew, or try to take over. Raises Fenced once when the lease was lost, Unavailable when the store is away."""
        if self._held is None:
            await self._try()
        else:
            await self._renew(*self._held)

    async def release(self) -> None:
        """Give the lease up, so that a standby need not wait for it to go stale."""
        if self._held is not None:
            # By compare-and-set: a leader that lost the lease without knowing must not give up its successor's.
            lease, revision = self._held
            self._held = None
            await self._kv.update(LEADER_KEY, lease.model_copy(update={"holder": ""}).encode(), revision)

    async def _try(self) -> None:
        now = time.monotonic()
        try:
            found = await self._kv.get(LEADER_KEY)
        except Unavailable:
            self._observed = None  # nobody could renew: the length is counted from when the store is back
            raise
        # Only the time between two looks of this process counts; the age of the key by any other clock is never asked.
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
        # From before the write, as in _renew.
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
        # From before the request: others may count from the moment when the write reached the store.
        self._held, self._renewed = (lease, revision), started

    async def _lost(self, lease: Lease) -> None:
        found = await self._kv.get(LEADER_KEY)
        # The conflict is with our own renewal whose acknowledgement was lost. Others count from when that was written, which nobody here
        # knows: only another renewal says from when the length runs.
        if found is not None and bare_lease(found) == lease:
            await self._renew(lease, found.revision)
            return
        self._held = self._observed = None
        by = bare_lease(found) if found else None
        raise Fenced(f"{by.holder or 'nobody'} leads with epoch {by.epoch}" if by else "the leader's lease is gone")
