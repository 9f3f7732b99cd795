"""OTLP over HTTP, by the specification's list (bodies, statuses, encodings, browsers), against the real receiver."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import zstandard
from google.protobuf import json_format
from google.rpc.error_details_pb2 import BadRequest, RetryInfo
from google.rpc.status_pb2 import Status
from multidict import CIMultiDictProxy
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from services.ingest.receivers import otlp_http
from tael.errors import Overloaded, Unavailable
from tael.otlp.json import dump_json
from tael.runtime.service import PortTaken
from tests.support.otlp import MemoryLog, PeakMemory, Receivers, bomb, eventually, receiver_settings, receiving, refused, request_of

PROTOBUF, JSON = "application/x-protobuf", "application/json"
BOTH = pytest.mark.parametrize("kind", [PROTOBUF, JSON])


@dataclass(frozen=True)
class Answer:
    """A response, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def kind(self) -> str:
        return self.headers.get("Content-Type", "")

    def error(self) -> Status:
        """The body as google.rpc.Status in the encoding that the answer says it has."""
        if self.kind == PROTOBUF:
            return Status.FromString(self.body)
        assert self.kind == JSON
        return json_format.Parse(self.body, Status())


async def send(url: str, body: Any, kind: str | None = PROTOBUF, *, method: str = "POST", **headers: str) -> Answer:
    """One request on a connection of its own; header names are given with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if kind is not None:
        named["Content-Type"] = kind
    async with (
        aiohttp.ClientSession(auto_decompress=True, skip_auto_headers=["Content-Type"]) as session,
        session.request(method, url, data=body, headers=named) as answer,
    ):
        return Answer(answer.status, answer.headers, await answer.read())


def encoded(request: ExportTraceServiceRequest, kind: str) -> bytes:
    return request.SerializeToString() if kind == PROTOBUF else dump_json(request)


@contextlib.asynccontextmanager
async def full_or_away(error: Exception) -> AsyncIterator[Receivers]:
    async with receiving(MemoryLog(error=error)) as r:
        yield r


@BOTH
async def test_h1_h2_t2_success_is_200_with_an_empty_response(kind: str) -> None:
    """Both encodings on one port, answered in kind, partial_success unset."""
    request = request_of(3)
    async with receiving() as r:
        answer = await send(r.url, encoded(request, kind), kind)
        assert (answer.status, answer.kind, answer.body) == (200, kind, b"" if kind == PROTOBUF else b"{}")
        assert r.log.spans == list(request.resource_spans[0].scope_spans[0].spans)
        if kind == PROTOBUF:
            assert r.log.requests == [request.SerializeToString()]


async def test_h1_parameters_of_the_content_type_change_nothing() -> None:
    async with receiving() as r:
        answer = await send(r.url, encoded(request_of(1), JSON), "application/json; charset=utf-8")
        assert (answer.status, answer.kind, len(r.log.spans)) == (200, JSON, 1)


@BOTH
@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("zstd", zstandard.compress), ("GZIP", gzip.compress), ("identity", bytes)]
)
async def test_t3_compressed_bodies(kind: str, encoding: str, pack: type[bytes]) -> None:
    async with receiving() as r:
        answer = await send(r.url, pack(encoded(request_of(300), kind)), kind, Content_Encoding=encoding)
        assert (answer.status, len(r.log.spans)) == (200, 300)


@BOTH
@pytest.mark.parametrize("encoding", ["deflate", "br", "snappy", "lz4", "gzip, gzip"])
async def test_t3_h3_other_encodings_are_415_with_those_that_are_accepted(kind: str, encoding: str) -> None:
    async with receiving() as r:
        answer = await send(r.url, zlib.compress(b"x"), kind, Content_Encoding=encoding)
        assert (answer.status, answer.kind) == (415, kind)
        assert "gzip" in answer.error().message


async def test_t2_chunked_bodies() -> None:
    """A body of unknown length."""
    body = request_of(300).SerializeToString()

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 1000):
            yield body[at : at + 1000]

    async with receiving() as r:
        assert (await send(r.url, chunks())).status == 200
        assert r.log.requests == [body]


@BOTH
async def test_t4_h3_a_body_over_the_limit_is_413(kind: str) -> None:
    """By its length, by what arrives in chunks, and after decompression."""
    body = encoded(request_of(400), kind)

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(body), 10_000):
            yield body[at : at + 10_000]

    async with receiving(TAEL_MAX_REQUEST_BYTES="64KiB") as r:
        packed = {"gzip": gzip.compress(body), "zstd": zstandard.compress(body)}
        answers = [await send(r.url, body, kind), await send(r.url, chunks(), kind)]
        answers += [await send(r.url, small, kind, Content_Encoding=encoding) for encoding, small in packed.items()]
        for answer in answers:
            assert (answer.status, answer.kind, "Retry-After" in answer.headers) == (413, kind, False)
            assert "TAEL_MAX_REQUEST_BYTES" in answer.error().message
        assert r.log.appended == []
        await eventually(lambda: r.pipeline.held_bytes == 0)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_t4_a_bomb_costs_no_memory(encoding: str) -> None:
    packed = bomb(1 << 28) if encoding == "gzip" else zstandard.compress(bytes(1 << 25)) * 8
    async with receiving(TAEL_MAX_REQUEST_BYTES="4MiB") as r:
        with PeakMemory() as peak:
            answers = await asyncio.gather(*(send(r.url, packed, Content_Encoding=encoding) for _ in range(4)))
        assert [answer.status for answer in answers] == [413] * 4
        assert peak.grown_bytes < 64 << 20


@BOTH
async def test_h5_h3_bad_bodies_are_400_with_details(kind: str) -> None:
    async with receiving() as r:
        for body, encoding in ((b"\xff\xff", ""), (b"{", ""), (b"[]", ""), (b"not gzip", "gzip"), (b"not zstd", "zstd")):
            answer = await send(r.url, body, kind, Content_Encoding=encoding)
            assert (answer.status, answer.kind) == (400, kind)
            status, bad = answer.error(), BadRequest()
            assert status.message
            assert status.details[0].Unpack(bad)
            assert bad.field_violations[0].field == "body"


async def test_h5_j1_j2_a_bad_json_value_is_named_by_its_path() -> None:
    async with receiving() as r:
        for field, value in (("traceId", "zz"), ("kind", "SPAN_KIND_SERVER"), ("startTimeUnixNano", "soon")):
            body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{field: value}]}]}]})
            answer = await send(r.url, body.encode(), JSON)
            bad = BadRequest()
            assert (answer.status, answer.error().details[0].Unpack(bad)) == (400, True)
            assert bad.field_violations[0].field == f"resourceSpans[0].scopeSpans[0].spans[0].{field}"
            assert value in bad.field_violations[0].description


async def test_j1_j3_j4_json_ids_of_any_case_and_unknown_keys_reach_the_log() -> None:
    span = {
        "traceId": "5B8EFFF798038103d269b633813fc60c",
        "spanId": "EEE19B7EC3C1B174",
        "parent_span_id": "EEE19B7EC3C1B173",
        "name": "n",
        "startTimeUnixNano": "1544712660000000000",
        "endTimeUnixNano": 1544712661000000000,
        "fromTheFuture": {"a": 1},
        "attributes": [{"key": "i", "value": {"intValue": "9223372036854775807"}}],
    }
    async with receiving() as r:
        assert (await send(r.url, json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}), JSON)).status == 200
        (stored,) = r.log.spans
        assert (stored.trace_id.hex(), stored.span_id.hex(), stored.parent_span_id) == (
            "5b8efff798038103d269b633813fc60c",
            "eee19b7ec3c1b174",
            b"",
        )
        assert stored.end_time_unix_nano - stored.start_time_unix_nano == 10**9
        assert stored.attributes[0].value.int_value == (1 << 63) - 1


@pytest.mark.parametrize(("accept", "kind"), [("", JSON), ("*/*", JSON), (PROTOBUF, PROTOBUF), (JSON, JSON)])
@pytest.mark.parametrize("sent", [None, "text/plain", "application/octet-stream", "multipart/form-data; boundary=x"])
async def test_h4_h3_an_unknown_content_type_is_415(sent: str | None, accept: str, kind: str) -> None:
    """In the encoding that the client accepts."""
    async with receiving() as r:
        answer = await send(r.url, b"x", sent, Accept=accept)
        assert (answer.status, answer.kind) == (415, kind)
        assert PROTOBUF in answer.error().message


@BOTH
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_h4_h3_other_methods_are_405_with_allow(kind: str, method: str) -> None:
    async with receiving() as r:
        answer = await send(r.url, b"", kind, method=method)
        assert (answer.status, answer.kind, answer.headers["Allow"]) == (405, kind, "POST, OPTIONS")
        assert method in answer.error().message


@BOTH
@pytest.mark.parametrize("path", ["/", "/v1/traces/", "/v1/log", "/v1development/profiles", "/v1/%00"])
async def test_t1_h3_other_paths_are_404(kind: str, path: str) -> None:
    async with receiving() as r:
        answer = await send(f"http://{r.http}{path}", b"", kind)
        assert (answer.status, answer.kind) == (404, kind)
        assert answer.error().message


@BOTH
@pytest.mark.parametrize(
    ("error", "code", "after"),
    [
        (Overloaded("the log is full", retry_after_seconds=2.2), 429, "3"),
        (Unavailable("the log is away"), 503, "1"),
        (ConnectionResetError("peer"), 503, "1"),
        (TimeoutError(), 503, "1"),
    ],
)
async def test_h6_h7_h3_retryable_errors_carry_a_delay(kind: str, error: Exception, code: int, after: str) -> None:
    async with full_or_away(error) as r:
        body = encoded(request_of(1), kind)
        answer = await send(r.url, body, kind)
        assert (answer.status, answer.kind, answer.headers["Retry-After"]) == (code, kind, after)
        assert answer.error().details[0].Is(RetryInfo.DESCRIPTOR)
        r.log.error = None
        assert (await send(r.url, body, kind)).status == 200


@BOTH
async def test_h3_h6_an_unforeseen_error_is_500_in_kind(kind: str) -> None:
    async with full_or_away(ZeroDivisionError("bug")) as r:
        answer = await send(r.url, encoded(request_of(1), kind), kind)
        assert (answer.status, answer.kind) == (500, kind)
        assert "bug" not in answer.error().message


async def test_h8_s4_a_request_repeated_on_a_new_connection_is_stored_once() -> None:
    """In either encoding, compressed or not."""
    request = request_of(5)
    body = request.SerializeToString()
    async with receiving() as r:
        for sent, headers in ((body, {}), (gzip.compress(body), {"Content_Encoding": "gzip"}), (body, {})):
            assert (await send(r.url, sent, **headers)).status == 200
        assert len(r.log.spans) == 5


@BOTH
async def test_s1_an_empty_request_succeeds(kind: str) -> None:
    async with receiving() as r:
        for body in (encoded(ExportTraceServiceRequest(), kind), encoded(request_of(0), kind)):
            assert (await send(r.url, body, kind)).status == 200
        assert r.log.appended == []


@BOTH
async def test_s2_s3_d1_bad_spans_are_partial_success(kind: str) -> None:
    request = request_of(4)
    request.resource_spans[0].scope_spans[0].spans[1].trace_id = bytes(16)
    request.resource_spans[0].scope_spans[0].spans[2].span_id = b"four"
    async with receiving() as r:
        answer = await send(r.url, encoded(request, kind), kind)
        assert (answer.status, answer.kind) == (200, kind)
        if kind == JSON:
            partial = json.loads(answer.body)["partialSuccess"]
            assert (partial["rejectedSpans"], "trace_id is all zero" in partial["errorMessage"]) == ("2", True)
        else:
            response = ExportTraceServiceResponse.FromString(answer.body)
            assert response.partial_success.rejected_spans == 2
        assert [span.name for span in r.log.spans] == ["GET /0", "GET /3"]


async def test_t3_long_answers_are_compressed_for_those_who_accept_it() -> None:
    """Gzip both ways."""
    request = request_of(6)
    for i, span in enumerate(request.resource_spans[0].scope_spans[0].spans):
        span.trace_id, span.name = b"x" * (i + 1), "n" * 400
    for span in list(request.resource_spans[0].scope_spans[0].spans):
        request.resource_spans[0].scope_spans[0].spans.add().CopyFrom(span)
    async with receiving() as r:
        answer = await send(r.url, request.SerializeToString(), Accept_Encoding="gzip")
        assert (answer.headers.get("Content-Encoding"), answer.kind) == ("gzip", PROTOBUF)
        assert ExportTraceServiceResponse.FromString(answer.body).partial_success.rejected_spans == 12


async def test_c1_a_browser_of_a_known_origin_may_send() -> None:
    """The preflight, the answer, and an error answer too."""
    origin = "https://shop.example"
    async with receiving(TAEL_CORS_ORIGINS=f"{origin},https://other.example") as r:
        asked = {"Origin": origin, "Access_Control_Request_Method": "POST"}
        answer = await send(r.url, None, None, method="OPTIONS", Access_Control_Request_Headers="content-type,x-api-key", **asked)
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Access-Control-Allow-Methods"] == "POST"
        assert answer.headers["Access-Control-Allow-Headers"] == "content-type,x-api-key"
        assert int(answer.headers["Access-Control-Max-Age"]) > 0
        usual = (await send(r.url, None, None, method="OPTIONS", **asked)).headers["Access-Control-Allow-Headers"]
        assert {"content-type", "authorization", "x-scope-orgid", "traceparent", "tracestate", "baggage"} <= set(usual.split(", "))
        for body, status in ((encoded(request_of(1), JSON), 200), (b"{", 400)):
            sent = await send(r.url, body, JSON, Origin=origin)
            assert (sent.status, sent.headers["Access-Control-Allow-Origin"], sent.headers["Vary"]) == (status, origin, "Origin")


async def test_c1_a_browser_of_another_origin_may_not() -> None:
    async with receiving(TAEL_CORS_ORIGINS="https://shop.example") as r:
        answer = await send(r.url, None, None, method="OPTIONS", Origin="https://evil.example", Access_Control_Request_Method="POST")
        assert (answer.status, "Access-Control-Allow-Origin" in answer.headers) == (204, False)
        assert "Access-Control-Allow-Origin" not in (await send(r.url, b"", Origin="https://evil.example")).headers
    async with receiving(TAEL_CORS_ORIGINS="*") as r:
        assert (await send(r.url, b"", Origin="https://any.example")).headers["Access-Control-Allow-Origin"] == "*"


async def test_t6_the_drain_finishes_requests_that_were_accepted() -> None:
    log = MemoryLog(gate=asyncio.Event())
    assert log.gate is not None
    async with contextlib.AsyncExitStack() as stack:
        r = await stack.enter_async_context(receiving(log))
        waiting = asyncio.ensure_future(send(r.url, request_of(2).SerializeToString()))
        await eventually(lambda: log.waiting == 1)
        leaving = asyncio.ensure_future(stack.aclose())
        await eventually(lambda: refused(r.http))
        assert not waiting.done()
        log.gate.set()
        assert (await waiting).status == 200
        await leaving
    assert len(log.spans) == 2


async def test_a_body_that_stops_coming_is_dropped_and_its_bytes_given_back() -> None:
    async with receiving() as r:
        _, writer = await asyncio.open_connection(r.http.host, r.http.port)
        writer.write(
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 5000\r\n\r\n"
            + b"a" * 1000
        )
        await writer.drain()
        await eventually(lambda: r.pipeline.held_bytes == 1000)
        writer.close()
        await eventually(lambda: r.pipeline.held_bytes == 0)
        assert r.log.appended == []


@BOTH
async def test_fuzzed_bodies_get_a_status_and_leave_the_process_well(kind: str) -> None:
    chance = random.Random(5)
    async with receiving(shards=2) as r:
        for _ in range(150):
            body = bytearray(encoded(request_of(2), kind))
            for _ in range(chance.randrange(1, 6)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            answer = await send(r.url, bytes(body[: chance.randrange(len(body))] if chance.random() < 0.3 else body), kind)
            assert answer.status in (200, 400)
            assert answer.kind == kind
        before = len(r.log.spans)
        assert (await send(r.url, encoded(request_of(5), kind), kind)).status == 200
        assert len(r.log.spans) == before + 5


async def test_a_port_in_use_is_one_line_that_names_the_setting() -> None:
    async with receiving() as r:
        taken = receiver_settings(TAEL_OTLP_HTTP_ADDR=str(r.http))
        with pytest.raises(PortTaken, match=f"OTLP HTTP address {r.http} is already taken .*TAEL_OTLP_HTTP_ADDR"):
            async with otlp_http.serve(taken, r.pipeline):
                pass
