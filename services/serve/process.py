"""One supervised process: started, watched, started again with back-off when it ends, and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Callable

import aiohttp
from prometheus_client import REGISTRY, Counter

from services.serve.backoff import Restarts
from services.serve.lines import Lines, Voice
from services.serve.plan import Process
from tael.runtime.service import EXIT_BAD_SETTINGS

_RESTARTS = Counter("tael_serve_restarts", "How often a process ended by itself and was started again.", ["process"], registry=REGISTRY)
_PR_SET_PDEATHSIG = 1
_PROBE_EVERY_SECONDS, _PROBE_SECONDS = 0.1, 2.0


def _die_with_parent() -> Callable[[], None]:
    """What the child runs before its program: ask the kernel to kill it when the supervisor dies, however that dies. Linux only."""
    if sys.platform != "linux":
        return lambda: None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    return ask


class Supervised:
    """Keeps one process of the plan running until ``drain``.

    ``started`` once ``run`` was entered; ``ready`` is set from its first answer to its check to its end.
    ``refused`` is called with what it printed when it would not start with its settings.
    """

    def __init__(self, process: Process, lines: Lines, http: aiohttp.ClientSession, refused: Callable[[list[str]], None]) -> None:
        self.process = process
        self.ready = asyncio.Event()
        self._lines = lines
        self._http = http
        self._refused = refused
        self._draining = asyncio.Event()
        self._child: asyncio.subprocess.Process | None = None
        self._ended = asyncio.Event()
        self.started = False
        _RESTARTS.labels(process.name)

    @property
    def pid(self) -> int | None:
        """The process that runs now, if one does."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def run(self) -> None:
        """Start it, and again whenever it ends, until it is drained."""
        self.started = True
        restarts, was_ready = Restarts(), False
        try:
            while not self._draining.is_set():
                started, voice = time.monotonic(), Voice(self._lines, self.process.name, self.process.small_talk)
                ending = await self._run_once(voice)
                if self._draining.is_set():
                    return
                was_ready = was_ready or self.ready.is_set()
                self.ready.clear()
                if self.process.ours and not was_ready and ending == f"exited with {EXIT_BAD_SETTINGS}":
                    self._refused([line.removeprefix("tael: ") for line in voice.last if line.startswith("tael: ")])
                    return
                restarts = restarts.after_exit(time.monotonic() - started)
                delay = restarts.delay_seconds(random.random())
                self._report(ending, restarts, delay, voice)
                _RESTARTS.labels(self.process.name).inc()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._draining.wait()
        finally:
            self._kill()
            self._ended.set()

    async def drain(self, grace_seconds: float, hasten: asyncio.Event) -> bool:
        """Stop it: SIGTERM, and SIGKILL after the grace period or when ``hasten`` is set. True when it left by itself."""
        self._draining.set()
        self._signal(signal.SIGTERM)
        hurry = asyncio.ensure_future(hasten.wait())
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait((hurry, ended), timeout=grace_seconds, return_when=asyncio.FIRST_COMPLETED)
        clean = ended.done()
        if not clean:
            self._lines.write(self.process.name, "was killed" + ("" if hurry.done() else f": it had not stopped after {grace_seconds:g} s"))
            self._kill()
        hurry.cancel()
        await ended
        return clean

    async def _run_once(self, voice: Voice) -> str:
        """One life; returns how it ended, in words."""
        process = self.process
        try:
            child = await asyncio.create_subprocess_exec(
                *process.argv,
                env=dict(process.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        except OSError as error:
            return f"could not be started: {error.strerror or error}"
        self._child = child
        assert child.stdout is not None
        if self._draining.is_set():
            self._signal(signal.SIGTERM)
        probe = asyncio.create_task(self._probe(), name=f"probe-{process.name}")
        try:
            await voice.follow(child.stdout)
            code = await child.wait()
        finally:
            probe.cancel()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    async def _probe(self) -> None:
        started = time.monotonic()
        timeout = aiohttp.ClientTimeout(total=_PROBE_SECONDS)
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self._http.get(self.process.ready_url, timeout=timeout) as answer:
                    if answer.status == 200:
                        self._lines.write("serve", f"{self.process.name} is ready after {time.monotonic() - started:.1f} s")
                        self.ready.set()
                        return
            await asyncio.sleep(_PROBE_EVERY_SECONDS)

    def _report(self, ending: str, restarts: Restarts, delay: float, voice: Voice) -> None:
        name = self.process.name
        self._lines.write("serve", f"{name} {ending}; it is started again in {delay:.1f} s")
        if restarts.is_loop:
            self._lines.write("serve", f"{name} keeps ending ({restarts.in_a_row} times in a row); the others go on. Its last lines:")
            for line in voice.last:
                self._lines.write("serve", f"  {name}: {line}")

    def _signal(self, signum: signal.Signals) -> None:
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signum)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
