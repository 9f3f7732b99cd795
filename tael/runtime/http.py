"""aiohttp for every service: errors to statuses once, JSON out, and the endpoints that each process has.

Rejected is 400 (TooLarge 413), Unauthenticated 401, Forbidden 403, NotFound 404, Overloaded 429, Unavailable 503, a deadline 504; the two retryable ones carry
``Retry-After``. The native shape of an error is ``{"error": text}``; an API family with its own shape passes its own ``describe``.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias

from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from tael.errors import Forbidden, NotFound, Overloaded, Rejected, Retryable, TaelError, TooLarge, Unauthenticated
from tael.runtime.config import Address
from tael.runtime.observe import get_logger
from tael.runtime.service import Readiness, listening

log = get_logger("http")
Describe: TypeAlias = "Callable[[int, str], web.Response]"
Route: TypeAlias = "Callable[[web.Request], Awaitable[web.StreamResponse]]"
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
    """A JSON body, compact, with non-ASCII text as itself."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return web.Response(body=body, status=status, headers=headers, content_type="application/json", charset="utf-8")


def describe_native(status: int, text: str) -> web.Response:
    """The native API's error body."""
    return json_response({"error": text}, status=status)


def status_of(error: TaelError) -> int:
    """The HTTP status that tells the caller what to do next."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def headers_of(error: BaseException) -> dict[str, str]:
    """The headers that an error's status wants."""
    if isinstance(error, Retryable):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_seconds)))}
    return {"WWW-Authenticate": 'Bearer realm="tael"'} if isinstance(error, Unauthenticated) else {}


def errors_to_status(describe: Describe = describe_native) -> Any:
    """A middleware that answers every error in the family's own shape; what nobody expected is logged and answered as a 500."""

    @web.middleware
    async def middleware(request: web.Request, handler: Route) -> web.StreamResponse:
        try:
            return await handler(request)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  # answered and, where nobody expected it, logged
            return refuse(request, error, describe)

    return middleware


def refuse(request: web.Request, error: Exception, describe: Describe) -> web.Response:
    """The answer to an error, in a family's shape, with the headers that its status wants. What nobody expected is logged, and is a 500."""
    if isinstance(error, TimeoutError):
        return describe(504, "the deadline passed before every shard had answered")
    if isinstance(error, TaelError):
        response = describe(status_of(error), str(error))
        response.headers.update(headers_of(error))
    elif isinstance(error, web.HTTPMethodNotAllowed):
        response = describe(405, f"{request.method} is not allowed here (accepted: {', '.join(sorted(error.allowed_methods))})")
        response.headers["Allow"] = error.headers["Allow"]
    elif isinstance(error, web.HTTPNotFound):
        response = describe(404, f"there is nothing at {request.path}")
    elif isinstance(error, web.HTTPException):
        response = describe(error.status, error.reason)
    else:
        log.error("unhandled error", path=request.path, exc_info=error)
        response = describe(500, "internal error; the log of this process has the details")
    return response


@contextlib.asynccontextmanager
async def serve(
    app: web.Application, address: Address, *, what: str, variable: str, drain_seconds: float = 10.0, auto_decompress: bool = True
) -> AsyncIterator[Address]:
    """Listen while the block runs, then finish what was accepted. Yields the address bound, with the port that the system chose.

    ``auto_decompress=False`` leaves bodies as they are on the wire, for those who bound what they unpack to.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=drain_seconds, handler_cancellation=True, auto_decompress=auto_decompress)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host, address.port)
        with listening(what, address, variable):
            await site.start()
        yield Address(address.host, int(runner.addresses[0][1]))
    finally:
        await runner.cleanup()


def add_process_routes(app: web.Application, readiness: Readiness) -> None:
    """Answer what ``process_routes`` has."""
    for path, handler in process_routes(readiness).items():
        app.router.add_get(path, handler)


def process_routes(readiness: Readiness) -> dict[str, Route]:
    """``/healthz`` (touches nothing), ``/readyz`` (503 with the reasons) and ``/metrics`` (Prometheus' formats)."""

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
    """Answer what ``cluster_routes`` has."""
    for path, handler in cluster_routes(read).items():
        app.router.add_get(path, handler)


def cluster_routes(read: ReadCluster) -> dict[str, Route]:
    """``/internal/cluster``: the cluster as its keys show it; ``/internal/targets``: where Prometheus scrapes its members."""

    async def cluster(_: web.Request) -> web.Response:
        return json_response(await read())

    async def targets(_: web.Request) -> web.Response:
        return web.json_response(scrape_targets((await read())["members"]))

    return {"/internal/cluster": cluster, "/internal/targets": targets}


def scrape_target(kind: str, node: str, address: str) -> dict[str, Any]:
    """One process' ``/metrics`` at ``address`` as Prometheus' HTTP service discovery has it."""
    return {"targets": [address], "labels": {"job": f"tael-{kind}", "node": node}}


def scrape_targets(members: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The live members' ``/metrics`` as Prometheus' HTTP service discovery has them."""
    return [
        scrape_target(member["target"], member["node_id"], member["internal"])
        for member in members
        if member["alive"] and member.get("internal")
    ]
