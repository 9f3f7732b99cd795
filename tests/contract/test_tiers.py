"""Questions while rows go from tier to tier: each row is seen exactly once at every moment, and what cannot be seen is named."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tael.cold import transitions
from tael.cold.files import hour_of
from tael.errors import Unavailable
from tael.model.time import TimeRange
from tael.objects import MinioObjectStore
from tael.storage.clickhouse import tiered
from tests.support.hotnode import HotNode
from tests.support.objects import ObjectServer
from tests.support.storage import (
    START_NS,
    HotTier,
    log_query,
    logs_of,
    new_trace_id,
    of_service,
    open_tier,
    span_query,
    wire_log,
    wire_span,
)

HOUR_NS = 3_600 * 10**9
HOURS = 2
DAY = TimeRange(hour_of(START_NS), hour_of(START_NS) + 24 * HOUR_NS)


@pytest.fixture
async def tier(shared_hot_node: HotNode, object_server: ObjectServer) -> AsyncIterator[HotTier]:  # it has to run
    """One shard, whose rows stay hot until a test rolls them."""
    async with open_tier([shared_hot_node], tiering="cold", deadline_seconds=60) as opened:
        opened.rolls = False
        yield opened


class Ledger:
    """What was written, by a number that each row carries; what an answer holds is checked against it."""

    def __init__(self, tier: HotTier) -> None:
        self._tier = tier
        self.begun, self.ended = set[int](), set[int]()
        self.traces = [new_trace_id() for _ in range(2)]
        self.answers = 0

    async def write(self, hours: range) -> None:
        """A span of each trace and a log record in each of these hours."""
        numbers = range(len(self.begun), len(self.begun) + len(hours))
        self.begun.update(numbers)
        spans = [
            wire_span(hour * HOUR_NS + number, trace_id=trace_id, attributes={"n": number})
            for hour, number in zip(hours, numbers, strict=True)
            for trace_id in self.traces
        ]
        records = [wire_log(hour * HOUR_NS + number, f"n {number}") for hour, number in zip(hours, numbers, strict=True)]
        await self._tier.store(of_service("shop", *spans))
        await self._tier.store_logs(logs_of("shop", *records))
        self.ended.update(numbers)

    async def check(self, ask: Callable[[], Awaitable[list[int]]], times: int = 1) -> None:
        """An answer has every row that was there when it was asked for, ``times`` each, and none that is not written yet."""
        before = set(self.ended)
        found = await ask()
        assert before <= set(found) <= self.begun
        assert len(found) == times * len(set(found))
        self.answers += 1

    async def find_spans(self) -> list[int]:
        answer = await self._tier.reader.find_spans("t1", span_query(DAY, limit=1000))
        assert answer.missing == ()
        return [int(str(span.attributes["n"])) for span in answer.value]

    async def get_trace(self) -> list[int]:
        answer = await self._tier.reader.get_trace("t1", self.traces[0])
        assert answer.missing == ()
        return [int(str(span.attributes["n"])) for span in answer.value]

    async def find_logs(self) -> list[int]:
        answer = await self._tier.logs.find_logs("t1", log_query(DAY, limit=1000, words="n"))
        assert answer.missing == ()
        return [int(str(record.body).split()[1]) for record in answer.value]


async def test_each_row_is_seen_once_while_hours_roll(tier: HotTier) -> None:
    """Readers ask without a pause while hours are moved, written, committed and dropped, late rows arrive, and these roll as well."""
    assert tier.cold is not None
    ledger, rolled = Ledger(tier), asyncio.Event()
    await ledger.write(range(HOURS))

    async def read(ask: Callable[[], Awaitable[list[int]]], times: int) -> None:
        while not rolled.is_set():
            await ledger.check(ask, times)

    async def roll() -> None:
        await tier.cold.roll()  # type: ignore[union-attr]  # it has one
        await ledger.write(range(HOURS))
        await tier.cold.roll()  # type: ignore[union-attr]  # the same
        rolled.set()

    async with asyncio.TaskGroup() as group:
        for ask, times in ((ledger.find_spans, 2), (ledger.get_trace, 1), (ledger.find_logs, 1)):
            group.create_task(read(ask, times))
        group.create_task(roll())
    await ledger.check(ledger.get_trace)
    assert (await tier.cold.manifests.head(0)).open == ()
    assert ledger.answers > 10


async def test_files_whose_generations_begin_alike_are_all_read(tier: HotTier) -> None:
    """The engine gets their names as one text with braces."""
    assert tier.cold is not None
    for hour in (0, 1, 2, 3, 4, 0):
        await tier.store(of_service("shop", wire_span(hour * HOUR_NS)))
        await tier.cold.roll()
    first = TimeRange(DAY.start_ns, DAY.start_ns + HOUR_NS)
    files = (await tier.cold.manifests.read(0)).files("spans", time_range=first)
    assert [file.generation for file in files] == [2, 22]
    assert len((await tier.reader.find_spans("t1", span_query(first))).value) == 2


async def test_a_file_that_cannot_be_read_is_named(tier: HotTier, objects: MinioObjectStore) -> None:
    """Everything else is answered; a later question finds it again when it is back."""
    assert tier.cold is not None
    ledger = Ledger(tier)
    await ledger.write(range(2))
    await tier.cold.roll()
    first, second = (await tier.cold.manifests.read(0)).files("spans")
    body = await objects.get(tier.cold.prefix + first.key)
    for broken in (None, body[: len(body) // 2]):
        if broken is None:
            await objects.delete(tier.cold.prefix + first.key)
        else:
            await objects.put(tier.cold.prefix + first.key, broken)
        answer = await tier.reader.get_trace("t1", ledger.traces[0])
        assert answer.missing == (f"shard-0: {first.key}",)
        assert [span.start_ns for span in answer.value] == [second.min_time_ns]
    await objects.put(tier.cold.prefix + first.key, body)
    assert await ledger.get_trace() == [0, 1]


async def test_a_move_is_waited_for(tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question about an hour that moves has no answer, one about another hour has."""
    assert tier.cold is not None
    monkeypatch.setattr(tiered, "MOVING_SECONDS", 0.1)
    ledger = Ledger(tier)
    await ledger.write(range(2))
    owner = tier.cold.owners[0]
    await owner.take()
    await owner.commit(transitions.begin_move(owner.manifest, "spans", hour_of(START_NS), 1))
    with pytest.raises(Unavailable, match="no compactor finishes the move"):
        await ledger.find_spans()
    later = await tier.reader.find_spans("t1", span_query(TimeRange(DAY.start_ns + HOUR_NS, DAY.end_ns)))
    assert len(later.value) == 2
    monkeypatch.setattr(tiered, "MOVING_SECONDS", 30.0)
    asked = asyncio.create_task(ledger.find_spans())
    await tier.cold.roll()
    assert sorted(await asked) == [0, 0, 1, 1]


async def test_without_the_key_value_store_the_answer_is_partial(tier: HotTier) -> None:
    """Nobody can know then whether rows went elsewhere; before anything was rolled they cannot have."""
    assert tier.cold is not None
    ledger = Ledger(tier)
    await ledger.write(range(2))
    assert await ledger.get_trace() == [0, 1]
    tier.cold.kv.away = True
    assert await ledger.get_trace() == [0, 1]
    tier.cold.kv.away = False
    await tier.cold.roll()
    assert await ledger.get_trace() == [0, 1]
    tier.cold.kv.away = True
    answer = await tier.reader.get_trace("t1", ledger.traces[0])
    assert (len(answer.value), answer.missing) == (2, ("shard-0: its manifest",))
