"""Payloads on their way into the WAL: each once, and before what refers to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry

from services.ingest.payloads import PayloadSender
from services.ingest.pipeline import Outcome, Pipeline
from tael.cluster.shard import Router
from tael.errors import Unavailable
from tael.model.payload import Payload
from tael.model.signals import PAYLOADS, TRACES
from tael.otlp.signals import SIGNALS
from tests.support.otlp import BASE_NS, MemoryLog, receiver_settings, request_of

SYSTEM = "You are the assistant of a shop. " * 300


def pipeline(log: MemoryLog, shards: int = 1) -> Pipeline:
    return Pipeline(log, Router(shards), receiver_settings(), registry=CollectorRegistry())


def asking(question: str, *, hours_ago: int = 0, traces: int = 1) -> ExportTraceServiceRequest:
    """Spans with one system prompt and a question."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for number in range(traces):
        digest = hashlib.sha256(f"{question}{number}".encode()).digest()
        span = spans.add(trace_id=digest[:16], span_id=digest[16:24], start_time_unix_nano=BASE_NS - hours_ago * 3_600 * 10**9)
        span.attributes.add(key="gen_ai.system_instructions").value.string_value = SYSTEM
        span.attributes.add(key="gen_ai.input.messages").value.string_value = question
    return request


async def admit(p: Pipeline, request: ExportTraceServiceRequest, tenant: str = "t") -> Outcome:
    async with p.reserve(tenant) as reservation:
        return await p.admit(SIGNALS[TRACES], tenant, request.SerializeToString(), reservation)


def signals(log: MemoryLog) -> list[str]:
    return [signal for _, signal, _, _ in log.appended]


async def test_a_system_prompt_crosses_the_wal_once_an_hour_and_tenant() -> None:
    log = MemoryLog()
    p = pipeline(log)
    for question in ("one", "two", "three"):
        await admit(p, asking(question))
    assert signals(log) == [PAYLOADS, TRACES, TRACES, TRACES]
    assert list(log.payloads.values()) == [SYSTEM.encode()]
    await admit(p, asking("old", hours_ago=1))
    await admit(p, asking("of another"), tenant="u")
    assert signals(log)[4:] == [PAYLOADS, TRACES, PAYLOADS, TRACES]
    assert sum(len(body) for _, _, body, _ in log.appended) < 4 * len(SYSTEM)


async def test_every_shard_that_refers_to_a_payload_gets_it_first() -> None:
    log = MemoryLog()
    await admit(pipeline(log, 3), asking("all", traces=30))
    assert {shard for shard, signal, _, _ in log.appended if signal == TRACES} == {0, 1, 2}
    for shard in range(3):
        assert [signal for where, signal, _, _ in log.appended if where == shard] == [PAYLOADS, TRACES]


async def test_requests_without_large_values_are_unchanged() -> None:
    log, request = MemoryLog(), request_of(200)
    await admit(pipeline(log), request)
    assert log.requests == [request.SerializeToString()]


async def test_a_payload_that_was_not_acknowledged_is_sent_again() -> None:
    """It is remembered only after an acknowledgement."""
    log = MemoryLog(error=Unavailable("away"))
    p = pipeline(log)
    with pytest.raises(Unavailable):
        await admit(p, asking("one"))
    log.error = None
    await admit(p, asking("one"))
    assert signals(log) == [PAYLOADS, TRACES]


async def test_payloads_are_sent_again_to_a_wal_that_lost_entries() -> None:
    """And a request during which it lost them is not answered with success."""
    log = MemoryLog()
    p = pipeline(log)
    await admit(p, asking("one"))
    log.turned, log.seen = 1, set()
    await admit(p, asking("two"))
    assert signals(log) == [PAYLOADS, TRACES, PAYLOADS, TRACES]

    class Turning(MemoryLog):
        async def append(self, shard: int, signal: str, body: bytes, items: int, dedup_id: str) -> None:
            await super().append(shard, signal, body, items, dedup_id)
            self.turned += signal == TRACES

    with pytest.raises(Unavailable, match="lost entries"):
        await admit(pipeline(Turning()), asking("three"))


async def test_the_memory_is_bounded() -> None:
    """The least recently used payloads are sent again."""
    log = MemoryLog()
    sender = PayloadSender(log, 2, 100, CollectorRegistry())
    one, two, three = (Payload(hashlib.sha256(content).digest(), content, (3_600,)) for content in (b"1", b"2", b"3"))

    async def send(*payloads: Payload) -> int:
        before, log.seen = len(log.appended), set()
        await sender.send(0, "t", payloads, 5)
        return len(log.appended) - before

    assert [await send(one, two), await send(one), await send(three), await send(one), await send(two)] == [1, 0, 1, 0, 1]


async def test_a_sent_payload_is_relied_on_for_a_limited_time() -> None:
    """However often it is used: a payload that nothing refers to may be collected some time after it was last sent."""
    log = MemoryLog()
    sender, content = PayloadSender(log, 2, 100, CollectorRegistry()), b"1"

    async def send(now_ns: int) -> int:
        before, log.seen = len(log.appended), set()
        await sender.send(0, "t", [Payload(hashlib.sha256(content).digest(), content, (3_600,))], now_ns)
        return len(log.appended) - before

    assert [await send(now_ns) for now_ns in (5, 60, 104, 105, 150, 204, 205)] == [1, 0, 0, 1, 0, 0, 1]


async def test_a_request_that_took_longer_than_that_is_not_answered_with_success() -> None:
    """The process may sleep between relying on a payload and the append; the client then sends the payload again."""
    now = BASE_NS

    @dataclass
    class Sleeping(MemoryLog):
        seconds: int = 0

        async def append(self, shard: int, signal: str, body: bytes, items: int, dedup_id: str) -> None:
            nonlocal now
            now += self.seconds * 10**9 if signal == TRACES else 0
            await super().append(shard, signal, body, items, dedup_id)

    log = Sleeping()
    p = Pipeline(log, Router(1), receiver_settings(), registry=CollectorRegistry(), now_ns=lambda: now)
    await admit(p, asking("one"))
    log.seconds = 3_601
    with pytest.raises(Unavailable, match="collected"):
        await admit(p, asking("two"))
    log.seconds = 0
    log.seen.clear()
    await admit(p, asking("two"))
    assert signals(log) == [PAYLOADS, TRACES, TRACES, PAYLOADS, TRACES]
