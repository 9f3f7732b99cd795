"""OTLP over gRPC, by the specification's list (transport, statuses, semantics), against the real receiver."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import random
import sys
from collections import Counter

import aiohttp
import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from services.ingest.receivers import otlp_grpc
from tael.errors import Overloaded, TaelError, Unavailable
from tael.runtime.config import Address
from tael.runtime.service import PortTaken
from tests.support.otlp import (
    TRACES_METHOD,
    MemoryLog,
    PeakMemory,
    Receivers,
    bomb,
    call,
    eventually,
    receiver_settings,
    receiving,
    refused,
    request_of,
)

OK, CODE = grpc.StatusCode.OK, grpc.StatusCode


def retry_seconds(status: Status | None) -> float | None:
    """The delay of a status's RetryInfo, None without one."""
    retry = RetryInfo()
    if status is None or not any(detail.Unpack(retry) for detail in status.details):
        return None
    return float(retry.retry_delay.ToTimedelta().total_seconds())


async def test_h2_s2_a_request_reaches_the_log_byte_for_byte() -> None:
    """An empty answer, partial_success unset."""
    body = request_of(3).SerializeToString() + b"\xfa\x3e\x03new"
    async with receiving() as r:
        answer = await call(r.grpc, body)
        assert (answer.code, answer.response and answer.response.HasField("partial_success")) == (OK, False)
        assert r.log.requests == [body]
        assert [(shard, signal, items) for shard, signal, _, items in r.log.appended] == [(0, "traces", 3)]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_plain_http_is_answered_with_where_to_send(method: str) -> None:
    """The default of several SDKs is http/protobuf, and their users come to 4317 with it."""
    async with receiving() as r, aiohttp.ClientSession() as session:
        async with session.request(method, f"http://{r.grpc}/v1/traces", data=request_of(3).SerializeToString()) as answer:
            text = await answer.text()
        assert answer.status == 400
        assert "this port takes OTLP over gRPC" in text
        assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in text
        assert (await call(r.grpc, request_of(3).SerializeToString())).code is OK


async def test_silent_connections_make_room() -> None:
    """As many as may be open stay silent after HTTP/2's preface; whoever comes next is served."""
    async with receiving(TAEL_MAX_CONNECTIONS=8) as r, contextlib.AsyncExitStack() as held:
        for _ in range(20):
            _, writer = await asyncio.open_connection(r.grpc.host, r.grpc.port)
            held.callback(writer.close)
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        assert (await call(r.grpc, request_of(3).SerializeToString())).code is OK


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_t3_none_and_gzip(compression: grpc.Compression) -> None:
    body = request_of(50).SerializeToString()
    async with receiving() as r:
        assert (await call(r.grpc, body, compression=compression)).code is OK
        assert r.log.requests == [body]


async def test_t3_other_compressions_are_unimplemented() -> None:
    async with receiving() as r:
        assert (await call(r.grpc, request_of(50).SerializeToString(), compression=grpc.Compression.Deflate)).code is CODE.UNIMPLEMENTED
        assert r.log.appended == []


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_t4_a_request_over_the_limit_is_refused_for_good(compression: grpc.Compression) -> None:
    """RESOURCE_EXHAUSTED without RetryInfo, before and after decompression."""
    async with receiving(TAEL_MAX_REQUEST_BYTES="64KiB") as r:
        body = request_of(400).SerializeToString()
        assert len(body) > 64 << 10
        answer = await call(r.grpc, body, compression=compression)
        assert (answer.code, retry_seconds(answer.status)) == (CODE.RESOURCE_EXHAUSTED, None)
        assert (await call(r.grpc, request_of(3).SerializeToString(), compression=compression)).code is OK


_BOMBER = """
import collections, sys, grpc
address, method, size, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)], compression=grpc.Compression.Gzip) as channel:
    export, bomb = channel.unary_unary(method), bytes(size)
    calls = [export.future(bomb, timeout=60) for _ in range(count)]
    print(*{f"{call.exception().code().name}: {call.exception().details()}" for call in calls}, sep="\\n")
"""


async def bombed(r: Receivers, size_bytes: int, count: int) -> list[str]:
    """The distinct errors of ``count`` calls at once from another process, whose gRPC compresses that many zeros a thousandfold."""
    arguments = ("-c", _BOMBER, str(r.grpc), TRACES_METHOD, str(size_bytes), str(count))
    bomber = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    said, _ = await bomber.communicate()
    return said.decode().splitlines()


async def test_t4_a_gzip_bomb_costs_no_memory() -> None:
    """Stopped at the limit, far from its 256 MiB, and without RetryInfo's invitation."""
    async with receiving(TAEL_MAX_REQUEST_BYTES="4MiB") as r:
        with PeakMemory() as peak:
            (error,) = await bombed(r, 1 << 28, 1)
        assert error.startswith("RESOURCE_EXHAUSTED: ")
        assert "TAEL_MAX_REQUEST_BYTES" in error
        assert peak.grown_bytes < 64 << 20
        answer = await call(r.grpc, bomb(1 << 25))
        assert (answer.code, retry_seconds(answer.status)) == (CODE.RESOURCE_EXHAUSTED, None)
        assert (await call(r.grpc, request_of(1).SerializeToString())).code is OK


async def test_t4_many_bombs_share_the_processs_budget_of_bytes() -> None:
    """64 calls of 7 MiB each, 448 MiB in all, where 16 MiB may be held: threads take a few more while they inflate and check."""
    async with receiving(TAEL_MAX_REQUEST_BYTES="8MiB", TAEL_MAX_INFLIGHT_BYTES="16MiB") as r:
        with PeakMemory() as peak:
            errors = await bombed(r, 7 << 20, 64)
        assert {error.split(":")[0] for error in errors} <= {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}
        assert peak.grown_bytes < 160 << 20
        assert r.pipeline.held_bytes == 0


async def test_t6_calls_on_one_connection_run_side_by_side() -> None:
    log = MemoryLog(gate=asyncio.Event())
    async with receiving(log) as r, grpc.aio.insecure_channel(str(r.grpc)) as channel:
        export = channel.unary_unary(TRACES_METHOD)
        calls = [asyncio.ensure_future(export(request_of(1).SerializeToString())) for _ in range(20)]
        await eventually(lambda: log.waiting == 20)
        assert log.gate is not None
        log.gate.set()
        assert await asyncio.gather(*calls) == [b""] * 20


async def test_t6_the_drain_finishes_calls_that_were_accepted() -> None:
    """The listener goes, the call is answered, and what was answered is in the log."""
    log = MemoryLog(gate=asyncio.Event())
    assert log.gate is not None
    async with contextlib.AsyncExitStack() as stack:
        r = await stack.enter_async_context(receiving(log))
        async with grpc.aio.insecure_channel(str(r.grpc)) as channel:
            waiting = asyncio.ensure_future(channel.unary_unary(TRACES_METHOD)(request_of(2).SerializeToString(), timeout=10))
            await eventually(lambda: log.waiting == 1)
            leaving = asyncio.ensure_future(stack.aclose())
            await asyncio.sleep(0.2)  # asyncio forgets a connection that it accepts in the very moment in which the listener closes
            await eventually(lambda: refused(r.grpc))
            assert not waiting.done()
            log.gate.set()
            assert await waiting == b""
            await leaving
    assert len(log.spans) == 2


async def test_t6_calls_that_come_during_the_drain_are_asked_to_retry() -> None:
    """By UNAVAILABLE, which gRPC names for a server that shuts down, and not by the CANCELLED of a client that gave up."""
    codes: Counter[grpc.StatusCode] = Counter()
    leaving = asyncio.Event()

    async def sends(address: Address) -> None:
        body = request_of(20).SerializeToString()
        async with grpc.aio.insecure_channel(str(address)) as channel:
            while not leaving.is_set() or codes[CODE.OK] == 0:
                try:
                    await channel.unary_unary(TRACES_METHOD)(body, timeout=10)
                    codes[CODE.OK] += 1
                except grpc.aio.AioRpcError as error:
                    codes[error.code()] += 1
                    await asyncio.sleep(1)  # as exporters do

    async with asyncio.TaskGroup() as group:
        async with receiving() as r:
            for _ in range(40):
                group.create_task(sends(r.grpc))
            await eventually(lambda: codes[CODE.OK] > 200)
        leaving.set()
    assert set(codes) == {CODE.OK, CODE.UNAVAILABLE}, codes


async def test_t1_an_unsupported_signal_is_unimplemented() -> None:
    """Profiles are in development."""
    async with receiving() as r:
        profiles = await call(r.grpc, b"", method="/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export")
        assert profiles.code is CODE.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("error", "code", "seconds"),
    [
        (Overloaded("the log is full", retry_after_seconds=2), CODE.RESOURCE_EXHAUSTED, 2.0),
        (Unavailable("the log is away"), CODE.UNAVAILABLE, 1.0),
        (ConnectionResetError("peer"), CODE.UNAVAILABLE, 1.0),
        (TimeoutError(), CODE.UNAVAILABLE, 1.0),
    ],
)
async def test_g1_g2_retryable_errors_carry_a_delay(error: Exception, code: grpc.StatusCode, seconds: float) -> None:
    log = MemoryLog(error=error)
    async with receiving(log) as r:
        body = request_of(1).SerializeToString()
        answer = await call(r.grpc, body)
        assert (answer.code, retry_seconds(answer.status)) == (code, seconds)
        assert answer.status is not None
        assert (answer.status.code, answer.status.message) == (code.value[0], answer.message)
        log.error = None
        assert (await call(r.grpc, body)).code is OK
        assert log.requests == [body]


async def test_g2_an_unforeseen_error_is_internal_and_never_unknown() -> None:
    async with receiving(MemoryLog(error=ZeroDivisionError("bug"))) as r:
        answer = await call(r.grpc, request_of(1).SerializeToString())
        assert (answer.code, retry_seconds(answer.status)) == (CODE.INTERNAL, None)
        assert "bug" not in answer.message


async def test_g3_bad_bytes_are_an_invalid_argument_with_details() -> None:
    async with receiving() as r:
        for body in (b"\xff\xff\xff", b"hello", b"\x1f\x8bnot gzip", gzip.compress(b"hello"), request_of(3).SerializeToString()[:-7]):
            answer = await call(r.grpc, body)
            assert (answer.code, retry_seconds(answer.status)) == (CODE.INVALID_ARGUMENT, None)
            bad = BadRequest()
            assert answer.status is not None
            assert answer.status.details[0].Unpack(bad)
            assert bad.field_violations[0].field == "body"
        assert r.log.appended == []


async def test_s1_an_empty_request_succeeds() -> None:
    """No resources, no scopes, no spans; nothing is appended."""
    no_scopes, no_spans = ExportTraceServiceRequest(), request_of(0)
    no_scopes.resource_spans.add()
    async with receiving() as r:
        for body in (b"", no_scopes.SerializeToString(), no_spans.SerializeToString()):
            assert (await call(r.grpc, body)).code is OK
        assert r.log.appended == []


@pytest.mark.parametrize("shards", [1, 3])
async def test_s2_s3_d1_bad_spans_are_refused_alone(shards: int) -> None:
    """Partial success counts spans, says why, and the rest is stored."""
    request = request_of(10)
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[2].trace_id, spans[5].span_id, spans[7].trace_id = bytes(16), b"short", b""
    async with receiving(shards=shards) as r:
        answer = await call(r.grpc, request.SerializeToString())
        assert answer.code is OK
        assert answer.response is not None
        partial = answer.response.partial_success
        assert partial.rejected_spans == 3
        for reason in ("trace_id is all zero", "span_id must have 8 bytes and has 5", "trace_id must have 16 bytes and has 0", "GET /5"):
            assert reason in partial.error_message
        assert {span.name for span in r.log.spans} == {f"GET /{i}" for i in range(10)} - {"GET /2", "GET /5", "GET /7"}


async def test_a_request_of_bad_spans_only_appends_nothing() -> None:
    request = request_of(2)
    for span in request.resource_spans[0].scope_spans[0].spans:
        span.trace_id = bytes(16)
    async with receiving() as r:
        answer = await call(r.grpc, request.SerializeToString())
        assert answer.response is not None
        assert (answer.response.partial_success.rejected_spans, r.log.appended) == (2, [])


async def test_s4_h8_a_call_repeated_after_a_lost_answer_is_stored_once() -> None:
    """Also when it takes several appends to several shards and only some of them worked."""
    body = request_of(200).SerializeToString()
    log = MemoryLog(max_body_bytes=8 << 10)
    async with receiving(log, shards=2) as r:
        for _ in range(3):
            assert (await call(r.grpc, body)).code is OK
        assert len(log.appended) > 4
        assert len(log.spans) == len({span.span_id for span in log.spans}) == 200


async def test_s2_a_span_too_large_for_the_wal_is_refused_with_the_limit() -> None:
    """Sending it again could not help. Long attributes are put apart until a span fits; its trace state is not."""
    request = request_of(3)
    request.resource_spans[0].scope_spans[0].spans[1].trace_state = "x" * 10_000
    async with receiving(MemoryLog(max_body_bytes=8 << 10)) as r:
        answer = await call(r.grpc, request.SerializeToString())
        assert answer.response is not None
        assert answer.response.partial_success.rejected_spans == 1
        assert "bytes that one entry of the WAL takes" in answer.response.partial_success.error_message
        assert [span.name for span in r.log.spans] == ["GET /0", "GET /2"]


async def test_g2_a_full_process_asks_the_client_to_retry() -> None:
    """RetryInfo at once, and room again when the log has caught up."""
    log = MemoryLog(gate=asyncio.Event())
    assert log.gate is not None
    body = request_of(20).SerializeToString()
    async with receiving(log, TAEL_MAX_REQUEST_BYTES=len(body), TAEL_MAX_INFLIGHT_BYTES=2 * len(body)) as r:
        held = [asyncio.ensure_future(call(r.grpc, request_of(20).SerializeToString())) for _ in range(2)]
        await eventually(lambda: log.waiting == 2)
        answer = await call(r.grpc, body)
        assert (answer.code, retry_seconds(answer.status)) == (CODE.RESOURCE_EXHAUSTED, 1.0)
        log.gate.set()
        assert {answer.code for answer in await asyncio.gather(*held)} == {OK}
        assert (await call(r.grpc, body)).code is OK


async def test_a_client_that_hangs_up_gives_its_bytes_back() -> None:
    log = MemoryLog(gate=asyncio.Event())
    body = request_of(20).SerializeToString()
    async with receiving(log, TAEL_MAX_REQUEST_BYTES=len(body), TAEL_MAX_INFLIGHT_BYTES=len(body)) as r:
        async with grpc.aio.insecure_channel(str(r.grpc)) as channel:
            gone = channel.unary_unary(TRACES_METHOD)(body)
            await eventually(lambda: log.waiting == 1)
            gone.cancel()
        log.gate = None
        await eventually(lambda: r.pipeline.held_bytes == 0)
        assert (await call(r.grpc, body)).code is OK


async def test_fuzzed_bodies_get_a_status_and_leave_the_process_and_their_neighbours_well() -> None:
    """Bits flipped, cut and repeated: OK or INVALID_ARGUMENT, and what was OK parses from the log."""
    chance = random.Random(4)
    async with receiving(shards=2) as r, grpc.aio.insecure_channel(str(r.grpc)) as channel:
        export = channel.unary_unary(TRACES_METHOD)
        for _ in range(300):
            body = bytearray(request_of(3).SerializeToString())
            for _ in range(chance.randrange(1, 6)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            cut = bytes(body[: chance.randrange(len(body))]) if chance.random() < 0.3 else bytes(body)
            try:
                await export(cut, timeout=10)
            except grpc.aio.AioRpcError as error:
                assert error.code() is CODE.INVALID_ARGUMENT  # noqa: PT017  # both ends are right
        for _ in range(50):
            with pytest.raises(grpc.aio.AioRpcError):
                await export(b"\xff" + os.urandom(100), timeout=10)
        neighbour = request_of(5, service="neighbour")
        assert await export(neighbour.SerializeToString(), timeout=10) == b""
        names = {span.span_id for span in r.log.spans}
        assert {span.span_id for span in neighbour.resource_spans[0].scope_spans[0].spans} <= names


async def test_a_port_in_use_is_one_line_that_names_the_setting() -> None:
    async with receiving() as r:
        taken = receiver_settings(TAEL_OTLP_GRPC_ADDR=str(r.grpc))
        with pytest.raises(PortTaken, match=f"OTLP gRPC address {r.grpc} is already taken .*TAEL_OTLP_GRPC_ADDR"):
            async with otlp_grpc.serve(taken, r.pipeline):
                pass
        assert issubclass(PortTaken, TaelError)
        assert isinstance(r.grpc, Address)
