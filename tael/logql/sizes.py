"""The size of a stream's entries in one of Loki's chunks, which its volume endpoints report; pure.

A chunk keeps lines unchanged, each distinct name and value of structured metadata once, and eight bytes for every pair of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PAIR_BYTES: Final = 8


class ChunkSize:
    """Adds up the entries of one stream."""

    def __init__(self) -> None:
        self._bytes = 0
        self._texts: set[str] = set()

    def add(self, line: str, metadata: Mapping[str, str]) -> None:
        """Add an entry."""
        self._bytes += len(line.encode()) + PAIR_BYTES * len(metadata)
        self._texts.update(metadata, metadata.values())

    @property
    def bytes(self) -> int:
        """The size of all entries in bytes."""
        return self._bytes + sum(len(text.encode()) for text in self._texts)
