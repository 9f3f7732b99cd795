"""How long connections of gRPC live, on both listeners that take them: pings, silence and age. No call is lost to any of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.ingest.receivers.settings import ReceiverSettings
from services.query.settings import QuerySettings
from tael.model.span import Span
from tael.pb import jaeger_query_v3_pb2 as v3
from tael.runtime.config import load
from tael.storage.api import Answer
from tests.support.doubles import MemorySpans
from tests.support.http2 import ENHANCE_YOUR_CALM, frames
from tests.support.otlp import TRACES_METHOD, MemoryLog, receiving, request_of
from tests.support.query import serving
from tests.support.stubs import stubs
from tests.support.traceql_cases import SPANS

COLLECTOR_PING_SECONDS = 10
"""How often a Collector's exporters ping (the default of ``keepalive.time`` in its configgrpc)."""
SHORT_LIVED: dict[str, Any] = {"TAEL_GRPC_MAX_AGE_SECS": "0.4", "TAEL_GRPC_AGE_GRACE_SECS": "20"}
SERVICES = pytest.mark.parametrize("service", ["ingest", "query"])


class GatedLog(MemoryLog):
    """A WAL that waits with its answer until ``gate`` is open."""

    def __init__(self, gate: asyncio.Event, reached: asyncio.Event) -> None:
        super().__init__(gate=gate)
        self.reached = reached

    async def append(self, *given: Any, **named: Any) -> None:
        self.reached.set()
        await super().append(*given, **named)


class GatedSpans(MemorySpans):
    """Spans that wait with an answer until ``gate`` is open."""

    def __init__(self, gate: asyncio.Event, reached: asyncio.Event) -> None:
        super().__init__(SPANS)
        self.gate, self.reached = gate, reached

    async def get_trace(self, *given: Any, **named: Any) -> Answer[list[Span]]:
        self.reached.set()
        await self.gate.wait()
        return await super().get_trace(*given, **named)


@asynccontextmanager
async def listening(
    service: str, gate: asyncio.Event | None = None, reached: asyncio.Event | None = None, **variables: Any
) -> AsyncIterator[str]:
    """The address of a service's gRPC. What it is asked waits for ``gate`` where there is one."""
    gated = (gate, reached or asyncio.Event()) if gate is not None else None
    if service == "ingest":
        async with receiving(GatedLog(*gated) if gated else None, **variables) as receivers:
            yield str(receivers.grpc)
        return
    async with serving(GatedSpans(*gated) if gated else MemorySpans(SPANS), **variables) as api:
        yield api.grpc


@asynccontextmanager
async def counted(address: str) -> AsyncIterator[tuple[str, list[int]]]:
    """An address that hands connections on to another one, and a list with an element for each."""
    host, _, port = address.rpartition(":")
    seen: list[int] = []

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while piece := await source.read(65536):
                target.write(piece)
                await target.drain()
        target.close()

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(len(seen))
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(hand_on, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        server.close()


@SERVICES
async def test_pings_within_the_bound_are_answered(service: str) -> None:
    """Also on a connection without a call; a Collector's are, by default."""
    async with listening(service, TAEL_GRPC_MIN_PING_SECS="0.02") as address, frames(address) as connection:
        for number in range(1, 9):
            await connection.ping()
            await connection.until_acknowledged(number)
            await asyncio.sleep(0.05)
        assert (connection.acknowledged, connection.goaways) == (8, [])
    for settings in (load(QuerySettings, {}), load(ReceiverSettings, {})):
        assert settings.grpc_min_ping_seconds <= COLLECTOR_PING_SECONDS


@SERVICES
async def test_a_client_that_pings_too_often_is_disconnected(service: str) -> None:
    async with listening(service) as address, frames(address) as connection:
        while not connection.goaways:
            await connection.ping()
            await connection.until_acknowledged(connection.acknowledged + 1)
        await asyncio.wait_for(connection.closed.wait(), 60)
        assert connection.goaways == [ENHANCE_YOUR_CALM]


@SERVICES
async def test_an_idle_connection_is_closed(service: str) -> None:
    """The client connects anew when it has something to say."""
    async with (
        listening(service, TAEL_GRPC_IDLE_SECS="0.3") as address,
        counted(address) as (through, seen),
        grpc.aio.insecure_channel(through) as channel,
    ):
        check = health_pb2_grpc.HealthStub(channel).Check
        await check(health_pb2.HealthCheckRequest(), timeout=60)
        while channel.get_state() is grpc.ChannelConnectivity.READY:
            await channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
        await check(health_pb2.HealthCheckRequest(), timeout=60)
        assert len(seen) == 2
        async with frames(address) as silent:
            await asyncio.wait_for(silent.closed.wait(), 60)
        assert silent.goaways


@SERVICES
async def test_an_old_connection_is_replaced_without_a_failed_call(service: str) -> None:
    """Calls go on, one after the other, over several connections."""
    async with (
        listening(service, **SHORT_LIVED) as address,
        counted(address) as (through, seen),
        grpc.aio.insecure_channel(through) as channel,
    ):
        check = health_pb2_grpc.HealthStub(channel).Check
        while len(seen) < 4:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


@SERVICES
async def test_a_call_outlives_the_age_of_its_connection(service: str) -> None:
    """By the time of grace at most."""
    gate, reached = asyncio.Event(), asyncio.Event()
    async with listening(service, gate, reached, **SHORT_LIVED) as address, grpc.aio.insecure_channel(address) as channel:
        call = asyncio.create_task(_ask(service, channel))
        await asyncio.wait_for(reached.wait(), 60)
        async with frames(address) as younger:
            await asyncio.wait_for(younger.closed.wait(), 60)
        assert not call.done()
        gate.set()
        await asyncio.wait_for(call, 60)


async def _ask(service: str, channel: Any) -> None:
    if service == "ingest":
        await channel.unary_unary(TRACES_METHOD)(request_of(1).SerializeToString())
        return
    stub = stubs("jaeger_query_v3").QueryServiceStub(channel)
    assert [chunk async for chunk in stub.GetTrace(v3.GetTraceRequest(trace_id=SPANS[0].trace_id.hex()))]


@SERVICES
@pytest.mark.parametrize("sent", [b"", b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], ids=["nothing", "a letter", "a preface"])
async def test_a_silent_connection_is_closed(service: str, sent: bytes) -> None:
    """After the time for a request's head, however it began."""
    async with listening(service, TAEL_HEADER_SECS="0.5") as address:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        with suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 60)
        writer.close()
