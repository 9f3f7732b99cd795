"""A hot node as a real process, for tests that speak ClickHouse's HTTP interface.

    @pytest.fixture
    def hot_node(tmp_path):
        with HotNode(tmp_path / "hot") as node:
            yield node

``hot_nodes`` is a fixture factory of function scope. ``clickhouse`` is what the battery of capabilities runs against: the shared hot node
(tests/support/databases.py) and, when ``TAEL_TEST_CLICKHOUSE_URL`` (http://user:password@host:port) is set, that
server too. Where the two are known to differ, a test says so by a name of ``DIFFERENCES``.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import pytest
import urllib3

from tests.support.ports import free_port

_START_SECONDS = 90.0


class HotNode:
    """``python -m services.hotnode`` over ``directory``, on a fixed port, so that a restart keeps the URL.

    As a context manager it starts and ends the process; ``environment`` adds settings.
    """

    def __init__(self, directory: Path, *, user: str = "default", password: str = "", environment: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.port = free_port()
        self.user = user
        self.password = password
        self._environment = environment or {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base URL, without credentials."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """All output of the process so far."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    @property
    def _log_path(self) -> Path:
        return self.directory.with_name(f"{self.directory.name}.log")

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process without waiting for it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TAEL_")}
        settings = {
            "TAEL_HOTNODE_ADDR": f"127.0.0.1:{self.port}",
            "TAEL_HOTNODE_DATA_DIR": str(self.directory),
            "TAEL_CLICKHOUSE_USER": self.user,
            "TAEL_CLICKHOUSE_PASSWORD": self.password,
            **self._environment,
        }
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        with self._log_path.open("ab") as log:
            command = [sys.executable, "-m", "services.hotnode"]
            self.process = subprocess.Popen(command, env={**inherited, **settings}, stdout=log, stderr=log)
        return self.process

    def start(self) -> Self:
        """Start the process and wait until it answers ``/ping``."""
        process = self.spawn()
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers():
            if process.poll() is not None:
                raise AssertionError(f"the hot node ended with {process.returncode}:\n{self.log}")
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"the hot node does not answer:\n{self.log}")
            time.sleep(0.02)
        return self

    def answers(self) -> bool:
        """Whether ``/ping`` answers now."""
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=1) as response:  # noqa: S310  # an http URL of this module
                return bool(response.read() == b"Ok.\n")
        # Until the node listens, another test's server may have been given the port, and answers in its own protocol.
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError):
            return False

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send a signal; for SIGKILL, wait until the process has ended."""
        assert self.process is not None
        self.process.send_signal(signum)
        if signum == signal.SIGKILL:
            self.process.wait(60)

    def stop(self) -> int:
        """Ask the process to drain, and wait; return the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def restart(self) -> Self:
        """Stop the process if it runs, and start it again on the same directory and port."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(60)


@pytest.fixture
def hot_nodes(tmp_path: Path) -> Iterator[Callable[..., HotNode]]:
    """A function that starts hot nodes, each over its own directory; all are stopped with the test."""
    nodes: list[HotNode] = []

    def make(**options: object) -> HotNode:
        node = HotNode(tmp_path / f"hot{len(nodes)}", **options)  # type: ignore[arg-type]  # HotNode's own options
        nodes.append(node)
        return node.start()

    yield make
    for node in nodes:
        node.__exit__(None, None, None)


DIFFERENCES = {
    "exact server version text": "error texts end in (version … (chdb)) instead of (official build)",
    "engine query ids": "queryID() and the rows of KILL QUERY show the engine's own id; system.processes and WHERE query_id use the client's",
    "log_comment": "the setting carries the query id, so a client's own value is not kept",
    "progress headers": "X-ClickHouse-Progress is not sent while a statement runs",
    "brotli": "br, xz, snappy and bz2 are neither accepted nor sent",
    "users": "there is one user; currentUser() is always default",
    "asynchronous inserts": "async_insert is accepted and the insert is done at once",
    "local files": "file() and every other function or engine that leaves the node's own tables and bucket is refused",
    "native revision": "client_protocol_version does not change the Native format",
}
"""Where a hot node is known not to answer as a server does, by name, with the reason."""


class ClickHouse:
    """A server with ClickHouse's HTTP interface, and a database of the test's own."""

    def __init__(self, url: str, user: str, password: str, node: HotNode | None) -> None:
        self.url = url
        self.user = user
        self.password = password
        self.node = node
        self.database = "default"
        self.http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(90), maxsize=8)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "127.0.0.1", parts.port or 8123

    def excuse(self, name: str) -> None:
        """Skip the rest of the test if the server is known to have this difference."""
        if self.node is not None:
            pytest.skip(f"{name}: {DIFFERENCES[name]}")

    def request(
        self,
        method: str = "POST",
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        preload: bool = True,
        path: str = "/",
        **fields: Any,
    ) -> urllib3.BaseHTTPResponse:
        """Send one request, with ``fields``, the test's database and the valid credentials."""
        url = f"{self.url}{path}?{urlencode({'database': self.database} | fields)}"
        known = {"X-ClickHouse-User": self.user, "X-ClickHouse-Key": self.password}
        return self.http.request(
            method, url, body=body, headers={**known, **(headers or {})}, preload_content=preload, decode_content=False
        )

    def run(self, sql: str, body: bytes | None = None, **fields: Any) -> str:
        """Run a statement that must succeed, sent in the body, or in the URL with rows in the body; return the result as text."""
        whole = {"query": sql, **fields} if body is not None else fields
        response = self.request("POST", sql.encode() if body is None else body, **whole)
        assert response.status == 200, response.data.decode()
        return response.data.decode()

    def fails(self, sql: str, **fields: Any) -> int:
        """Run a statement that must fail; return the exception's code."""
        response = self.request("POST", sql.encode(), **fields)
        assert response.status != 200, response.data
        return int(response.headers["X-ClickHouse-Exception-Code"])


def _targets() -> list[str]:
    return ["hot node", "server"] if os.environ.get("TAEL_TEST_CLICKHOUSE_URL") else ["hot node"]


@pytest.fixture(params=_targets())
def clickhouse(request: pytest.FixtureRequest) -> Iterator[ClickHouse]:
    """Each server under test in turn, with a new database that is dropped afterwards."""
    if request.param == "hot node":
        node: HotNode = request.getfixturevalue("shared_hot_node")
        target = ClickHouse(node.url, node.user, node.password, node)
    else:
        parts = urlsplit(os.environ["TAEL_TEST_CLICKHOUSE_URL"])
        target = ClickHouse(f"{parts.scheme}://{parts.hostname}:{parts.port}", parts.username or "default", parts.password or "", None)
    name = f"battery_{uuid.uuid4().hex[:12]}"
    target.run(f"CREATE DATABASE {name}")
    target.database = name
    yield target
    target.database = "default"
    target.run(f"DROP DATABASE {name} SYNC")
    target.http.clear()
