"""OTLP's conformance list (specification 1.11, opentelemetry-proto docs/specification.md), every line for every signal that it concerns.

The id of a line is in the name of each test that holds it: T transport, H HTTP, G gRPC, S semantics, J JSON, D data model, C browsers. The
modules beside this one hold what is of one transport alone; ``test_every_line_has_a_test`` looks over all of them.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import zstandard
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from tael.model.signals import PAYLOADS
from tael.otlp.json import decode_json, dump_json
from tael.otlp.signals import SIGNALS
from tael.otlp.status import MAX_RESPONSE_BYTES, export_response
from tests.contract.test_otlp_conformance_grpc import retry_seconds
from tests.contract.test_otlp_conformance_http import JSON, PROTOBUF, Answer, send
from tests.support.otlp import GrpcAnswer, MemoryLog, Receivers, call, receiving, sample

LINES = "T1 T2 T3 T4 T5 T6 T7 H1 H2 H3 H4 H5 H6 H7 H8 G1 G2 G3 S1 S2 S3 S4 J1 J2 J3 J4 J5 D1 D2 D3 D4 D5 D6 D7 D8 C1"
SIGNAL = pytest.mark.parametrize("signal", list(SIGNALS))
KIND = pytest.mark.parametrize("kind", [PROTOBUF, JSON])
OK, CODE = grpc.StatusCode.OK, grpc.StatusCode
GROUPS = {"traces": ("resourceSpans", "scopeSpans"), "logs": ("resourceLogs", "scopeLogs"), "metrics": ("resourceMetrics", "scopeMetrics")}
TRACE, SPAN = "5B8EFFF798038103d269b633813fc60c", "EEE19B7EC3C1b174"


def test_every_line_has_a_test() -> None:
    """In this module or one beside it."""
    here = Path(__file__).parent
    named = re.findall(r"def test_((?:[a-z]\d_)+)", "".join(path.read_text() for path in here.glob("test_otlp_conformance*.py")))
    held = {line.upper() for name in named for line in name.strip("_").split("_")}
    assert held == set(LINES.split())


def encoded(request: Message, kind: str) -> bytes:
    return request.SerializeToString() if kind == PROTOBUF else dump_json(request)


def url(r: Receivers, signal: str) -> str:
    return f"http://{r.http}{SIGNALS[signal].http_path}"


async def post(r: Receivers, signal: str, body: bytes, kind: str = PROTOBUF, **headers: str) -> Answer:
    return await send(url(r, signal), body, kind, **headers)


async def export(r: Receivers, signal: str, body: bytes, **options: Any) -> GrpcAnswer:
    """The answer of every signal has the shape of traces' on the wire."""
    return await call(r.grpc, body, method=SIGNALS[signal].grpc_method, **options)


def told(answer: Answer | GrpcAnswer) -> tuple[int, str]:
    """Count and text of the partial success."""
    if isinstance(answer, GrpcAnswer):
        assert answer.response is not None, answer
        partial = answer.response.partial_success
    elif answer.kind == JSON:
        partial_json = json.loads(answer.body).get("partialSuccess", {})
        rejected = [int(value) for key, value in partial_json.items() if key.startswith("rejected")]
        return (rejected or [0])[0], partial_json.get("errorMessage", "")
    else:
        partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    return partial.rejected_spans, partial.error_message


def stored(r: Receivers) -> int:
    """The items in the log."""
    return sum(items for _, signal, _, items in r.log.appended if signal != PAYLOADS)


def holds(r: Receivers, text: str) -> bool:
    return any(text.encode() in body for _, _, body, _ in r.log.appended)


def spelled(signal: str, item: dict[str, Any]) -> bytes:
    """A JSON request that holds one item."""
    outer, inner = GROUPS[signal]
    return json.dumps({outer: [{"resource": {}, inner: [{"scope": {}, _ITEMS[signal]: [item]}]}]}).encode()


_ITEMS = {"traces": "spans", "logs": "logRecords", "metrics": "metrics"}


def point(**fields: Any) -> dict[str, Any]:
    """A gauge of one point, in JSON."""
    return {"name": "g", "gauge": {"dataPoints": [{"timeUnixNano": str(time.time_ns()), **fields}]}}


@SIGNAL
async def test_t1_t2_h2_every_signal_is_accepted_on_both_ports_in_both_encodings(signal: str) -> None:
    """Each at its path and method, answered with an empty message: no partial success is set."""
    async with receiving() as r:
        assert await export(r, signal, sample(signal, 3).SerializeToString()) == GrpcAnswer(OK, response=ExportTraceServiceResponse())
        for kind, empty in ((PROTOBUF, b""), (JSON, b"{}")):
            answer = await post(r, signal, encoded(sample(signal, 2), kind), kind)
            assert (answer.status, answer.kind, answer.body) == (200, kind, empty)
        assert {name for _, name, _, _ in r.log.appended} == {signal}
        assert stored(r) >= 7


@SIGNAL
@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress), ("identity", bytes)], ids=["gzip", "zstd", "none"]
)
async def test_t3_h1_compressed_bodies(signal: str, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """Over HTTP none, gzip and zstd."""
    async with receiving() as r:
        for kind in (PROTOBUF, JSON):
            body = encoded(sample(signal, 20, marker=f"in{encoding}"), kind)
            answer = await post(r, signal, pack(body), f"{kind}; charset=utf-8", Content_Encoding=encoding)
            assert (answer.status, answer.kind) == (200, kind)
        assert holds(r, f"in{encoding}")


@SIGNAL
async def test_t3_compressed_calls(signal: str) -> None:
    """Over gRPC none and gzip; deflate is UNIMPLEMENTED."""
    body = sample(signal, 200, marker="packed").SerializeToString()
    async with receiving() as r:
        assert (await export(r, signal, body, compression=grpc.Compression.Deflate)).code is CODE.UNIMPLEMENTED
        assert r.log.appended == []
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            assert (await export(r, signal, body, compression=compression)).code is OK
        assert holds(r, "packed")


async def test_t3_zstd_over_grpc_is_refused_by_name_and_not_to_be_retried() -> None:
    """As the collector's exporter would send it, in frames written by hand: no gRPC of Python's can.

    gRPC's core knows no zstd and answers INTERNAL itself, where UNIMPLEMENTED would be the better word; clients retry neither.
    """
    method, message = SIGNALS["traces"].grpc_method, zstandard.compress(sample("traces", 3).SerializeToString())
    async with receiving() as r:
        reader, writer = await _connect(r.grpc.host, r.grpc.port)
        headers = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "x", "te": "trailers"}
        headers |= {"content-type": "application/grpc", "grpc-encoding": "zstd"}
        block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in headers.items())
        body = b"\x01" + struct.pack(">I", len(message)) + message
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"") + _frame(1, 4, 1, block) + _frame(0, 1, 1, body))
        said = b""
        while b"grpc-status" not in said:
            chunk = await reader.read(4096)
            assert chunk, said
            said += chunk
        writer.close()
        assert b"\x0213" in said.partition(b"grpc-status")[2][:4]
        assert b"grpc-encoding" in said
        assert r.log.appended == []


async def _connect(host: str, port: int) -> Any:
    return await asyncio.wait_for(asyncio.open_connection(host, port), 10)


def _text(value: str) -> bytes:
    return bytes([len(value)]) + value.encode()


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


@SIGNAL
async def test_t4_h3_a_request_over_the_limit_is_refused_for_good(signal: str) -> None:
    """After decompression too, with both transports' way to say so and no invitation to retry."""
    body = sample(signal, 1_500).SerializeToString()
    assert len(body) > 65 << 10
    async with receiving(TAEL_MAX_REQUEST_BYTES="64KiB") as r:
        for sent, encoding in ((body, ""), (gzip.compress(body), "gzip"), (zstandard.compress(body), "zstd")):
            answer = await post(r, signal, sent, Content_Encoding=encoding)
            assert (answer.status, answer.kind, "Retry-After" in answer.headers) == (413, PROTOBUF, False)
            assert "TAEL_MAX_REQUEST_BYTES" in answer.error().message
        for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
            refused = await export(r, signal, body, compression=compression)
            assert (refused.code, retry_seconds(refused.status)) == (CODE.RESOURCE_EXHAUSTED, None)
        assert r.log.appended == []


@SIGNAL
def test_t5_a_long_explanation_is_shortened(signal: str) -> None:
    """Before it is more than a response may be, without tearing a letter."""
    response = export_response(SIGNALS[signal], 7, "ä" * MAX_RESPONSE_BYTES)
    assert response.ByteSize() < 1 << 17
    partial: Any = response.partial_success  # type: ignore[attr-defined]  # every export response has it
    assert partial.error_message.startswith("ää")
    assert partial.error_message.endswith("(shortened)")
    assert getattr(partial, SIGNALS[signal].rejected) == 7


async def test_t5_many_reasons_still_fit_an_answer() -> None:
    """Thousands of spans, each refused for a reason of its own."""
    request = sample("traces", 3_000)
    assert isinstance(request, ExportTraceServiceRequest)
    for index, span in enumerate(request.resource_spans[0].scope_spans[0].spans):
        span.trace_id = b"x" * (17 + index)
    async with receiving() as r:
        rejected, message = told(await export(r, "traces", request.SerializeToString()))
        assert (rejected, len(message) < 1 << 17) == (3_000, True)


async def test_t7_health_is_answered_for_the_whole_and_for_each_signal() -> None:
    async with receiving() as r, grpc.aio.insecure_channel(str(r.grpc)) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for service in ("", *(signal.grpc_method.split("/")[1] for signal in SIGNALS.values())):
            answer = await check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await check(health_pb2.HealthCheckRequest(service="nothing"))
        assert error.value.code() is CODE.NOT_FOUND


@SIGNAL
@KIND
async def test_h1_h3_h4_refusals_are_statuses_in_the_encoding_of_the_request(signal: str, kind: str) -> None:
    async with receiving() as r:
        body = encoded(sample(signal, 1), kind)
        answers = [
            (405, await send(url(r, signal), b"", kind, method="PUT")),
            (404, await send(url(r, signal) + "x", body, kind)),
            (415, await post(r, signal, body, kind, Content_Encoding="br")),
            (400, await post(r, signal, b"\xff{", kind)),
        ]
        for status, answer in answers:
            assert (answer.status, answer.kind) == (status, kind)
            assert answer.error().message
        assert answers[0][1].headers["Allow"] == "POST, OPTIONS"
        assert (await send(url(r, signal), body, "text/plain")).status == 415


@SIGNAL
@KIND
async def test_h3_an_unknown_caller_is_refused_in_kind(signal: str, kind: str, tmp_path: Path) -> None:
    """401 with a Status, before the body is looked at; UNAUTHENTICATED over gRPC."""
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps([{"token": "s3cret-token-for-tests", "tenant": "default", "scopes": ["ingest"]}]))
    async with receiving(TAEL_TOKENS_FILE=str(tokens)) as r:
        answer = await post(r, signal, b"\xff", kind)
        assert (answer.status, answer.kind, bool(answer.error().message)) == (401, kind, True)
        assert (await export(r, signal, b"\xff")).code is CODE.UNAUTHENTICATED


@SIGNAL
async def test_h5_g3_bad_data_is_named_and_not_to_be_sent_again(signal: str) -> None:
    """400 and INVALID_ARGUMENT, both with BadRequest."""
    async with receiving() as r:
        body = sample(signal, 3).SerializeToString()[:-2]
        answer, refused, bad = await post(r, signal, body), await export(r, signal, body), BadRequest()
        assert (answer.status, "Retry-After" in answer.headers) == (400, False)
        assert (refused.code, retry_seconds(refused.status)) == (CODE.INVALID_ARGUMENT, None)
        assert refused.status is not None
        for status in (answer.error(), refused.status):
            assert status.details[0].Unpack(bad)
            assert bad.field_violations[0].field == "body"
        assert r.log.appended == []


@SIGNAL
async def test_s4_h8_a_request_that_comes_again_is_stored_once(signal: str) -> None:
    """Whatever transport and compression its retries choose."""
    body = sample(signal, 5).SerializeToString()
    async with receiving(shards=2) as r:
        assert (await export(r, signal, body)).code is OK
        before = stored(r)
        assert (await export(r, signal, body, compression=grpc.Compression.Gzip)).code is OK
        assert (await post(r, signal, gzip.compress(body), Content_Encoding="gzip")).status == 200
        assert stored(r) == before >= 5


@SIGNAL
@KIND
async def test_s1_an_empty_request_succeeds(signal: str, kind: str) -> None:
    """No resources, no scopes, no items; nothing is appended."""
    outer, inner = GROUPS[signal]
    async with receiving() as r:
        texts: list[dict[str, Any]] = [{}, {outer: []}, {outer: [{}]}, {outer: [{inner: [{}]}]}]
        for text in texts:
            request = json.dumps(text).encode()
            body = request if kind == JSON else _message(signal, request).SerializeToString()
            answer = await post(r, signal, body, kind)
            assert (answer.status, told(answer)) == (200, (0, ""))
            if kind == PROTOBUF:
                assert (await export(r, signal, body)).code is OK
        assert r.log.appended == []


def _message(signal: str, text: bytes) -> Message:
    return decode_json(SIGNALS[signal].request, text)


def refusable(signal: str) -> tuple[Message, int]:
    """A request some of whose items must be refused alone, and how many."""
    request = sample(signal, 6)
    if isinstance(request, ExportTraceServiceRequest):
        spans = request.resource_spans[0].scope_spans[0].spans
        spans[1].trace_id, spans[4].span_id = bytes(16), b"four"
        return request, 2
    if isinstance(request, ExportLogsServiceRequest):
        request.resource_logs[0].scope_logs[0].log_records[3].severity_text = "x" * 20_000
        return request, 1
    assert isinstance(request, ExportMetricsServiceRequest)
    nameless = request.resource_metrics[0].scope_metrics[0].metrics.add()
    for index in range(4):
        nameless.gauge.data_points.add(as_int=index, time_unix_nano=time.time_ns())
    return request, 4


@SIGNAL
@KIND
async def test_s2_s3_refused_items_are_counted_and_the_rest_is_stored(signal: str, kind: str) -> None:
    """Items, not batches, and data points, not metrics; in words, and with success."""
    request, count = refusable(signal)
    async with receiving(MemoryLog(max_body_bytes=16 << 10)) as r:
        answer = await post(r, signal, encoded(request, kind), kind)
        rejected, message = told(answer)
        assert (answer.status, rejected) == (200, count), message
        assert f"{count} of" in message
        assert SIGNALS[signal].items in message
        if kind == JSON:
            name = {"traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints"}[signal]
            assert json.loads(answer.body)["partialSuccess"][name] == str(count)
        assert stored(r) >= 4


@SIGNAL
async def test_d8_g2_fuzzed_bodies_get_a_status_and_their_neighbours_are_stored(signal: str) -> None:
    """Bits flipped, cut and repeated, over both transports: 200 or 400, OK or INVALID_ARGUMENT."""
    chance = random.Random(8)
    async with receiving(shards=2) as r, grpc.aio.insecure_channel(str(r.grpc)) as channel:
        method = channel.unary_unary(SIGNALS[signal].grpc_method)
        for round_ in range(120):
            kind = JSON if round_ % 4 == 0 else PROTOBUF
            body = bytearray(encoded(sample(signal, 3), kind))
            for _ in range(chance.randrange(1, 6)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            sent = bytes(body[: chance.randrange(len(body))] if chance.random() < 0.3 else body)
            if round_ % 2 == 0:
                answer = await post(r, signal, sent, kind)
                assert (answer.status in (200, 400), answer.kind) == (True, kind), answer
            else:
                try:
                    await method(sent, timeout=10)
                except grpc.aio.AioRpcError as error:
                    assert error.code() is CODE.INVALID_ARGUMENT  # noqa: PT017  # both ends are right
        assert (await export(r, signal, sample(signal, 3, marker="neighbour").SerializeToString())).code is OK
        assert holds(r, "neighbour")


@SIGNAL
async def test_c1_browsers_may_send_every_signal(signal: str) -> None:
    """The preflight, the answer and the refusal all name the origin."""
    origin = "https://shop.example"
    async with receiving(TAEL_CORS_ORIGINS=origin) as r:
        asked = await send(url(r, signal), None, None, method="OPTIONS", Origin=origin, Access_Control_Request_Method="POST")
        assert (asked.status, asked.headers["Access-Control-Allow-Methods"]) == (204, "POST")
        for body in (encoded(sample(signal, 1), JSON), b"{"):
            assert (await post(r, signal, body, JSON, Origin=origin)).headers["Access-Control-Allow-Origin"] == origin
