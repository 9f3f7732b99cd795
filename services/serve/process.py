"""Supervises one process: starts it, watches its health, restarts it with back-off when it exits or is unhealthy, and stops it."""

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
from services.serve.health import Check, Health, problem_of
from services.serve.lines import Lines, Output
from services.serve.plan import Process
from tael.runtime.service import EXIT_BAD_SETTINGS

_RESTARTS = Counter("tael_serve_restarts", "Times a process exited unexpectedly and was restarted.", ["process"], registry=REGISTRY)
_PR_SET_PDEATHSIG = 1
_STARTING_EVERY_SECONDS, _CHECK_EVERY_SECONDS, _CHECK_SECONDS = 0.1, 2.0, 5.0
_END_SECONDS = 10.0
_ANSWER_BYTES = 4096
_NOT_STARTED = "not started yet"


def _die_with_parent() -> Callable[[], None]:
    """A function for the child to run before its program: has the kernel kill it when the supervisor dies for any reason. Linux only."""
    if sys.platform != "linux":
        return lambda: None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # If the supervisor died between the fork and the prctl, no signal will come any more.
        if os.getppid() != parent:
            os._exit(1)

    return ask


class Supervised:
    """Keeps one process of the plan running until ``drain``.

    ``started`` is True once ``run`` was entered; ``ready`` is set while the readiness check succeeds, and ``problem`` says why it does not.
    ``refused`` is called with the error lines of a process that exited because of unusable settings.
    """

    def __init__(self, process: Process, lines: Lines, http: aiohttp.ClientSession, refused: Callable[[list[str]], None]) -> None:
        self.process = process
        self.ready = asyncio.Event()
        self.problem = _NOT_STARTED
        self._lines = lines
        self._http = http
        self._refused = refused
        self._draining = asyncio.Event()
        self._child: asyncio.subprocess.Process | None = None
        self._ended = asyncio.Event()
        self._gave_up = ""
        self._was_ready = False
        self.started = False
        _RESTARTS.labels(process.name)

    @property
    def pid(self) -> int | None:
        """The id of the running process, None if there is none."""
        return self._child.pid if self._child is not None and self._child.returncode is None else None

    async def run(self) -> None:
        """Start the process, and again whenever it exits, until it is drained."""
        self.started = True
        restarts = Restarts()
        try:
            while not self._draining.is_set():
                started, output = time.monotonic(), Output(self._lines, self.process.name, self.process.small_talk)
                ending = await self._run_once(output)
                if self._draining.is_set():
                    return
                self.ready.clear()
                self.problem = ending
                if self.process.ours and not self._was_ready and ending == f"exited with {EXIT_BAD_SETTINGS}":
                    self._refused([line.removeprefix("tael: ") for line in output.last if line.startswith("tael: ")])
                    return
                restarts = restarts.after_exit(time.monotonic() - started)
                delay = restarts.delay_seconds(random.random())
                self._report(ending, restarts, delay, output)
                _RESTARTS.labels(self.process.name).inc()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._draining.wait()
        finally:
            self._kill()
            self._ended.set()

    async def drain(self, grace_seconds: float, hasten: asyncio.Event) -> bool:
        """Stop the process: SIGTERM, then SIGKILL after the grace period or when ``hasten`` is set. True when it exited by itself."""
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

    async def _run_once(self, output: Output) -> str:
        """Start the process once and wait for its end; returns how it ended, in words."""
        process = self.process
        try:
            child = await asyncio.create_subprocess_exec(
                *process.argv,
                env=dict(process.env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                # Ctrl-C is sent to the terminal's whole foreground group, but only the supervisor, which drains in order, must get it.
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        except OSError as error:
            return f"could not be started: {error.strerror or error}"
        self._child = child
        assert child.stdout is not None
        # If the drain began while the child was being created, it found none to signal.
        if self._draining.is_set():
            self._signal(signal.SIGTERM)
        self._gave_up = ""
        watch = asyncio.create_task(self._watch(), name=f"watch-{process.name}")
        try:
            await output.follow(child.stdout)
            code = await child.wait()
        finally:
            watch.cancel()
        if self._gave_up:
            return self._gave_up
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    async def _watch(self) -> None:
        """Check the process while it runs, and stop it when it has been unhealthy for too long."""
        health, was_ready = Health(started_at=time.monotonic()), False
        while not self._draining.is_set():
            ready = await self._check(self.process.ready_url)
            # A ready process is alive, so one request per check is enough while all is well.
            alive = await self._check(self.process.live_url) if ready.problem and self.process.live_url else ready
            now = time.monotonic()
            self._set_problem(ready.problem, "again" if was_ready else f"after {now - health.started_at:.1f} s")
            was_ready = was_ready or not ready.problem
            health = health.after(alive, now)
            if health.needs_restart(alive, now) and not self._draining.is_set():
                self._gave_up = f"was stopped because it was unhealthy ({alive.problem})"
                await self._end()
            await asyncio.sleep(_CHECK_EVERY_SECONDS if was_ready else _STARTING_EVERY_SECONDS)

    async def _check(self, url: str) -> Check:
        try:
            async with self._http.get(url, timeout=aiohttp.ClientTimeout(total=_CHECK_SECONDS)) as answer:
                return Check(problem_of(answer.status, await answer.content.read(_ANSWER_BYTES)))
        except (aiohttp.ClientError, TimeoutError, OSError):
            return Check("its health check is not answered", answered=False)

    def _set_problem(self, problem: str, when: str) -> None:
        """Store the result of the readiness check, and log when it changed."""
        self.problem = problem
        if not problem and not self.ready.is_set():
            self._lines.write("serve", f"{self.process.name} is ready {when}")
            self._was_ready = True
            self.ready.set()
        elif problem and self.ready.is_set():
            self._lines.write("serve", f"{self.process.name} is not ready: {problem}")
            self.ready.clear()

    async def _end(self) -> None:
        """Send SIGTERM, and SIGKILL if the process is still there after a while."""
        self._signal(signal.SIGTERM)
        await asyncio.sleep(_END_SECONDS)
        self._kill()

    def _report(self, ending: str, restarts: Restarts, delay: float, output: Output) -> None:
        name = self.process.name
        self._lines.write("serve", f"{name} {ending}; restarting it in {delay:.1f} s")
        if restarts.is_loop:
            self._lines.write(
                "serve", f"{name} keeps exiting ({restarts.in_a_row} times in a row); the others keep running. Its last lines:"
            )
            for line in output.last:
                self._lines.write("serve", f"  {name}: {line}")

    def _signal(self, signum: signal.Signals) -> None:
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signum)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
