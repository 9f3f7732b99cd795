"""Tracks the last known sequence of a shard's WAL, and detects that the WAL lost its tail; pure.

It learns from a receiver's acknowledgements and from the stream's leader. A sequence that is assigned again means that the entry that had
it before is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Gone:
    """Entries ``first`` to ``last`` (inclusive) were in the WAL and are lost."""

    first: int
    last: int


@dataclass(slots=True)
class Tail:
    """``last`` is the highest known sequence of the WAL as it is now; ``turns`` counts the detected losses."""

    last: int = 0
    turns: int = 0
    _gone: list[Gone] = field(default_factory=list)

    def appended(self, sequence: int, before: int) -> None:
        """An append was acknowledged with this sequence; the previous one of the same queue had sequence ``before``."""
        # The appends of one queue are acknowledged in order, so a sequence that does not grow is being reused: the stream lost its tail.
        if sequence <= before:
            self._turn(sequence)
        self.last = max(self.last, sequence)

    def reaches(self, sequence: int) -> None:
        """The WAL was seen to hold this sequence."""
        self.last = max(self.last, sequence)

    def ends(self, last: int, *, known: int, turns: int) -> None:
        """The stream's leader reports the end ``last``; ``known`` and ``turns`` are this tail's values from before the request was sent."""
        # If ``turns`` changed meanwhile, the answer describes the WAL from before a loss that is already counted.
        if last < known and turns == self.turns:
            self._turn(last + 1)

    def take_gone(self) -> list[Gone]:
        """The losses found since the last call."""
        gone, self._gone = self._gone, []
        return gone

    def _turn(self, first: int) -> None:
        if first <= self.last:
            self._gone.append(Gone(first, self.last))
        self.last, self.turns = first - 1, self.turns + 1


class Tails:
    """The tails of all shards, shared by the appender and the readers of one process."""

    def __init__(self) -> None:
        self._tails: dict[int, Tail] = {}

    def tail(self, shard: int) -> Tail:
        """The tail of one shard."""
        return self._tails.setdefault(shard, Tail())


def lost_between(gone: list[Gone], read_through: int) -> int:
    """How many of the lost entries a reader had not read that had read up to ``read_through`` before the loss."""
    return sum(max(0, part.last - max(part.first - 1, read_through)) for part in gone)
