"""Common to all live streams: they end when the caller's token no longer allows them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import TypeVar

from aiohttp import web

from services.query.api.tenant import REQUIRE_ALLOWED
from services.query.live.feed import Watcher
from tael.errors import Forbidden, Unauthenticated

T = TypeVar("T")


async def events(request: web.Request, watcher: Watcher[T], heartbeat_seconds: float) -> AsyncIterator[bytes]:
    """The frames of ``watcher`` for the caller of ``request``. The token is checked again about every ``heartbeat_seconds``; once
    it no longer allows the stream, that ends with a last frame.
    """
    checked_at = time.monotonic()
    async for event in watcher.events(heartbeat_seconds):
        yield event
        if time.monotonic() - checked_at >= heartbeat_seconds:
            checked_at = time.monotonic()
            _end_when_forbidden(request, watcher)


def _end_when_forbidden(request: web.Request, watcher: Watcher[T]) -> None:
    try:
        request[REQUIRE_ALLOWED]()
    except (Unauthenticated, Forbidden) as error:
        watcher.close(f"the token no longer allows it: {error}")
