"""How many bytes of requests a process holds at once: first come, first served, a short wait, then a refusal that asks to come again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from tael.errors import Overloaded


@dataclass(slots=True, eq=False)
class _Waiter:
    size_bytes: int
    granted: asyncio.Future[None]


@dataclass(slots=True)
class Room:
    """The bytes that one request holds of a budget; it may take more as it learns its size."""

    budget: ByteBudget
    size_bytes: int = 0

    async def take(self, size_bytes: int) -> None:
        """Hold ``size_bytes`` more. Raises Overloaded when they do not come free in time."""
        await self.budget.acquire(size_bytes)
        self.size_bytes += size_bytes


@dataclass(slots=True)
class ByteBudget:
    """At most ``limit_bytes`` are held and at most as many wait."""

    limit_bytes: int
    wait_seconds: float
    held_bytes: int = 0
    waiting_bytes: int = 0
    _waiters: deque[_Waiter] = field(default_factory=deque)

    @contextlib.asynccontextmanager
    async def room(self) -> AsyncIterator[Room]:
        """An empty room, whose bytes are given back when the block ends."""
        room = Room(self)
        try:
            yield room
        finally:
            self.release(room.size_bytes)

    async def acquire(self, size_bytes: int) -> None:
        """Hold ``size_bytes`` until they are released, in the order of asking."""
        if not self._waiters and self.held_bytes + size_bytes <= self.limit_bytes:
            self.held_bytes += size_bytes
            return
        if self.waiting_bytes + size_bytes > self.limit_bytes:
            raise self._refusal()
        await self._wait(_Waiter(size_bytes, asyncio.get_running_loop().create_future()))

    async def _wait(self, waiter: _Waiter) -> None:
        self._waiters.append(waiter)
        self.waiting_bytes += waiter.size_bytes
        try:
            async with asyncio.timeout(self.wait_seconds):
                await waiter.granted
        except BaseException as error:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.release(waiter.size_bytes)
            else:
                waiter.granted.cancel()
                self._grant()
            if isinstance(error, TimeoutError):
                raise self._refusal() from None
            raise

    def release(self, size_bytes: int) -> None:
        """Give bytes back and let in who waits for them."""
        self.held_bytes -= size_bytes
        self._grant()

    def _grant(self) -> None:
        if any(waiter.granted.cancelled() for waiter in self._waiters):
            self._waiters = deque(waiter for waiter in self._waiters if not waiter.granted.cancelled())
            self.waiting_bytes = sum(waiter.size_bytes for waiter in self._waiters)
        while self._waiters and self.held_bytes + self._waiters[0].size_bytes <= self.limit_bytes:
            waiter = self._waiters.popleft()
            self.waiting_bytes -= waiter.size_bytes
            self.held_bytes += waiter.size_bytes
            waiter.granted.set_result(None)

    def _refusal(self) -> Overloaded:
        return Overloaded(f"this process already holds {self.held_bytes} of the {self.limit_bytes} bytes of requests that it may hold")
