"""The port for payloads, and its composition over shards: a payload is on every shard with an item that refers to it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from tael.model.time import ALL_TIME, TimeRange
from tael.storage.api import Answer
from tael.storage.gather import Merged


class PayloadReader(Protocol):
    """Reads payloads by the SHA-256 of their contents. Raises the errors of SpanReader."""

    async def get_payloads(self, tenant: str, hashes: Collection[bytes], time_range: TimeRange = ALL_TIME) -> Answer[dict[bytes, bytes]]:
        """The whole contents of those payloads that the tenant has, by hash. Payloads that an item in the range refers to MUST be found,
        others may be.
        """
        ...


class MergedPayloads(Merged[PayloadReader]):
    """See PayloadReader."""

    async def get_payloads(self, tenant: str, hashes: Collection[bytes], time_range: TimeRange = ALL_TIME) -> Answer[dict[bytes, bytes]]:
        """See PayloadReader."""
        gathered = await self._gather.ask(lambda reader: reader.get_payloads(tenant, hashes, time_range))
        return Answer({sha256: content for contents in gathered.values for sha256, content in contents.items()}, gathered.missing)
