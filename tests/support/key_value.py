"""A KeyValue in memory, for tests that are not about an unavailable store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from tael.cluster.api import Versioned
from tael.errors import Conflict


class MemoryKeyValue:
    """See KeyValue."""

    def __init__(self) -> None:
        self._values: dict[str, Versioned] = {}
        self._revision = 0

    async def get(self, key: str) -> Versioned | None:
        """See KeyValue."""
        return self._values.get(key)

    async def create(self, key: str, value: bytes) -> int:
        """See KeyValue."""
        return await self.update(key, value, 0)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """See KeyValue."""
        found = self._values.get(key)
        if (found.revision if found else 0) != revision:
            raise Conflict(f"{key} has changed")
        return await self.put(key, value)

    async def put(self, key: str, value: bytes) -> int:
        """See KeyValue."""
        self._revision += 1
        self._values[key] = Versioned(key, value, self._revision)
        return self._revision

    async def delete(self, key: str) -> None:
        """See KeyValue."""
        self._values.pop(key, None)

    async def list(self, prefix: str) -> list[Versioned]:
        """See KeyValue."""
        return [found for key, found in sorted(self._values.items()) if key.startswith(prefix)]

    async def watch(self, prefix: str) -> AsyncIterator[Versioned]:
        """See KeyValue; changes after the first values are not reported."""
        for found in await self.list(prefix):
            yield found
        await asyncio.Event().wait()
