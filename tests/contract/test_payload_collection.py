"""Payloads that nothing refers to go, out of every tier; what anything refers to stays, whoever dies where and whatever arrives
meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from tael.errors import Unavailable
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.collecting import ClickHouseCollect
from tael.storage.clickhouse.erase import ClickHouseErase
from tael.wal.api import DeadLetter
from tests.support.cold import Crash
from tests.support.collecting import LEASE, Place, hash_of
from tests.support.collecting_places import ASKED, ONE, OTHER, SYSTEM, THREE, TWO, hot_place, opened, place
from tests.support.dead_letters import MemoryLetters
from tests.support.hotnode import HotNode

__all__ = ["hot_place", "place"]


async def test_payloads_of_a_deleted_trace_alone_are_collected(place: Place) -> None:
    """Not before the last receiver that may rely on it has forgotten it; the prompt that another trace shares stays."""
    deletion = await place.delete("trace", ONE.hex())
    await place.collect()
    await place.erase()
    assert await place.readable(SYSTEM, ASKED, OTHER) == [True, True, True]
    assert not await place.is_done(deletion)
    [progress] = await place.progress(deletion)
    assert "1 payloads that it referred to" in progress.reason
    await place.collect(hours=1.9)
    assert await place.readable(ASKED) == [True]
    await place.collect(hours=0.2)
    assert await place.readable(SYSTEM, ASKED, OTHER) == [True, False, True]
    assert await place.rows(ASKED) == {}
    await place.erase()
    assert await place.is_done(deletion)
    await place.collect(hours=1_000)
    await place.collect(hours=1_000)
    assert await place.readable(SYSTEM, OTHER) == [True, True]


async def test_a_shared_payload_is_collected_with_its_last_trace(place: Place) -> None:
    """And is nothing that a deletion waits for while others have it."""
    await place.say(THREE, SYSTEM)
    await place.write()
    first = await place.delete("trace", THREE.hex())
    await place.collect()
    await place.erase()
    assert await place.is_done(first)
    for trace_id in (ONE, TWO):
        await place.delete("trace", trace_id.hex())
    await place.collect(hours=3)
    assert await place.readable(SYSTEM, ASKED, OTHER) == [False, False, False]
    assert [await place.rows(text) for text in (SYSTEM, ASKED, OTHER)] == [{}, {}, {}]


async def test_deleting_a_user_deletes_payloads_of_its_traces_and_records(place: Place) -> None:
    """Records in no trace too, wherever they are."""
    said, noted, kept = ("said " * 2_000, "noted " * 2_000, "kept " * 2_000)
    for number in range(2):
        await place.say(THREE, said + str(number), user="u1")
        await place.log_loose(noted + str(number), user="u1")
        await place.log_loose(kept + str(number), user="u2")
        await place.write()
        if number == 0:
            await place.cold.roll()
    deletion = await place.delete("user", "u1")
    await place.collect(hours=3)
    texts = [text + str(number) for text in (said, noted, kept) for number in range(2)]
    assert await place.readable(*texts, SYSTEM, ASKED) == [False, False, False, False, True, True, True, True]
    await place.erase()
    assert await place.is_done(deletion)


async def test_payloads_that_a_deleted_tenant_sends_meanwhile_are_kept(place: Place) -> None:
    """The receiver remembers to have sent what was there; another tenant's payloads are its own."""
    await place.say(TWO, SYSTEM, tenant="t2")
    await place.write()
    deletion = await place.delete("tenant", "t1")
    place.now_ns += 60 * 10**9
    await place.say(THREE, SYSTEM)
    assert len(place.log.appended) == 1  # the prompt is not sent again
    await place.write()
    await place.collect(hours=3)
    assert await place.readable(SYSTEM, ASKED, OTHER) == [True, False, False]
    assert await place.readable(SYSTEM, tenant="t2") == [True]
    await place.erase()
    assert await place.is_done(deletion)


async def test_a_reference_that_comes_between_the_looks_keeps_its_payload(place: Place) -> None:
    """Of a receiver that remembers to have sent it, as late as it may; at once, in the WAL, or while the writer is behind."""
    place.now_ns += int(0.9 * 3600 * 10**9)
    deletion = await place.delete("trace", ONE.hex())
    place.now_ns += int(0.05 * 3600 * 10**9)
    await place.say(THREE, ASKED)
    assert len(place.log.appended) == 1
    place.now_ns += 2 * 3600 * 10**9
    await place.behind(7, 6)
    collector = place.collector()
    await place.collect(collector)
    await place.collect(collector)
    assert await place.readable(ASKED) == [True]
    await place.write()
    await place.behind(7, 7)
    await place.collect(collector, hours=0.1)
    await place.collect(hours=100)
    assert await place.readable(SYSTEM, ASKED, OTHER) == [True, True, True]
    await place.erase()
    assert await place.is_done(deletion)


async def test_a_receiver_that_relied_on_it_sends_it_again_in_time(place: Place) -> None:
    """What came behind the first look stays, whatever the second one thinks; a zombie whose statement comes late deletes nothing of it."""
    await place.delete("trace", ONE.hex())
    place.now_ns += int(2.1 * 3600 * 10**9)
    store = ClickHouseCollect(place.tier.clickhouses[0])
    await store.spare()
    [due] = await store.due(place.now_ns, 10)
    await place.collect()
    await place.say(THREE, ASKED)
    assert len(place.log.appended) == 2
    await place.write()
    await store.delete(due)
    await store.forget(due)
    assert await place.readable(ASKED) == [True]
    await place.collect(hours=100)
    assert await place.readable(SYSTEM, ASKED, OTHER) == [True, True, True]


class Dying(ClickHouseCollect):
    """A store whose process dies with the nth statement that changes something."""

    def __init__(self, clickhouse: ClickHouse, after: int) -> None:
        super().__init__(clickhouse)
        self._after = after

    async def _mutate(self, statement: str, parameters: Mapping[str, Any]) -> None:
        self._after -= 1
        if self._after < 0:
            raise Unavailable("it died")
        await super()._mutate(statement, parameters)


class DyingErase(ClickHouseErase):
    """The same of deletions."""

    def __init__(self, clickhouse: ClickHouse, after: int) -> None:
        super().__init__(clickhouse)
        self._after = after

    async def _mutate(self, statement: str, parameters: Mapping[str, Any]) -> None:
        self._after -= 1
        if self._after < 0:
            raise Unavailable("it died")
        await super()._mutate(statement, parameters)


async def test_another_owner_resumes_after_a_crash_at_each_step(place: Place) -> None:
    """At every named place and behind every statement; what is referred to can be read at each moment."""
    [clickhouse] = place.tier.clickhouses
    deletion = await place.delete("trace", ONE.hex(), DyingErase(clickhouse, 0))
    for after in range(1, 4):
        await place.erase(DyingErase(clickhouse, after))
    await place.erase()
    place.now_ns += 3 * 3600 * 10**9
    for after in range(5):
        await place.collect(place.collector(Dying(clickhouse, after)))
        assert await place.readable(SYSTEM, OTHER) == [True, True]
    for crash_at in ("deleted", "rewritten", "forgotten", "collected"):
        place.crash_at = crash_at
        with suppress(Crash):
            await place.collect()
        assert await place.readable(SYSTEM, OTHER) == [True, True]
    place.crash_at = ""
    await place.collect()
    assert await place.readable(SYSTEM, ASKED, OTHER) == [True, False, True]
    assert await place.rows(ASKED) == {}
    await place.erase()
    assert await place.is_done(deletion)


@pytest.mark.parametrize("tiering", ["hot", "cold"])
async def test_a_crash_while_forgetting_one_payload_keeps_the_other(hot_place: Place, tiering: str) -> None:
    """One payload of two goes, behind every statement: as many are condemned then as the index still has, and they are others."""
    await hot_place.say(ONE, SYSTEM, ASKED)
    await hot_place.say(TWO, SYSTEM)
    await hot_place.write()
    if tiering == "cold":
        await hot_place.cold.roll()
    [clickhouse] = hot_place.tier.clickhouses
    await hot_place.delete("trace", ONE.hex())
    hot_place.now_ns += 3 * 3600 * 10**9
    for after in (*range(5), 99):
        await hot_place.collect(hot_place.collector(Dying(clickhouse, after)))
        assert await hot_place.readable(SYSTEM) == [True]
    assert await hot_place.readable(ASKED) == [False]


@pytest.mark.parametrize("crash_at", ["deleted", "rewritten", "forgotten", "collected"])
async def test_another_owner_resumes_after_a_crash_in_the_first_run(place: Place, crash_at: str) -> None:
    """As above, with everything still to do."""
    await place.delete("trace", ONE.hex())
    place.now_ns += 3 * 3600 * 10**9
    place.crash_at = crash_at
    with suppress(Crash):
        await place.collect()
    assert await place.readable(SYSTEM, OTHER) == [True, True]
    place.crash_at = ""
    await place.collect()
    assert await place.readable(SYSTEM, ASKED, OTHER) == [True, False, True]
    assert await place.rows(ASKED) == {}


async def test_a_posted_payload_lives_while_something_refers_to_it(hot_place: Place) -> None:
    """Past the hour that it was posted in; one that nothing refers to goes when its time of grace is over, and no sooner."""
    place = hot_place
    used, unused, late = "used " * 100, "unused " * 100, "late " * 100
    reference, _, late_reference = [await place.post(text) for text in (used, unused, late)]
    await place.write()
    await place.collect(hours=2)
    await place.say(ONE, reference, hours_later=1)
    await place.write()
    await place.collect(hours=20)
    await place.say(TWO, late_reference, hours_later=2)
    await place.write()
    await place.cold.roll()
    await place.collect(hours=3)
    assert await place.readable(used, unused, late) == [True, True, True]
    await place.collect(hours=2)
    assert await place.readable(used, unused, late) == [True, False, True]
    assert await place.rows(unused) == {}
    await place.collect(hours=1_000)
    await place.collect(hours=1_000)
    for text, hour_ns in ((used, place.hour_ns + 3600 * 10**9), (late, place.hour_ns + 7200 * 10**9)):
        [clickhouse] = place.tier.clickhouses
        sql = f"SELECT toUnixTimestamp(hour) FROM {clickhouse.database}.payload_hours WHERE hex(hash) = '{hash_of(text).hex().upper()}'"
        assert [int(hour) * 10**9 for (hour,) in await clickhouse.query(sql, {})] == [hour_ns]
    deletion = await place.delete("trace", ONE.hex())
    await place.collect(hours=3)
    assert await place.readable(used, late) == [False, True]
    await place.erase()
    assert await place.is_done(deletion)


async def test_references_from_another_shard_count(
    request: pytest.FixtureRequest, shared_hot_node: HotNode, second_hot_node: HotNode
) -> None:
    """Each hour of each shard has its own copy before the posted one goes."""
    async with opened(request, shared_hot_node, second_hot_node) as place:
        text = "posted " * 100
        reference = await place.post(text)
        await place.write()
        await place.collect(hours=2)
        for number in range(8):
            await place.say(bytes([number + 1]) * 16, reference)
        await place.write()
        await place.cold.roll()
        copies = place.collector()
        for shard in place.shards[:1]:  # the other shard's owner is away for longer than the time of grace
            place.now_ns += 30 * 3600 * 10**9
            await copies.work(shard, LEASE, place.shards)
        assert await place.readable(text) == [True]
        await place.collect(hours=1)
        await place.collect(hours=30)
        assert await place.readable(text) == [True]
        for clickhouse in place.tier.clickhouses:
            sql = f"SELECT toUnixTimestamp(hour) FROM {clickhouse.database}.payload_hours WHERE hex(hash) = '{hash_of(text).hex().upper()}'"
            assert [int(hour) * 10**9 for (hour,) in await clickhouse.query(sql, {})] == [place.hour_ns]


async def test_payloads_of_dead_letters_are_kept(hot_place: Place) -> None:
    """It may be replayed, and says nothing more than the reference."""
    place = hot_place
    await place.say(ONE, ASKED)
    (_, _, payload, _), (_, signal, item, _) = place.log.appended
    place.letters = MemoryLetters(DeadLetter(0, 1, signal, 1, "refused", item))
    place.log.appended.pop()
    await place.write()
    assert payload
    for _ in range(3):
        await place.collect(hours=30)
    assert await place.readable(ASKED) == [True]
    await place.letters.drop(1)
    await place.collect(hours=1)
    assert await place.readable(ASKED) == [False]
