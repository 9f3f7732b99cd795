"""Divides the bytes of a budget between tenants: max-min fair shares, pure.

The tenant that holds the least is served next, and between equals the one served longest ago; a tenant's own requests keep their order. The
next request waits until it fits and is not overtaken, so that large ones get their turn. As many bytes may wait as may be held. When that
queue is full, a tenant with less than its share evicts the newest request of the tenant with the most waiting bytes.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum


class Place(Enum):
    """The state of a request for bytes."""

    WAITING = "waiting"
    GRANTED = "granted"
    REFUSED = "refused"


@dataclass(slots=True, eq=False)
class Ask:
    """One request for bytes."""

    tenant: str
    size_bytes: int
    place: Place = Place.WAITING


@dataclass(slots=True)
class _Tenant:
    held_bytes: int = 0
    waiting_bytes: int = 0
    queue: deque[Ask] = field(default_factory=deque)


class Shares:
    """Shares ``limit_bytes`` between tenants. Methods return the other asks whose place changed, whose waiters must be woken."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self.waiting_bytes = 0
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        """The tenants that hold or wait, least recently served first."""

    def ask(self, ask: Ask) -> list[Ask]:
        """Grant at once, make it wait, or refuse it."""
        # Never past a waiting request, even if this one would fit: small requests would keep a large one waiting for ever.
        if not self.waiting_bytes and self.held_bytes + ask.size_bytes <= self.limit_bytes:
            self._grant(ask)
            return []
        driven_out = self._make_room(ask)
        if self.waiting_bytes + ask.size_bytes > self.limit_bytes:
            ask.place = Place.REFUSED
        else:
            tenant = self._tenant(ask.tenant)
            tenant.queue.append(ask)
            tenant.waiting_bytes += ask.size_bytes
            self.waiting_bytes += ask.size_bytes
        # An evicted request may have been next and too large to fit: the requests behind it may fit now.
        return driven_out + self._serve()

    def release(self, tenant: str, size_bytes: int) -> list[Ask]:
        """Give bytes back."""
        self.held_bytes -= size_bytes
        self._tenant(tenant).held_bytes -= size_bytes
        self._forget_idle(tenant)
        return self._serve()

    def withdraw(self, ask: Ask) -> list[Ask]:
        """Stop waiting; an ask that was granted meanwhile gives its bytes back."""
        if ask.place is Place.GRANTED:
            return self.release(ask.tenant, ask.size_bytes)
        if ask.place is Place.WAITING:
            self._remove(ask)
        return self._serve()

    def held_by(self, tenant: str) -> int:
        """The bytes that a tenant holds."""
        found = self._tenants.get(tenant)
        return found.held_bytes if found else 0

    def waiting_of(self, tenant: str) -> int:
        """The bytes that a tenant waits for."""
        found = self._tenants.get(tenant)
        return found.waiting_bytes if found else 0

    def _serve(self) -> list[Ask]:
        granted: list[Ask] = []
        while (ask := self._next()) is not None and self.held_bytes + ask.size_bytes <= self.limit_bytes:
            tenant = self._tenants[ask.tenant]
            tenant.queue.popleft()
            tenant.waiting_bytes -= ask.size_bytes
            self.waiting_bytes -= ask.size_bytes
            self._grant(ask)
            granted.append(ask)
        return granted

    def _next(self) -> Ask | None:
        waiting = [tenant for tenant in self._tenants.values() if tenant.queue]
        # min() takes the first of equals, and tenants are ordered by their last grant: equals are served in turn.
        return min(waiting, key=lambda tenant: tenant.held_bytes).queue[0] if waiting else None

    def _grant(self, ask: Ask) -> None:
        self._tenant(ask.tenant).held_bytes += ask.size_bytes
        self._tenants.move_to_end(ask.tenant)
        self.held_bytes += ask.size_bytes
        ask.place = Place.GRANTED

    def _make_room(self, ask: Ask) -> list[Ask]:
        """Evict requests of the tenant that waits with the most, as long as that leaves it no less than the tenant of ``ask``."""
        driven_out: list[Ask] = []
        while self.waiting_bytes + ask.size_bytes > self.limit_bytes:
            most = max(self._tenants.values(), key=lambda tenant: tenant.waiting_bytes, default=None)
            if most is None or not most.queue or most.queue[-1].tenant == ask.tenant:
                break
            newest = most.queue[-1]
            # Without this, two tenants with equal shares would evict each other in turns, and neither would be served.
            if most.waiting_bytes - newest.size_bytes < self.waiting_of(ask.tenant) + ask.size_bytes:
                break
            self._remove(newest)
            newest.place = Place.REFUSED
            driven_out.append(newest)
        return driven_out

    def _remove(self, ask: Ask) -> None:
        tenant = self._tenants[ask.tenant]
        tenant.queue.remove(ask)
        tenant.waiting_bytes -= ask.size_bytes
        self.waiting_bytes -= ask.size_bytes
        self._forget_idle(ask.tenant)

    def _tenant(self, name: str) -> _Tenant:
        found = self._tenants.get(name)
        if found is None:
            found = self._tenants[name] = _Tenant()
        return found

    def _forget_idle(self, name: str) -> None:
        tenant = self._tenants[name]
        if not tenant.queue and not tenant.held_bytes:
            del self._tenants[name]
