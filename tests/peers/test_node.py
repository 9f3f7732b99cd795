"""OpenTelemetry's exporters for Node, whose HTTP bodies come in chunks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from services.query.api.native.span_json import rfc3339
from tests.peers.conftest import NODE, NODE_PROGRAMS, read_logs, read_series, read_trace, run_sender
from tests.support.suite import Suite


def send(program: str, suite: Suite, packages: Path, protocol: str, service: str, compression: str) -> Any:
    """Run one of the programs beside the packages that it imports."""
    sender = shutil.copy(NODE_PROGRAMS / f"{program}.mjs", packages)
    port = suite.grpc_port if protocol == "grpc" else suite.http_port
    return run_sender([NODE, sender, protocol, f"http://127.0.0.1:{port}", service, compression])


@pytest.mark.parametrize(
    ("protocol", "compression"),
    [
        ("http/json", "none"),
        ("http/json", "gzip"),
        ("http/protobuf", "none"),
        ("http/protobuf", "gzip"),
        ("grpc", "none"),
        ("grpc", "gzip"),
    ],
)
def test_its_spans_are_read_back(suite: Suite, packages: Path, protocol: str, compression: str) -> None:
    service = f"node-{protocol.replace('/', '-')}-{compression}"
    ids = send("send_traces", suite, packages, protocol, service, compression)
    spans = read_trace(suite, ids["trace_id"], 2)
    root, child = spans[ids["root"]], spans[ids["child"]]
    assert (root["service"], root["operation"], root["span_kind"], root["parent_span_id"]) == (service, "GET /cart", "server", None)
    assert root["attributes"] == {"text": "grüße", "int": 42, "double": 0.5, "on": True, "list": ["a", "b"]}
    assert root["resource"]["attributes"]["ports"] == [80, 443]
    assert root["resource"]["attributes"]["service.name"] == service
    assert (root["scope"]["name"], root["scope"]["version"]) == ("peers", "1.2")
    assert [(event["name"], event["attributes"]) for event in root["events"]] == [("paid", {"amount": 3})]
    assert (child["parent_span_id"], child["status"], child["status_message"]) == (ids["root"], "error", "card declined")
    assert [(link["span_id"], link["attributes"]) for link in child["links"]] == [(ids["root"], {"why": "test"})]


@pytest.mark.parametrize(("protocol", "compression"), [("http/json", "none"), ("http/json", "gzip"), ("http/protobuf", "gzip")])
def test_its_metrics_are_read_back(suite: Suite, packages: Path, protocol: str, compression: str) -> None:
    job = f"node-metrics-{protocol.replace('/', '-')}-{compression}"
    send("send_metrics", suite, packages, protocol, job, compression)
    assert read_series(suite, job, 8) == {
        "target_info{host_name=n1}": "1",
        "peers_requests_total{route=/cart}": "3",
        "peers_temperature_celsius": "21.5",
        "peers_size_bytes_bucket{le=10}": "1",
        "peers_size_bytes_bucket{le=100}": "2",
        "peers_size_bytes_bucket{le=+Inf}": "3",
        "peers_size_bytes_count": "3",
        "peers_size_bytes_sum": "555",
    }


@pytest.mark.parametrize(("protocol", "compression"), [("http/json", "none"), ("http/json", "gzip"), ("http/protobuf", "gzip")])
def test_its_log_records_are_read_back(suite: Suite, packages: Path, protocol: str, compression: str) -> None:
    """A text within a span, and an event whose body is a map."""
    service = f"node-logs-{protocol.replace('/', '-')}-{compression}"
    sent = send("send_logs", suite, packages, protocol, service, compression)
    text, event = read_logs(suite, service, 2)
    assert (text["timestamp"], text["trace_id"], text["span_id"]) == (rfc3339(sent["at_ns"]), sent["trace_id"], sent["span_id"])
    assert (text["severity"], text["severity_number"], text["severity_text"], text["flags"]) == ("warn", 13, "WARN", 1)
    assert (text["body"], text["attributes"]) == ("the queue grüßt", {"int": 42, "double": 0.5, "on": True, "list": ["a", "b"]})
    assert (event["body"], event["event_name"]) == ({"order": {"id": 7, "items": ["x", 1.5]}}, "order.placed")
    assert event["resource"]["attributes"] == {"service.name": service, "ports": [80, 443]}
    assert (event["scope"]["name"], event["scope"]["version"]) == ("peers", "1.2")
