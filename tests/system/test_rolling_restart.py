"""An upgrade: each service is stopped cleanly in its turn while clients write and read, and nobody has to do anything afterwards."""

from __future__ import annotations

import logging
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.databases import Template
from tests.support.ledger import Ledger, assert_exactly_once
from tests.support.suite import Suite, until

log = logging.getLogger(__name__)
pytestmark = [pytest.mark.system, pytest.mark.timeout(360)]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[Suite]:
    with Suite(tmp_path_factory.mktemp("rolling"), hot=template.directory) as running:
        yield running


def listens(port: int) -> bool:
    """Whether a client of this port is let in."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def away(port: int) -> float:
    """Seconds from the port's last client to its next one."""
    until(lambda: not listens(port), "the port to close", pause=0.005)
    since = time.monotonic()
    until(lambda: listens(port), "the port to open again", pause=0.005)
    return time.monotonic() - since


@pytest.mark.parametrize("name", ["coordinator", "compactor", "query", "ingest"])
def test_a_clean_restart_under_load_loses_doubles_and_refuses_nothing(suite: Suite, name: str) -> None:
    """In the order of an upgrade. Who writes notices only that of ingest, and is answered retryably; how long it was away goes
    to the log.
    """
    with Ledger(suite, service=f"rolling-{name}", spans_per_request=5, pause=0.05, timeout=60) as ledger:
        ledger.wait_for(50)
        before = suite.kill(name, signal.SIGTERM)
        if name == "ingest":
            log.info("ingest was away for %.1f s", away(suite.grpc_port))
        until(lambda: (now := suite.children().get(name)) is not None and now.pid != before, f"{name} to be restarted")
        ledger.wait_for(100)
        until(lambda: suite.get_when_ready(f"/api/v1/traces?service={ledger.service}&last=1h&limit=1")["spans"], "spans to be readable")
    assert name == "ingest" or not ledger.retries
    assert_exactly_once(suite, ledger)
