"""One suite for all peers, and what they share: how a sender is started and how its trace is read back.

A peer that this machine lacks is skipped by name; where ``TAEL_REQUIRE_PEERS`` is set, as continuous integration does, it is a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support.suite import Suite, until

SENDERS = Path(__file__).with_name("senders")


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """Two shards, so that what is read back was gathered."""
    with Suite(tmp_path_factory.mktemp("peers"), shards=2) as running:
        yield running


def lacking(peer: str, why: str) -> NoReturn:
    """Skip, or fail, for a peer that this machine cannot run."""
    if os.environ.get("TAEL_REQUIRE_PEERS"):
        pytest.fail(f"{peer} is required here and missing: {why}")
    pytest.skip(f"{peer} is missing: {why}")


def run_sender(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Any:
    """Run a sender to its end and return the JSON that it printed; of our settings it sees none."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TAEL_", "DD_", "OTEL_"))}
    ended = subprocess.run(command, env={**clean, **(environment or {})}, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


def run_python(sender: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
    """Run a sender of ``senders/``."""
    return run_sender([sys.executable, SENDERS / f"{sender}.py", *arguments], environment)


def exporting(suite: Suite, service: str) -> dict[str, str]:
    """The environment of a service that exports over HTTP."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{suite.http_port}", "OTEL_SERVICE_NAME": service}


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
