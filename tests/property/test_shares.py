"""Max-min shares of a byte budget: rules that hold for any sequence of requests."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.ingest.limits.shares import Ask, Place, Shares

LIMIT = 100
SIZES = st.integers(1, LIMIT)
TENANTS = st.sampled_from("abc")


class SharesMachine(RuleBasedStateMachine):
    """A model next to the real implementation: the shares granted, and the order of those that wait."""

    def __init__(self) -> None:
        super().__init__()
        self.shares = Shares(LIMIT)
        self.granted: list[Ask] = []
        self.waiting: list[Ask] = []

    def settle(self, changed: list[Ask]) -> None:
        for ask in changed:
            self.waiting.remove(ask)
            if ask.place is Place.GRANTED:
                earlier = [other for other in self.waiting if other.tenant == ask.tenant and other not in changed]
                assert all(id(other) != id(ask) for other in earlier)
                self.granted.append(ask)
            else:
                assert ask.place is Place.REFUSED

    @rule(tenant=TENANTS, size=SIZES)
    def ask(self, tenant: str, size: int) -> None:
        before = {name: self.shares.waiting_of(name) for name in "abc"}
        ask = Ask(tenant, size)
        changed = self.shares.ask(ask)
        for driven_out in (other for other in changed if other.place is Place.REFUSED):
            assert driven_out.tenant != tenant
            assert before[driven_out.tenant] >= before[tenant]
        if ask.place is Place.WAITING:
            self.waiting.append(ask)
        elif ask.place is Place.GRANTED:
            if ask in changed:
                changed.remove(ask)
            self.granted.append(ask)
        self.settle(changed)

    @precondition(lambda self: self.granted)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        ask = data.draw(st.sampled_from(self.granted))
        self.granted.remove(ask)
        self.settle(self.shares.release(ask.tenant, ask.size_bytes))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        ask = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(ask)
        self.settle(self.shares.withdraw(ask))

    @invariant()
    def bytes_are_bounded_and_add_up(self) -> None:
        assert self.shares.held_bytes == sum(ask.size_bytes for ask in self.granted) <= LIMIT
        assert self.shares.waiting_bytes == sum(ask.size_bytes for ask in self.waiting) <= LIMIT
        for tenant in "abc":
            assert self.shares.held_by(tenant) == sum(ask.size_bytes for ask in self.granted if ask.tenant == tenant)

    @invariant()
    def nobody_waits_for_bytes_that_are_free(self) -> None:
        heads: dict[str, Ask] = {}
        for ask in self.waiting:
            heads.setdefault(ask.tenant, ask)
        if heads:
            least = min(self.shares.held_by(tenant) for tenant in heads)
            next_ones = [ask for tenant, ask in heads.items() if self.shares.held_by(tenant) == least]
            assert any(self.shares.held_bytes + ask.size_bytes > LIMIT for ask in next_ones)


TestShares = SharesMachine.TestCase


def fill(shares: Shares, tenant: str, size: int, count: int) -> list[Ask]:
    asks = [Ask(tenant, size) for _ in range(count)]
    for ask in asks:
        shares.ask(ask)
    return asks


@pytest.mark.parametrize("quiet_size", [1, 10, 40])
def test_a_quiet_tenant_is_served_by_the_next_bytes_that_come_free(quiet_size: int) -> None:
    shares = Shares(LIMIT)
    noisy = fill(shares, "noisy", 10, 1000)
    assert [ask.place for ask in noisy[:20]] == [Place.GRANTED] * 10 + [Place.WAITING] * 10
    quiet = Ask("quiet", quiet_size)
    shares.ask(quiet)
    assert shares.waiting_of("quiet") == quiet_size
    for ask in noisy[: -(-quiet_size // 10)]:
        shares.release(ask.tenant, ask.size_bytes)
    assert quiet.place is Place.GRANTED


def test_two_greedy_tenants_get_half_each() -> None:
    shares = Shares(LIMIT)
    first, second = fill(shares, "a", 5, 40), fill(shares, "b", 5, 40)
    assert (shares.waiting_of("a"), shares.waiting_of("b")) == (50, 50)
    held = [ask for ask in first if ask.place is Place.GRANTED]
    for _ in range(200):
        oldest = held.pop(0)
        granted = shares.release(oldest.tenant, oldest.size_bytes)
        held += granted
        fresh = Ask(oldest.tenant, 5)
        held += [ask for ask in shares.ask(fresh) if ask.place is Place.GRANTED]
        if fresh.place is Place.GRANTED and fresh not in held:
            held.append(fresh)
    assert second[0].place is Place.GRANTED
    assert abs(shares.held_by("a") - shares.held_by("b")) <= 5


def test_a_tenants_own_requests_keep_their_order() -> None:
    shares = Shares(LIMIT)
    fill(shares, "a", 100, 1)
    large, small = Ask("a", 80), Ask("a", 10)
    shares.ask(large)
    shares.ask(small)
    assert [large.place, small.place] == [Place.WAITING] * 2
    assert shares.release("a", 100) == [large, small]
