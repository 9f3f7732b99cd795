"""The caller of a request, as the router authenticated it before calling the handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from tael.auth import Caller

CALLER: Final = web.RequestKey("caller", Caller)
REQUIRE_ALLOWED: Final[web.RequestKey[Callable[[], Caller]]] = web.RequestKey("require_allowed")
"""Checks the caller's token again, for long-running answers. Raises Unauthenticated or Forbidden once it no longer allows the request."""


def tenant_of(request: web.Request) -> str:
    """The tenant whose data a request reads."""
    return request[CALLER].tenant


def reach_of(request: web.Request) -> str | None:
    """The tenant that an admin's request is limited to, None for all tenants."""
    caller = request[CALLER]
    return None if caller.names_none else caller.tenant
