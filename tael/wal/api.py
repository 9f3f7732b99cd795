"""The WAL's ports: what a receiver may promise a client, and what the writer reads.

The WAL of a shard is one sequence of entries, numbered from 1 without reuse. An entry holds one encoded ``WalBatch`` of one signal
(docs/formats.md); the WAL never looks inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from tael.model.mark import Mark
from tael.pb.wal_pb2 import WrittenDigests


@dataclass(frozen=True, slots=True)
class Entry:
    """One appended body. ``items`` counts its spans, records or points; ``appended_at_ns`` is when the server took it, which grows."""

    sequence: int
    signal: str
    items: int
    body: bytes
    appended_at_ns: int = 0

    def mark(self, stream_created_ns: int) -> Mark:
        """The entry as it is recognised later, in a stream that was made at that time."""
        return Mark(self.sequence, self.appended_at_ns, digest_of(self.body), stream_created_ns)


def digest_of(body: bytes) -> str:
    """A short digest of a body."""
    return hashlib.blake2b(body, digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A body that storage refused for good: where it stood, why it was refused, and the body itself."""

    shard: int
    sequence: int
    signal: str
    items: int
    reason: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter in its stream: ``letter_id`` names it, ``buried_at_ns`` is when it came there."""

    letter_id: int
    buried_at_ns: int
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class WalState:
    """A shard's WAL: the first and last sequence that it holds, its size, the size that it may have (0 when that is not known), and when it
    was made (ns since the epoch), which tells it from one of the same name that was made later.

    ``last`` stays when everything is trimmed. ``last_appended_at_ns`` is the last entry's time stamp, 0 where there has been none; it tells
    that entry from one that took its sequence later.
    """

    first: int
    last: int
    size_bytes: int
    max_bytes: int = 0
    created_ns: int = 0
    last_appended_at_ns: int = 0


class WalAppender(Protocol):
    """The receivers' side."""

    @property
    def max_body_bytes(self) -> int:
        """The largest body that one append takes."""
        ...

    def turns(self, shard: int) -> int:
        """How often this WAL was seen to have lost entries that it had acknowledged. MUST be up to date when an append returns whose WAL a
        server restart, as far as the connection shows it, has shortened.
        """
        ...

    async def append(self, shard: int, signal: str, body: bytes, items: int, dedup_id: str) -> None:
        """Append one body; return only once it is durable on every replica that must hold it.

        Bodies that wait at the same time may become one entry. An entry whose acknowledgement is lost is sent again under the same id, made
        of the ``dedup_id`` of each; a body that its client sends again may be in the WAL twice, and its reader drops the second by the digest
        in its records. Raises Overloaded when the WAL is full, Unavailable when it cannot be reached or does not answer in time
        (the body may be in it: send it again as it is). Memory MUST stay bounded while the WAL is slow.
        """
        ...


class WalReader(Protocol):
    """The writer's side, for one shard."""

    async def read(self, after: Mark, *, max_items: int, max_bytes: int, wait_seconds: float) -> Sequence[Entry]:
        """The entries that follow the marked one, in order; where their sequences leave one out, it is gone for good.

        Returns as soon as ``max_items`` or ``max_bytes`` is reached or passed by the last entry, else when ``wait_seconds`` are over
        with what there is. Raises Diverged when the marked entry is not in the WAL as it was marked and was not trimmed: what follows its
        sequence now MUST NOT be returned then. Raises Unavailable when the WAL cannot be reached.
        """
        ...

    async def read_range(self, first: int, last: Mark) -> Sequence[Entry]:
        """The entries from sequence ``first`` to the marked one that the WAL still holds, in order, and none that took their place later."""
        ...

    def mark(self, entry: Entry) -> Mark:
        """The mark of an entry that this reader returned."""
        ...

    async def resume(self, mark: Mark) -> Mark:
        """Where to go on in a WAL that has Diverged from a mark: the last entry that was appended no later than the marked one.

        Everything behind it was appended later and was not read before. Raises Unavailable.
        """
        ...

    def take_lost(self) -> int:
        """How many entries that were seen to be in the WAL are gone from it and were never returned, since the last call."""
        ...

    async def trim(self, through: int) -> None:
        """Forget entries up to and including ``through``."""
        ...

    async def state(self) -> WalState:
        """What the WAL holds now."""
        ...

    async def bury(self, letter: DeadLetter) -> None:
        """Append to the dead letters, durably and once, however often the same letter is buried."""
        ...


class DigestStore(Protocol):
    """Where a shard's writer keeps what it must know of the entries that it trims. Every method raises Unavailable."""

    async def load(self) -> Sequence[WrittenDigests]:
        """Everything that was saved and not forgotten, in order; MUST NOT miss what a ``save`` that returned has saved."""
        ...

    async def save(self, digests: WrittenDigests) -> int:
        """Keep it durably; return its place."""
        ...

    async def forget(self, through: int) -> None:
        """Forget what was saved up to and including this place."""
        ...


@dataclass(frozen=True, slots=True)
class LiveBody:
    """A body on its way into the WAL of some shard; ``items`` counts its spans, records or points."""

    items: int
    body: bytes


class LiveBus(Protocol):
    """What is being appended, for those who watch; nothing is kept for those who do not."""

    def watch(self, signal: str) -> AbstractAsyncContextManager[AsyncIterator[LiveBody]]:
        """The bodies of one signal, of every shard, from the moment the block begins, each at most once and as it is appended.

        It is a view, not the WAL: bodies may be missing after a reconnection, and one that the WAL then refused, or held already, may
        be among them. MUST NOT slow the appender: what a watcher does not take in time is lost to it. MUST cost nothing once the block has
        ended. Raises Unavailable when there is no connection; the iterator ends when the connection is lost for good.
        """
        ...


class DeadLetters(Protocol):
    """What storage refused for good, for whoever finds out why. Every method raises Unavailable when the WAL cannot be reached."""

    async def list(self, after: int, limit: int) -> Sequence[Buried]:
        """Letters with an id above ``after``, oldest first: up to ``limit``, at least one where there is any, and few that are large."""
        ...

    async def get(self, letter_id: int) -> Buried | None:
        """One letter, or None when it is not there (any more)."""
        ...

    async def drop(self, letter_id: int) -> None:
        """Forget a letter; forgetting what is gone already is no error."""
        ...
