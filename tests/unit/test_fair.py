"""Who is admitted next when many wait."""

from __future__ import annotations

import asyncio

from services.query.fair import FairSemaphore


class Door:
    """Tasks that pass a semaphore, and the order in which they were admitted."""

    def __init__(self, places: int) -> None:
        self.semaphore = FairSemaphore(places)
        self.entered: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, tenant: str, name: str) -> None:
        """Start a question of a tenant, which waits or is admitted."""

        async def enter() -> None:
            await self.semaphore.acquire(tenant)
            self.entered.append(name)

        self._tasks[name] = asyncio.create_task(enter())
        await asyncio.sleep(0)

    async def end(self) -> None:
        """Finish one that was admitted."""
        self.semaphore.release()
        await asyncio.sleep(0)

    async def give_up(self, name: str) -> None:
        """Cancel one, whether it waits or runs."""
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)


async def test_tenants_take_turns() -> None:
    door = Door(1)
    await door.ask("greedy", "g0")
    for name in ("g1", "g2", "g3"):
        await door.ask("greedy", name)
    await door.ask("modest", "m1")
    await door.ask("modest", "m2")
    for _ in range(5):
        await door.end()
    assert door.entered == ["g0", "g1", "m1", "g2", "m2", "g3"]


async def test_places_are_given_at_once_while_there_are_any() -> None:
    door = Door(2)
    for name in "abc":
        await door.ask("t", name)
    assert door.entered == ["a", "b"]
    assert door.semaphore.locked()
    assert door.semaphore.waiting == 1


async def test_a_cancelled_waiter_is_forgotten() -> None:
    door = Door(1)
    for name in "abc":
        await door.ask("t", name)
    await door.give_up("b")
    await door.end()
    assert door.entered == ["a", "c"]
    await door.end()
    assert not door.semaphore.locked()


async def test_a_turn_granted_to_a_cancelled_waiter_is_passed_on() -> None:
    door = Door(1)
    for name in "abc":
        await door.ask("t", name)
    door.semaphore.release()
    await door.give_up("b")
    await asyncio.sleep(0)
    assert door.entered[-1] == "c"
