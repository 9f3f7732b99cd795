"""The port of one shard's schema and of what its tables take on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PartitionSize:
    """One partition of one table on one shard: ``hours`` from ``start_ns`` on, in so many ``parts``.

    ``signal`` is the signal whose retention applies to the table: ``traces``, ``logs``, ``metrics`` or ``payloads``.
    """

    table: str
    start_ns: int
    rows: int
    bytes_on_disk: int
    parts: int
    signal: str
    hours: int = 1


@dataclass(frozen=True, slots=True)
class DetachedPart:
    """A part that no statement reads. ``reason`` is the engine's word (``broken-on-start``, ``noquorum``, …), or "" for a part that was
    detached by hand.
    """

    table: str
    name: str
    reason: str
    path: str
    bytes_on_disk: int


class SchemaStore(Protocol):
    """One shard's schema and partitions, for the coordinator and the compactor.

    Every method raises Retryable when the shard does not answer, and Rejected when it refuses the statement for good.
    """

    async def migrate(self) -> list[str]:
        """Bring the schema to this version of tael and return the names of the migrations that ran, oldest first.

        MUST be idempotent and resumable: the next call repeats in full a migration that died half way. Raises Rejected
        when the schema is newer than this program.
        """
        ...

    async def is_migrated(self) -> bool:
        """Whether the shard has this version's schema; False for a new disk. Cheap enough to be called now and then. Raises as ``migrate``
        does.
        """
        ...

    async def list_partitions(self) -> list[PartitionSize]:
        """Every partition of every table that grows with what is received, oldest first."""
        ...

    async def list_detached(self) -> list[DetachedPart]:
        """Every detached part of the shard's tables: it is on the shard's disks and is not read."""
        ...

    async def drop_partition(self, partition: PartitionSize) -> None:
        """Drop the partition; dropping one that is already gone is not an error."""
        ...
