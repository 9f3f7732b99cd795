"""A real nats-server with JetStream on disk, on a free port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.client import Client

from tael.runtime.nats import connection
from tael.runtime.settings import NatsSettings
from tests.support.ports import free_port
from tests.support.suite import until

_PROGRAM = Path(sys.executable).with_name("nats-server")


class NatsServer:
    """One nats-server as a subprocess; its data survives ``kill`` and ``start``."""

    def __init__(
        self,
        directory: Path,
        *,
        sync: str = "always",
        max_file: str = "8GB",
        host: str = "127.0.0.1",
        cluster: str = "",
        authorization: str = "",
        launcher: tuple[str, ...] = (),
    ) -> None:
        self.port, self.monitor_port = free_port(), free_port()
        self.url = f"nats://{host}:{self.port}"
        self.monitor_url = f"http://{host}:{self.monitor_port}"
        self._launcher = launcher
        self._health = "/healthz?js-enabled-only=true" if cluster else "/healthz"
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._log = directory / "nats.log"
        self._config = directory / "nats.conf"
        self._config.write_text(
            f"listen: {host}:{self.port}\nhttp: {host}:{self.monitor_port}\nmax_payload: 8MB\n{cluster}\n{authorization}\n"
            f'jetstream {{ store_dir: "{directory}", max_mem: 64MB, max_file: {max_file}, sync_interval: "{sync}" }}\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        self.launch()
        self.await_health()

    def launch(self) -> None:
        """Start without waiting, as a node of a cluster is healthy only together with the others."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*self._launcher, _PROGRAM, "-c", self._config], stdout=log, stderr=log)

    def await_health(self) -> None:
        """Wait until its health check succeeds."""
        until(self._healthy, "nats-server")

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Kill the server, and wait until it has ended."""
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.wait(60)
            self._process = None

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None
        return self._process.pid

    def pause(self) -> None:
        """Freeze the server: connections stay open, nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Resume the frozen server."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def cut_tail(self, stream: str, entries: int) -> None:
        """Cut the last entries off a stream's newest block, as if the disk had lost its last writes. The server must not run."""
        assert self._process is None
        messages = self._directory / "jetstream" / "$G" / "streams" / stream / "msgs"
        block = max(messages.glob("*.blk"), key=lambda path: int(path.stem))
        held, starts, at = block.read_bytes(), [], 0
        while at < len(held):
            starts.append(at)
            at += int.from_bytes(held[at : at + 4], "little") & 0x7FFFFFFF
        assert len(starts) >= entries
        os.truncate(block, starts[-entries])

    def settings(self) -> NatsSettings:
        """The settings for connecting to it."""
        return NatsSettings.model_validate({"TAEL_NATS_URL": self.url})

    def _healthy(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        try:
            with urllib.request.urlopen(f"{self.monitor_url}{self._health}", timeout=1) as answer:  # noqa: S310  # a loopback http URL
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server of the test's own."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.kill()


@pytest_asyncio.fixture
async def nats_client(nats_server: NatsServer) -> AsyncIterator[Client]:
    """A connection to the server that reconnects for ever."""
    async with connection(nats_server.settings(), "test") as client:
        yield client
