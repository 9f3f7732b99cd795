"""Merging the answers of shards: pure functions, and shards that fail."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tael.errors import Overloaded, Rejected, Unavailable
from tael.model.span import Resource, Scope, Span
from tael.model.time import ALL_TIME, TimeRange
from tael.storage.api import Answer, ServiceStats, Shard, SpanQuery, SpanReader
from tael.storage.gather import AllOf, Patience, Shards, patient
from tael.storage.merge import add_services, merge_newest, merge_trace, newest_first
from tael.storage.merged import MergedSpans


def span(start_ns: int, trace: int = 0, own: int = 0) -> Span:
    return Span(bytes([trace]) * 16, bytes([own]) * 8, b"", "n", 0, start_ns, start_ns, Resource(), Scope())


def test_newest_first_is_start_then_trace_then_span() -> None:
    ordered = [span(9), span(5, 1, 9), span(5, 2, 1), span(5, 2, 2), span(0), span((1 << 64) - 1), span(1 << 63)]
    shuffled = ordered[3:] + ordered[:3]
    assert sorted(shuffled, key=newest_first) == ordered


def test_merging_keeps_order_and_limit() -> None:
    assert merge_newest([[span(9), span(3)], [span(7), span(5)], []], 3) == [span(9), span(7), span(5)]
    assert merge_trace([[span(5, 0, 2)], [span(5, 0, 1), span(9)]]) == [span(5, 0, 1), span(5, 0, 2), span(9)]


def test_sums_add_by_service() -> None:
    a, b = ServiceStats("a", 1, 2, 3, 4), ServiceStats("b", 1, 1, 1, 1)
    assert add_services([[b], [a], [a, b]]) == [ServiceStats("a", 2, 4, 6, 8), ServiceStats("b", 2, 2, 2, 2)]


@dataclass
class ScriptedShard:
    """A SpanReader that returns one span, raises, or never answers."""

    error: Exception | None = None
    hangs: bool = False
    missing: tuple[str, ...] = ()
    asked: list[tuple[object, ...]] = field(default_factory=list)

    async def _answer(self, *question: object) -> None:
        self.asked.append(question)
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error

    async def find_spans(self, tenant: str, query: SpanQuery) -> Answer[list[Span]]:
        await self._answer(tenant, query)
        return Answer([span(1)], self.missing)

    async def get_trace(
        self, tenant: str, trace_id: bytes, time_range: TimeRange | None = None, most: int | None = None
    ) -> Answer[list[Span]]:
        await self._answer(tenant, trace_id, time_range)
        return Answer([span(1)], self.missing)

    async def list_services(self, tenant: str, time_range: TimeRange) -> Answer[list[ServiceStats]]:
        await self._answer(tenant, time_range)
        return Answer([ServiceStats("a", 1, 1, 1, 1)], self.missing)


def composed(*shards: ScriptedShard) -> MergedSpans:
    return MergedSpans(Shards([Shard(f"shard-{index}", shard) for index, shard in enumerate(shards)], deadline_seconds=0.5))


async def test_failing_and_hanging_shards_are_named_in_order() -> None:
    """Including what a shard itself reports as missing."""
    shards = composed(
        ScriptedShard(hangs=True),
        ScriptedShard(),
        ScriptedShard(error=Overloaded("busy")),
        ScriptedShard(missing=("cold",)),
        ScriptedShard(),
    )
    answer = await shards.list_services("t", ALL_TIME)
    assert answer == Answer([ServiceStats("a", 3, 3, 3, 3)], ("shard-0", "shard-2", "cold"))


async def test_without_any_answer_all_reasons_are_given() -> None:
    shards = composed(ScriptedShard(hangs=True), ScriptedShard(error=Unavailable("gone")))
    with pytest.raises(Unavailable, match=r"shard-0: no answer within 0.5 s; shard-1: gone"):
        await shards.get_trace("t", bytes(16))


async def test_no_shard_known_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="no shard"):
        await composed().find_spans("t", SpanQuery(ALL_TIME))


async def test_a_rejected_query_is_rejected_though_others_hang() -> None:
    with pytest.raises(Rejected, match="limit"):
        await composed(ScriptedShard(hangs=True), ScriptedShard(error=Rejected("limit"))).find_spans("t", SpanQuery(ALL_TIME))


async def test_shards_can_be_replaced() -> None:
    """As the shard map grows."""
    shards: Shards[SpanReader] = Shards([Shard("a", ScriptedShard())])
    reader = MergedSpans(shards)
    shards.use([Shard("a", ScriptedShard()), Shard("b", ScriptedShard())])
    assert (await reader.list_services("t", ALL_TIME)).value == [ServiceStats("a", 2, 2, 2, 2)]


async def test_all_of_some_readers_must_answer() -> None:
    """A shard that several answers lack is listed once; an error of one reader is raised."""
    readers: list[SpanReader] = [ScriptedShard(missing=("shard-1",)), ScriptedShard(missing=("shard-1", "cold"))]
    answer = await MergedSpans(AllOf(readers)).list_services("t", ALL_TIME)
    assert answer == Answer([ServiceStats("a", 2, 2, 2, 2)], ("shard-1", "cold"))
    with pytest.raises(Unavailable, match="gone"):
        await MergedSpans(AllOf([*readers, ScriptedShard(error=Unavailable("gone"))])).list_services("t", ALL_TIME)


async def test_a_shard_that_was_waited_for_in_vain_is_not_asked_again_by_the_same_query() -> None:
    """One that fails at once is: it may have recovered."""
    hanging, failing = ScriptedShard(hangs=True), ScriptedShard(error=Overloaded("busy"))
    shards = composed(hanging, ScriptedShard(), failing)
    for _ in range(2):
        with patient(Patience()):
            answers = [await shards.list_services("t", ALL_TIME) for _ in range(3)]
        assert answers == [Answer([ServiceStats("a", 1, 1, 1, 1)], ("shard-0", "shard-2"))] * 3
    assert (len(hanging.asked), len(failing.asked)) == (2, 6)


async def test_a_query_may_have_less_patience_than_its_shards() -> None:
    with patient(Patience(seconds=0.01)), pytest.raises(Unavailable, match=r"shard-0: no answer within 0.01 s"):
        await composed(ScriptedShard(hangs=True)).get_trace("t", bytes(16))
