"""Which records of the WAL were written before, pure: a client that lost its answer sends the same request again, and it counts once.

A record is known by the digest in its envelope, for two minutes of the WAL's own clock and at most so many digests. What is dropped hangs on the
entries before and nothing else, so a successor that repeats an intent drops the same.
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
    """What is left of a batch to be written, and how many records, of each signal, were not new."""

    entries: Sequence[Entry]
    dropped: dict[str, int]


class Resends:
    """The records of one shard that were written last, at most ``most`` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[bytes] = set()
        self._order: deque[tuple[int, Sequence[bytes]]] = deque()
        self._unsaved: deque[tuple[int, int, Sequence[bytes]]] = deque()

    def learn(self, appended_at_ns: int, digests: Sequence[bytes]) -> None:
        """Know the records of an entry that was written before, the next in the order of the WAL."""
        self._known.update(digests)
        # Times of a WAL only grow, so the oldest are always in front and forgetting costs nothing for those that stay.
        self._order.append((appended_at_ns, digests))
        self._forget_before(appended_at_ns - _WINDOW_NS)

    def read(self, entry: Entry) -> None:
        """Know an entry's records that is still in the WAL."""
        self._forget_before(entry.appended_at_ns - _WINDOW_NS)
        self._remember(entry, [envelope.digest for envelope in envelopes(entry.body) if self._is_new(envelope)])

    def fresh(self, entries: Iterable[Entry]) -> Fresh:
        """The entries without the records that were seen before; what remains is known from now on."""
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
        """The digests of entries up to ``through`` that no message holds yet, as one; None when there are none."""
        message = WrittenDigests(generation=generation, through=through)
        for sequence, appended_at_ns, digests in self._unsaved:
            if sequence <= through:
                message.entries.add(appended_at=appended_at_ns, digests=b"".join(digests))
        return message if message.entries else None

    def saved(self, message: WrittenDigests) -> None:
        """``message``, as ``unsaved`` made it, is durable."""
        for _ in message.entries:
            self._unsaved.popleft()

    def renumber(self, place: int) -> None:
        """The WAL uses sequences behind ``place`` again: whatever is not saved yet belongs before them."""
        self._unsaved = deque((min(sequence, place), at, digests) for sequence, at, digests in self._unsaved)

    def _sort_out(self, entry: Entry) -> tuple[Entry | None, list[bytes], int]:
        digests: list[bytes] = []
        kept: list[Envelope] = []
        # Appends that were joined may hold a request and its resend: both are in this entry, and neither is known yet.
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
        # By the WAL's own time and not the clock: a successor hours later forgets the same, and so drops the same.
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
