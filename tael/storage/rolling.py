"""The port through which the hours of one shard's tables go to the cold tier, for the compactor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tael.cold.files import ColdFile
from tael.cold.manifest import OpenHour
from tael.cold.plan import Partitions


@dataclass(frozen=True, slots=True)
class Pace:
    """What one export may take of the shard, so that reads and inserts keep the rest."""

    threads: int = 1
    memory_bytes: int = 1 << 30
    seconds: float = 1800


class RollStore(Protocol):
    """One shard's partitions on their way. Every method can be repeated, by whomever.

    Raises Retryable when the shard or the bucket does not answer, and Rejected when a statement is refused for good.
    """

    async def partitions(self) -> Partitions:
        """Those of the hot tables whose hours are rolled, and of their rolling twins."""
        ...

    async def free_bytes(self) -> int:
        """The space that is left on the disks of the hot tables, on the fullest of them."""
        ...

    async def move(self, hour: OpenHour) -> None:
        """Move its rows to the rolling table, all that are there at this moment; none is no error."""
        ...

    async def untangle(self, hour: OpenHour) -> bool:
        """Where a move was cut off and its rows are in both tables, drop those of the rolling table; whether that was so."""
        ...

    async def contents(self, hour: OpenHour, shard: int) -> Sequence[ColdFile]:
        """What the files of the hour will be, by what is in the rolling table: one a tenant, its ``bytes`` unknown (0)."""
        ...

    async def export(self, file: ColdFile, pace: Pace) -> ColdFile:
        """Write the file over whatever is under its key, and read it back: the file as it is, by what was read, ``bytes`` included."""
        ...

    async def drop(self, hour: OpenHour) -> None:
        """Drop it from the rolling table; what is gone already is no error."""
        ...

    async def roll_up(self, raw: ColdFile, generation: int, pace: Pace) -> tuple[ColdFile, int]:
        """Write the rollup of a file and read it back: the file as it is, and how many rows it says that it was made of."""
        ...

    async def gather(self, files: Sequence[ColdFile], generation: int, pace: Pace) -> ColdFile:
        """Write one file of a day with what several of one tenant and day hold, and read it back."""
        ...

    async def merge(self, files: Sequence[ColdFile], generation: int, pace: Pace) -> ColdFile:
        """Write one file with what several of one hour and tenant hold, and read it back. Of rows with one key the latest generation's counts."""
        ...
