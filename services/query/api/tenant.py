"""Who is calling, as the router found out before it called the handler."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from tael.auth import Caller

CALLER: Final = web.RequestKey("caller", Caller)


def tenant_of(request: web.Request) -> str:
    """The tenant whose data a request reads."""
    return request[CALLER].tenant


def reach_of(request: web.Request) -> str | None:
    """The tenant that an admin's request is limited to, None for all tenants."""
    caller = request[CALLER]
    return None if caller.names_none else caller.tenant
