"""The whole suite under `tael serve`, on free ports and in its own directory, for fault tests and measurements."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil

from tests.support.ports import free_port

T = TypeVar("T")
PATIENCE_SECONDS = 90.0
"""How long tests wait for what must come, however busy the machine is; who waits in vain fails, only later."""


def until(check: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS, pause: float = 0.05) -> T:
    """The first result of ``check`` that is neither None nor False. Raises AssertionError, which names ``what``, on timeout."""
    deadline = time.monotonic() + seconds
    while True:
        result = check()
        if result is not None and result is not False:
            return result
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(pause)


class Suite:
    """`python -m services serve` as a subprocess; its log goes to ``serve.log`` in its directory.

    Without ``hot`` its first start makes all tables, which takes seconds; with it each hot node begins with a copy of that directory.
    """

    def __init__(self, directory: Path, *, shards: int = 1, env: Mapping[str, str] | None = None, hot: Path | None = None) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        if hot is not None and not (directory / "data" / "hotnode-0").exists():
            for shard in range(shards):
                shutil.copytree(hot, directory / "data" / f"hotnode-{shard}", symlinks=True)
        self.log_path = directory / "serve.log"
        self.grpc_port, self.http_port, self.rest_port, self.datadog_port = free_port(), free_port(), free_port(), free_port()
        self.grpc_api_port = free_port()
        self.url = f"http://127.0.0.1:{self.rest_port}"
        clean = {k: v for k, v in os.environ.items() if not k.startswith("TAEL_")}
        self._env = {
            **clean,
            "TAEL_DATA_DIR": str(directory / "data"),
            "TAEL_SHARDS": str(shards),
            "TAEL_OTLP_GRPC_ADDR": f"127.0.0.1:{self.grpc_port}",
            "TAEL_OTLP_HTTP_ADDR": f"127.0.0.1:{self.http_port}",
            "TAEL_DD_AGENT_ADDR": f"127.0.0.1:{self.datadog_port}",
            "TAEL_REST_API_ADDR": f"127.0.0.1:{self.rest_port}",
            "TAEL_GRPC_API_ADDR": f"127.0.0.1:{self.grpc_api_port}",
            "TAEL_LEASE_TTL_SECS": "2",
            **(env or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._extra: list[subprocess.Popen[bytes]] = []

    def start(self) -> Self:
        """Start and wait until everything is ready."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen([sys.executable, "-m", "services", "serve"], env=self._env, stdout=log, stderr=log)
        try:
            until(self._ready_or_dead, "the suite to be ready", 150)
        except AssertionError:
            self.stop()
            raise
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """Send SIGTERM, wait for the drain, and return the exit code; processes left after a minute are killed."""
        self.dismiss()
        if self._process is None:
            return 0
        process, self._process = self._process, None
        children = [] if process.poll() is not None else psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            for child in children:
                child.kill()
            process.kill()
            return process.wait(60)

    def log(self) -> str:
        """All output of the suite so far."""
        return self.log_path.read_text(errors="replace")

    def supervisor(self) -> str:
        """Host and port of the supervisor's internal endpoints, once the banner names them."""
        line = until(lambda: next((line for line in self.log().splitlines() if "Prometheus http" in line), None), "the banner")
        return line.split("http://")[1].split("/")[0]

    def spawn(self, target: str, node_id: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start another process of a kind that the suite runs, with the same settings; it is killed at the end if it still runs."""
        sibling = until(lambda: self.children().get(target), f"process {target}")
        with self.log_path.open("ab") as log:
            extra = subprocess.Popen(
                [sys.executable, "-m", "services", target],
                env={**sibling.environ(), "TAEL_NODE_ID": node_id, "TAEL_INTERNAL_ADDR": "127.0.0.1:0", **env},
                stdout=log,
                stderr=log,
            )
        self._extra.append(extra)
        return extra

    def dismiss(self) -> None:
        """Kill what ``spawn`` started."""
        for extra in self._extra:
            extra.kill()
            extra.wait(60)
        self._extra.clear()

    def children(self) -> dict[str, psutil.Process]:
        """The suite's processes by name: ingest, query, compactor, coordinator, hotnode-0, …, nats, s3; a second of a kind gets ``#2``."""
        found: dict[str, psutil.Process] = {}
        for child in psutil.Process(self.pid).children(recursive=True):
            try:
                name = _name_of(child)
            except psutil.Error:
                continue
            unique, number = name, 1
            while unique in found:
                number += 1
                unique = f"{name}#{number}"
            found[unique] = child
        return found

    def kill(self, name: str, signum: int = signal.SIGKILL) -> int:
        """Send a signal to one process of the suite; returns its id."""
        child = until(lambda: self.children().get(name), f"process {name}")
        child.send_signal(signum)
        return child.pid

    def clickhouse_login(self) -> dict[str, str]:
        """The authentication headers for the hot nodes."""
        password = json.loads((self.directory / "data" / "credentials.json").read_text())["hotnode"]
        return {"X-ClickHouse-User": "default", "X-ClickHouse-Key": password}

    def get(self, path: str, timeout: float = 30, headers: Mapping[str, str] | None = None) -> Any:
        """A JSON answer of the query API; HTTP errors raise urllib's HTTPError."""
        request = urllib.request.Request(self.url + path, headers=dict(headers or {}))  # noqa: S310  # a loopback http URL
        with urllib.request.urlopen(request, timeout=timeout) as response:  # noqa: S310  # the same
            return json.load(response)

    def get_when_ready(self, path: str, seconds: float = PATIENCE_SECONDS, headers: Mapping[str, str] | None = None) -> Any:
        """``get``, retried while the query service restarts or a shard is missing."""

        def attempt() -> Any:
            try:
                answer = self.get(path, headers=headers)
            except OSError:
                return None
            return None if isinstance(answer, dict) and answer.get("partial") else answer

        return until(attempt, f"a whole answer to {path}", seconds)

    def _ready_or_dead(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"tael serve exited with {self._process.returncode}:\n{self.log()[-4000:]}"
        try:
            self.get("/readyz", timeout=2)
        except OSError:
            return False
        return "4317" in self.log() or str(self.grpc_port) in self.log()


def _name_of(process: psutil.Process) -> str:
    line = process.cmdline()
    program = Path(line[0]).name if line else ""
    if "services" in line:
        target = line[line.index("services") + 1]
        return f"{target}-{process.environ().get('TAEL_NODE_ID', '').rpartition('-')[2]}" if target == "hotnode" else target
    return {"nats-server": "nats", "weed": "s3"}.get(program, program)
