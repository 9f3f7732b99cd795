"""How long each signal of each tenant is kept, and whose rows of something stored are past it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tael.model.signals import LOGS, PAYLOADS, TRACES
from tael.model.time import HOUR_NS

_DAY_HOURS = 24
_REFERRED_BY: Final = {PAYLOADS: (TRACES, LOGS)}


@dataclass(frozen=True, slots=True)
class Tenants:
    """Those that are named or, with ``all_but``, all others."""

    names: frozenset[str] = frozenset()
    all_but: bool = False

    @property
    def is_nobody(self) -> bool:
        """Whether there is none."""
        return not self.all_but and not self.names

    @property
    def is_everybody(self) -> bool:
        """Whether no tenant is left out."""
        return self.all_but and not self.names

    def holds(self, tenant: str) -> bool:
        """Whether this one is among them."""
        return (tenant in self.names) is not self.all_but


@dataclass(frozen=True, slots=True)
class Retention:
    """Days by signal: ``everybody``'s, and those of single tenants by tenant, where they have their own."""

    everybody: Mapping[str, float]
    tenants: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def days(self, tenant: str, signal: str) -> float:
        """How long a signal of a tenant is kept."""
        own = self.tenants.get(tenant, {})
        return max(own.get(one, self.everybody[one]) for one in _kept_for(signal))

    def is_own(self, tenant: str, signal: str) -> bool:
        """Whether the tenant has a retention of its own."""
        own = self.tenants.get(tenant, {})
        return any(one in own for one in _kept_for(signal))

    def past(self, signal: str, end_ns: int, now_ns: int) -> Tenants:
        """Whose rows of something that ended at ``end_ns``, such as a partition or a file, have outlived their retention.

        What is stored goes whole where that is everybody, and else by rows.
        """

        def over(days: float) -> bool:
            return end_ns <= horizon_ns(now_ns, days)

        gone = over(max(self.everybody[one] for one in _kept_for(signal)))
        others = {tenant for tenant in self.tenants if self.is_own(tenant, signal) and over(self.days(tenant, signal)) is not gone}
        return Tenants(frozenset(others), all_but=gone)


def _kept_for(signal: str) -> tuple[str, ...]:
    """Whose retention a signal is kept for: its own, or the longest of those that refer to it."""
    return _REFERRED_BY.get(signal, (signal,))


def horizon_ns(now_ns: int, days: float) -> int:
    """What ended before this time is past a retention of so many days."""
    return now_ns - int(days * _DAY_HOURS * HOUR_NS)


def oldest_taken_ns(now_ns: int, days: float) -> int:
    """Items of before it are past their retention when they arrive: it is whole hours that go, and they when all of them is past."""
    kept_since = horizon_ns(now_ns, days)
    return max(0, kept_since - kept_since % HOUR_NS)
