"""Cancelled tasks end, even if they handle the cancellation badly."""

from __future__ import annotations

import asyncio

from tael.runtime.tasks import cancelled


async def test_a_lost_cancellation_is_repeated() -> None:
    """As asyncio.wait_for may lose one; errors during cancellation are dropped."""
    lost = 0

    async def deaf() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
                if lost == 2:
                    raise

    async def failing() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("on the way out")

    tasks = asyncio.create_task(deaf()), asyncio.create_task(failing())
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await cancelled(*tasks)
    assert lost == 2
    assert all(task.done() for task in tasks)
