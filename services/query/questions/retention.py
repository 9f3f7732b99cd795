"""The query of how long each tenant's signals are kept, and what is stored of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.query.backend import Backend
from services.query.parameters import Parameters
from tael.model.retention import Retention
from tael.model.time import DAY_NS
from tael.storage.api import Answer
from tael.storage.holdings import Holding


@dataclass(frozen=True, slots=True)
class Kept:
    """One tenant's signal: the retention in days, whether it is the tenant's own, and what is stored."""

    tenant: str
    signal: str
    days: float
    is_own: bool
    held: Holding | None

    @property
    def next_ns(self) -> int | None:
        """When the oldest stored data expires; None where nothing is stored, in the past where the compactor has not removed it yet."""
        return None if self.held is None else self.held.oldest_end_ns + int(self.days * DAY_NS)


async def list_retention(backend: Backend, tenant: str | None, pairs: Sequence[tuple[str, str]]) -> Answer[list[Kept]]:
    """Every signal of a tenant, or of all tenants, by tenant and signal. Raises Rejected, and what the reader raises."""
    Parameters(pairs, known=())
    async with backend.turns.turn("retention", tenant or "*") as turn:
        answer = await turn.ask(backend.holdings.holdings(tenant))
    return Answer(kept_of(answer.value, backend.retention.read(), tenant), answer.missing)


def kept_of(holdings: Sequence[Holding], retention: Retention, tenant: str | None) -> list[Kept]:
    """An entry for each tenant and signal that has stored data or a retention of its own."""
    held = {(one.tenant, one.signal): one for one in holdings}
    own = {(name, signal) for name, days in retention.tenants.items() for signal in days if tenant in (None, name)}
    return [
        Kept(name, signal, retention.days(name, signal), retention.is_own(name, signal), held.get((name, signal)))
        for name, signal in sorted(held.keys() | own)
    ]
