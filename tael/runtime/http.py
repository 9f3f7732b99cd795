"""aiohttp for every service: the mapping of errors to statuses, JSON answers, and the endpoints that each process has.

Rejected is 400 (TooLarge 413), Unauthenticated 401, Forbidden 403, NotFound 404, Overloaded 429, Unavailable 503, a passed deadline 504;
429 and 503 carry ``Retry-After``. The native form of an error is ``{"error": text}``; an API family with another form passes its own
``describe``.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from typing import Any, TypeAlias

from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from tael.errors import Forbidden, NotFound, Overloaded, Rejected, Retryable, TaelError, TooLarge, Unauthenticated
from tael.model import json_text
from tael.runtime.config import Address
from tael.runtime.connections import Listener, Refuse
from tael.runtime.observe import get_logger
from tael.runtime.origins import foreign, is_loopback
from tael.runtime.pipe import Behind
from tael.runtime.service import Readiness, listening
from tael.runtime.settings import ConnectionSettings
from tael.runtime.tls import ListenerTls

log = get_logger("http")
_BACKLOG = 1024
Describe: TypeAlias = "Callable[[int, str], web.Response]"
Route: TypeAlias = "Callable[[web.Request], Awaitable[web.StreamResponse]]"
Check: TypeAlias = "Callable[[web.Request], None]"
ReadCluster: TypeAlias = "Callable[[], Awaitable[Mapping[str, Any]]]"
"""Reads the cluster's state as a JSON object. Raises Unavailable."""
_STATUSES: tuple[tuple[type[TaelError], int], ...] = (
    (TooLarge, 413),
    (Rejected, 400),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Overloaded, 429),
    (Retryable, 503),
)


def json_response(value: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A response with a compact JSON body, in which non-ASCII text is not escaped."""
    return web.Response(body=json_text.to_bytes(value), status=status, headers=headers, content_type="application/json", charset="utf-8")


def describe_native(status: int, text: str) -> web.Response:
    """The native API's error body."""
    return json_response({"error": text}, status=status)


def describe_text(status: int, text: str) -> web.Response:
    """An error as a line of text."""
    return web.Response(status=status, text=text + "\n")


def status_of(error: TaelError) -> int:
    """The HTTP status of an error of ours; 500 for one without a mapping."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def headers_of(error: BaseException) -> dict[str, str]:
    """The headers that go with an error's status."""
    if isinstance(error, Retryable):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_seconds)))}
    return {"WWW-Authenticate": 'Bearer realm="tael"'} if isinstance(error, Unauthenticated) else {}


def errors_to_status(describe: Describe = describe_native) -> Any:
    """A middleware that answers every error in the family's form; an unexpected one is logged and answered with 500."""

    @web.middleware
    async def middleware(request: web.Request, handler: Route) -> web.StreamResponse:
        try:
            return await handler(request)
        # The client is gone: there is nobody to answer, and no fault of ours to log.
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  # answered, and logged if it is unexpected
            return refuse(request, error, describe)

    return middleware


def refuse(request: web.Request, error: Exception, describe: Describe) -> web.Response:
    """The answer to an error, in a family's form, with the headers of its status. An unexpected error is logged and answered with 500."""
    if isinstance(error, TimeoutError):
        return describe(504, "the deadline passed before every shard had answered")
    if isinstance(error, TaelError):
        response = describe(status_of(error), str(error))
        response.headers.update(headers_of(error))
    elif isinstance(error, web.HTTPMethodNotAllowed):
        response = describe(405, f"{request.method} is not allowed here (accepted: {', '.join(sorted(error.allowed_methods))})")
        response.headers["Allow"] = error.headers["Allow"]
    elif isinstance(error, web.HTTPNotFound):
        response = describe(404, f"path not found: {request.path}")
    elif isinstance(error, web.HTTPException):
        response = describe(error.status, error.reason)
    else:
        log.error("unhandled error", path=request.path, exc_info=error)
        response = describe(500, "internal error; the log of this process has the details")
    return response


def refuse_natively(request: web.Request, path: str, error: web.HTTPException) -> web.Response:  # noqa: ARG001
    """The native answer to a request that could not be parsed."""
    return refuse(request, error, describe_native)


@contextlib.asynccontextmanager
async def serve(
    app: web.Application,
    address: Address,
    *,
    what: str,
    variable: str,
    drain_seconds: float = 10.0,
    auto_decompress: bool = True,
    read_bytes: int = 64 << 10,
    limits: ConnectionSettings | None = None,
    refuse_unread: Refuse = refuse_natively,
    http2: Behind | None = None,
) -> AsyncIterator[Address]:
    """Listen while the block runs, then finish accepted requests. Yields the address bound, with the port that the system chose.

    ``auto_decompress=False`` leaves bodies compressed, for receivers that bound the decompressed size; ``read_bytes`` of a body are
    buffered before its client has to wait. ``refuse_unread`` answers requests that are not HTTP. HTTP/2 connections (gRPC's) are handed to
    ``http2``, which is ended once no new ones can arrive. The listener speaks TLS if ``limits`` name a certificate. Raises PortTaken, and
    BadSettings for a certificate that cannot be used.
    """
    limits = limits or ConnectionSettings()
    tls = ListenerTls.of(limits)
    options = {
        "auto_decompress": auto_decompress,
        "read_bufsize": read_bytes,
        "limits": limits,
        "refuse": refuse_unread,
        "http2": http2 and http2.address,
    }
    runner = _Runner(app, options, drain_seconds)
    await runner.setup()
    try:
        site = _Site(runner, address, tls, limits)
        with listening(what, address, variable):
            await site.start()
        runner.sweep()
        yield Address(address.host, int(runner.addresses[0][1]))
    finally:
        # The order matters: first accept no new connections, then let gRPC's calls end over their pipes, and only then close connections.
        await site.stop()
        if http2 is not None:
            await http2.end()
        await runner.cleanup()


class _Site(web.TCPSite):
    """Binds an address. A TLS handshake may take as long as a request's head, a limit that aiohttp's own TCPSite cannot set."""

    def __init__(self, runner: _Runner, address: Address, tls: ListenerTls | None, limits: ConnectionSettings) -> None:
        super().__init__(runner, address.host, address.port, backlog=_BACKLOG)
        self._tls, self._limits = tls, limits

    async def start(self) -> None:
        """See web.TCPSite."""
        if self._tls is None:
            await super().start()
            return
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None
        self._server = await asyncio.get_running_loop().create_server(
            server,
            self._host,
            self._port,
            ssl=self._tls.context(),
            ssl_handshake_timeout=self._limits.header_seconds,
            backlog=_BACKLOG,
        )


class _Runner(web.AppRunner):
    """Serves an application through a Listener."""

    def __init__(self, app: web.Application, options: Mapping[str, Any], drain_seconds: float) -> None:
        # Half of the drain time: aiohttp waits for handlers twice, before and after it cancels them.
        super().__init__(app, shutdown_timeout=drain_seconds / 2)
        self._options = options
        self._listener: Listener | None = None
        self._sweeping: asyncio.Task[None] | None = None

    def sweep(self) -> None:
        """Close connections that keep us waiting too long, until the clean-up."""
        if self._listener is not None:
            self._sweeping = asyncio.create_task(self._listener.sweep(), name="http-sweep")

    async def cleanup(self) -> None:
        """See web.AppRunner."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        await super().cleanup()
        if self._listener is not None:
            self._listener.end_pipes()

    async def _make_server(self) -> web.Server:
        plain = await super()._make_server()
        self._listener = Listener(plain.request_handler, request_factory=plain.request_factory, handler_cancellation=True, **self._options)
        return self._listener


def require_local(address: Address, hosts: Collection[str], origins: Collection[str] = ()) -> Check:
    """A check that raises Forbidden for foreign hosts and cross-site writes if ``address`` is on loopback (tael.runtime.origins)."""

    def check(request: web.Request) -> None:
        if reason := foreign(request.method, request.headers, hosts, origins):
            raise Forbidden(reason)

    return check if is_loopback(address.host) else lambda _: None


def checked(check: Check) -> Any:
    """A middleware that calls ``check`` before the handler."""

    @web.middleware
    async def middleware(request: web.Request, handler: Route) -> web.StreamResponse:
        check(request)
        return await handler(request)

    return middleware


def internal_app(address: Address, readiness: Readiness) -> web.Application:
    """The application of an internal listener on ``address``: ``process_routes``, on loopback refused to foreign hosts."""
    app = web.Application(middlewares=[errors_to_status(), checked(require_local(address, ()))])
    for path, handler in process_routes(readiness).items():
        app.router.add_get(path, handler)
    return app


def process_routes(readiness: Readiness) -> dict[str, Route]:
    """``/healthz`` (checks nothing), ``/readyz`` (503 with the reasons) and ``/metrics`` (Prometheus' formats)."""

    async def healthz(_: web.Request) -> web.Response:
        return json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        reasons = readiness.reasons
        return json_response({"status": "not ready" if reasons else "ready", "reasons": reasons}, status=503 if reasons else 200)

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(REGISTRY), headers={"Content-Type": content_type})

    return {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}


def add_cluster_routes(app: web.Application, read: ReadCluster) -> None:
    """Add ``cluster_routes`` to an application."""
    for path, handler in cluster_routes(read).items():
        app.router.add_get(path, handler)


def cluster_routes(read: ReadCluster) -> dict[str, Route]:
    """``/internal/cluster``: the cluster's state; ``/internal/targets``: its members as scrape targets for Prometheus."""

    async def cluster(_: web.Request) -> web.Response:
        return json_response(await read())

    async def targets(_: web.Request) -> web.Response:
        return web.json_response(scrape_targets((await read())["members"]))

    return {"/internal/cluster": cluster, "/internal/targets": targets}


def scrape_target(kind: str, node: str, address: str) -> dict[str, Any]:
    """One process's ``/metrics`` at ``address``, in the format of Prometheus' HTTP service discovery."""
    return {"targets": [address], "labels": {"job": f"tael-{kind}", "node": node}}


def scrape_targets(members: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The live members' ``/metrics``, in the format of Prometheus' HTTP service discovery."""
    return [
        scrape_target(member["target"], member["node_id"], member["internal"])
        for member in members
        if member["alive"] and member.get("internal")
    ]
