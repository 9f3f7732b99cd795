"""Errors as Prometheus' HTTP API tells them: a type, a text, and one of few statuses that its clients read."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

from aiohttp import web

from services.query.api.prometheus.encode import dumped
from tael.errors import NotFound, Rejected, Retryable, TaelError
from tael.runtime.http import headers_of
from tael.runtime.observe import get_logger

R = TypeVar("R")
Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = get_logger("prometheus")

_KINDS = {400: "bad_data", 404: "not_found", 413: "bad_data", 422: "execution", 429: "unavailable", 503: "unavailable"}
_TIMED_OUT = "query timed out in expression evaluation"


class NotExecuted(Exception):
    """A query that was asked rightly and cannot be answered: the reason is in ``__cause__``."""


_ERRORS: tuple[tuple[type[Exception], tuple[int, str]], ...] = (
    (NotExecuted, (422, "execution")),
    (TimeoutError, (503, "timeout")),
    (NotFound, (404, "not_found")),
    (Rejected, (400, "bad_data")),
    (Retryable, (503, "unavailable")),
    (TaelError, (500, "internal")),
)


async def executed(answer: Awaitable[R]) -> R:
    """The answer to what was asked rightly. Raises NotExecuted in place of Rejected."""
    try:
        return await answer
    except Rejected as problem:
        raise NotExecuted from problem


def describe_prometheus(status: int, text: str) -> web.Response:
    """Prometheus' error body, its type by the status."""
    return failure(status, _KINDS.get(status, "internal"), text)


def failure(status: int, kind: str, text: str) -> web.Response:
    """An error of one of Prometheus' types."""
    body = dumped({"status": "error", "errorType": kind, "error": text})
    return web.Response(text=body, status=status, content_type="application/json")


def answering(handler: Handler) -> Handler:
    """Errors in Prometheus' shape, also where the family has no prefix of its own."""

    @functools.wraps(handler)
    async def wrapped(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except (NotExecuted, TimeoutError, TaelError) as error:
            return _told(error)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("unhandled error", path=request.path)
            return failure(500, "internal", "internal error; the log of this process has the details")

    return wrapped


def _told(error: Exception) -> web.Response:
    status, kind = next(how for refused, how in _ERRORS if isinstance(error, refused))
    reason = error.__cause__ if isinstance(error, NotExecuted) else error
    response = failure(status, kind, _TIMED_OUT if isinstance(error, TimeoutError) else str(reason))
    response.headers.update(headers_of(error))
    return response
