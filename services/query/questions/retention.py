"""How long each tenant's signals are to be kept, and what is stored of them."""

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
    """One tenant's signal: what is wanted, whether that is the tenant's own, and what is stored; ``next_ns`` is when the oldest of it goes."""

    tenant: str
    signal: str
    days: float
    is_own: bool
    held: Holding | None

    @property
    def next_ns(self) -> int | None:
        """None where nothing is stored; a time that has passed where the compactor has not been there yet."""
        return None if self.held is None else self.held.oldest_end_ns + int(self.days * DAY_NS)


async def list_retention(backend: Backend, tenant: str | None, pairs: Sequence[tuple[str, str]]) -> Answer[list[Kept]]:
    """Every signal of a tenant, or of all tenants, by tenant and signal. Raises Rejected, and as the reader does."""
    Parameters(pairs, known=())
    async with backend.turns.turn("retention", tenant or "*") as turn:
        answer = await turn.ask(backend.holdings.holdings(tenant))
    return Answer(kept_of(answer.value, backend.retention.read(), tenant), answer.missing)


def kept_of(holdings: Sequence[Holding], retention: Retention, tenant: str | None) -> list[Kept]:
    """What is stored, and what a tenant has a retention of its own for although nothing is."""
    held = {(one.tenant, one.signal): one for one in holdings}
    own = {(name, signal) for name, days in retention.tenants.items() for signal in days if tenant in (None, name)}
    return [
        Kept(name, signal, retention.days(name, signal), retention.is_own(name, signal), held.get((name, signal)))
        for name, signal in sorted(held.keys() | own)
    ]
