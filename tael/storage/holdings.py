"""The port of how much is stored of each tenant and signal, and since when; and its composition over shards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from tael.storage.api import Answer
from tael.storage.gather import Merged


class Holding(NamedTuple):
    """A signal of a tenant. ``items`` are its spans, log records or samples, of rollups the rows; ``hot_bytes`` are those on disk of all its tables,
    about, and ``cold_bytes`` those of its files.

    ``oldest_ns`` is the beginning of its oldest partition or hour of files, which ends at ``oldest_end_ns`` and goes with ``oldest_bytes``.
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
        """In both tiers."""
        return self.hot_bytes + self.cold_bytes


class HoldingReader(Protocol):
    """Looks at one shard, or at several composed as one. Raises as SpanReader does."""

    async def holdings(self, tenant: str | None) -> Answer[list[Holding]]:
        """Each tenant and signal of which anything is stored, by tenant and signal; ``tenant`` None is every tenant."""
        ...


class MergedHoldings(Merged[HoldingReader]):
    """See HoldingReader."""

    async def holdings(self, tenant: str | None) -> Answer[list[Holding]]:
        """See HoldingReader."""
        found = await self._gather.ask(lambda reader: reader.holdings(tenant))
        return Answer(merged_holdings(one for several in found.values for one in several), found.missing)


def merged_holdings(holdings: Iterable[Holding]) -> list[Holding]:
    """One for each tenant and signal: sums, and of the oldest partitions the one that ends first."""
    merged: dict[tuple[str, str], Holding] = {}
    for one in holdings:
        other = merged.get(one[:2])
        merged[one[:2]] = one if other is None else _sum(one, other)
    return [merged[key] for key in sorted(merged)]


def _sum(one: Holding, other: Holding) -> Holding:
    first = min(one.oldest_end_ns, other.oldest_end_ns)
    goes = sum(each.oldest_bytes for each in (one, other) if each.oldest_end_ns == first)
    hot, cold = one.hot_bytes + other.hot_bytes, one.cold_bytes + other.cold_bytes
    return Holding(*one[:2], one.items + other.items, hot, cold, min(one.oldest_ns, other.oldest_ns), first, goes)
