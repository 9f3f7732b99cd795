"""Granting leases: live members are used evenly, and nothing moves without need."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.coordinator.assign import assign

MEMBERS = st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, max_size=4)
HOLDERS = st.dictionaries(st.integers(0, 11), st.sampled_from(["", "a", "b", "c", "d", "gone"]), max_size=12)


@given(HOLDERS, MEMBERS)
def test_every_shard_ends_with_a_live_holder_evenly(holders: dict[int, str], members: list[str]) -> None:
    """No member holds more than one lease more than another, and a second run changes nothing."""
    grants = assign(holders, members)
    after = {**holders, **grants}
    if not members:
        assert grants == {}
        return
    assert set(after.values()) <= set(members)
    load = Counter(dict.fromkeys(members, 0)) + Counter()
    load.update(after.values())
    counts = [load[member] for member in members]
    assert not holders or max(counts) - min(counts) <= 1
    assert assign(after, members) == {}


@given(HOLDERS, MEMBERS)
def test_a_live_holder_keeps_its_even_share(holders: dict[int, str], members: list[str]) -> None:
    """Only leases beyond an even share are taken from a live member."""
    grants = assign(holders, members)
    for member in members:
        had = sum(holder == member for holder in holders.values())
        lost = sum(holders[shard] == member for shard in grants)
        assert lost == 0 or had - lost >= len(holders) // len(members)


def test_a_dead_member_is_replaced_and_the_others_keep_theirs() -> None:
    """The example that operators see."""
    assert assign({0: "a", 1: "b", 2: "a", 3: "b"}, ["b", "c"]) == {0: "c", 2: "c"}
