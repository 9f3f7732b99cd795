"""Limits the bytes of requests that a process holds at once: a fair share for each tenant, a short wait, then a retryable refusal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from services.ingest.limits.shares import Ask, Place, Shares
from tael.errors import Overloaded
from tael.model.tenant import DEFAULT_TENANT


@dataclass(slots=True)
class Reservation:
    """One request's reservation in a budget, which grows as the request learns its size."""

    budget: ByteBudget
    tenant: str
    size_bytes: int = 0

    async def take(self, size_bytes: int) -> None:
        """Hold ``size_bytes`` more. Raises Overloaded when they do not become free in time."""
        # Counted only after the await: a refused or cancelled wait holds nothing, so the end of the block must not release it.
        await self.budget.acquire(size_bytes, self.tenant)
        self.size_bytes += size_bytes

    @contextlib.asynccontextmanager
    async def more(self, size_bytes: int) -> AsyncIterator[None]:
        """Hold ``size_bytes`` more while the block runs, but no more than the whole budget minus what this request already holds."""
        # A request that needs more than the whole budget runs alone once nobody else holds anything; without the min it would wait for
        # ever.
        extra = min(size_bytes, self.budget.limit_bytes - self.size_bytes)
        await self.budget.acquire(extra, self.tenant)
        try:
            yield
        finally:
            self.budget.release(extra, self.tenant)


class ByteBudget:
    """Holds at most ``limit_bytes`` and lets at most as many wait, shared between tenants by ``Shares``."""

    def __init__(self, limit_bytes: int, wait_seconds: float) -> None:
        self._shares = Shares(limit_bytes)
        self._wait_seconds = wait_seconds
        self._waiters: dict[Ask, asyncio.Future[None]] = {}

    @property
    def limit_bytes(self) -> int:
        """The maximum number of bytes held."""
        return self._shares.limit_bytes

    @property
    def held_bytes(self) -> int:
        """The bytes held now."""
        return self._shares.held_bytes

    @property
    def waiting_bytes(self) -> int:
        """The bytes that requests are waiting for now."""
        return self._shares.waiting_bytes

    @contextlib.asynccontextmanager
    async def reserve(self, tenant: str = DEFAULT_TENANT) -> AsyncIterator[Reservation]:
        """A reservation, empty at first; its bytes are given back when the block ends."""
        reservation = Reservation(self, tenant)
        try:
            yield reservation
        finally:
            self.release(reservation.size_bytes, tenant)

    async def acquire(self, size_bytes: int, tenant: str = DEFAULT_TENANT) -> None:
        """Hold ``size_bytes`` until they are released. Raises Overloaded when too many bytes already wait, or waiting takes too long."""
        if not size_bytes:
            return
        ask = Ask(tenant, size_bytes)
        self._wake(self._shares.ask(ask))
        if ask.place is Place.REFUSED:
            raise self._refusal(tenant)
        if ask.place is Place.WAITING:
            await self._wait(ask)

    def release(self, size_bytes: int, tenant: str = DEFAULT_TENANT) -> None:
        """Give bytes back and wake the requests that they suffice for."""
        if size_bytes:
            self._wake(self._shares.release(tenant, size_bytes))

    async def _wait(self, ask: Ask) -> None:
        woken = self._waiters[ask] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await woken
        # A cancellation may coincide with the grant: withdraw() then gives the bytes back, which nobody would release otherwise.
        except BaseException as error:
            self._wake(self._shares.withdraw(ask))
            if isinstance(error, TimeoutError):
                raise self._refusal(ask.tenant) from None
            raise
        finally:
            del self._waiters[ask]
        if ask.place is Place.REFUSED:
            raise self._refusal(ask.tenant)

    def _wake(self, changed: Iterable[Ask]) -> None:
        for ask in changed:
            woken = self._waiters.get(ask)
            if woken is not None and not woken.done():
                woken.set_result(None)

    def _refusal(self, tenant: str) -> Overloaded:
        shares = self._shares
        return Overloaded(
            f"{shares.held_bytes} of {shares.limit_bytes} bytes of requests in flight are in use (TAEL_MAX_INFLIGHT_BYTES),"
            f" {shares.held_by(tenant)} of them by tenant {tenant}"
        )
