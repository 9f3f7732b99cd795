"""The key-value port under leases, membership and the shard map."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Versioned:
    """A value and the revision it was written at. Revisions of a bucket only grow."""

    key: str
    value: bytes
    revision: int


class KeyValue(Protocol):
    """A linearizable store of small values. Every method raises Unavailable when the store cannot be reached in time."""

    async def get(self, key: str) -> Versioned | None:
        """The newest value, or None. MUST NOT return a value older than one whose write already returned."""
        ...

    async def create(self, key: str, value: bytes) -> int:
        """Write a key that does not exist; return its revision. Raises Conflict when it exists."""
        ...

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """Compare-and-set: write if the key is still at ``revision``; return the new one. Raises Conflict otherwise."""
        ...

    async def put(self, key: str, value: bytes) -> int:
        """Write unconditionally; return the new revision. Only for keys with one writer."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the key; it is no error if the key does not exist."""
        ...

    async def list(self, prefix: str) -> list[Versioned]:
        """Every key that starts with ``prefix``, by key."""
        ...

    def watch(self, prefix: str) -> AsyncIterator[Versioned]:
        """First the present values, then each change as it happens; a deletion has an empty value. Survives reconnects."""
        ...
