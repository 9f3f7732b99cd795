"""The port that deletes rows out of partitions that stay, for the compactor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tael.model.retention import Tenants
from tael.storage.api import PartitionSize


class RowStore(Protocol):
    """One shard's rows by tenant. Every method raises Retryable when the shard does not answer, and Rejected when it refuses for good."""

    async def count_rows(self, partitions: Sequence[PartitionSize], tenants: Tenants) -> Mapping[PartitionSize, int]:
        """How many rows of these tenants there are, by partition; ``partitions`` are of one table, and one without rows may be left out."""
        ...

    async def delete_rows(self, partition: PartitionSize, tenants: Tenants) -> None:
        """Delete their rows from the partition, and return when no reader sees them and their bytes are free.

        MUST leave every other row alone, also one that arrives meanwhile; deleting what is gone already is no error.
        """
        ...
