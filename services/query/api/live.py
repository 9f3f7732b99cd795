"""What every live stream does, whatever carries it: it ends when its caller may no longer ask."""

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
    """The frames of ``watcher`` for who asked by ``request``. The token is asked again as often as heartbeats come in silence, and the last frame comes
    once it allows no more.
    """
    asked_at = time.monotonic()
    async for event in watcher.events(heartbeat_seconds):
        yield event
        if time.monotonic() - asked_at >= heartbeat_seconds:
            asked_at = time.monotonic()
            _end_when_forbidden(request, watcher)


def _end_when_forbidden(request: web.Request, watcher: Watcher[T]) -> None:
    try:
        request[REQUIRE_ALLOWED]()
    except (Unauthenticated, Forbidden) as error:
        watcher.close(f"the token no longer allows it: {error}")
