"""ClickHouse's HTTP interface: routes, authentication and sessions. A client that disconnects stops its statement."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from aiohttp import web

from services.hotnode import telemetry
from services.hotnode.call import Credentials, check_credentials, read_call, read_credentials
from services.hotnode.errors import StatementFailed
from services.hotnode.guard import Rules
from services.hotnode.origin import refuse_browsers
from services.hotnode.receive import make_job, receive
from services.hotnode.respond import HELD_BYTES, Exchange, Node
from services.hotnode.run import Job, Runner
from services.hotnode.sessions import Session, Sessions
from services.hotnode.spool import Budget, Spool

_METHODS = ("GET", "HEAD", "POST", "PUT")


class Server:
    """The routes, which run statements through a Runner. Holds the sessions and the memory budget of request bodies."""

    def __init__(
        self,
        runner: Runner,
        sessions: Sessions,
        known: Credentials,
        node: Node,
        budget: Budget,
        spool_dir: Path,
        *,
        rules: Rules,
        loopback_only: bool,
    ) -> None:
        self._runner = runner
        self._sessions = sessions
        self._known = known
        self._node = node
        self._budget = budget
        self._spool_dir = spool_dir
        self._rules = rules
        self._loopback_only = loopback_only

    def add_routes(self, app: web.Application) -> None:
        """``/ping`` and ``/replicas_status`` need no credentials; statements are sent to ``/``. Requests of web pages are refused."""
        app.middlewares.append(refuse_browsers(loopback_only=self._loopback_only))
        app.router.add_get("/ping", _ok)
        app.router.add_get("/replicas_status", _ok)
        app.router.add_route("*", "/", self.handle)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Run one statement."""
        if request.method not in _METHODS:
            return web.Response(status=405, headers={"Allow": ", ".join(_METHODS)})
        if request.method in ("GET", "HEAD") and not request.query_string:
            return await _ok(request)
        exchange = Exchange(request, self._node)
        try:
            # Credentials come first: nothing of a stranger's body is read.
            check_credentials(read_credentials(request.query, request.headers), self._known)
            exchange.call = read_call(request.method, request.query.items(), request.headers)
            with telemetry.statement(), contextlib.ExitStack() as spools:
                received = await receive(request, exchange.call, self._spool, spools)
                exchange.call = received.call
                held = spools.enter_context(contextlib.closing(Spool(self._budget, self._spool_dir, HELD_BYTES)))
                # Contexts are left in reverse: the statement has ended before its session is released, and both before the spools,
                # which the engine reads, are closed.
                async with self._in_session(make_job(received, self._rules)) as job, self._runner.start(job) as running:
                    return await exchange.respond(job, running, held)
        except StatementFailed as error:
            return exchange.fail(error)

    def _spool(self) -> Spool:
        return Spool(self._budget, self._spool_dir)

    @contextlib.asynccontextmanager
    async def _in_session(self, job: Job) -> AsyncIterator[Job]:
        """The job with the session that its call names, which no other request may use during the block."""
        wish = job.call.session
        if wish is None:
            yield job
            return
        session = self._sessions.take(wish)
        try:
            yield replace(job, session=session)
        finally:
            await self._close(self._sessions.release(wish, session))

    async def expire_sessions(self) -> None:
        """Close expired sessions every second, until cancelled."""
        while True:
            await asyncio.sleep(1)
            await self._close(self._sessions.expired())

    async def close(self) -> None:
        """Close every session; no statement may be running."""
        await self._close(self._sessions.drain())

    async def _close(self, sessions: list[Session]) -> None:
        for session in sessions:
            if session.connection is not None:
                await self._runner.call(session.connection.close)


async def _ok(_: web.Request) -> web.Response:
    return web.Response(text="Ok.\n", content_type="text/html", charset="UTF-8")
