"""The time of a query that takes several turns."""

from __future__ import annotations

import asyncio

import pytest

from services.query.turns import Turns
from tael.errors import Overloaded


def turns(timeout_seconds: float) -> Turns:
    return Turns(concurrency=1, queue=5, timeout_seconds=timeout_seconds)


async def test_asking_in_several_turns_takes_from_one_allowance() -> None:
    queries = turns(30)
    allowance = queries.allowance()
    for before in (30.0, 29.99):
        async with queries.turn("test", allowance=allowance) as turn:
            assert turn.timeout_seconds <= before
            await turn.ask(asyncio.sleep(0.01))
    assert allowance.asking_seconds <= 29.98
    async with queries.turn("test") as turn:  # other queries have their own
        assert turn.timeout_seconds == 30


async def test_an_allowance_that_is_used_up_is_a_deadline_that_passed() -> None:
    queries = turns(0.05)
    allowance = queries.allowance()
    with pytest.raises(TimeoutError):
        async with queries.turn("test", allowance=allowance) as turn:
            await turn.ask(asyncio.Event().wait())
    with pytest.raises(TimeoutError):
        async with queries.turn("test", allowance=allowance) as turn:
            await turn.ask(asyncio.Event().wait())
    assert allowance.asking_seconds < 0


async def test_waiting_for_several_turns_takes_from_one_allowance() -> None:
    queries = turns(0.05)
    allowance = queries.allowance()
    async with queries.turn("test"):
        with pytest.raises(Overloaded, match="waited"):
            async with queries.turn("test", allowance=allowance):
                pass
    allowance.waiting_seconds, waited = 30, 0.02
    async with asyncio.TaskGroup() as group, queries.turn("test"):

        async def wait() -> None:
            async with queries.turn("test", allowance=allowance) as turn:
                assert turn.waited_seconds >= waited

        group.create_task(wait())
        await asyncio.sleep(waited * 2)
    assert allowance.waiting_seconds <= 30 - waited
