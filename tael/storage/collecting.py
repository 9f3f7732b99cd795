"""The port through which payloads are collected that nothing refers to, for the compactor (docs/adr/0025)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tael.storage.erase import Erasure, Selection


@dataclass(frozen=True, slots=True)
class Stray:
    """A payload that something in an hour of the shard refers to while the hour does not have it: it was posted by hand, or is of another hour."""

    tenant: str
    sha256: bytes
    hour_ns: int


@dataclass(frozen=True, slots=True)
class Due:
    """Payloads of an hour that nothing referred to at ``since_ns``, nor does now: what came up to then may go. Without hashes it is all of the hour."""

    tenant: str
    hour_ns: int
    since_ns: int
    hashes: tuple[bytes, ...]

    def parts(self, most: int) -> Sequence[Due]:
        """The same in parts of so many hashes."""
        starts = range(0, len(self.hashes), most)
        return [replace(self, hashes=self.hashes[start : start + most]) for start in starts] if self.hashes else [self]

    @property
    def selection(self) -> Selection:
        """What of the tenant's rows that is."""
        return Selection(Erasure(self.tenant, "tenant", "", self.since_ns), hashes=self.hashes, hour_ns=self.hour_ns)


class CollectStore(Protocol):
    """One shard's payloads, and what refers to them, in the hot tier and on their way out of it. Times are nanoseconds since the epoch.

    Every method can be repeated by anybody at any time, and raises Retryable when the shard does not answer, Rejected when it refuses for good.
    """

    async def changed_days(self, since_ns: int) -> Sequence[int]:
        """The starts of the days of which payloads, or what refers to them, came since."""
        ...

    async def condemn(self, day_ns: int, sent_until_ns: int, now_ns: int, due_ns: int) -> None:
        """Condemn the payloads of a day that were sent up to a time and that nothing in their hour refers to.

        MUST leave alone what came before the shard knew what refers to payloads.
        """
        ...

    async def strays(self, day_ns: int, limit: int) -> Sequence[Stray]:
        """Some of those of a day, the latest first."""
        ...

    async def spare(self) -> None:
        """Condemn no longer what something refers to, or what was sent again since."""
        ...

    async def due(self, now_ns: int, limit: int) -> Sequence[Due]:
        """Those that are due of some hours, the oldest first."""
        ...

    async def postpone(self, due: Due, until_ns: int) -> None:
        """They are due at a later time."""
        ...

    async def is_all(self, due: Due) -> bool:
        """Whether the tenant's hour has no other payload that came up to ``since_ns``."""
        ...

    async def needed(self, tenant: str, hashes: Collection[bytes]) -> frozenset[bytes]:
        """Those of which the shard has strays."""
        ...

    async def delete(self, due: Due) -> int:
        """Delete their rows where they are hot or on their way; how many. What came after ``since_ns`` MUST stay."""
        ...

    async def forget(self, due: Due) -> None:
        """They are in no tier any more: neither are they condemned, nor does an index say that they are there."""
        ...
