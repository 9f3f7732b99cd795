"""The port through which the compactor collects payloads that nothing refers to (docs/adr/0025)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from tael.storage.erase import Erasure, Selection


@dataclass(frozen=True, slots=True)
class Stray:
    """A payload that an item in hour ``hour_ns`` refers to but that hour does not hold: it was posted by hand, or belongs to
    another hour.
    """

    tenant: str
    sha256: bytes
    hour_ns: int


@dataclass(frozen=True, slots=True)
class Due:
    """Payloads of an hour that nothing referred to at ``since_ns`` or refers to now: the copies that came by then may be deleted. Without
    hashes, all payloads of the hour.
    """

    tenant: str
    hour_ns: int
    since_ns: int
    hashes: tuple[bytes, ...]

    def parts(self, most: int) -> Sequence[Due]:
        """The same payloads, in parts of at most ``most`` hashes."""
        starts = range(0, len(self.hashes), most)
        return [replace(self, hashes=self.hashes[start : start + most]) for start in starts] if self.hashes else [self]

    @property
    def selection(self) -> Selection:
        """The selection of the payloads' rows."""
        return Selection(Erasure(self.tenant, "tenant", "", self.since_ns), hashes=self.hashes, hour_ns=self.hour_ns)


class CollectStore(Protocol):
    """One shard's payloads and references to them, in the hot and rolling tables. Times are nanoseconds since the epoch.

    Any process may repeat any method at any time. Every method raises Retryable when the shard does not answer, and Rejected when it
    refuses for good.
    """

    async def seen_empty(self) -> int | None:
        """When the shard had an index of references and no row that could refer to a payload; None if it never did, or is declared whole
        already.
        """
        ...

    async def declare_whole(self, seen_empty: int) -> None:
        """Declare that the index knows everything that refers to a payload: the cold tier was empty at some time after ``seen_empty``.

        MUST do nothing when the tables are other ones than those that were seen empty then.
        """
        ...

    async def changed_days(self, since_ns: int) -> Sequence[int]:
        """The starts of the days for which payloads or references to payloads arrived since."""
        ...

    async def condemn(self, day_ns: int, sent_until_ns: int, now_ns: int, due_ns: int) -> None:
        """Condemn, due at ``due_ns``, the payloads of a day that were sent by ``sent_until_ns`` and that nothing in their hour refers to.

        MUST leave alone payloads that came before the shard kept an index of references, unless it is declared whole.
        """
        ...

    async def strays(self, day_ns: int, limit: int) -> Sequence[Stray]:
        """At most ``limit`` strays of a day, the latest first."""
        ...

    async def spare(self) -> None:
        """Lift the condemnation of payloads that something refers to or that were sent again since."""
        ...

    async def due(self, now_ns: int, limit: int) -> Sequence[Due]:
        """The payloads that are due, of at most ``limit`` hours, the oldest first."""
        ...

    async def postpone(self, due: Due, until_ns: int) -> None:
        """Make these payloads due at ``until_ns``."""
        ...

    async def is_all(self, due: Due) -> bool:
        """Whether ``due`` covers every payload of the tenant's hour that came by ``since_ns``."""
        ...

    async def needed(self, tenant: str, hashes: Collection[bytes]) -> frozenset[bytes]:
        """Those of ``hashes`` of which the shard has strays."""
        ...

    async def delete(self, due: Due) -> int:
        """Delete these payloads' rows from the hot and rolling tables and return how many. Rows that came after ``since_ns`` MUST stay."""
        ...

    async def forget(self, due: Due) -> None:
        """Remove these payloads, which no tier has any more, from the condemned and from the index."""
        ...
