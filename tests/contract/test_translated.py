"""The protocols that are translated and share the OTLP/HTTP port, as their senders use them: Loki's, Zipkin's, Jaeger's."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import cramjam
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.contract.test_otlp_conformance_http import Answer, send
from tests.support.loki import as_protobuf
from tests.support.otlp import Receivers, receiving

JSON, PROTOBUF = "application/json", "application/x-protobuf"


def pushed(*values: list[Any]) -> dict[str, Any]:
    return {"streams": [{"stream": {"job": "api"}, "values": list(values)}]}


def now() -> str:
    return str(time.time_ns())


async def push(r: Receivers, body: bytes, kind: str, **headers: str) -> Answer:
    return await send(f"http://{r.http}/loki/api/v1/push", body, kind, **headers)


def lines(r: Receivers) -> list[str]:
    requests = map(ExportLogsServiceRequest.FromString, r.log.requests)
    return [record.body.string_value for q in requests for g in q.resource_logs for s in g.scope_logs for record in s.log_records]


async def test_json_gzip_and_snappy_are_stored_before_they_are_answered() -> None:
    async with receiving() as r:
        text, packed = json.dumps(pushed([now(), "json"])).encode(), json.dumps(pushed([now(), "gzip"])).encode()
        block = bytes(cramjam.snappy.compress_raw(as_protobuf(pushed([now(), "snappy"]))))
        for answer in (
            await push(r, text, JSON),
            await push(r, gzip.compress(packed), JSON, **{"Content-Encoding": "gzip"}),
            await push(r, block, PROTOBUF),
        ):
            assert (answer.status, answer.body) == (204, b"")
        assert lines(r) == ["json", "gzip", "snappy"]


async def test_unstorable_items_are_a_400_after_the_rest_is_stored() -> None:
    async with receiving(TAEL_LOG_RETENTION_DAYS=7) as r:
        answer = await push(r, json.dumps(pushed(["1600000000000000000", "old"], [now(), "kept"], ["x", "y"])).encode(), JSON)
        assert answer.status == 400
        assert b"older than the retention" in answer.body
        assert b"an entry has no time" in answer.body
        assert lines(r) == ["kept"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", JSON, 400),
        (b"x", PROTOBUF, 400),
        (b"{}", "text/plain", 415),
        (b'{"streams":[]}', JSON, 422),
        (b'{"streams":[]} {"streams":[]}', JSON, 400),
        (b'{"streams":[' + b"{}," * 200_000 + b"{}]}", JSON, 413),
    ],
)
async def test_refused_requests_get_a_status_and_a_line_of_text(body: bytes, kind: str, status: int) -> None:
    async with receiving() as r:
        answer = await push(r, body, kind)
        assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (status, "text/plain")
        assert answer.body.count(b"\n") == 1
        assert r.log.appended == []


async def test_the_header_determines_the_tenant() -> None:
    async with receiving() as r:
        assert (await push(r, json.dumps(pushed([now(), "x"])).encode(), JSON, **{"X-Scope-OrgID": "shop"})).status == 204
        assert b"shop" in r.log.appended[0][2]


async def test_zipkin_and_jaeger_are_answered_once_their_spans_are_stored() -> None:
    golden = Path(__file__).parents[1] / "golden"
    batch = bytes.fromhex((golden / "jaeger/batch.thrift.hex").read_text().replace("\n", ""))
    span = {"traceId": "1", "id": "2", "timestamp": time.time_ns() // 1000, "name": "zipkin"}
    async with receiving() as r:
        thrift, kinds = "application/x-thrift", {"Content-Encoding": "gzip"}
        url = f"http://{r.http}"
        assert (await send(f"{url}/api/v2/spans", json.dumps([span]).encode(), JSON)).status == 202
        assert (await send(f"{url}/api/v2/spans", gzip.compress(json.dumps([{**span, "id": "3"}]).encode()), JSON, **kinds)).status == 202
        assert (await send(f"{url}/api/traces?format=jaeger.thrift", batch, thrift)).status == 202
        assert [found.name for found in r.log.spans] == ["zipkin", "zipkin", "GET /cart", "query \u00e9"]
        for path, body, kind, status in (
            ("/api/v2/spans", b"{}", JSON, 400),
            ("/api/v2/spans", json.dumps([{"id": "1"}, {**span, "id": "4"}]).encode(), JSON, 400),
            ("/api/v2/spans", b"", "application/x-protobuf", 415),
            ("/api/traces", batch[:-1], thrift, 400),
            ("/api/traces", batch, JSON, 415),
        ):
            answer = await send(url + path, body, kind)
            assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (status, "text/plain")
        assert len(r.log.spans) == 5


async def test_refusals_say_what_is_wrong_and_what_is_accepted() -> None:
    """In text, as all answers of these protocols; only OTLP's paths answer to OPTIONS."""
    span = {"traceId": "1", "id": "2", "timestamp": time.time_ns() // 1000}
    async with receiving() as r:
        url = f"http://{r.http}"
        answer = await send(
            f"{url}/api/v2/spans", json.dumps([{**span, "name": 5}, {**span, "name": 6}, {**span, "duration": -1}]).encode(), JSON
        )
        assert (
            answer.body
            == b"2 left out: name: not a string; 1 left out: duration: not a number of microseconds (accepted: a whole number from 0 on)\n"
        )
        assert (await send(f"{url}/api/v2/spans", b"[]", "text/plain")).body == b"unsupported Content-Type (accepted: application/json)\n"
        for path in ("/api/v2/spans", "/api/traces", "/loki/api/v1/push", "/api/v1/write"):
            answer = await send(url + path, b"", JSON, method="OPTIONS")
            assert (answer.status, answer.headers["Allow"], answer.body) == (405, "POST", b"OPTIONS is not allowed here (accepted: POST)\n")
        assert "/api/v2/spans" in (await send(f"{url}/api/v1/spans", b"[]", JSON)).error().message
