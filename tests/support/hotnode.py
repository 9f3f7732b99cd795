"""A hot node as a real process, for tests that speak ClickHouse's HTTP interface.

    @pytest.fixture
    def hot_node(tmp_path):
        with HotNode(tmp_path / "hot") as node:
            yield node

``hot_nodes`` is a fixture factory of function scope, ``shared_hot_node`` one node for the whole run; import them in a conftest.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

_START_SECONDS = 30.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class HotNode:
    """``python -m services.hotnode`` over ``directory``, on its own port for life, so that a restart keeps the URL.

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
        """All that the process has written so far."""
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
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send a signal; SIGKILL waits for the end."""
        assert self.process is not None
        self.process.send_signal(signum)
        if signum == signal.SIGKILL:
            self.process.wait(10)

    def stop(self) -> int:
        """Ask it to drain and wait; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def restart(self) -> Self:
        """Stop it if it runs, and start it on the same directory and port."""
        if self.process is not None and self.process.poll() is None:
            self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture
def hot_nodes(tmp_path: Path) -> Iterator[Callable[..., HotNode]]:
    """Make and start hot nodes, each over its own directory; all are ended with the test."""
    nodes: list[HotNode] = []

    def make(**options: object) -> HotNode:
        node = HotNode(tmp_path / f"hot{len(nodes)}", **options)  # type: ignore[arg-type]  # HotNode's own options
        nodes.append(node)
        return node.start()

    yield make
    for node in nodes:
        node.__exit__(None, None, None)


@pytest.fixture(scope="session")
def shared_hot_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HotNode]:
    """One hot node for the whole run: use a database of your own in it."""
    with HotNode(tmp_path_factory.mktemp("hotnode") / "hot") as node:
        yield node
