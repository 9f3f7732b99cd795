"""Whose rows a request may see, and what it may do: decided once, before any route is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from tael.auth import ADMIN, QUERY, Caller
from tael.errors import TaelError
from tael.model.tenant import TENANT_HEADER
from tael.runtime.access import Access
from tael.runtime.http import Describe, Route, describe_native, refuse

_CALLER: Final = web.RequestKey("caller", Caller)
_OPEN = ("/healthz", "/readyz", "/-/healthy", "/-/ready", "/prometheus/-/healthy", "/prometheus/-/ready")
_ADMIN = ("/metrics", "/internal/", "/api/v1/admin/")


def tenant_of(request: web.Request) -> str:
    """The tenant whose rows a request reads, as ``authentication`` found it."""
    return request[_CALLER].tenant


def reach_of(request: web.Request) -> str | None:
    """The tenant that an admin's request is about, None when it is about all of them."""
    caller = request[_CALLER]
    return None if caller.names_none else caller.tenant


def authentication(access: Access, families: Mapping[str, Describe]) -> Any:
    """A middleware that refuses who may not ask, in the shape of the API family under whose path prefix they ask.

    Health is for everybody, the process and the cluster for scope admin, all else for scope query.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Route) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else request.path
        if path not in _OPEN:
            try:
                scope = ADMIN if path.startswith(_ADMIN) else QUERY
                request[_CALLER] = access.caller(scope, request.headers.get("Authorization"), request.headers.get(TENANT_HEADER))
            except TaelError as error:
                describe = next((shape for prefix, shape in families.items() if path.startswith(prefix)), describe_native)
                return refuse(request, error, describe)
        return await handler(request)

    return middleware
