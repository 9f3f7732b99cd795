"""What ingest concludes from the results of appends, with a scripted appender."""

from __future__ import annotations

import asyncio

import pytest

from services.ingest.wal_health import FORGET_SECONDS, WatchedAppender
from tael.errors import Overloaded, Unavailable


class Scripted:
    """Ends the next append as scripted; a gate holds appends until it is opened."""

    max_body_bytes = 1000

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls = 0

    def turns(self, _: int) -> int:
        return 0

    async def append(self, *_: object, **__: object) -> None:
        self.calls += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error


async def append(watched: WatchedAppender, shard: int = 0) -> None:
    await watched.append(shard, "traces", b"x", 1, "id")


async def test_a_failed_append_is_a_problem_until_one_succeeds() -> None:
    inner, now = Scripted(), [0.0]
    watched = WatchedAppender(inner, lambda: now[0])
    inner.error = Unavailable("write error")
    with pytest.raises(Unavailable):
        await append(watched)
    assert watched.problem == "write error"
    await append_well(watched, inner)
    assert watched.problem == ""


async def append_well(watched: WatchedAppender, inner: Scripted) -> None:
    inner.error = None
    await append(watched)


async def test_an_old_failure_no_longer_counts() -> None:
    inner, now = Scripted(), [0.0]
    watched = WatchedAppender(inner, lambda: now[0])
    inner.error = Unavailable("write error")
    with pytest.raises(Unavailable):
        await append(watched)
    now[0] = FORGET_SECONDS
    assert watched.problem == ""


async def test_one_append_at_a_time_is_tried_while_a_log_fails() -> None:
    """The others are refused without waiting, and other shards are not affected."""
    inner = Scripted()
    watched = WatchedAppender(inner)
    inner.error = Unavailable("write error")
    with pytest.raises(Unavailable):
        await append(watched)
    inner.gate.clear()
    trial = asyncio.create_task(append(watched))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="write error"):
        await asyncio.wait_for(append(watched), 1)
    assert inner.calls == 2
    inner.error = None
    inner.gate.set()
    await trial
    await append(watched)
    assert inner.calls == 3


async def test_a_full_log_is_not_a_sick_one() -> None:
    inner = Scripted()
    watched = WatchedAppender(inner)
    inner.error = Overloaded("full", retry_after_seconds=1)
    with pytest.raises(Overloaded):
        await append(watched)
    assert watched.problem == ""
