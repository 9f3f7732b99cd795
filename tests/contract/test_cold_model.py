"""A model of the cold tier over real parts: whatever happens in whatever order, every row is readable exactly once at every moment, or gone for good.

`make test` runs a few histories that are always the same; `make model SECONDS=900 SEED=7` runs others for as long as one likes (tests/support/cold_world.py).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Awaitable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from tael.model.signals import LOGS, METRICS, TRACES
from tael.objects import MinioObjectStore
from tael.runtime.nats import connection
from tests.support.cold_ledger import user_of
from tests.support.cold_questions import HOURS, TENANTS, TRACE_NUMBERS
from tests.support.cold_world import Losing, World
from tests.support.hotnode import HotNode
from tests.support.nats import NatsServer
from tests.support.objects import ObjectServer
from tests.support.storage import open_tier

T = TypeVar("T")
SIGNALS: Final = (TRACES, LOGS, METRICS)
LOST: Final = ("request lost", "answer lost")
ALIVE: Final = ("", "", "")
ROLLS: Final = (*ALIVE, "moving", "moved", "rolling", "exported", "committed", "dropped", *LOST)
MERGES: Final = (*ALIVE, "merged", "replaced", *LOST)
ROLL_UPS: Final = (*ALIVE, "rolled up", "merged", "replaced", *LOST)
ERASES: Final = (*ALIVE, "rewritten", "forgotten", *LOST)
EVERYTHING: Final = 10_000
"""More steps than there can be."""
tenants, hours, traces = st.sampled_from(TENANTS), st.sampled_from(HOURS), st.sampled_from(TRACE_NUMBERS)


@dataclass
class Parts:
    """What all histories of a run share."""

    runner: asyncio.Runner
    node: HotNode
    objects: MinioObjectStore
    kv: Losing

    def run(self, work: Awaitable[T]) -> T:
        """Wait for it."""

        async def waited() -> T:
            return await work

        return self.runner.run(waited())


class ColdTier(RuleBasedStateMachine):
    """Every rule may find the compactor dead in the middle of what it did before. After every rule everything is asked."""

    parts: ClassVar[Parts]

    def __init__(self) -> None:
        super().__init__()
        self._stack = AsyncExitStack()
        tier = self.parts.run(self._stack.enter_async_context(open_tier([self.parts.node])))
        self.world = World(tier, self.parts.objects, self.parts.kv)

    def _run(self, work: Awaitable[None], crash_at: str = "") -> None:
        self.world.arm(crash_at)
        self.parts.run(work)

    @initialize(trace=traces)
    def begin(self, trace: int) -> None:
        for hour in HOURS:
            for signal in SIGNALS:
                self._run(self.world.store(signal, TENANTS[0], hour, trace, 1))

    @rule(signals=st.sampled_from([SIGNALS, (TRACES, LOGS), *((signal,) for signal in SIGNALS)]), tenant=tenants, hour=hours, trace=traces)
    def store(self, signals: tuple[str, ...], tenant: str, hour: int, trace: int) -> None:
        for signal in signals:
            self._run(self.world.store(signal, tenant, hour, trace, 2))

    @rule(hour=hours)
    def store_late_rows_of_all(self, hour: int) -> None:
        for tenant in TENANTS:
            for signal in SIGNALS:
                self._run(self.world.store(signal, tenant, hour, 0, 2))

    @rule(steps=st.sampled_from((1, 2, 3)), crash_at=st.sampled_from(ROLLS))
    def roll_a_little(self, steps: int, crash_at: str) -> None:
        self._run(self.world.roll(steps), crash_at)

    @rule(crash_at=st.sampled_from(ROLLS))
    def roll(self, crash_at: str) -> None:
        self._run(self.world.roll(EVERYTHING), crash_at)

    @rule(crash_at=st.sampled_from(MERGES))
    def keep_house(self, crash_at: str) -> None:
        self._run(self.world.keep_house(), crash_at)

    @rule(crash_at=st.sampled_from(ROLL_UPS))
    def roll_up(self, crash_at: str) -> None:
        self._run(self.world.roll_up(), crash_at)

    @rule()
    def take_over(self) -> None:
        self._run(self.world.take_over())

    @precondition(lambda self: self.world.zombies)
    @rule(deed=st.sampled_from(("step", "merge", "roll up", "sweep", "retire", "erase")))
    def haunt(self, deed: str) -> None:
        self._run(self.world.haunt(deed))

    @rule()
    def kill_the_engine_in_a_move(self) -> None:
        self._run(self.world.roll(EVERYTHING), "moving")
        self._run(self.world.cut_off())

    @rule()
    def lose_the_head(self) -> None:
        self._run(self.world.lose_the_head())

    @rule(signal=st.sampled_from(SIGNALS), tenant=st.sampled_from(("", *TENANTS)), hour=st.sampled_from(HOURS[:2]))
    def retire(self, signal: str, tenant: str, hour: int) -> None:
        self._run(self.world.retire(signal, tenant, hour))

    @rule(tenant=tenants, trace=traces)
    def forget_a_trace(self, tenant: str, trace: int) -> None:
        self._run(self.world.request("trace", (bytes([trace]) * 16).hex(), tenant))

    @rule(tenant=tenants, user=st.sampled_from((user_of(0), user_of(1))))
    def forget_a_user(self, tenant: str, user: str) -> None:
        self._run(self.world.request("user", user, tenant))

    @rule(tenant=tenants)
    def forget_a_tenant(self, tenant: str) -> None:
        self._run(self.world.request("tenant", tenant, tenant))

    @precondition(lambda self: self.world.deletions)
    @rule(crash_at=st.sampled_from(ERASES))
    def erase(self, crash_at: str) -> None:
        self._run(self.world.erase(), crash_at)

    @invariant()
    def every_row_is_there_once(self) -> None:
        self.parts.run(self.world.check())

    def teardown(self) -> None:
        try:
            self.parts.run(self.world.settle())
        finally:
            self.parts.run(self._stack.aclose())


@pytest.fixture
def parts(shared_hot_node: HotNode, object_server: ObjectServer, nats_server: NatsServer) -> Iterator[Parts]:
    """The hot node, the bucket, and a key-value store of the test's own."""
    stack = AsyncExitStack()

    async def connected() -> Losing:
        kv = Losing(await stack.enter_async_context(connection(nats_server.settings(), "test")), "tael")
        await kv.ensure()
        return kv

    with asyncio.Runner() as runner:
        found = Parts(runner, shared_hot_node, MinioObjectStore(object_server.settings), runner.run(connected()))
        yield found
        found.run(stack.aclose())


def histories(parts: Parts, number: int, *, count: int, steps: int) -> None:
    """Run so many histories, the same ones for the same number. One that fails is printed and not shortened, which would take an hour."""
    machine = seed(number)(type("ColdTierOfARun", (ColdTier,), {"parts": parts}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=count,
            stateful_step_count=steps,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(600)
def test_every_row_is_readable_exactly_once(parts: Parts) -> None:
    histories(parts, 1, count=3, steps=12)


@pytest.mark.skipif("TAEL_TEST_MODEL_SECONDS" not in os.environ, reason="a long run: make model")
def test_every_row_is_readable_exactly_once_for_long(parts: Parts) -> None:
    """Two histories a seed: Hypothesis begins with the simplest."""
    until = time.monotonic() + float(os.environ["TAEL_TEST_MODEL_SECONDS"])
    for number in itertools.count(int(os.environ.get("TAEL_TEST_MODEL_SEED", "1"))):
        if time.monotonic() > until:
            break
        print(f"SEED={number}", file=sys.__stderr__, flush=True)
        histories(parts, number, count=2, steps=40)
