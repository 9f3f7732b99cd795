"""The port through which the compactor deletes single tenants' rows from partitions that stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tael.model.retention import Tenants
from tael.storage.partitions import PartitionSize


class RowStore(Protocol):
    """One shard's rows by tenant. Every method raises Retryable when the shard does not answer, and Rejected when it refuses for good."""

    async def count_rows(self, partitions: Sequence[PartitionSize], tenants: Tenants) -> Mapping[PartitionSize, int]:
        """The number of rows of these tenants in each partition; ``partitions`` are all of one table. A partition without such rows may be
        left out.
        """
        ...

    async def delete_rows(self, partition: PartitionSize, tenants: Tenants) -> None:
        """Delete these tenants' rows from the partition, and return when no reader sees them and their space is free.

        MUST leave every other row alone, including rows that arrive meanwhile; deleting rows that are already gone is not an error.
        """
        ...
