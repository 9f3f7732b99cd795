"""OTLP's conformance list: what JSON may look like (lines J)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from google.rpc.error_details_pb2 import BadRequest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from tests.contract.test_otlp_conformance import (
    SIGNAL,
    SPAN,
    TRACE,
    holds,
    point,
    post,
    spelled,
    told,
)
from tests.contract.test_otlp_conformance_http import JSON
from tests.support.otlp import receiving, spans_of


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
