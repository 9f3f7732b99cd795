"""Tempo's API as Grafana's data source and Tempo's own clients call it."""

from __future__ import annotations

import base64
import gzip

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, TracesData

from tael.otlp.decode import decode_spans
from tael.otlp.encode import encode_spans
from tael.pb.tempo_pb2 import COMPLETE, PARTIAL, Trace, TraceByIDResponse
from tests.support.doubles import MemorySpans
from tests.support.query import Api, serving, with_a_stalled_shard
from tests.support.storage import START_NS, model_of, new_trace_id, of_service, wire_span
from tests.support.traceql_cases import SPANS

V1, V2 = "/tempo/api/traces", "/tempo/api/v2/traces"
PROTOBUF = {"Accept": "application/protobuf"}


def two_services(trace_id: bytes) -> list[ResourceSpans]:
    """A trace of two services, with an attribute of each kind of number."""
    return [
        of_service("shop", wire_span(1, trace_id=trace_id, attributes={"big": (1 << 62) + 1}), wire_span(3, trace_id=trace_id)),
        of_service("agent", wire_span(2, trace_id=trace_id, attributes={"ratio": 1.0})),
    ]


async def test_echo() -> None:
    """Grafana's health check."""
    async with serving(MemorySpans()) as api:
        response = await api.get("/tempo/api/echo")
    assert (response.status, response.body) == (200, b"echo")


async def test_a_trace_as_protobuf(api: Api) -> None:
    """What Grafana asks for: every span field for field, in OTLP's own messages."""
    trace_id = new_trace_id()
    written = sorted(await api.store(*two_services(trace_id)), key=lambda span: span.start_ns)
    v2 = await api.get(f"{V2}/{trace_id.hex()}", headers=PROTOBUF)
    assert (v2.status, v2.headers["Content-Type"]) == (200, "application/protobuf")
    wrapped = TraceByIDResponse.FromString(v2.body)
    assert (wrapped.status, wrapped.message, wrapped.HasField("metrics")) == (COMPLETE, "", True)
    v1 = await api.get(f"{V1}/{trace_id.hex()}", headers=PROTOBUF)
    assert Trace.FromString(v1.body) == wrapped.trace
    expected = list(decode_spans(encode_spans(written)))
    assert list(decode_spans(TracesData.FromString(v1.body).resource_spans)) == expected
    assert {span.service for span in expected} == {"shop", "agent"}


async def test_a_trace_as_json(api: Api) -> None:
    """Protobuf's mapping, as Tempo writes it: base64 ids, 64-bit integers as strings, names of enums."""
    trace_id = new_trace_id()
    await api.store(*two_services(trace_id))
    v2 = await api.json(f"{V2}/{trace_id.hex()}")
    assert v2.keys() == {"trace", "metrics"}
    v1 = await api.json(f"{V1}/{trace_id.hex()}")
    assert v1 == {"batches": v2["trace"]["resourceSpans"]}
    shop, agent = v1["batches"]
    assert agent["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "agent"}}]
    (scoped,) = shop["scopeSpans"]
    span = scoped["spans"][0]
    assert base64.b64decode(span["traceId"]) == trace_id
    assert span["startTimeUnixNano"] == str(START_NS + 1)
    assert span["attributes"] == [{"key": "big", "value": {"intValue": str((1 << 62) + 1)}}]
    assert agent["scopeSpans"][0]["spans"][0]["attributes"] == [{"key": "ratio", "value": {"doubleValue": 1.0}}]


async def test_an_unknown_trace_is_not_found(api: Api) -> None:
    """In version 1. Version 2 answers with an empty trace, as Tempo does."""
    unknown = new_trace_id().hex()
    response = await api.get(f"{V1}/{unknown}", headers=PROTOBUF)
    assert (response.status, response.body) == (404, f"trace {unknown} was not found\n".encode())
    assert (await api.json(f"{V2}/{unknown}")) == {"trace": {}, "metrics": {}}
    response = await api.get(f"{V2}/{unknown}", headers=PROTOBUF)
    assert (response.status, response.body) == (200, b"\x0a\x00\x12\x00")


async def test_ids_may_lack_their_leading_zeros() -> None:
    """As Grafana shows them; what is no id is refused in words."""
    trace_id = b"\0" * 8 + b"\x01" + b"\2" * 7
    async with serving(MemorySpans(model_of(two_services(trace_id)))) as api:
        for text in (trace_id.hex(), trace_id.hex().lstrip("0"), trace_id.hex().upper()):
            assert (await api.get(f"{V2}/{text}")).status == 200
        for text in ("xyz", "1" * 33):
            response = await api.get(f"{V2}/{text}")
            assert (response.status, response.body[:10]) == (400, b"trace id: ")
        for text in ("0", "0" * 32):
            assert await api.json(f"{V2}/{text}") == {"trace": {}, "metrics": {}}
            assert (await api.get(f"{V1}/{text}")).status == 404


async def test_start_and_end_are_hints() -> None:
    """In seconds, zero meaning none; what Tempo would ignore is ignored."""
    trace_id = new_trace_id()
    seconds = START_NS // 10**9
    async with serving(MemorySpans(model_of(two_services(trace_id)))) as api:
        for hints in (
            {},
            {"start": 0, "end": 0},
            {"start": seconds - 60, "end": seconds + 60},
            {"mode": "all"},
            {"start": seconds, "end": seconds},
        ):
            assert (await api.get(f"{V2}/{trace_id.hex()}", **hints)).status == 200, hints
        assert (await api.get(f"{V2}/{trace_id.hex()}", start="soon")).status == 400
        assert (await api.get(f"{V2}/{trace_id.hex()}", start=20, end=10)).status == 400


async def test_a_missing_shard_makes_the_trace_partial() -> None:
    """Version 2 says so in the message, version 1 by status 206; a trace that is not found may be on that shard."""
    trace_id = new_trace_id()
    async with with_a_stalled_shard(model_of(two_services(trace_id))) as api:
        wrapped = TraceByIDResponse.FromString((await api.get(f"{V2}/{trace_id.hex()}", headers=PROTOBUF)).body)
        assert (wrapped.status, wrapped.message) == (PARTIAL, "shard-1 did not answer")
        as_json = await api.json(f"{V2}/{trace_id.hex()}")
        assert (as_json["status"], as_json["message"]) == ("PARTIAL", "shard-1 did not answer")
        assert (await api.get(f"{V1}/{trace_id.hex()}")).status == 206
        response = await api.get(f"{V2}/{new_trace_id().hex()}")
        assert (response.status, response.headers["Retry-After"]) == (503, "1")
        assert b"may be on shard-1, which did not answer" in response.body


async def test_a_trace_over_the_limit_is_cut_in_version_2_and_refused_in_version_1() -> None:
    trace_id = new_trace_id()
    async with serving(MemorySpans(model_of(two_services(trace_id))), TAEL_MAX_TRACE_SPANS="2") as api:
        cut = await api.json(f"{V2}/{trace_id.hex()}")
        assert sum(len(scoped["spans"]) for group in cut["trace"]["resourceSpans"] for scoped in group["scopeSpans"]) == 2
        assert cut["message"] == "the trace has 3 spans, of which this is the first part (at most 2 spans, see TAEL_MAX_TRACE_SPANS)"
        response = await api.get(f"{V1}/{trace_id.hex()}")
        assert (response.status, response.body[:25]) == (413, b"the trace has 3 spans (ac")


async def test_answers_are_compressed_on_request() -> None:
    trace_id = new_trace_id()
    spans = model_of([of_service("shop", *(wire_span(i, trace_id=trace_id) for i in range(100)))])
    async with serving(MemorySpans(spans)) as api:
        plain = await api.get(f"{V2}/{trace_id.hex()}", headers=PROTOBUF)
        packed = await api.get(f"{V2}/{trace_id.hex()}", headers=PROTOBUF | {"Accept-Encoding": "gzip"})
    assert gzip.decompress(packed.body) == plain.body


@pytest.mark.parametrize("text", ["zz", "1" * 33])
async def test_what_is_no_trace_id_is_shown_as_it_was_sent(text: str) -> None:
    async with serving(MemorySpans()) as api:
        response = await api.get(f"{V2}/{text}")
    assert (response.status, response.body.decode()) == (
        400,
        f"trace id: '{text}' is not a trace id (accepted: up to 32 hexadecimal digits)\n",
    )


async def test_unknown_paths_are_not_found_in_tempos_form() -> None:
    """A path that Tempo has and this API does not yet: text, not JSON."""
    async with serving(MemorySpans()) as api:
        response = await api.get("/tempo/api/nothing/here")
        assert (response.status, response.body) == (404, b"path not found: /tempo/api/nothing/here\n")
        assert response.headers["Content-Type"].startswith("text/plain")


async def test_the_form_for_language_models() -> None:
    """By service and scope, attributes as plain JSON, values of a tag by type."""
    async with serving(MemorySpans(SPANS)) as api:
        accept = {"Accept": "application/vnd.grafana.llm"}
        response = await api.get("/tempo/api/v2/traces/aa", headers=accept)
        assert response.headers["Content-Type"] == "application/vnd.grafana.llm+json"
        trace = response.json()["trace"]
        assert trace["traceId"] == "0" * 30 + "aa"
        services = {service["serviceName"]: service for service in trace["services"]}
        assert services["shop"]["resource"] == {"level": "resource"}
        spans = {span["name"]: span for service in services.values() for scope in service["scopes"] for span in scope["spans"]}
        root, row = spans["GET /cart"], spans["read row"]
        assert (root["durationMs"], root["kind"], "parentSpanId" in root) == (100, "SPAN_KIND_SERVER", False)
        assert root["attributes"]["tags"] == ["a", "b"]
        assert (row["attributes"]["raw"], row["status"]) == ("00ff", {"code": "STATUS_CODE_ERROR", "message": "deadlock"})
        assert [event["name"] for event in row["events"]] == ["exception", "retry"]
        values = await api.get("/tempo/api/v2/search/tag/span.http.status_code/values", headers=accept)
        assert values.json()["tagValues"] == {"int": ["200"]}
