"""OTLP's conformance list: values of every type, limits, and what is read back (lines D)."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.model.log import LEVELS
from tael.model.span import Resource, Scope, Span
from tael.model.time import ALL_TIME
from tael.otlp.decode import decode_span
from tael.otlp.resolve import resolve_span
from tael.storage.api import LogQuery
from tael.wal import codec
from tests.contract.test_otlp_conformance import (
    OK,
    SIGNAL,
    SPAN,
    TRACE,
    export,
    holds,
    point,
    post,
    spelled,
    stored,
    told,
)
from tests.contract.test_otlp_conformance_http import JSON, PROTOBUF
from tests.support.hotnode import HotNode
from tests.support.otlp import receiving, sample
from tests.support.storage import open_tier


async def test_d1_logs_need_no_ids_and_spans_do() -> None:
    """Spans are refused one by one; a record with an invalid id is kept outside any trace; the response names both."""
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
    """In attributes, names and resources; the neighbours are stored and the response says that text was not UTF-8."""
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
async def test_d4_values_of_every_type_and_repeated_keys_are_accepted(signal: str) -> None:
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


async def test_d8_texts_of_llm_calls_are_never_cut() -> None:
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


async def test_d8_an_item_larger_than_an_entry_is_stored_whole() -> None:
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
async def test_d8_nesting_beyond_protobufs_limit_is_cut_with_a_warning(signal: str, levels: int) -> None:
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
