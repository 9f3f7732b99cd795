"""Requests to delete a trace, or everything of a user, a session or a tenant, and how far each shard is with them.

``deletion.request.<id>`` is written once; ``deletion.progress.<id>.<shard>`` by the shard's compactor alone.
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
"""How long a deletion that is done can be asked for."""
_REQUEST, _PROGRESS = "deletion.request.", "deletion.progress."


class Deletion(Stored):
    """What is to be deleted of a tenant: what came up to ``requested_ns``, on the first ``shards`` shards. ``value`` is a trace's id in hex, a user or
    a session; the tenant itself where that is what goes.
    """

    id: str
    tenant: str
    kind: Kind
    value: str
    requested_ns: int
    shards: int


class Progress(Stored):
    """How far a shard is. ``until`` are the last sequences of its WALs when it began: what is behind them came later.

    ``traces`` (ids in hex) are those that it is at: once the spans by which they were found have gone, nothing else would tell. ``rows`` are those
    deleted so far, ``reason`` is what it waits for, ``at_ns`` when that was written. ``gone`` says that no row is left, but perhaps payloads.
    """

    state: State = "waiting"
    until: Mapping[str, int] = {}
    traces: Sequence[str] = ()
    rows: int = 0
    gone: bool = False
    reason: str = ""
    at_ns: int = 0


def new_deletion(tenant: str, kind: Kind, value: str, *, now_ns: int, shards: int) -> Deletion:
    """A request with an id of its own; ids are in order of time."""
    # Twelve hex digits of milliseconds have one length for some nine thousand years, so that the order of keys is the order of time.
    found = f"{now_ns // NS_PER_MS:012x}{secrets.token_hex(4)}"
    return Deletion(id=found, tenant=tenant, kind=kind, value=value, requested_ns=now_ns, shards=shards)


def state_of(deletion: Deletion, progress: Mapping[int, Progress]) -> State:
    """Done when every shard is, running once one has begun."""
    states = [progress.get(shard, Progress()).state for shard in range(deletion.shards)]
    if all(state == "done" for state in states):
        return "done"
    return "waiting" if all(state == "waiting" for state in states) else "running"


class Deletions:
    """Requests and progress in the cluster's bucket. Every method raises Unavailable when that cannot be reached."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self._damaged = DamagedKeys()

    async def request(self, tenant: str, kind: Kind, value: str, *, now_ns: int, shards: int) -> Deletion:
        """Keep a new request; every shard's compactor finds it and carries it out."""
        deletion = new_deletion(tenant, kind, value, now_ns=now_ns, shards=shards)
        await self._kv.create(_REQUEST + deletion.id, deletion.encode())
        return deletion

    async def get(self, deletion_id: str) -> Deletion | None:
        """The request of this id; None for one that is not there."""
        found = await self._kv.get(_REQUEST + deletion_id)
        return self._damaged.read(Deletion, found) if found else None

    async def list(self, wanted: Callable[[Deletion], bool] = lambda _: True) -> list[Deletion]:
        """Those that are wanted, the oldest first."""
        found = [self._damaged.read(Deletion, stored) for stored in await self._kv.list(_REQUEST)]
        return [one for one in found if one is not None and wanted(one)]

    async def progress(self, deletion: Deletion) -> dict[int, Progress]:
        """How far each shard is that has begun."""
        prefix = f"{_PROGRESS}{deletion.id}."
        found = {int(one.key.removeprefix(prefix)): self._damaged.read(Progress, one) for one in await self._kv.list(prefix)}
        return {shard: progress for shard, progress in found.items() if progress is not None}

    async def progress_of(self, deletion: Deletion, shard: int) -> Progress:
        """How far one shard is. A damaged key counts as not begun: beginning again does no harm to what is done."""
        found = await self._kv.get(f"{_PROGRESS}{deletion.id}.{shard}")
        return (self._damaged.read(Progress, found) if found else None) or Progress()

    async def record(self, deletion: Deletion, shard: int, progress: Progress) -> None:
        """Keep how far a shard is. Without compare-and-set: two owners of a shard may both write it, and what they did is the same."""
        await self._kv.put(f"{_PROGRESS}{deletion.id}.{shard}", progress.encode())

    async def forget(self, now_ns: int) -> int:
        """Drop those that were done ``FORGOTTEN_NS`` ago; how many.

        The request goes last: of one without progress, a shard would only find again that nothing is left of it.
        """
        count = 0
        # The request's time bounds the end's from below and is at hand; progress is read only of what can be old enough.
        for deletion in await self.list(lambda one: now_ns - one.requested_ns >= FORGOTTEN_NS):
            progress = await self.progress(deletion)
            if state_of(deletion, progress) == "done" and now_ns - max(one.at_ns for one in progress.values()) >= FORGOTTEN_NS:
                for shard in progress:
                    await self._kv.delete(f"{_PROGRESS}{deletion.id}.{shard}")
                await self._kv.delete(_REQUEST + deletion.id)
                count += 1
        return count
