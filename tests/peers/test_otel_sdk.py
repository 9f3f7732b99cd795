"""OpenTelemetry's SDK for Python, configured by its environment as users do."""

from __future__ import annotations

import pytest

from services.query.api.native.span_json import rfc3339
from tests.peers.conftest import read_logs, read_series, read_trace, run_python
from tests.support.suite import Suite, until


@pytest.mark.parametrize("compression", ["", "gzip"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_its_spans_are_read_back(suite: Suite, protocol: str, compression: str) -> None:
    port = suite.grpc_port if protocol == "grpc" else suite.http_port
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_SERVICE_NAME": "sdk-shop",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
    }
    if compression:
        environment["OTEL_EXPORTER_OTLP_COMPRESSION"] = compression
    ids = run_python("otel_sdk", protocol, environment=environment)
    spans = read_trace(suite, ids["trace_id"], 2)
    root, child = spans[ids["root"]], spans[ids["child"]]
    assert (root["service"], root["operation"], root["span_kind"], root["status"]) == ("sdk-shop", "GET /cart", "server", "unset")
    expected = {"text": "grüße", "int": 1 << 60, "double": 0.5, "on": True, "list": ["a", "b"], "numbers": [1, 2]}
    assert root["attributes"] == expected
    resource = root["resource"]["attributes"]
    assert (resource["ports"], resource["deployment.environment.name"], resource["telemetry.sdk.name"]) == (
        [80, 443],
        "test",
        "opentelemetry",
    )
    scope = root["scope"]
    assert (scope["name"], scope["version"], scope["attributes"]) == ("peers", "1.2", {"team": "shop"})
    assert scope["schema_url"] == "https://opentelemetry.io/schemas/1.40.0"
    (event,) = root["events"]
    assert (event["name"], event["timestamp"], event["attributes"]) == ("paid", "2023-11-14T22:13:20.000000001Z", {"amount": 3})
    assert (child["parent_span_id"], child["status"], child["status_message"]) == (ids["root"], "error", "card declined")
    (link,) = child["links"]
    assert (link["trace_id"], link["span_id"], link["attributes"]) == (ids["trace_id"], ids["root"], {"why": "test"})
    assert root["start_time"] <= child["start_time"] <= child["end_time"] <= root["end_time"]


@pytest.mark.parametrize("compression", ["", "gzip"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_its_log_records_are_read_back(suite: Suite, protocol: str, compression: str) -> None:
    """A text within a span, and an event whose body is a map."""
    port = suite.grpc_port if protocol == "grpc" else suite.http_port
    service = f"sdk-logs-{protocol[:4]}-{compression}"
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_SERVICE_NAME": service}
    if compression:
        environment["OTEL_EXPORTER_OTLP_COMPRESSION"] = compression
    sent = run_python("otel_sdk_logs", protocol, environment=environment)
    text, event = read_logs(suite, service, 2)
    assert (text["timestamp"], text["trace_id"], text["span_id"]) == (rfc3339(sent["at_ns"]), sent["trace_id"], sent["span_id"])
    assert (text["severity"], text["severity_number"], text["severity_text"], text["level"]) == ("warn", 13, "WARNING", "warn")
    assert text["body"] == "the queue grüßt"
    assert text["attributes"] == {"int": 1 << 60, "double": 0.5, "on": True, "list": ["a", "b"], "deep": {"k": [1, {"x": None}]}}
    assert text["timestamp"] < text["observed_timestamp"]
    assert text["flags"] & 1
    assert (event["body"], event["event_name"]) == ({"order": {"id": 7, "items": ["x", 1.5]}}, "order.placed")
    assert (event["trace_id"], event["span_id"], event["severity"]) == (None, None, "unspecified")
    assert event["resource"]["attributes"]["ports"] == [80, 443]
    assert (event["scope"]["name"], event["scope"]["version"]) == ("peers", "1.2")


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_its_metrics_are_read_back(suite: Suite, protocol: str, temporality: str) -> None:
    """Every instrument in Prometheus' names; what it sent as deltas is the same sum."""
    port = suite.grpc_port if protocol == "grpc" else suite.http_port
    job = f"sdk-{protocol[:4]}-{temporality}"
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality,
        "OTEL_SERVICE_NAME": job,
    }
    run_python("otel_sdk_metrics", protocol, environment=environment)
    expected = {
        "peers_requests_total{note=grüße,route=/cart}": "6",
        "peers_requests_total{route=/pay}": "3",
        "peers_orders_open": "4",
        "peers_temperature_celsius": "22.5",
        "peers_size_bytes_bucket{le=10}": "2",
        "peers_size_bytes_bucket{le=100}": "4",
        "peers_size_bytes_bucket{le=+Inf}": "6",
        "peers_size_bytes_count": "6",
        "peers_size_bytes_sum": "1110",
    }
    until(lambda: expected.items() <= read_series(suite, job, 11).items(), "both exports")
    series = read_series(suite, job, 11)
    wait = series.pop("peers_wait_milliseconds")
    assert (wait["count"], wait["sum"], [bucket[3] for bucket in wait["buckets"]]) == ("6", "1110", ["2", "2", "2"])
    assert all(float(low) < value <= float(high) for (_, low, high, _), value in zip(wait["buckets"], (5, 50, 500), strict=True))
    (info,) = series.keys() - expected.keys()
    assert info.startswith("target_info{telemetry_sdk_language=python")
    assert series[info] == "1"
