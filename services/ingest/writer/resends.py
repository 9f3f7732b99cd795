"""Recognises records of the WAL that were written before; pure. A client that lost an answer sends its request again, and it must count
once.

A record is recognised by the digest in its envelope, for two minutes of the WAL's own time and up to a number of digests. What is dropped
depends only on the preceding entries, so a successor that repeats an intent drops the same records.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tael.pb.wal_pb2 import WrittenDigests
from tael.wal.api import Entry
from tael.wal.codec import DIGEST_BYTES, Envelope, envelopes

WINDOW_SECONDS = 120
_WINDOW_NS = WINDOW_SECONDS * 10**9


@dataclass(frozen=True, slots=True)
class Fresh:
    """The entries of a batch that are left to write, and the number of dropped resends by signal."""

    entries: Sequence[Entry]
    dropped: dict[str, int]


class Resends:
    """The digests of the records last written to one shard, at most ``most`` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[bytes] = set()
        self._order: deque[tuple[int, Sequence[bytes]]] = deque()
        self._unsaved: deque[tuple[int, int, Sequence[bytes]]] = deque()

    def learn(self, appended_at_ns: int, digests: Sequence[bytes]) -> None:
        """Remember the digests of an entry that was written before. Call it in the order of the WAL."""
        self._known.update(digests)
        # Times in a WAL only grow, so the oldest digests are always in front and can be forgotten without a search.
        self._order.append((appended_at_ns, digests))
        self._forget_before(appended_at_ns - _WINDOW_NS)

    def read(self, entry: Entry) -> None:
        """Remember the records of an entry that is written, but still in the WAL."""
        self._forget_before(entry.appended_at_ns - _WINDOW_NS)
        self._remember(entry, [envelope.digest for envelope in envelopes(entry.body) if self._is_new(envelope)])

    def fresh(self, entries: Iterable[Entry]) -> Fresh:
        """The entries without records that were seen before; the remaining records are remembered."""
        left: list[Entry] = []
        dropped: dict[str, int] = {}
        for entry in entries:
            self._forget_before(entry.appended_at_ns - _WINDOW_NS)
            kept, digests, known = self._sort_out(entry)
            self._remember(entry, digests)
            if known:
                dropped[entry.signal] = dropped.get(entry.signal, 0) + known
            if kept is not None:
                left.append(kept)
        return Fresh(left, dropped)

    def unsaved(self, generation: int, through: int) -> WrittenDigests | None:
        """One message with the digests of entries up to ``through`` that are not saved yet; None when there are none."""
        message = WrittenDigests(generation=generation, through=through)
        for sequence, appended_at_ns, digests in self._unsaved:
            if sequence <= through:
                message.entries.add(appended_at=appended_at_ns, digests=b"".join(digests))
        return message if message.entries else None

    def saved(self, message: WrittenDigests) -> None:
        """``message``, as returned by ``unsaved``, is durable."""
        for _ in message.entries:
            self._unsaved.popleft()

    def renumber(self, place: int) -> None:
        """The WAL reuses the sequences after ``place``: digests that are not saved yet are filed under ``place`` at the latest."""
        self._unsaved = deque((min(sequence, place), at, digests) for sequence, at, digests in self._unsaved)

    def _sort_out(self, entry: Entry) -> tuple[Entry | None, list[bytes], int]:
        digests: list[bytes] = []
        kept: list[Envelope] = []
        # Joined appends may put a request and its resend into the same entry, before either is known.
        here: set[bytes] = set()
        count = 0
        for envelope in envelopes(entry.body):
            count += 1
            if not envelope.digest:
                kept.append(envelope)
            elif self._is_new(envelope) and envelope.digest not in here:
                kept.append(envelope)
                here.add(envelope.digest)
                digests.append(envelope.digest)
        if len(kept) == count:
            return entry, digests, 0
        if not kept:
            return None, digests, count
        body = b"".join(entry.body[envelope.start : envelope.end] for envelope in kept)
        return replace(entry, body=body, items=sum(envelope.items for envelope in kept)), digests, count - len(kept)

    def _forget_before(self, time_ns: int) -> None:
        # By the WAL's own time, not the clock: a successor that repeats this hours later must forget, and so drop, the same records.
        while self._order and (self._order[0][0] < time_ns or len(self._known) > self._most):
            self._known.difference_update(self._order.popleft()[1])

    def _is_new(self, envelope: Envelope) -> bool:
        return bool(envelope.digest) and envelope.digest not in self._known

    def _remember(self, entry: Entry, digests: Sequence[bytes]) -> None:
        if digests:
            self.learn(entry.appended_at_ns, digests)
            self._unsaved.append((entry.sequence, entry.appended_at_ns, digests))


def saved_entries(message: WrittenDigests) -> Iterator[tuple[int, list[bytes]]]:
    """Time and digests of each entry in a message."""
    for entry in message.entries:
        held = entry.digests
        yield entry.appended_at, [held[at : at + DIGEST_BYTES] for at in range(0, len(held), DIGEST_BYTES)]
