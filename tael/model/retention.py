"""How long each signal of each tenant is kept, and which tenants' stored rows have outlived that. Pure."""

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
    """A set of tenants: those named or, with ``all_but``, all others."""

    names: frozenset[str] = frozenset()
    all_but: bool = False

    @property
    def is_nobody(self) -> bool:
        """Whether the set is empty."""
        return not self.all_but and not self.names

    @property
    def is_everybody(self) -> bool:
        """Whether the set has all tenants."""
        return self.all_but and not self.names

    def holds(self, tenant: str) -> bool:
        """Whether the set has this tenant."""
        return (tenant in self.names) is not self.all_but


@dataclass(frozen=True, slots=True)
class Retention:
    """Days by signal: ``everybody`` is the default, ``tenants`` the retention of tenants that have their own."""

    everybody: Mapping[str, float]
    tenants: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def days(self, tenant: str, signal: str) -> float:
        """How many days a signal of a tenant is kept."""
        own = self.tenants.get(tenant, {})
        return max(own.get(one, self.everybody[one]) for one in _kept_for(signal))

    def is_own(self, tenant: str, signal: str) -> bool:
        """Whether the tenant has a retention of its own."""
        own = self.tenants.get(tenant, {})
        return any(one in own for one in _kept_for(signal))

    def past(self, signal: str, end_ns: int, now_ns: int) -> Tenants:
        """The tenants whose rows in a partition or file that ended at ``end_ns`` have outlived their retention.

        The partition or file is removed as a whole where that is everybody, and row by row otherwise.
        """

        def over(days: float) -> bool:
            return end_ns <= horizon_ns(now_ns, days)

        gone = over(max(self.everybody[one] for one in _kept_for(signal)))
        others = {tenant for tenant in self.tenants if self.is_own(tenant, signal) and over(self.days(tenant, signal)) is not gone}
        return Tenants(frozenset(others), all_but=gone)


def _kept_for(signal: str) -> tuple[str, ...]:
    """The signals whose retention applies to a signal: itself, or those that refer to it, of which the longest counts."""
    return _REFERRED_BY.get(signal, (signal,))


def horizon_ns(now_ns: int, days: float) -> int:
    """The time before which data has outlived a retention of so many days."""
    return now_ns - int(days * _DAY_HOURS * HOUR_NS)


def oldest_taken_ns(now_ns: int, days: float) -> int:
    """The time before which items have outlived their retention on arrival. A full hour: hours are removed whole, once all of an hour is
    past.
    """
    kept_since = horizon_ns(now_ns, days)
    return max(0, kept_since - kept_since % HOUR_NS)
