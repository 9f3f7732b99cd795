"""The port through which the compactor moves the hours of one shard's tables to the cold tier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tael.cold.files import ColdFile
from tael.cold.manifest import OpenHour
from tael.cold.plan import Partitions


@dataclass(frozen=True, slots=True)
class Pace:
    """The resources of the shard that one export may use, so that reads and inserts keep the rest."""

    threads: int = 1
    memory_bytes: int = 1 << 30
    seconds: float = 1800


class RollStore(Protocol):
    """One shard's partitions on their way to the cold tier. Any process may repeat any method.

    Every method raises Retryable when the shard or the bucket does not answer, and Rejected when a statement is refused for good.
    """

    async def partitions(self) -> Partitions:
        """The partitions of the hot tables whose hours are rolled, and of their rolling twins."""
        ...

    async def free_bytes(self) -> int:
        """The free space, in bytes, on the fullest disk of the hot tables."""
        ...

    async def move(self, hour: OpenHour) -> None:
        """Move the rows that the hot table has of the hour at this moment to the rolling table; an hour without rows is not an error."""
        ...

    async def untangle(self, hour: OpenHour) -> bool:
        """If a move was cut off and left rows in both tables, drop those from the rolling table. Returns whether nothing is left there."""
        ...

    async def contents(self, hour: OpenHour, shard: int) -> Sequence[ColdFile]:
        """The files that the rows in the rolling table will be written to: one for each tenant, with ``bytes`` still unknown (0)."""
        ...

    async def export(self, file: ColdFile, pace: Pace) -> ColdFile:
        """Write the file, over any object that has its key, and read it back. Returns the file as it was read, ``bytes`` included."""
        ...

    async def drop(self, hour: OpenHour) -> None:
        """Drop the hour from the rolling table; an hour that is already gone is not an error."""
        ...

    async def roll_up(self, raw: ColdFile, generation: int, pace: Pace) -> tuple[ColdFile, int]:
        """Write the rollup of a file and read it back. Returns the rollup as it was read, and the number of raw rows that its rows stand
        for.
        """
        ...

    async def gather(self, files: Sequence[ColdFile], generation: int, pace: Pace) -> ColdFile:
        """Write one file of a day with the rows of several files of one tenant and day, and read it back."""
        ...

    async def merge(self, files: Sequence[ColdFile], generation: int, pace: Pace) -> ColdFile:
        """Write one file with the rows of several files of one hour and tenant, and read it back. Of rows with the same key, that of the
        latest generation is kept.
        """
        ...
