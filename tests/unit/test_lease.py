"""Leases, liveness and the shard map, pure."""

from __future__ import annotations

import asyncio

import pytest

from tael.cluster.api import Versioned
from tael.cluster.leadership import Leadership, Observed, may_take
from tael.cluster.lease import LEADER_KEY, Intent, Lease
from tael.cluster.membership import Liveness
from tael.cluster.shard import Router, ShardMap, next_shard_map
from tael.errors import Unavailable
from tests.support.key_value import MemoryKeyValue


def test_an_epoch_grows_with_each_grant_and_progress_travels() -> None:
    """The successor gets its predecessor's commit and intent."""
    lease = Lease(holder="a", epoch=3, committed=10).intend(Intent(first=11, last=20))
    moved = Lease.decode(Versioned("k", lease.grant("b", granted_by=2).encode(), 1))
    assert (moved.holder, moved.epoch, moved.granted_by) == ("b", 4, 2)
    assert (moved.committed, moved.intent) == (10, Intent(first=11, last=20))
    assert (moved.commit().committed, moved.commit().intent) == (20, None)


def test_a_key_is_alive_while_it_changes() -> None:
    """Only changes count, seen on the observer's clock."""
    liveness = Liveness(5.0)
    liveness.observe({"m": 1}, 100.0)
    assert liveness.alive("m", 104.9)
    liveness.observe({"m": 1}, 104.9)
    assert not liveness.alive("m", 105.0)
    liveness.observe({"m": 2}, 105.0)
    assert liveness.alive("m", 109.0)
    liveness.observe({}, 109.0)
    assert not liveness.alive("m", 109.0)
    assert liveness.age_seconds("m", 109.0) is None


@pytest.mark.parametrize(
    ("holder", "observed", "now", "takes"),
    [
        ("", None, 0.0, True),
        ("me", None, 0.0, True),
        ("other", None, 100.0, False),
        ("other", Observed(7, 0.0), 4.9, False),
        ("other", Observed(7, 0.0), 5.0, True),
        ("other", Observed(6, 0.0), 50.0, False),
    ],
)
def test_when_a_candidate_may_take_the_lead(holder: str, observed: Observed | None, now: float, takes: bool) -> None:  # a table's column
    """If the lease is free, its own, or unchanged for the lease's duration."""
    found = Versioned(LEADER_KEY, Lease(holder=holder, epoch=1).encode(), 7)
    assert may_take(found, observed, node_id="me", ttl_seconds=5.0, now=now) is takes
    assert may_take(None, None, node_id="me", ttl_seconds=5.0, now=now)


class _LosesAnAnswer(MemoryKeyValue):
    """A store that writes but loses the answer when ``loses`` is set."""

    loses = False

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """See KeyValue."""
        written = await super().update(key, value, revision)
        if self.loses:
            self.loses = False
            raise Unavailable("the answer was lost")
        return written


def test_a_leader_whose_renewal_was_not_answered_renews_again() -> None:
    """Others count from the lost renewal; counting its own lease from now would give two leaders."""

    async def renew() -> tuple[int, int, int]:
        kv = _LosesAnAnswer()
        leadership = Leadership(kv, "me", 60.0)
        await leadership.step()
        kv.loses = True
        with pytest.raises(Unavailable):
            await leadership.step()
        lost = await kv.get(LEADER_KEY)
        await leadership.step()
        now = await kv.get(LEADER_KEY)
        return leadership.epoch, lost.revision if lost else 0, now.revision if now else 0

    epoch, lost, now = asyncio.run(renew())
    assert epoch == 1
    assert now == lost + 1


def test_shards_are_only_appended() -> None:
    """The version only grows, and only when something changed."""
    first = next_shard_map(None, ("http://a",))
    assert next_shard_map(first, ("http://a",)) == first
    second = next_shard_map(first, ("http://a", "http://b"))
    assert (second.version, [s.name for s in second.shards]) == (2, ["shard-0", "shard-1"])
    assert ShardMap.decode(Versioned("k", second.encode(), 1)) == second
    with pytest.raises(ValueError, match="can only be appended"):
        next_shard_map(second, ("http://a",))


def test_sequential_ids_spread_over_the_shards() -> None:
    """Ids that are not random must not all go to one shard."""
    hit = [0, 0, 0, 0]
    for number in range(4000):
        hit[Router(4).shard_of(number.to_bytes(16, "big"))] += 1
    assert min(hit) > 800


def test_an_intent_names_the_range_of_each_insert() -> None:
    assert Intent(first=3, last=9).ranges() == [(3, 9)]
    assert Intent(first=3, last=9, cuts=(5, 9)).ranges() == [(3, 4), (5, 8), (9, 9)]
    assert Lease.decode(Versioned("k", b'{"holder":"n","epoch":1,"intent":{"first":1,"last":2}}', 1)).intent == Intent(first=1, last=2)
