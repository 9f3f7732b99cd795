"""Registers the families' routes, authenticates requests before a handler runs, and answers errors in the family's form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from aiohttp import web

from services.query.api.family import OPEN, Family, Handler, Route
from services.query.api.tenant import CALLER, REQUIRE_ALLOWED
from tael.auth import QUERY, Caller
from tael.errors import too_deep
from tael.model.tenant import TENANT_HEADER
from tael.runtime.access import Access
from tael.runtime.http import Check

_UNCLAIMED: Final = Family(())


class Router:
    """The routes of all families in one application."""

    def __init__(self, families: Sequence[Family], access: Access, check: Check) -> None:
        self._families = families
        self._access = access
        self._check = check
        self._declared: dict[web.AbstractRoute, tuple[Family, Route]] = {}

    def register(self, app: web.Application) -> None:
        """Add every route; GET answers HEAD as well. The application must have ``middleware``."""
        for family in self._families:
            for prefix in family.prefixes:
                for route in family.routes:
                    resource = app.router.add_resource(prefix + route.path)
                    for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                        self._declared[resource.add_route(method, route.handler)] = (family, route)

    @property
    def middleware(self) -> Any:
        """A middleware that authenticates, calls the handler, and answers every error in the family's form."""

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            family, scope = await self._found(request)
            try:
                self._check(request)
                if scope != OPEN:
                    caller: Callable[[], Caller] = partial(
                        self._access.caller, scope, request.headers.get("Authorization"), request.headers.get(TENANT_HEADER)
                    )
                    request[CALLER] = caller()
                    request[REQUIRE_ALLOWED] = caller
                return await handler(request)
            except ConnectionError:
                raise
            except RecursionError:
                return family.refuse(request, too_deep())
            except Exception as error:  # noqa: BLE001  # answered and, if unexpected, logged by the family
                return family.refuse(request, error)

        return middleware

    def refuse_unread(self, request: web.Request, path: str, error: web.HTTPException) -> web.Response:
        """The answer to a request of which little more than ``path`` could be read, in the form of the family that serves the path."""
        claims = [(root, family) for family in self._families for root in family.roots]
        for route, (family, _) in self._declared.items():
            if route.resource is not None:
                claims.append((route.resource.canonical.partition("{")[0], family))
        # The longest prefix wins, because some families have routes at the root.
        claims = [claim for claim in claims if path.startswith(claim[0])]
        return max(claims, key=lambda claim: len(claim[0]), default=("", _UNCLAIMED))[1].refuse(request, error)

    async def _found(self, request: web.Request) -> tuple[Family, str]:
        """The family that answers a request, and the scope that the caller needs."""
        match = request.match_info
        if (declared := self._declared.get(match.route)) is not None:
            family, route = declared
            return family, route.scope
        if isinstance(match.http_exception, web.HTTPMethodNotAllowed):
            # A known path with another method: the family of that path answers.
            for known, (family, _) in self._declared.items():
                if known.resource is not None and (await known.resource.resolve(request))[1]:
                    return family, QUERY
        # With the slash: a data source's URL itself is below its root, too.
        below = [(root, family) for family in self._families for root in family.roots if f"{request.path}/".startswith(root)]
        return max(below, key=lambda found: len(found[0]), default=("", _UNCLAIMED))[1], QUERY
