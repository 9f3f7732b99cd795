"""How far the WAL of one shard is known to reach, and when it turned out to end earlier; pure.

A receiver's acknowledgements and the server's own words both tell it. Sequences that come again say that the entries which had them
before are gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Gone:
    """Entries ``first`` to ``last``, both included, were in the WAL and are not any more."""

    first: int
    last: int


@dataclass(slots=True)
class Tail:
    """``last`` is the highest sequence that is known of the WAL as it is now."""

    last: int = 0
    turns: int = 0
    _gone: list[Gone] = field(default_factory=list)

    def appended(self, sequence: int, before: int) -> None:
        """An append was acknowledged with this sequence, and the one before it from the same queue with ``before``."""
        # One queue's appends are acknowledged in order, so a sequence that does not grow was used before: the stream lost its tail.
        if sequence <= before:
            self._turn(sequence)
        self.last = max(self.last, sequence)

    def reaches(self, sequence: int) -> None:
        """The WAL is seen to hold this sequence."""
        self.last = max(self.last, sequence)

    def ends(self, last: int, *, known: int, turns: int) -> None:
        """Its leader says that it ends at ``last``; ``known`` and ``turns`` were its last sequence and turns before the leader was asked."""
        # A turn since the question was asked means that the answer is about a WAL of before.
        if last < known and turns == self.turns:
            self._turn(last + 1)

    def take_gone(self) -> list[Gone]:
        """What was found to be gone since the last call."""
        gone, self._gone = self._gone, []
        return gone

    def _turn(self, first: int) -> None:
        if first <= self.last:
            self._gone.append(Gone(first, self.last))
        self.last, self.turns = first - 1, self.turns + 1


class Tails:
    """The tails of every shard, shared by those who append and those who read in one process."""

    def __init__(self) -> None:
        self._tails: dict[int, Tail] = {}

    def of(self, shard: int) -> Tail:
        """The tail of one shard."""
        return self._tails.setdefault(shard, Tail())


def lost_between(gone: list[Gone], read_through: int) -> int:
    """How many entries of those that are gone were never read, by a reader that had read through a sequence of the time before."""
    return sum(max(0, part.last - max(part.first - 1, read_through)) for part in gone)
