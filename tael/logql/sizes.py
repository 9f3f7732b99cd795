"""How many bytes a stream's entries have in a chunk of Loki's, which is what its volumes tell; pure.

A chunk keeps lines as they are, each name and value of structured metadata once, and eight bytes for every pair of them.
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
        """One more entry."""
        self._bytes += len(line.encode()) + PAIR_BYTES * len(metadata)
        self._texts.update(metadata, metadata.values())

    @property
    def bytes(self) -> int:
        """Of all entries."""
        return self._bytes + sum(len(text.encode()) for text in self._texts)
