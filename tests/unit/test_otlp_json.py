"""OTLP's JSON encoding, rule by rule (specification, "JSON Protobuf Encoding")."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tael.errors import Rejected
from tael.otlp.json import decode_json, encode_json


def span_of(**fields: Any) -> Span:
    text = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]}).encode()
    return decode_json(ExportTraceServiceRequest, text).resource_spans[0].scope_spans[0].spans[0]


def value_of(value: dict[str, Any]) -> Any:
    return span_of(attributes=[{"key": "k", "value": value}]).attributes[0].value


def test_ids_are_hexadecimal_in_any_case_in_spans_and_links() -> None:
    """J1."""
    span = span_of(traceId="5B8EFFF798038103D269B633813FC60C", parentSpanId="eee19B7EC3C1B173", links=[{"spanId": "EEE19b7ec3c1b174"}])
    assert span.trace_id.hex() == "5b8efff798038103d269b633813fc60c"
    assert (span.parent_span_id.hex(), span.links[0].span_id.hex()) == ("eee19b7ec3c1b173", "eee19b7ec3c1b174")


def test_ids_are_hexadecimal_in_log_records_and_exemplars() -> None:
    """J1, the other signals."""
    logs = decode_json(ExportLogsServiceRequest, b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"AB","spanId":"cD"}]}]}]}')
    record = logs.resource_logs[0].scope_logs[0].log_records[0]
    assert (record.trace_id, record.span_id) == (b"\xab", b"\xcd")
    exemplar = b'{"exemplars":[{"traceId":"aB","asInt":"7"}],"bucketCounts":["1",2],"count":"3"}'
    text = (
        b'{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"histogram":{"aggregationTemporality":2,"dataPoints":['
        + exemplar
        + b"]}}]}]}]}"
    )
    histogram = decode_json(ExportMetricsServiceRequest, text).resource_metrics[0].scope_metrics[0].metrics[0].histogram
    assert histogram.data_points[0].exemplars[0].trace_id == b"\xab"
    assert (list(histogram.data_points[0].bucket_counts), histogram.data_points[0].count) == ([1, 2], 3)


def test_other_bytes_are_base64_with_or_without_padding() -> None:
    """J1: AnyValue.bytesValue stays base64."""
    assert [value_of({"bytesValue": text}).bytes_value for text in ("+/8=", "-_8=", "+/8")] == [b"\xfb\xff"] * 3


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"kind": "SPAN_KIND_SERVER"}, "kind"),
        ({"status": {"code": "STATUS_CODE_ERROR"}}, "status.code"),
        ({"kind": "2"}, "kind"),
        ({"traceId": "xyz"}, "traceId"),
        ({"traceId": 12}, "traceId"),
        ({"startTimeUnixNano": "soon"}, "startTimeUnixNano"),
        ({"startTimeUnixNano": -1}, "startTimeUnixNano"),
        ({"startTimeUnixNano": 1.5}, "startTimeUnixNano"),
        ({"name": 5}, "name"),
        ({"attributes": {}}, "attributes"),
        ({"attributes": [{"key": "k", "value": {"intValue": str(1 << 63)}}]}, "attributes[0].value.intValue"),
        ({"attributes": [{"key": "k", "value": {"boolValue": "true"}}]}, "attributes[0].value.boolValue"),
        ({"attributes": [{"key": "k", "value": {"doubleValue": "much"}}]}, "attributes[0].value.doubleValue"),
        ({"attributes": [{"key": "k", "value": {"bytesValue": "!"}}]}, "attributes[0].value.bytesValue"),
        ({"events": [{"attributes": [None]}]}, "events[0].attributes[0]"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(fields: dict[str, Any], where: str) -> None:
    """J2 and what goes with it: enums are integers only."""
    with pytest.raises(Rejected) as refusal:
        span_of(**fields)
    assert refusal.value.where == f"resourceSpans[0].scopeSpans[0].spans[0].{where}"
    assert refusal.value.accepted


def test_enums_keep_numbers_that_are_not_known_yet() -> None:
    """J2: protobuf's enums are open."""
    assert (span_of(kind=2).kind, span_of(kind=77).kind) == (2, 77)


def test_snake_case_and_unknown_fields_are_ignored() -> None:
    """J3."""
    span = span_of(trace_id="00", start_time_unix_nano=5, whatIsThis={"a": [1]}, name="n", traceState=None)
    assert span == Span(name="n")


def test_64_bit_integers_are_strings_or_numbers() -> None:
    """J4."""
    assert [span_of(startTimeUnixNano=n).start_time_unix_nano for n in ("1544712660000000000", 1544712660000000000)] == [
        1544712660000000000
    ] * 2
    assert [value_of({"intValue": n}).int_value for n in ("-5", -5, -5.0)] == [-5] * 3


def test_doubles_may_be_spelled() -> None:
    """J4."""
    values = [value_of({"doubleValue": v}).double_value for v in ("Infinity", "-Infinity", "1.5", 2)]
    assert values == [math.inf, -math.inf, 1.5, 2.0]
    assert math.isnan(value_of({"doubleValue": "NaN"}).double_value)


def test_odd_names() -> None:
    """J5."""
    text = {"flags": 769, "droppedAttributesCount": 1, "droppedEventsCount": 2, "droppedLinksCount": 3, "endTimeUnixNano": "9"}
    span = span_of(**text)
    assert (span.flags, span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count) == (769, 1, 2, 3)
    logs = decode_json(
        ExportLogsServiceRequest, b'{"resourceLogs":[{"schemaUrl":"u","scopeLogs":[{"logRecords":[{"observedTimeUnixNano":"4"}]}]}]}'
    )
    assert logs.resource_logs[0].schema_url == "u"
    assert logs.resource_logs[0].scope_logs[0].log_records[0].observed_time_unix_nano == 4


def test_an_empty_member_of_a_oneof_is_set() -> None:
    assert value_of({"kvlistValue": {}}).WhichOneof("value") == "kvlist_value"
    assert value_of({"stringValue": ""}).WhichOneof("value") == "string_value"
    assert value_of({}).WhichOneof("value") is None


def test_text_that_is_not_unicode_is_replaced() -> None:
    assert span_of(name="a\ud800b").name == "a\ufffdb"
    body = b'{"resourceSpans":[{"schemaUrl":"\xff"}]}'
    assert decode_json(ExportTraceServiceRequest, body).resource_spans[0].schema_url == "\ufffd"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"1", b'"x"', b"null", b'{"resourceSpans":NaN}', b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"]
)
def test_a_malformed_request_is_refused(body: bytes) -> None:
    with pytest.raises(Rejected):
        decode_json(ExportTraceServiceRequest, body)


def test_endless_nesting_is_refused() -> None:
    value: dict[str, Any] = {"intValue": 1}
    for _ in range(200):
        value = {"arrayValue": {"values": [value]}}
    with pytest.raises(Rejected, match="nested deeper"):
        value_of(value)


def test_written_json_follows_the_mapping_of_otlp() -> None:
    """Ids lower-case hex, 64-bit integers as strings, enums as integers, unset fields left out."""
    span = Span(trace_id=b"\xab" * 16, kind=Span.SPAN_KIND_SERVER, start_time_unix_nano=5, flags=1, trace_state="a=b")
    span.attributes.add(key="d").value.double_value = math.inf
    span.attributes.add(key="b").value.bytes_value = b"\xfb\xff"
    span.attributes.add(key="z").value.int_value = 0
    assert encode_json(span) == {
        "traceId": "ab" * 16,
        "kind": 2,
        "startTimeUnixNano": "5",
        "flags": 1,
        "traceState": "a=b",
        "attributes": [
            {"key": "d", "value": {"doubleValue": "Infinity"}},
            {"key": "b", "value": {"bytesValue": "+/8="}},
            {"key": "z", "value": {"intValue": "0"}},
        ],
    }
