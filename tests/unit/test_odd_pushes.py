"""Requests of other protocols with values that Python's own types refuse; pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tael.datadog import wire
from tael.datadog.translate import translate
from tael.loki import push
from tael.otlp.json import decode_json
from tael.zipkin.v2 import read_spans

MOST = 1_000


@pytest.mark.parametrize(("digits", "expected"), [("1" * 400, math.inf), ("-" + "1" * 400, -math.inf), ("1" * 20, 1.1111111111111111e19)])
def test_a_number_of_datadog_that_is_too_wide_is_a_double(digits: str, expected: float) -> None:
    body = f'[[{{"name": "a", "metrics": {{"wide": {digits}}}}}]]'.encode()
    request = translate(wire.read_json(body, MOST), {}, limit_bytes=1 << 20, variable="")
    ((pair,),) = [span.attributes for span in request.resource_spans[0].scope_spans[0].spans]
    assert pair.value.double_value == expected


def test_a_time_of_thousands_of_digits_is_left_out() -> None:
    body = f'{{"streams": [{{"stream": {{"job": "api"}}, "values": [["{"1" * 5_000}", "lost"], ["1", "kept"]]}}]}}'.encode()
    pushed = push.read_json(body, MOST)
    assert [record.body.string_value for record in pushed.request.resource_logs[0].scope_logs[0].log_records] == ["kept"]
    assert "no timestamp" in pushed.explain()


@pytest.mark.parametrize(
    "where", ['"level": "\\ud800"}, "values": [["1", "line"]]', '"a": "b"}, "values": [["1", "line", {"level": "\\ud800"}]]']
)
def test_a_level_that_is_half_a_surrogate_pair_is_replaced(where: str) -> None:
    pushed = push.read_json(f'{{"streams": [{{"stream": {{{where}}}]}}'.encode(), MOST)
    assert pushed.request.resource_logs[0].scope_logs[0].log_records[0].severity_text == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("receiver", ["otlp", "loki", "zipkin", "datadog"])
def test_half_a_surrogate_pair_is_replaced_alike_in_every_json(receiver: str) -> None:
    """By U+FFFD, as Go's decoder does: a text that was cut within an emoji ends with it. A whole pair stays what it is."""
    half = "cut \ud83d, whole \ud83d\ude00"
    bodies = {
        "otlp": {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": half}]}]}]},
        "loki": {"streams": [{"stream": {half: half}, "values": [["1", half, {half: half}]]}]},
        "zipkin": [{"traceId": "a" * 32, "id": "b" * 16, "timestamp": 1, "name": half, "tags": {half: half}}],
        "datadog": [[{"name": "n", "resource": half, "meta": {half: half}}]],
    }
    body = json.dumps(bodies[receiver]).encode()
    assert b"\\ud83d" in body
    read: dict[str, Callable[[], Message]] = {
        "otlp": lambda: decode_json(ExportTraceServiceRequest, body),
        "loki": lambda: push.read_json(body, MOST).request,
        "zipkin": lambda: read_spans(body, MOST).request,
        "datadog": lambda: translate(wire.read_json(body, MOST), {}, limit_bytes=1 << 20, variable=""),
    }
    written = read[receiver]().SerializeToString().decode(errors="replace")
    assert "cut \N{REPLACEMENT CHARACTER}, whole \N{GRINNING FACE}" in written
    assert "cut ?" not in written


@pytest.mark.parametrize("rest", ["", ', "values": "line"', ', "entries": [{"ts": "2026-01-01T00:00:00Z", "line": "x"}]'])
def test_a_stream_without_a_list_of_values_is_named(rest: str) -> None:
    """Its lines would be lost without a word."""
    body = f'{{"streams": [{{"stream": {{"job": "api"}}{rest}}}, {{"stream": {{"job": "api"}}, "values": [["1", "kept"]]}}]}}'
    pushed = push.read_json(body.encode(), MOST)
    assert [record.body.string_value for group in pushed.request.resource_logs for record in group.scope_logs[0].log_records] == ["kept"]
    assert "values: not a list" in pushed.explain()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("my.label", "my_label"),
        ("a b", "a_b"),
        ("9x", "_9x"),
        ("ü", "_"),
        ("k8s.pod.name", "k8s.pod.name"),
        ("k8s_pod_name", "k8s.pod.name"),
    ],
)
def test_a_label_is_stored_under_a_name_that_a_selector_can_have(name: str, kept: str) -> None:
    """Those of OTLP's streams under OTLP's names, by which storage knows them."""
    pushed = push.read_json(json.dumps({"streams": [{"stream": {name: "x", "job": "api"}, "values": [["1", "line"]]}]}).encode(), MOST)
    assert [pair.key for pair in pushed.request.resource_logs[0].resource.attributes] == ["service.name", kept, "job"]


@pytest.mark.parametrize(
    ("labels", "service"),
    [
        ({}, "unknown_service"),
        ({"app": ""}, "unknown_service"),
        ({"name": "n", "app_name": "a"}, "a"),
        ({"app_name": "a", "application": "b"}, "b"),
        ({"service": "s", "service_name": "own"}, "own"),
    ],
)
def test_the_service_of_a_stream_is_the_first_label_of_lokis_list(labels: dict[str, str], service: str) -> None:
    """A stream without labels has one, too: Loki adds it before it asks for a label."""
    pushed = push.read_json(json.dumps({"streams": [{"stream": labels, "values": [["1", "line"]]}]}).encode(), MOST)
    assert pushed.explain() == ""
    assert pushed.request.resource_logs[0].resource.attributes[0].value.string_value == service


def test_a_label_without_a_name_is_refused() -> None:
    pushed = push.read_json(b'{"streams": [{"stream": {"": "x"}, "values": [["1", "line"]]}]}', MOST)
    assert (len(pushed.request.resource_logs), "a label has no name" in pushed.explain()) == (0, True)
