"""An object store in memory, for tests that are not about the bucket itself."""

from __future__ import annotations

from tael.errors import Conflict, NotFound


class MemoryObjects:
    """An ObjectStore in memory; ``kept`` holds the objects."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def ensure_bucket(self) -> None:
        """See ObjectStore."""

    async def put(self, key: str, body: bytes) -> None:
        """See ObjectStore."""
        self.kept[key] = body

    async def create(self, key: str, body: bytes) -> None:
        """See ObjectStore."""
        if key in self.kept:
            raise Conflict(f"object {key} exists")
        self.kept[key] = body

    async def get(self, key: str) -> bytes:
        """See ObjectStore."""
        if key not in self.kept:
            raise NotFound(key)
        return self.kept[key]

    async def list(self, prefix: str) -> list[str]:
        """See ObjectStore."""
        return sorted(key for key in self.kept if key.startswith(prefix))

    async def delete(self, key: str) -> None:
        """See ObjectStore."""
        self.kept.pop(key, None)
