"""Admission: what is appended where and under which id, and how many bytes are held meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.ingest.budget import ByteBudget
from services.ingest.pipeline import Outcome, Pipeline
from tael.cluster.shard import Router
from tael.errors import NotFound, Overloaded, Rejected, Unavailable
from tael.otlp.signals import SIGNALS, Signal
from tael.wal import codec
from tests.support.otlp import BASE_NS, MemoryLog, eventually, receiver_settings, request_of, spans_of

TRACES = SIGNALS["traces"]
NOW_NS = BASE_NS + 42
"""Of about the time of the spans that ``request_of`` makes."""


def pipeline(log: Any, shards: int = 1) -> Pipeline:
    return Pipeline(log, Router(shards), receiver_settings(), now_ns=lambda: NOW_NS, registry=CollectorRegistry())


async def admit(p: Pipeline, signal: Signal, tenant: str, body: bytes) -> Outcome:
    async with p.reserve(tenant) as reservation:
        return await p.admit(signal, tenant, body, reservation)


async def test_untouched_bytes_in_an_envelope_with_tenant_and_arrival() -> None:
    log, body = MemoryLog(), request_of(2).SerializeToString()
    assert await admit(pipeline(log), TRACES, "acme", body) == Outcome()
    ((_, _, appended, _),) = log.appended
    (record,) = codec.decode(appended)
    assert (record.tenant, record.received_at, record.request) == ("acme", NOW_NS, body)


async def test_spans_go_to_the_shard_of_their_trace() -> None:
    log, router = MemoryLog(), Router(3)
    await admit(pipeline(log, 3), TRACES, "t", request_of(100).SerializeToString())
    assert len(log.spans) == 100
    for shard, _, body, items in log.appended:
        (record,) = codec.decode(body)
        assert len(spans_of(record.request)) == items
        assert {router.shard_of(span.trace_id) for span in spans_of(record.request)} == {shard}


async def test_the_router_may_be_replaced_while_serving() -> None:
    log = MemoryLog()
    p = pipeline(log)
    p.router = Router(2)
    await admit(p, TRACES, "t", request_of(50).SerializeToString())
    assert {shard for shard, *_ in log.appended} == {0, 1}


async def test_tenants_do_not_share_deduplication() -> None:
    """The same bytes of two tenants are two requests; of one tenant, one."""
    log, body = MemoryLog(), request_of(1).SerializeToString()
    p = pipeline(log)
    for tenant in ("a", "b", "a"):
        await admit(p, TRACES, tenant, body)
    assert [record.tenant for *_, b, _ in log.appended for record in codec.decode(b)] == ["a", "b"]


class OneShardAway(MemoryLog):
    """Shard 1 is unreachable until ``away`` is cleared."""

    away = True

    async def append(self, shard: int, signal: str, body: bytes, items: int, dedup_id: str) -> None:
        if shard == 1 and self.away:
            raise Unavailable("away")
        await super().append(shard, signal, body, items, dedup_id)


async def test_when_one_append_of_several_fails_the_client_sends_all_again_and_nothing_is_twice() -> None:
    log, body = OneShardAway(), request_of(40).SerializeToString()
    p = pipeline(log, 2)
    with pytest.raises(Unavailable):
        await admit(p, TRACES, "t", body)
    assert {shard for shard, *_ in log.appended} == {0}
    log.away = False
    await admit(p, TRACES, "t", body)
    assert len(log.spans) == len({span.span_id for span in log.spans}) == 40


async def test_appends_of_one_request_run_side_by_side() -> None:
    log = MemoryLog(gate=asyncio.Event())
    assert log.gate is not None
    admitting = asyncio.ensure_future(admit(pipeline(log, 4), TRACES, "t", request_of(100).SerializeToString()))
    await eventually(lambda: log.waiting == 4)
    assert not admitting.done()
    log.gate.set()
    assert await admitting == Outcome()


async def test_malformed_and_unsupported_requests_are_refused() -> None:
    with pytest.raises(Rejected):
        await admit(pipeline(MemoryLog()), TRACES, "t", b"\xff")
    with pytest.raises(NotFound, match="profiles"):
        await admit(pipeline(MemoryLog()), replace(TRACES, name="profiles"), "t", b"")


async def test_bytes_are_granted_in_the_order_of_asking() -> None:
    """A large request that waits is not overtaken by small ones."""
    budget, granted = ByteBudget(100, wait_seconds=5), []

    async def ask(name: str, size: int) -> None:
        await budget.acquire(size)
        granted.append(name)

    await budget.acquire(60)
    async with asyncio.TaskGroup() as group:
        group.create_task(ask("large", 80))
        await asyncio.sleep(0)
        group.create_task(ask("small", 10))
        await asyncio.sleep(0)
        assert granted == []
        budget.release(60)
    assert granted == ["large", "small"]
    assert (budget.held_bytes, budget.waiting_bytes) == (90, 0)


async def test_waiting_ends_with_overloaded_and_leaves_no_trace() -> None:
    budget = ByteBudget(100, wait_seconds=0.01)
    await budget.acquire(90)
    with pytest.raises(Overloaded):
        await budget.acquire(20)
    await budget.acquire(10)
    assert (budget.held_bytes, budget.waiting_bytes) == (100, 0)


async def test_waiting_requests_are_bounded_too() -> None:
    budget = ByteBudget(100, wait_seconds=5)
    await budget.acquire(100)
    waiting = asyncio.ensure_future(budget.acquire(60))
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await budget.acquire(60)
    budget.release(100)
    await waiting


@pytest.mark.parametrize("granted_first", [False, True])
async def test_a_waiter_that_is_cancelled_gives_its_turn_and_bytes_away(granted_first: bool) -> None:
    budget = ByteBudget(100, wait_seconds=5)
    await budget.acquire(100)
    first = asyncio.ensure_future(budget.acquire(60))
    second = asyncio.ensure_future(budget.acquire(40))
    await asyncio.sleep(0)
    if granted_first:
        budget.release(100)
    first.cancel()
    if not granted_first:
        budget.release(100)
    with contextlib.suppress(asyncio.CancelledError):
        await first
    await second
    assert (budget.held_bytes, budget.waiting_bytes) == (40, 0)


async def test_a_room_gives_everything_back() -> None:
    budget = ByteBudget(100, wait_seconds=0)
    async with budget.reserve() as reservation:
        await reservation.take(60)
        await reservation.take(40)
        with pytest.raises(Overloaded):
            await reservation.take(1)
        assert budget.held_bytes == 100
    assert budget.held_bytes == 0
