"""The WAL's ports: appending for receivers, reading for writers, dead letters and live watching.

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
    """One appended body. ``items`` counts its spans, records or points; ``appended_at_ns`` is the server's time of the append, which only
    grows.
    """

    sequence: int
    signal: str
    items: int
    body: bytes
    appended_at_ns: int = 0

    def mark(self, stream_created_ns: int) -> Mark:
        """The mark by which this entry is recognised later, in a stream created at the given time."""
        return Mark(self.sequence, self.appended_at_ns, digest_of(self.body), stream_created_ns)


def digest_of(body: bytes) -> str:
    """A short digest of a body."""
    return hashlib.blake2b(body, digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A body that storage refused for good: its shard and sequence, the reason, and the body itself."""

    shard: int
    sequence: int
    signal: str
    items: int
    reason: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter in its stream: ``letter_id`` identifies it, ``buried_at_ns`` is when it was stored."""

    letter_id: int
    buried_at_ns: int
    letter: DeadLetter


@dataclass(frozen=True, slots=True)
class WalState:
    """A shard's WAL: its first and last sequence, its size, its maximum size (0 when that is not known), and when it was created (ns since
    the epoch), which distinguishes it from a later stream of the same name.

    ``last`` is kept when everything is trimmed. ``last_appended_at_ns`` is the last entry's time stamp, 0 if there never was one; it
    distinguishes that entry from a later one with the same sequence.
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
        """How often this WAL was found to have lost acknowledged entries.

        If a server restart that showed on the connection shortened the WAL, the number MUST include that loss by the time the next append
        returns.
        """
        ...

    async def append(self, shard: int, signal: str, body: bytes, items: int, dedup_id: str) -> None:
        """Append one body; return only once it is durable on every replica that must hold it.

        Bodies that wait at the same time may become one entry. An entry whose acknowledgement is lost is sent again under the same id, made
        from the ``dedup_id`` of each body. A body that its client resends may be in the WAL twice; the reader drops the second by the
        digests in its records. Raises Overloaded when the WAL is full, Unavailable when it cannot be reached or does not answer in time (it
        may hold the body: send the same bytes again). Memory MUST stay bounded while the WAL is slow.
        """
        ...


class WalReader(Protocol):
    """The writer's side, for one shard."""

    async def read(self, after: Mark, *, max_items: int, max_bytes: int, wait_seconds: float) -> Sequence[Entry]:
        """The entries that follow the marked one, in order. An entry whose sequence is missing among them is lost for good.

        Returns as soon as the last entry reaches or passes ``max_items`` or ``max_bytes``, else after ``wait_seconds`` with what there is.
        Raises Diverged when the WAL holds another entry, or none, in place of the marked one, unless that was trimmed; what follows its
        sequence now MUST NOT be returned then. Raises Unavailable when the WAL cannot be reached.
        """
        ...

    async def read_range(self, first: int, last: Mark) -> Sequence[Entry]:
        """The entries from sequence ``first`` to the marked one that the WAL still holds, in order, without later entries that reuse their
        sequences.
        """
        ...

    def mark(self, entry: Entry) -> Mark:
        """The mark of an entry that this reader returned."""
        ...

    async def resume(self, mark: Mark) -> Mark:
        """The mark after which to resume in a WAL that has Diverged from ``mark``: the last entry appended no later than the marked one.

        Every entry after it was appended later, and so was never read. Raises Unavailable.
        """
        ...

    def take_lost(self) -> int:
        """The number of entries, since the last call, that are known to have been in the WAL and were lost before they were returned."""
        ...

    async def trim(self, through: int) -> None:
        """Delete entries up to and including ``through``."""
        ...

    async def state(self) -> WalState:
        """What the WAL holds now."""
        ...

    async def bury(self, letter: DeadLetter) -> None:
        """Append a dead letter, durably, and only once however often the same letter is buried."""
        ...


class DigestStore(Protocol):
    """Keeps the digests of entries that a shard's writer trims from the WAL. Every method raises Unavailable."""

    async def load(self) -> Sequence[WrittenDigests]:
        """Everything that was saved and not forgotten, in order. MUST include whatever a ``save`` that returned has saved."""
        ...

    async def save(self, digests: WrittenDigests) -> int:
        """Store ``digests`` durably; return its place, a number that only grows."""
        ...

    async def forget(self, through: int) -> None:
        """Delete what was saved up to and including this place."""
        ...


@dataclass(frozen=True, slots=True)
class LiveBody:
    """A body that is being appended to some shard's WAL; ``items`` counts its spans, records or points."""

    items: int
    body: bytes


class LiveBus(Protocol):
    """Publishes what is being appended to current watchers; nothing is kept for later ones."""

    def watch(self, signal: str) -> AbstractAsyncContextManager[AsyncIterator[LiveBody]]:
        """The bodies of one signal, of every shard, from the start of the block on, each at most once and as it is appended.

        This is a view, not the WAL: bodies may be missing after a reconnection, and bodies that the WAL refuses, or already holds, may be
        included. MUST NOT slow the appender: what a watcher does not take in time is lost to it. MUST cost nothing after the end of the
        block. Raises Unavailable when there is no connection; the iterator ends when the connection is lost for good.
        """
        ...


class DeadLetters(Protocol):
    """The dead letters, for inspection. Every method raises Unavailable when the WAL cannot be reached."""

    async def list(self, after: int, limit: int) -> Sequence[Buried]:
        """Letters with an id above ``after``, oldest first: up to ``limit``, fewer when they are large, and at least one if
        there is any.
        """
        ...

    async def get(self, letter_id: int) -> Buried | None:
        """The letter with this id, or None when there is none (any more)."""
        ...

    async def drop(self, letter_id: int) -> None:
        """Delete a letter; it is no error if it is already gone."""
        ...
