"""A model of the cold tier over real parts: whatever happens in whatever order, every row is readable exactly once at every moment, or gone
for good; and so are the payloads that rows refer to.

`make test` runs a few histories that are always the same; `make model SECONDS=900 SEED=7` runs others for as long as one likes
(tests/support/cold_world.py).
"""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
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
from tests.support.cold_world import SHARDS, Losing, World
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
COLLECTS: Final = (*ALIVE, "deleted", "rewritten", "collected", *LOST)
EVERYTHING: Final = 10_000
"""More steps than there can be."""
shards = st.sampled_from(range(SHARDS))
tenants, hours, traces = st.sampled_from(TENANTS), st.sampled_from(HOURS), st.sampled_from(TRACE_NUMBERS)


@dataclass
class Parts:
    """What all histories of a run share."""

    runner: asyncio.Runner
    node: HotNode
    objects: MinioObjectStore
    kv: Losing
    until: float = math.inf
    """When histories end: what they still want to do then is left out."""

    @property
    def is_over(self) -> bool:
        """Whether no more is done."""
        return time.monotonic() > self.until

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
        tier = self.parts.run(self._stack.enter_async_context(open_tier([self.parts.node] * SHARDS)))
        self.world = World(tier, self.parts.objects, self.parts.kv)

    def _run(self, work: Callable[[], Awaitable[None]], crash_at: str = "") -> None:
        if self.parts.is_over:
            return
        self.world.arm(crash_at)
        self._work(work)

    def _work(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            self.parts.run(work())
        except BaseException:
            self.parts.until = math.inf  # Hypothesis repeats a history that fails, and has to see the same failure
            raise

    @initialize(trace=traces)
    def begin(self, trace: int) -> None:
        for shard in range(SHARDS):
            self._run(partial(self.world.collect, shard))
        for hour, signal in itertools.product(HOURS, SIGNALS):
            self._store((signal,), TENANTS[0], hour, trace, 1)

    def _store(self, signals: Sequence[str], tenant: str, hour: int, trace: int, count: int = 2) -> None:
        for signal in signals:
            self._run(partial(self.world.store, signal, tenant, hour, trace, count))

    @rule(signals=st.sampled_from([SIGNALS, (TRACES, LOGS), *((signal,) for signal in SIGNALS)]), tenant=tenants, hour=hours, trace=traces)
    def store(self, signals: tuple[str, ...], tenant: str, hour: int, trace: int) -> None:
        self._store(signals, tenant, hour, trace)

    @rule(hour=hours)
    def store_late_rows_of_all(self, hour: int) -> None:
        for tenant in TENANTS:
            self._store(SIGNALS, tenant, hour, 0)

    @rule(shard=shards, steps=st.sampled_from((1, 2, 3)), crash_at=st.sampled_from(ROLLS))
    def roll_a_little(self, shard: int, steps: int, crash_at: str) -> None:
        self._run(lambda: self.world.roll(shard, steps), crash_at)

    @rule(shard=shards, crash_at=st.sampled_from(ROLLS))
    def roll(self, shard: int, crash_at: str) -> None:
        self._run(lambda: self.world.roll(shard, EVERYTHING), crash_at)

    @rule(shard=shards, crash_at=st.sampled_from(MERGES))
    def keep_house(self, shard: int, crash_at: str) -> None:
        self._run(lambda: self.world.keep_house(shard), crash_at)

    @rule(shard=shards, crash_at=st.sampled_from(ROLL_UPS))
    def roll_up(self, shard: int, crash_at: str) -> None:
        self._run(lambda: self.world.roll_up(shard), crash_at)

    @rule(hours=st.sampled_from((0.5, 2.5, 25.0)))
    def pass_time(self, hours: float) -> None:
        self._run(lambda: self.world.pass_time(hours))

    @rule(shard=shards, crash_at=st.sampled_from(COLLECTS))
    def collect(self, shard: int, crash_at: str) -> None:
        self._run(lambda: self.world.collect(shard), crash_at)

    @rule(shard=shards)
    def take_over(self, shard: int) -> None:
        self._run(self.world.compactors[shard].take_over)

    @rule(shard=shards, deed=st.sampled_from(("step", "merge", "roll up", "sweep", "retire", "erase")))
    def haunt(self, shard: int, deed: str) -> None:
        if self.world.compactors[shard].zombies:
            self._run(lambda: self.world.haunt(shard, deed))

    @rule(shard=shards)
    def kill_the_engine_in_a_move(self, shard: int) -> None:
        self._run(lambda: self.world.roll(shard, EVERYTHING), "moving")
        self._run(self.world.compactors[shard].cut_off)

    @rule(shard=shards)
    def lose_the_head(self, shard: int) -> None:
        self._run(self.world.compactors[shard].lose_the_head)

    @rule(signal=st.sampled_from(SIGNALS), tenant=st.sampled_from(("", *TENANTS)), hour=st.sampled_from(HOURS[:2]))
    def retire(self, signal: str, tenant: str, hour: int) -> None:
        self._run(lambda: self.world.retire(signal, tenant, hour))

    @rule(tenant=tenants, trace=traces)
    def forget_a_trace(self, tenant: str, trace: int) -> None:
        self._run(lambda: self.world.request("trace", (bytes([trace]) * 16).hex(), tenant))

    @rule(tenant=tenants, user=st.sampled_from((user_of(0), user_of(1))))
    def forget_a_user(self, tenant: str, user: str) -> None:
        self._run(lambda: self.world.request("user", user, tenant))

    @rule(tenant=tenants)
    def forget_a_tenant(self, tenant: str) -> None:
        self._run(lambda: self.world.request("tenant", tenant, tenant))

    @precondition(lambda self: self.world.deletions)
    @rule(shard=shards, crash_at=st.sampled_from(ERASES))
    def erase(self, shard: int, crash_at: str) -> None:
        self._run(lambda: self.world.erase(shard), crash_at)

    @invariant()
    def every_row_is_there_once(self) -> None:
        self._run(self.world.check)

    def teardown(self) -> None:
        try:
            self._work(self.world.settle)
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


@pytest.mark.timeout(1200)
def test_every_row_is_readable_exactly_once(parts: Parts) -> None:
    histories(parts, 1, count=3, steps=8)


@pytest.mark.skipif("TAEL_TEST_MODEL_SECONDS" not in os.environ, reason="a long run: make model")
def test_every_row_is_readable_exactly_once_for_long(parts: Parts) -> None:
    """Two histories a seed, as Hypothesis begins with the simplest. At the end of the time the last one is settled and checked, wherever it
    is.
    """
    parts.until = time.monotonic() + float(os.environ["TAEL_TEST_MODEL_SECONDS"])
    for number in itertools.count(int(os.environ.get("TAEL_TEST_MODEL_SEED", "1"))):
        if parts.is_over:
            break
        print(f"SEED={number}", file=sys.__stderr__, flush=True)
        histories(parts, number, count=2, steps=40)
