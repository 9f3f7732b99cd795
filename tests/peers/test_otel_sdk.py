"""OpenTelemetry's SDK for Python, configured by its environment as users do."""

from __future__ import annotations

import pytest

from tests.peers.conftest import read_trace, run_python
from tests.support.suite import Suite


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
