"""Requests to delete a trace, or all data of a user, session or tenant, and each shard's progress with them.

``deletion.request.<id>`` is written once, ``deletion.progress.<id>.<shard>`` only by the shard's compactor.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

from tael.cluster.api import KeyValue
from tael.cluster.damaged import DamagedKeys
from tael.cluster.stored import Stored
from tael.model.time import DAY_NS, NS_PER_MS

Kind = Literal["trace", "user", "session", "tenant"]
KINDS: Final[tuple[Kind, ...]] = ("trace", "user", "session", "tenant")
State = Literal["waiting", "running", "done"]
FORGOTTEN_NS: Final = 90 * DAY_NS
"""How long a finished deletion stays listed."""
_REQUEST, _PROGRESS = "deletion.request.", "deletion.progress."


class Deletion(Stored):
    """A request to delete a tenant's data that arrived up to ``requested_ns``, on the first ``shards`` shards. ``value`` is a trace id in
    hex, a user or a session, or the tenant itself for a deletion of all its data.
    """

    id: str
    tenant: str
    kind: Kind
    value: str
    requested_ns: int
    shards: int


class Progress(Stored):
    """A shard's progress. ``until`` holds the last sequence of each of its WALs at the start: later entries are not part of the deletion.

    ``traces`` (ids in hex) are being deleted now: they must be recorded, as the spans by which they were found may be deleted first.
    ``rows`` counts the rows deleted so far, ``reason`` says what the shard waits for, ``at_ns`` is when this was written. ``gone`` means
    that no row is left, but perhaps payloads.
    """

    state: State = "waiting"
    until: Mapping[str, int] = {}
    traces: Sequence[str] = ()
    rows: int = 0
    gone: bool = False
    reason: str = ""
    at_ns: int = 0


def new_deletion(tenant: str, kind: Kind, value: str, *, now_ns: int, shards: int) -> Deletion:
    """A request with a new id; ids sort by time."""
    # Milliseconds fit into twelve hex digits for almost nine thousand years, so keys sort by time.
    new_id = f"{now_ns // NS_PER_MS:012x}{secrets.token_hex(4)}"
    return Deletion(id=new_id, tenant=tenant, kind=kind, value=value, requested_ns=now_ns, shards=shards)


def state_of(deletion: Deletion, progress: Mapping[int, Progress]) -> State:
    """``done`` when every shard is done, ``waiting`` while none has begun, else ``running``."""
    states = [progress.get(shard, Progress()).state for shard in range(deletion.shards)]
    if all(state == "done" for state in states):
        return "done"
    return "waiting" if all(state == "waiting" for state in states) else "running"


class Deletions:
    """Requests and progress in the cluster's bucket. Every method raises Unavailable when the bucket cannot be reached."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self._damaged = DamagedKeys()

    async def request(self, tenant: str, kind: Kind, value: str, *, now_ns: int, shards: int) -> Deletion:
        """Store a new request, which every shard's compactor finds and carries out."""
        deletion = new_deletion(tenant, kind, value, now_ns=now_ns, shards=shards)
        await self._kv.create(_REQUEST + deletion.id, deletion.encode())
        return deletion

    async def get(self, deletion_id: str) -> Deletion | None:
        """The request with this id, or None."""
        found = await self._kv.get(_REQUEST + deletion_id)
        return self._damaged.read(Deletion, found) if found else None

    async def list(self, wanted: Callable[[Deletion], bool] = lambda _: True) -> list[Deletion]:
        """The requests that match ``wanted``, oldest first."""
        found = [self._damaged.read(Deletion, stored) for stored in await self._kv.list(_REQUEST)]
        return [one for one in found if one is not None and wanted(one)]

    async def progress(self, deletion: Deletion) -> dict[int, Progress]:
        """The progress of each shard that has begun."""
        prefix = f"{_PROGRESS}{deletion.id}."
        found = {int(one.key.removeprefix(prefix)): self._damaged.read(Progress, one) for one in await self._kv.list(prefix)}
        return {shard: progress for shard, progress in found.items() if progress is not None}

    async def progress_of(self, deletion: Deletion, shard: int) -> Progress:
        """The progress of one shard. A damaged key counts as not begun: starting over does no harm."""
        found = await self._kv.get(f"{_PROGRESS}{deletion.id}.{shard}")
        return (self._damaged.read(Progress, found) if found else None) or Progress()

    async def record(self, deletion: Deletion, shard: int, progress: Progress) -> None:
        """Store a shard's progress. No compare-and-set is needed: if two owners of a shard both write it, they did the same work."""
        await self._kv.put(f"{_PROGRESS}{deletion.id}.{shard}", progress.encode())

    async def forget(self, now_ns: int) -> int:
        """Delete the deletions that were done ``FORGOTTEN_NS`` ago; return their number.

        The request is deleted last: if this is interrupted, a shard only finds again that nothing is left to delete.
        """
        count = 0
        # A deletion ends after it was requested, so progress is read only for requests that are old enough.
        for deletion in await self.list(lambda one: now_ns - one.requested_ns >= FORGOTTEN_NS):
            progress = await self.progress(deletion)
            if state_of(deletion, progress) == "done" and now_ns - max(one.at_ns for one in progress.values()) >= FORGOTTEN_NS:
                for shard in progress:
                    await self._kv.delete(f"{_PROGRESS}{deletion.id}.{shard}")
                await self._kv.delete(_REQUEST + deletion.id)
                count += 1
        return count
