"""A disk that another program fills for a while: everything says so meanwhile, and goes on by itself afterwards."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import Template
from tests.support.disk import fill, small_disk
from tests.support.ledger import Ledger, assert_exactly_once
from tests.support.suite import Suite, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture
def small_nats_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 MB where NATS keeps its streams; skipped where none can be mounted."""
    store = tmp_path / "data" / "nats"
    with small_disk(store) as problem:
        if problem:
            pytest.skip(f"needs the right to mount a tmpfs: {problem}")
        yield store


def readiness(address: str) -> tuple[int, dict[str, str]]:
    """Status and reasons of a process' ``/readyz``."""
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=30) as answer:  # a loopback http URL
            return answer.status, json.load(answer)["reasons"]
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)["reasons"]


def internal_addresses(suite: Suite) -> dict[str, str]:
    """Where each kind of process answers ``/readyz``."""
    targets: list[dict[str, Any]] = suite.get("/internal/targets")
    found = {target["labels"]["job"]: str(target["targets"][0]) for target in targets}
    return found | {"tael-serve": suite.supervisor()}


def test_a_full_disk_heals_by_itself(tmp_path: Path, small_nats_disk: Path, template: Template) -> None:
    """NATS never leaves its write error by itself: the supervisor restarts it, and what was acknowledged is there once."""
    with Suite(tmp_path, hot=template.directory) as suite, Ledger(suite) as ledger:
        ledger.wait_for(400)
        addresses, ingest = internal_addresses(suite), suite.children()["ingest"].pid
        filler = small_nats_disk / "filler"
        fill(filler)
        until(lambda: "wal" in readiness(addresses["tael-ingest"])[1], "ingest to say that the WAL takes nothing")
        until(lambda: "nats" in readiness(addresses["tael-serve"])[1], "the supervisor to say that NATS is unhealthy")
        time.sleep(10)
        assert readiness(addresses["tael-ingest"])[0] == 503
        filler.unlink()
        ledger.wait_for(400)
        until(lambda: readiness(addresses["tael-ingest"]) == (200, {}), "ingest to be ready again")
        until(lambda: readiness(addresses["tael-serve"]) == (200, {}), "the whole suite to be ready again")
        assert "nats was stopped because it was unhealthy" in suite.log()
        assert suite.children()["ingest"].pid == ingest
    assert not ledger.refused
    with Suite(tmp_path, hot=template.directory) as again:
        assert_exactly_once(again, ledger)
