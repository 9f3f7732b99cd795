"""The port that reports how much of each tenant and signal is stored, and since when, and its composition over shards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from tael.storage.api import Answer
from tael.storage.gather import Merged


class Holding(NamedTuple):
    """The stored data of one signal of one tenant.

    ``items`` is the number of spans, log records or samples (of rollups, the rows); ``hot_bytes`` the approximate size of its rows in all
    tables on disk, and ``cold_bytes`` the size of its files. ``oldest_ns`` and ``oldest_end_ns`` bound the partition or hour of files that
    expires next, which frees ``oldest_bytes``.
    """

    tenant: str
    signal: str
    items: int
    hot_bytes: int
    cold_bytes: int
    oldest_ns: int
    oldest_end_ns: int
    oldest_bytes: int

    @property
    def bytes(self) -> int:
        """The size in both tiers."""
        return self.hot_bytes + self.cold_bytes


class HoldingReader(Protocol):
    """Reads the holdings of one shard, or of several composed as one. Raises the errors of SpanReader."""

    async def holdings(self, tenant: str | None) -> Answer[list[Holding]]:
        """The holdings of a tenant, or of every tenant when it is None, by tenant and signal; those without stored data are left out."""
        ...


class MergedHoldings(Merged[HoldingReader]):
    """See HoldingReader."""

    async def holdings(self, tenant: str | None) -> Answer[list[Holding]]:
        """See HoldingReader."""
        gathered = await self._gather.ask(lambda reader: reader.holdings(tenant))
        return Answer(merged_holdings(one for several in gathered.values for one in several), gathered.missing)


def merged_holdings(holdings: Iterable[Holding]) -> list[Holding]:
    """One holding for each tenant and signal: sums, and the oldest partition that ends first."""
    merged: dict[tuple[str, str], Holding] = {}
    for one in holdings:
        other = merged.get(one[:2])
        merged[one[:2]] = one if other is None else _sum(one, other)
    return [merged[key] for key in sorted(merged)]


def _sum(one: Holding, other: Holding) -> Holding:
    first = min(one.oldest_end_ns, other.oldest_end_ns)
    freed = sum(each.oldest_bytes for each in (one, other) if each.oldest_end_ns == first)
    hot, cold = one.hot_bytes + other.hot_bytes, one.cold_bytes + other.cold_bytes
    return Holding(*one[:2], one.items + other.items, hot, cold, min(one.oldest_ns, other.oldest_ns), first, freed)
