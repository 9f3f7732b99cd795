"""Runs statements on the engine in a pool of threads; results flow through pipes, and statements can be stopped at any time.

A SELECT writes its result into a pipe (``INTO OUTFILE`` with the pipe's path), so that every format streams and the pipe bounds memory; the
answers of other statements are small and kept in memory. A statement is stopped by KILL QUERY with its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from services.hotnode.call import Call
from services.hotnode.engine import EXPRESSIONS_IN_VALUES, Connection, Engine, Stats
from services.hotnode.errors import QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, TOO_MANY_SIMULTANEOUS_QUERIES, StatementFailed, failed
from services.hotnode.sessions import Session
from services.hotnode.spool import Spool
from services.hotnode.statement import Insert, InsertFromInput, Select, Statement

_PIPE_BYTES: Final = 1 << 20
_KILL_AGAIN_SECONDS: Final = 0.1


class Pipe:
    """A pipe for a result: the engine writes to ``path`` in a thread, the event loop reads."""

    def __init__(self) -> None:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        with contextlib.suppress(OSError):
            # With the default of 64 KiB each side would be woken sixteen times as often; if the system refuses it is merely slower.
            fcntl.fcntl(self._write_fd, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @property
    def path(self) -> str:
        """The path under which this process can open the writing end."""
        return f"/proc/self/fd/{self._write_fd}"

    def end(self) -> None:
        """Close the writing end: the reader sees the end after the last byte. May be called again."""
        if self._write_fd >= 0:
            os.close(self._write_fd)
            # Descriptor numbers are reused at once: closing one twice would close another file.
            self._write_fd = -1

    def write(self, whole: bytes) -> None:
        """Write everything, from a thread; blocks until the reader has made room."""
        view = memoryview(whole)
        while view:
            view = view[os.write(self._write_fd, view) :]

    async def read(self) -> bytes:
        """The next bytes, at most as many as the pipe holds; empty at the end."""
        while True:
            with contextlib.suppress(BlockingIOError):
                return os.read(self._read_fd, _PIPE_BYTES)
            await _readable(self._read_fd)

    def close(self) -> None:
        """Close the reading end; further writes fail."""
        if self._read_fd >= 0:
            os.close(self._read_fd)
            self._read_fd = -1


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, wake)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


@dataclass(frozen=True, slots=True)
class Job:
    """A statement to run. The rows of an INSERT are in ``body`` from offset ``rows_at`` on.

    ``evaluates`` allows expressions in the rows of VALUES, which must have been checked.
    """

    call: Call
    statement: Statement
    body: Spool
    rows_at: int = 0
    session: Session | None = None
    evaluates: bool = False


class Running:
    """A running statement. Read its result to the end, then await its ``stats``."""

    def __init__(self, pipe: Pipe, done: Future[Stats]) -> None:
        self._pipe = pipe
        self.done = done

    async def read(self) -> bytes:
        """The next bytes of the result; empty at the end, even if the statement failed."""
        return await self._pipe.read()

    async def stats(self) -> Stats:
        """Wait for the statement's end. Raises StatementFailed if it failed."""
        return await asyncio.shield(asyncio.wrap_future(self.done))


class Runner:
    """Runs up to ``threads`` statements at once; up to ``waiting`` more wait, and further ones are refused. For one event loop."""

    def __init__(self, engine: Engine, *, threads: int, waiting: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="statement")
        # A separate thread, so that statements can be killed while all others are busy.
        self._control = ThreadPoolExecutor(1, thread_name_prefix="control")
        self._limit = threads + waiting
        self._ids: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        """Statements running or waiting."""
        return len(self._ids)

    @contextlib.asynccontextmanager
    async def start(self, job: Job) -> AsyncIterator[Running]:
        """Run ``job`` while the block reads its result; leaving the block early stops the statement, and waits until it has stopped.

        Raises StatementFailed 202 when too many statements run, and 216 when one with the same id does.
        """
        query_id = job.call.query_id
        if query_id in self._ids:
            raise failed(QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, f"Query with id = {query_id} is already running.")
        if len(self._ids) >= self._limit:
            raise failed(TOO_MANY_SIMULTANEOUS_QUERIES, f"Too many simultaneous queries. Maximum: {self._limit}")
        self._ids.add(query_id)
        self._idle.clear()
        pipe = Pipe()
        try:
            running = Running(pipe, self._threads.submit(execute, self._engine, job, pipe))
            try:
                yield running
            finally:
                # Close the pipe first: an engine blocked in a write to it would never notice the kill.
                pipe.close()
                await self._stop(query_id, running.done)
        finally:
            pipe.end()
            self._ids.discard(query_id)
            if not self._ids:
                self._idle.set()

    async def _stop(self, query_id: str, done: Future[Stats]) -> None:
        """Stop the statement if it runs, and return when it has ended."""
        # cancel() succeeds only while the statement waits for a thread; then nothing has to be killed.
        done.cancel()
        loop = asyncio.get_running_loop()
        while not done.done():
            with contextlib.suppress(StatementFailed):
                await loop.run_in_executor(self._control, self._engine.kill, query_id)
            # Kill repeatedly: a statement that had not registered itself yet has missed the previous kill.
            ended = asyncio.gather(asyncio.wrap_future(done), return_exceptions=True)  # its failure does not matter any more
            await asyncio.wait([ended], timeout=_KILL_AGAIN_SECONDS)

    async def call(self, work: Callable[[], None]) -> None:
        """Run a short function in the control thread."""
        await asyncio.get_running_loop().run_in_executor(self._control, work)

    async def close(self) -> None:
        """Wait until no statement runs any more, and end the threads. No statement may be started meanwhile."""
        await self._idle.wait()
        self._threads.shutdown()
        self._control.shutdown()


def execute(engine: Engine, job: Job, pipe: Pipe) -> Stats:
    """Run ``job`` in this thread, on a new connection or its session's, and write its result into ``pipe``. Raises StatementFailed."""
    session = job.session
    connection = session.connection if session is not None else None
    if connection is None:
        connection = engine.connect()
        if session is not None:
            session.connection = connection
    try:
        prelude = job.call.prelude(with_id=session is None or session.may_set)
        if prelude:
            connection.query(prelude)
        try:
            return _run(connection, job, pipe)
        finally:
            if session is not None:
                _leave(connection, session, job)
    finally:
        pipe.end()
        if session is None:
            connection.close()


def _run(connection: Connection, job: Job, pipe: Pipe) -> Stats:
    statement, call = job.statement, job.call
    if isinstance(statement, Insert):
        # Not through the engine's streaming insert, which does not report errors after the rows are read, such as a materialized view's.
        with job.body.as_file(job.rows_at) as path, _expressions(connection, allowed=job.evaluates):
            return connection.query(statement.from_file(path))[1]
    if isinstance(statement, InsertFromInput):
        with job.body.as_file(job.rows_at) as path:
            return connection.query(statement.from_file(path))[1]
    if isinstance(statement, Select):
        return connection.query(statement.into(pipe.path, call.default_format))[1]
    answer, stats = connection.query(statement.sql, call.default_format)
    pipe.write(answer)
    return stats


@contextlib.contextmanager
def _expressions(connection: Connection, *, allowed: bool) -> Iterator[None]:
    """Allow expressions in the rows of VALUES for the duration of the block, if ``allowed``."""
    if allowed:
        connection.query("SET " + ", ".join(f"{name} = 1" for name in EXPRESSIONS_IN_VALUES))
    try:
        yield
    finally:
        if allowed:
            connection.query("SET " + ", ".join(f"{name} = 0" for name in EXPRESSIONS_IN_VALUES))


def _leave(connection: Connection, session: Session, job: Job) -> None:
    """Undo the request's own settings, and remember what its statement changed in the session."""
    session.restore(connection, job.call)
    if not isinstance(job.statement, Insert | InsertFromInput | Select):
        session.learn(connection, job.statement.verb)
