"""What a question takes is counted wherever it is done, and by every block around it."""

from __future__ import annotations

import asyncio

from tael.storage import work
from tael.storage.work import Work, measured


async def test_work_of_tasks_and_of_inner_blocks_counts_for_the_whole() -> None:
    with measured() as whole:
        work.add(asked=1)
        with measured() as part:
            await asyncio.gather(one(2), one(3))
        await asyncio.to_thread(work.add, size=7)
    assert part == Work(statements=2, rows=5)
    assert whole == Work(asked=1, statements=2, rows=5, bytes=7)


async def test_questions_at_the_same_time_are_counted_apart() -> None:
    async def question(rows: int) -> Work:
        with measured() as found:
            await one(rows)
            await one(rows)
        return found

    first, second = await asyncio.gather(question(1), question(10))
    assert (first.rows, second.rows) == (2, 20)


async def test_what_nobody_measures_is_not_counted() -> None:
    with measured() as found:
        pass
    await one(5)
    assert found == Work()
    assert not work.is_measured()


async def one(rows: int) -> None:
    await asyncio.sleep(0)
    work.add(statements=1, rows=rows)
