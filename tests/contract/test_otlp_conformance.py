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
from collections.abc import Callable, Mapping
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
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.model.log import LEVELS
from tael.model.signals import PAYLOADS
from tael.model.span import Resource, Scope, Span
from tael.model.time import ALL_TIME
from tael.otlp.decode import decode_span
from tael.otlp.json import decode_json, dump_json
from tael.otlp.resolve import resolve_span
from tael.otlp.signals import SIGNALS
from tael.otlp.status import MAX_RESPONSE_BYTES, export_response
from tael.storage.api import LogQuery
from tael.wal import codec
from tests.contract.test_otlp_conformance_grpc import retry_seconds
from tests.contract.test_otlp_conformance_http import JSON, PROTOBUF, Answer, send
from tests.support.hotnode import HotNode
from tests.support.otlp import GrpcAnswer, MemoryLog, Receivers, call, receiving, sample, spans_of
from tests.support.storage import open_tier

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
async def test_t1_t2_h2_every_signal_is_taken_on_both_ports_in_both_encodings(signal: str) -> None:
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


async def test_j1_ids_are_hex_in_any_case_everywhere() -> None:
    """Spans, links, log records and exemplars; a value of bytes stays base64."""
    value = {"key": "b", "value": {"bytesValue": "AP8="}}
    items: dict[str, dict[str, Any]] = {
        "traces": {"traceId": TRACE, "spanId": SPAN, "links": [{"traceId": TRACE, "spanId": SPAN}], "attributes": [value]},
        "logs": {"traceId": TRACE, "spanId": SPAN, "attributes": [value]},
        "metrics": point(asInt="1", exemplars=[{"traceId": TRACE, "spanId": SPAN, "asInt": "1"}]),
    }
    async with receiving() as r:
        for signal, item in items.items():
            assert (await post(r, signal, spelled(signal, item), JSON)).status == 200
            body = r.log.appended[-1][2]
            occurrences = body.count(bytes.fromhex(TRACE)) + body.count(TRACE.lower().encode())
            assert occurrences == {"traces": 2, "logs": 1, "metrics": 2}[signal]  # an exemplar holds its id in bytes and in words
            assert signal == "metrics" or b"\x00\xff" in body
        for bad in ("zz", TRACE[:-1], 5):
            assert (await post(r, "logs", spelled("logs", {"traceId": bad}), JSON)).status == 400


@pytest.mark.parametrize(
    ("signal", "item", "path"),
    [
        ("traces", {"kind": "SPAN_KIND_SERVER"}, "spans[0].kind"),
        ("traces", {"status": {"code": "STATUS_CODE_OK"}}, "spans[0].status.code"),
        ("logs", {"severityNumber": "SEVERITY_NUMBER_INFO"}, "logRecords[0].severityNumber"),
        ("metrics", {"sum": {"aggregationTemporality": "AGGREGATION_TEMPORALITY_DELTA"}}, "metrics[0].sum.aggregationTemporality"),
    ],
)
async def test_j2_enums_are_integers_only(signal: str, item: dict[str, Any], path: str) -> None:
    async with receiving() as r:
        answer, bad = await post(r, signal, spelled(signal, item), JSON), BadRequest()
        assert (answer.status, answer.error().details[0].Unpack(bad)) == (400, True)
        assert bad.field_violations[0].field.endswith(path)


@SIGNAL
async def test_j3_unknown_and_snake_case_keys_are_ignored(signal: str) -> None:
    """At every level, and whatever they hold; those that protobuf knows are named in a warning."""
    items: dict[str, dict[str, Any]] = {
        "traces": {"traceId": TRACE, "spanId": SPAN, "name": "kept-text", "trace_id": 5, "start_time_unix_nano": {}, "future": [1]},
        "logs": {"body": {"stringValue": "kept-text", "string_value": 3, "new": {}}, "severity_number": "x", "time_unix_nano": []},
        "metrics": point(asInt=1, as_double="x", attributes=[{"key": "k", "value": {"stringValue": "kept-text"}, "hint": 1}]),
    }
    async with receiving() as r:
        answer = await post(r, signal, spelled(signal, items[signal])[:-1] + b', "resource_spans": 5, "more": {}}', JSON)
        rejected, message = told(answer)
        assert (answer.status, rejected) == (200, 0)
        assert "future" not in message
        assert ("trace_id (OTLP/JSON has traceId)" in message) == (signal == "traces")
        assert holds(r, "kept-text")


@pytest.mark.parametrize("written", [str, int], ids=["strings", "numbers"])
async def test_j4_j5_wide_integers_are_strings_or_numbers_and_doubles_may_be_spelled(written: Callable[[int], Any]) -> None:
    """Of all signals; the names with odd parts are taken."""
    now = time.time_ns()
    span = {"traceId": TRACE, "spanId": SPAN, "startTimeUnixNano": written(now), "flags": 257, "droppedAttributesCount": 3}
    record = {"timeUnixNano": written(now), "observedTimeUnixNano": written(now + 1), "flags": 1, "droppedAttributesCount": 4}
    record |= {"body": {"intValue": written(1 << 53)}, "attributes": [{"key": "d", "value": {"doubleValue": "-Infinity"}}]}
    histogram = {"timeUnixNano": written(now), "count": written(3), "bucketCounts": [written(1), written(2)], "explicitBounds": ["5"]}
    async with receiving() as r:
        for signal, item in (("traces", span), ("logs", record)):
            assert (await post(r, signal, spelled(signal, item), JSON)).status == 200
        metric = {"name": "h", "histogram": {"aggregationTemporality": 2, "dataPoints": [{**histogram, "sum": "NaN"}]}}
        answer = await post(r, "metrics", spelled("metrics", metric), JSON)
        assert (answer.status, told(answer)) == (200, (0, ""))
        (stored_span,) = spans_of(r.log.requests[0])
        assert (stored_span.start_time_unix_nano, stored_span.flags, stored_span.dropped_attributes_count) == (now, 257, 3)
        logs = ExportLogsServiceRequest.FromString(r.log.requests[1]).resource_logs[0].scope_logs[0].log_records[0]
        assert (logs.time_unix_nano, logs.observed_time_unix_nano, logs.flags, logs.dropped_attributes_count) == (now, now + 1, 1, 4)
        assert (logs.body.int_value, logs.attributes[0].value.double_value) == (1 << 53, -float("inf"))


async def test_d1_logs_need_no_ids_and_spans_do() -> None:
    """Spans are refused one by one; a record with an id that is none is kept outside any trace, and the client is told."""
    spans, logs = sample("traces", 4), sample("logs", 4)
    assert isinstance(spans, ExportTraceServiceRequest)
    assert isinstance(logs, ExportLogsServiceRequest)
    for index, trace_id in enumerate((b"", bytes(16), b"short")):
        spans.resource_spans[0].scope_spans[0].spans[index].trace_id = trace_id
        logs.resource_logs[0].scope_logs[0].log_records[index].trace_id = trace_id
    async with receiving(shards=3) as r:
        assert told(await export(r, "traces", spans.SerializeToString()))[0] == 3
        rejected, message = told(await export(r, "logs", logs.SerializeToString()))
        assert (rejected, "1 of 4 log records count as outside a trace" in message) == (0, True)
        assert stored(r) == 1 + 4


@SIGNAL
async def test_d4_text_that_is_not_utf8_is_replaced_and_costs_nobody_a_batch(signal: str) -> None:
    """In attributes, names and resources; the neighbours are stored and the client is told."""
    body = sample(signal, 4, marker="broken").SerializeToString()
    assert body.count(b"broken") >= 4
    wrong = body.replace(b"broken", b"bro\xffen", 2).replace(b"shop", b"s\xc3op").replace(b"tests", b"te\x80ts")
    async with receiving() as r:
        answer = await export(r, signal, wrong)
        rejected, message = told(answer)
        assert (answer.code, rejected) == (OK, 0)
        assert "not UTF-8" in message
        assert stored(r) >= 4
        assert holds(r, "bro\ufffden")
        assert holds(r, "broken")
        assert told(await post(r, signal, wrong, PROTOBUF)) == (rejected, message)


@SIGNAL
async def test_d4_values_of_every_type_and_repeated_keys_are_taken(signal: str) -> None:
    """Empty values, bytes, lists of mixed types, maps in lists; the last of two equal keys counts, and nothing fails."""
    values: list[dict[str, Any]] = [
        {"key": "e", "value": {}},
        {"key": "n"},
        {"key": "l", "value": {"arrayValue": {"values": [{"intValue": 1}, {"stringValue": "deep-text"}, {}, {"kvlistValue": {}}]}}},
        {"key": "m", "value": {"kvlistValue": {"values": [{"key": "x", "value": {"bytesValue": "AP8="}}]}}},
        {"key": "r", "value": {"stringValue": "first"}},
        {"key": "r", "value": {"stringValue": "last-one"}},
    ]
    items = {
        "traces": {"traceId": TRACE, "spanId": SPAN, "attributes": values},
        "logs": {"attributes": values, "body": values[2]["value"]},
        "metrics": point(asInt=1, attributes=values),
    }
    async with receiving() as r:
        answer = await post(r, signal, spelled(signal, items[signal]), JSON)
        assert (answer.status, told(answer)) == (200, (0, ""))
        assert holds(r, "deep-text")
        assert holds(r, "last-one")


OVER = [
    ("count", [{"key": f"k{i}", "value": {"intValue": i}} for i in range(40)], "8 attributes dropped", "TAEL_MAX_ATTRIBUTES"),
    ("key", [{"key": "k" * 300, "value": {"intValue": 1}}], "1 attributes dropped", "TAEL_MAX_ATTRIBUTE_KEY_BYTES"),
    ("text", [{"key": "k", "value": {"stringValue": "ä" * 1_000}}], "1 attribute values cut", "TAEL_MAX_ATTRIBUTE_VALUE_BYTES"),
    ("bytes", [{"key": "k", "value": {"bytesValue": "AAAA" * 1_000}}], "1 attribute values cut", "TAEL_MAX_ATTRIBUTE_VALUE_BYTES"),
    (
        "array",
        [{"key": "k", "value": {"arrayValue": {"values": [{"intValue": 1}] * 900}}}],
        "1 attributes dropped, an array or map",
        "TAEL_MAX_ATTRIBUTE_VALUE_BYTES",
    ),
]


@pytest.mark.parametrize("signal", ["traces", "logs"])
@pytest.mark.parametrize(("values", "what", "setting"), [row[1:] for row in OVER], ids=[row[0] for row in OVER])
async def test_d8_what_is_over_a_limit_is_cut_with_a_warning(signal: str, values: list[dict[str, Any]], what: str, setting: str) -> None:
    """Rejected is 0: the item is stored, its count of dropped attributes grown. Metrics' attributes identify: they are refused, not cut."""
    item = {"traceId": TRACE, "spanId": SPAN, "attributes": values, "droppedAttributesCount": 5}
    limits = {"TAEL_MAX_ATTRIBUTES": 32, "TAEL_MAX_ATTRIBUTE_KEY_BYTES": 256, "TAEL_MAX_ATTRIBUTE_VALUE_BYTES": 1024}
    async with receiving(**limits) as r:
        answer = await post(r, signal, spelled(signal, item), JSON)
        rejected, message = told(answer)
        assert (answer.status, rejected) == (200, 0)
        assert what in message
        assert setting in message
        assert stored(r) >= 1
        if signal == "traces":
            (span,) = r.log.spans
            assert span.dropped_attributes_count == 5 + len(values) - len(span.attributes)
            assert all(pair.ByteSize() < 1_100 for pair in span.attributes)


def decoded(span: WireSpan, payloads: Mapping[bytes, bytes] | None = None) -> Span:
    """The model of a span, its references resolved."""
    return resolve_span(decode_span(span, Resource(), Scope()), payloads or {})


async def test_d8_what_an_llm_call_says_is_never_cut() -> None:
    """Nor are events and links spared: they have limits of their own."""
    request = sample("traces", 1)
    assert isinstance(request, ExportTraceServiceRequest)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="gen_ai.input.messages").value.string_value = "p" * 900_000
    for index in range(1_500):
        span.attributes.add(key=f"llm.input_messages.{index}.message.content").value.string_value = "hello"
    event = span.events.add(name="e")
    event.attributes.add(key="note").value.string_value = "n" * 70_000
    async with receiving() as r:
        rejected, message = told(await export(r, "traces", request.SerializeToString()))
        assert (rejected, message) == (0, "1 attribute values cut to 65536 bytes (TAEL_MAX_ATTRIBUTE_VALUE_BYTES)")
        (read,) = r.log.spans
        assert len(read.attributes) == len(span.attributes)
        whole = decoded(read, r.log.payloads)
        assert whole.attributes == decoded(span).attributes
        assert whole.events[0].attributes["note"] == "n" * 65_536


LLM_TEXTS = (
    "gen_ai.input.messages",
    "gcp.vertex.agent.llm_request",
    "pydantic_ai.all_messages",
    "all_messages_events",
    "langfuse.observation.input",
    "mlflow.spanInputs",
    "request_data",
)


async def test_d8_texts_of_every_dialect_are_whole_and_so_are_its_events() -> None:
    """Whatever stands on a span of an LLM, whether or not its name is known."""
    request = sample("traces", 1)
    assert isinstance(request, ExportTraceServiceRequest)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="gen_ai.system").value.string_value = "gcp.vertex.agent"
    event = span.events.add(name="gen_ai.user.message")
    for owner, keys in ((span, LLM_TEXTS), (event, ("content",))):
        for key in keys:
            owner.attributes.add(key=key).value.string_value = "p" * 100_000
    async with receiving() as r:
        assert told(await export(r, "traces", request.SerializeToString())) == (0, "")
        (read,) = r.log.spans
        assert decoded(read, r.log.payloads) == decoded(span)


async def test_d8_an_item_that_no_entry_takes_is_stored_whole() -> None:
    """Its text apart, in pieces that an entry takes."""
    request = sample("traces", 1)
    assert isinstance(request, ExportTraceServiceRequest)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 9
    span.attributes.add(key="gen_ai.input.messages").value.string_value = "A" * 9_000_000
    async with receiving() as r:
        assert told(await export(r, "traces", request.SerializeToString())) == (0, "")
        (read,) = r.log.spans
        assert decoded(read, r.log.payloads) == decoded(span)


@SIGNAL
@pytest.mark.parametrize("levels", [20, 200, 5_000])
async def test_d8_nesting_deeper_than_protobuf_takes_is_cut_with_a_warning(signal: str, levels: int) -> None:
    request = sample(signal, 2, marker="@" * 8)
    value = b"\x10\x01"
    for _ in range(levels):
        value = _field(5, _field(1, value))
    body = _replace_first_text(request, value)
    async with receiving() as r:
        answer = await export(r, signal, body)
        rejected, message = told(answer)
        assert (answer.code, rejected) == (OK, 0)
        # Metrics keep attributes as bytes until they are text of a label, which nesting does not break.
        assert ("nested deeper than 30 levels" in message) == (levels > 30 and signal != "metrics")
        assert stored(r) >= 2


def _field(number: int, value: bytes) -> bytes:
    size, length = len(value), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def _replace_first_text(request: Any, value: bytes) -> bytes:
    """The request with one more attribute of the resource, whose value is given in bytes."""
    pair = _field(1, _field(1, b"deep") + _field(2, value))
    whole: bytes = request.SerializeToString()
    return whole + _field(1, _field(1, pair) + whole[_head(request) :])


def _head(request: Any) -> int:
    """The bytes before the content of the request's one group."""
    group = request.ListFields()[0][1][0]
    return int(request.ByteSize()) - int(group.ByteSize())


async def test_d8_metrics_over_a_limit_are_refused_by_name() -> None:
    """A label that is cut would be another series."""
    values = [{"key": "k", "value": {"stringValue": "v" * 100_000}}]
    async with receiving() as r:
        rejected, message = told(await post(r, "metrics", spelled("metrics", point(asInt=1, attributes=values)), JSON))
        assert (rejected, stored(r), "1 of 1 data points rejected" in message) == (1, 0, True)


async def test_d2_d3_d7_logs_are_read_back_as_they_came(shared_hot_node: HotNode) -> None:
    """Times by their rule, every count, flag and URL, a severity of text alone, an event's name."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add(schema_url="https://r")
    group.resource.dropped_attributes_count = 6
    scoped = group.scope_logs.add(schema_url="https://s")
    scoped.scope.name, scoped.scope.version, scoped.scope.dropped_attributes_count = "lib", "1.0", 7
    scoped.log_records.add(
        observed_time_unix_nano=5, severity_text="WARNING", event_name="device.crash", flags=1, dropped_attributes_count=8
    )
    scoped.log_records.add(time_unix_nano=9, observed_time_unix_nano=5, severity_number=17)
    scoped.log_records.add()
    async with receiving() as r, open_tier([shared_hot_node]) as tier:
        assert (await export(r, "logs", request.SerializeToString())).code is OK
        body = b"".join(body for _, _, body, _ in r.log.appended)  # what lies far from now goes to a WAL of its own
        record, _ = codec.decode(body)
        await tier.writers[0].write("logs", body, "token")
        arrived, named, seen = (await tier.logs.find_logs("default", LogQuery(ALL_TIME))).value
        assert [log.timestamp_ns for log in (arrived, named, seen)] == [record.received_at, 9, 5]
        assert (seen.severity_number, seen.severity_text, LEVELS[seen.level], seen.event_name) == (0, "WARNING", "warn", "device.crash")
        assert (seen.flags, seen.dropped_attributes_count, named.severity_number) == (1, 8, 17)
        assert (seen.resource.schema_url, seen.resource.dropped_attributes_count) == ("https://r", 6)
        assert (seen.scope.schema_url, seen.scope.name, seen.scope.version, seen.scope.dropped_attributes_count) == (
            "https://s",
            "lib",
            "1.0",
            7,
        )


async def test_d2_d3_spans_are_read_back_as_they_came(shared_hot_node: HotNode) -> None:
    """An end before the start is kept and lasts 0; counts, trace state, flags and URLs are there."""
    request = sample("traces", 1)
    assert isinstance(request, ExportTraceServiceRequest)
    span = request.resource_spans[0].scope_spans[0].spans[0]
    span.end_time_unix_nano = span.start_time_unix_nano - 5
    span.trace_state, span.flags = "a=1", 0x301
    span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count = 1, 2, 3
    async with receiving() as r, open_tier([shared_hot_node]) as tier:
        assert (await export(r, "traces", request.SerializeToString())).code is OK
        await tier.writers[0].write("traces", r.log.appended[0][2], "token")
        (read,) = (await tier.reader.get_trace("default", span.trace_id)).value
        assert (read.end_ns - read.start_ns, read.duration_ns, read.trace_state, read.flags) == (-5, 0, "a=1", 0x301)
        assert (read.dropped_attributes_count, read.dropped_events_count, read.dropped_links_count) == (1, 2, 3)
        assert read.resource.schema_url == "https://opentelemetry.io/schemas/1.40.0"


async def test_d5_d6_metrics_of_every_kind_are_series_by_their_prometheus_names() -> None:
    """Which values they have, tests/unit/test_metric_translation.py holds."""
    now = {"timeUnixNano": str(time.time_ns())}
    histogram = {**now, "count": 3, "bucketCounts": [1, 2], "explicitBounds": [5], "sum": 4}
    kinds: dict[str, dict[str, Any]] = {
        "g": {"gauge": {"dataPoints": [{**now, "asInt": 1}]}, "unit": "s"},
        "c": {"sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [{**now, "asInt": 1}]}},
        "h": {"histogram": {"aggregationTemporality": 2, "dataPoints": [histogram]}},
        "x": {"exponentialHistogram": {"aggregationTemporality": 2, "dataPoints": [{**now, "count": 1, "zeroCount": 1}]}},
        "q": {"summary": {"dataPoints": [{**now, "count": 1, "sum": 2, "quantileValues": [{"quantile": 0.5, "value": 1}]}]}},
    }
    who = {"service.namespace": "ns", "service.name": "shop", "service.instance.id": "i-1", "host.name": "n"}
    resource = {"attributes": [{"key": key, "value": {"stringValue": text}} for key, text in who.items()]}
    metrics = [{"name": name, **kind} for name, kind in kinds.items()]
    text = json.dumps({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": metrics}]}]})
    async with receiving() as r:
        answer = await post(r, "metrics", text.encode(), JSON)
        assert (answer.status, told(answer)) == (200, (0, ""))
        for name in ("g_seconds", "c_total", "h_bucket", "h_sum", "h_count", "x", "q_sum", "quantile", "target_info", "ns/shop", "i-1"):
            assert holds(r, name), name


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
