"""Leases with growing epochs: the value of a lease's key, and its transitions. Pure.

A lease is one key. Its holder commits by compare-and-set on that key, so a holder that lost the lease (the key has changed) cannot commit,
however long it was suspended. The epoch grows by one with every change of holder and never decreases. Whether a holder is alive is judged
by watching its key or heartbeat on the observer's own monotonic clock; clocks of different machines are never compared.
"""

from __future__ import annotations

import secrets

from pydantic import BaseModel, ConfigDict

from tael.cluster.api import Versioned
from tael.cluster.stored import Stored
from tael.errors import Damaged
from tael.model.lanes import wal_name, wal_of_name
from tael.model.mark import Mark

LEADER_KEY = "lease.leader"
MEMBER_PREFIX = "member."
WRITER_PREFIX = "lease.writer."
UNKNOWN_HOLDER = "(damaged)"


def writer_key(wal: int) -> str:
    """The key of the lease under which a WAL is written."""
    return f"{WRITER_PREFIX}{wal_name(wal)}"


def wal_of(key: str) -> int | None:
    """The WAL of a writer lease's key, None for any other key."""
    name = key.removeprefix(WRITER_PREFIX)
    return wal_of_name(name) if name != key else None


def compactor_key(shard: int) -> str:
    """The key of a shard's compactor lease."""
    return f"lease.compactor.{shard}"


class Intent(BaseModel):
    """The range of a shard's WAL that the holder is about to write, both ends included.

    ``cuts`` are the sequences at which further inserts begin, ascending; a successor repeats the inserts with these borders, whatever it
    would choose itself. An insert above ``flat_bytes``, where that is set, is cut further by its content. ``landing`` is the edition of the
    landing tables inserted into, 0 in intents of older releases: a repeat must use the same tables, as a table only knows the tokens of its
    own inserts. ``mark`` identifies the last entry: a later entry with its sequence is not part of the range.
    """

    model_config = ConfigDict(frozen=True)

    first: int
    last: int
    cuts: tuple[int, ...] = ()
    mark: Mark | None = None
    flat_bytes: int = 0
    landing: int = 0

    def ranges(self) -> list[tuple[int, int]]:
        """First and last sequence of each insert, in order."""
        starts = (self.first, *self.cuts)
        return list(zip(starts, (*(cut - 1 for cut in self.cuts), self.last), strict=True))

    @property
    def end(self) -> Mark:
        """The last entry's mark; only its sequence where an older release wrote the intent."""
        return self.mark or Mark(self.last)


class Lease(Stored):
    """The value of a lease's key. ``holder`` is a node id, empty when nobody holds the lease.

    ``granted_by`` is the epoch of the leader that granted it (0 for the leader's own lease): a leader with a smaller epoch must not change
    it. ``committed`` and ``intent`` are the writer's progress in its shard's WAL and pass from holder to holder; ``mark`` identifies the
    entry at ``committed``. ``generation`` grows whenever the WAL turns out to reuse sequences, and so keeps tokens unique. ``lost`` counts
    entries that disappeared from the WAL before they were written.
    """

    holder: str
    epoch: int
    granted_by: int = 0
    committed: int = 0
    mark: Mark | None = None
    intent: Intent | None = None
    generation: int = 0
    lost: int = 0

    def grant(self, holder: str, *, granted_by: int) -> Lease:
        """The same progress under a new holder and the next epoch."""
        # The intent stays: its inserts may be half done, and the new holder repeats them before it writes anything else.
        return self.model_copy(update={"holder": holder, "epoch": self.epoch + 1, "granted_by": granted_by})

    @property
    def place(self) -> Mark:
        """The mark of the last committed entry; only its sequence where an older release committed it."""
        return self.mark or Mark(self.committed)

    def intend(self, intent: Intent) -> Lease:
        """The lease with ``intent`` as the next range to write, and the previous intent committed."""
        # One write commits the last range and declares the next: half the round trips, and no moment at which neither is recorded.
        return self.commit().model_copy(update={"intent": intent})

    def commit(self) -> Lease:
        """The lease after its intent was written to the hot tier."""
        if self.intent is None:
            return self
        return self.model_copy(update={"committed": self.intent.last, "mark": self.intent.mark, "intent": None})

    def resume(self, place: Mark) -> Lease:
        """The lease for a WAL that has diverged from what was committed and continues after ``place``, with tokens that were never used."""
        # The generation is part of every token: the hot tier must not take new entries under reused sequences for duplicates.
        changes = {"committed": place.sequence, "mark": place, "intent": None, "generation": self.generation + 1}
        return self.model_copy(update=changes)

    def lose(self, entries: int) -> Lease:
        """The lease after so many more entries were lost."""
        return self.model_copy(update={"lost": self.lost + entries})


def bare_lease(stored: Versioned) -> Lease:
    """A lease that carries no progress (a leader's or a compactor's). If it is damaged nothing is lost, and its holder counts as unknown.

    Its epoch is then the key's revision, which no granted epoch has reached: each write of the key raises its epoch by at most one, and its
    revision by at least one.
    """
    try:
        return Lease.decode(stored)
    except Damaged:
        return Lease(holder=UNKNOWN_HOLDER, epoch=stored.revision)


def first_lease() -> Lease:
    """A lease that nobody has held yet. Its generation is random: if keys and WAL were lost, tokens used before must not be used again."""
    return Lease(holder="", epoch=0, generation=secrets.randbits(48))


class Member(Stored):
    """A process's membership at ``member.<node id>``; rewriting the key is its heartbeat."""

    node_id: str
    target: str
    """ingest, query, compactor or coordinator; ``receive`` for an ingest without the writing role."""
    address: str = ""
    internal: str = ""
    """The address of its ``/metrics``, as ``host:port``."""
    started_at: float = 0.0
    beat: int = 0
