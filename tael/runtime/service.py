"""The life cycle of a process: run until stopped, drain, exit.

A service is a coroutine that takes a ``Stop`` and returns when it has drained. ``run`` passes one that SIGTERM or Ctrl-C sets, and turns
errors that a person can fix (bad settings, a port in use) into one readable line and a non-zero exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import uvloop

from tael.errors import BadSettings, TaelError
from tael.runtime.observe import get_logger

EXIT_OK, EXIT_FAILED, EXIT_BAD_SETTINGS = 0, 1, 2
log = get_logger("service")


class Stop:
    """A one-way switch, watched by every loop of a process."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Start the drain; idempotent."""
        self._event.set()

    @property
    def is_set(self) -> bool:
        """Whether the process is draining."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Return when the drain starts."""
        await self._event.wait()

    async def sleep(self, seconds: float) -> bool:
        """Wait this long or until the drain; True when the process drains."""
        # Not wait_for(): in Python 3.11 it loses a cancellation that coincides with the end of the wait.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._event.wait()
        return self._event.is_set()


class Readiness:
    """The answer of ``/readyz``: ready once every named part is, else the reasons why not."""

    def __init__(self, *parts: str) -> None:
        self._reasons = dict.fromkeys(parts, "starting")

    def set(self, part: str, reason: str = "") -> None:
        """Set the state of one part: an empty reason means ready."""
        self._reasons[part] = reason

    @property
    def reasons(self) -> dict[str, str]:
        """The parts that are not ready, and why."""
        return {part: reason for part, reason in self._reasons.items() if reason}


class CannotStart(TaelError):
    """Something outside the process has to be changed first; the text is one line that says what."""


class PortTaken(CannotStart):
    """A listener's address is in use by another process."""


@contextlib.contextmanager
def listening(what: str, address: object, variable: str) -> Any:
    """Wrap a bind: turns its OSError into PortTaken, one line that names the setting."""
    try:
        yield
    except OSError as error:
        why = "is already taken by another process" if error.errno == errno.EADDRINUSE else f"cannot be bound: {error.strerror or error}"
        raise PortTaken(f"{what} address {address} {why}; set {variable} to another") from error


@contextlib.asynccontextmanager
async def background(*loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these coroutines while the block runs: if one fails, the block is cancelled; leaving the block cancels them."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop, name=getattr(loop, "__qualname__", "loop")) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def run(main: Callable[[Stop], Awaitable[None]]) -> int:
    """Run a service to its end on uvloop and return the exit code: 0 after a clean drain, 2 for bad settings, 1 for anything else."""
    raise_open_files()
    try:
        return uvloop.run(_run(main))
    # Services run their parts in task groups: the first error is the cause, later ones follow from the cancellation.
    except BaseExceptionGroup as group:
        return explain(_first(group))
    except (TaelError, OSError) as error:
        return explain(error)


def raise_open_files() -> None:
    """Raise the limit of open files to the hard limit, as every connection needs a file descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(main: Callable[[Stop], Awaitable[None]]) -> int:
    stop = Stop()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stop.set)
    await main(stop)
    return EXIT_OK


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def explain(error: BaseException) -> int:
    """Report on standard error why the process ends, in one line if a person can fix it, and return the exit code."""
    if isinstance(error, BadSettings):
        for problem in error.problems:
            sys.stderr.write(f"tael: {problem}\n")
        return EXIT_BAD_SETTINGS
    if isinstance(error, CannotStart):
        sys.stderr.write(f"tael: {error}\n")
        return EXIT_FAILED
    log.error("the process failed", exc_info=error)
    return EXIT_FAILED
