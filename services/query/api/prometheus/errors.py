"""Errors in the form of Prometheus' HTTP API: a type, a text, and a status that its clients know."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

from aiohttp import web

from services.query.api.prometheus.encode import dumped
from tael.errors import NotFound, Rejected, Retryable
from tael.runtime.http import headers_of, refuse

R = TypeVar("R")

_TIMED_OUT = "query timed out in expression evaluation"


class NotExecuted(Exception):
    """A valid query that fails on the data; the reason is ``__cause__``."""


_ERRORS: tuple[tuple[type[Exception], tuple[int, str]], ...] = (
    (NotExecuted, (422, "execution")),
    (TimeoutError, (503, "timeout")),
    (NotFound, (404, "not_found")),
    (Rejected, (400, "bad_data")),
    (Retryable, (503, "unavailable")),
)
"""Errors whose status differs from that of the other APIs."""


async def executed(answer: Awaitable[R]) -> R:
    """Await the answer to a valid query. Raises NotExecuted instead of Rejected."""
    try:
        return await answer
    except Rejected as problem:
        raise NotExecuted from problem


def refuse_prometheus(request: web.Request, error: Exception) -> web.Response:
    """Answer any error in Prometheus' form."""
    known = next((how for refused, how in _ERRORS if isinstance(error, refused)), None)
    if known is None:
        return refuse(request, error, _described)
    status, kind = known
    reason = error.__cause__ if isinstance(error, NotExecuted) else error
    response = failure(status, kind, _TIMED_OUT if isinstance(error, TimeoutError) else str(reason))
    response.headers.update(headers_of(error))
    return response


def _described(status: int, text: str) -> web.Response:
    kind = "not_found" if status == 404 else "bad_data" if status < 500 else "internal"
    return failure(status, kind, text)


def failure(status: int, kind: str, text: str) -> web.Response:
    """An error response with one of Prometheus' types."""
    body = dumped({"status": "error", "errorType": kind, "error": text})
    return web.Response(text=body, status=status, content_type="application/json")
