"""A semaphore that is fair between tenants: a tenant that sends many queries delays its own, not everybody's."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque


class FairSemaphore:
    """Admits ``places`` at once. Waiters are admitted tenant by tenant in turn, within a tenant in order of arrival."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """The number of waiters."""
        return sum(len(queue) for queue in self._queues.values())

    def locked(self) -> bool:
        """Whether the next caller would wait."""
        return self._free == 0 or bool(self._queues)

    async def acquire(self, tenant: str) -> None:
        """Take a place when it is this tenant's turn. A caller cancelled while waiting leaves nothing behind."""
        if not self.locked():
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # The place was given at the very moment of the cancellation: it goes to the next one, or it would be lost for good.
            if turn.done() and not turn.cancelled():
                self.release()
            else:
                self._forget(tenant, turn)
            raise

    def release(self) -> None:
        """Return a place; it goes to the tenant whose turn has been longest ago."""
        while self._queues:
            tenant, queue = self._queues.popitem(last=False)
            turn = queue.popleft()
            if queue:
                # Behind all other tenants: its next query is admitted when each of them has had one.
                self._queues[tenant] = queue
            # A waiter that was cancelled, and has not yet removed itself, is skipped.
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _forget(self, tenant: str, turn: asyncio.Future[None]) -> None:
        queue = self._queues.get(tenant)
        if queue is None or turn not in queue:
            return
        queue.remove(turn)
        if not queue:
            del self._queues[tenant]
