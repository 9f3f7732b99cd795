"""The declaration of an API: its routes, the scope that each requires, and the form of its errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import web

from services.query.api.rpc import Service
from tael.auth import QUERY
from tael.runtime.http import describe_native, refuse

Handler: TypeAlias = "Callable[[web.Request], Awaitable[web.StreamResponse]]"
Refuse: TypeAlias = "Callable[[web.Request, Exception], web.Response]"
OPEN = ""
"""The scope of a route that needs no token."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path, below the family's prefixes; ``scope`` is what the caller's token must allow."""

    method: str
    path: str
    handler: Handler
    scope: str = QUERY


def refuse_plainly(request: web.Request, error: Exception) -> web.Response:
    """Errors as ``{"error": text}``."""
    return refuse(request, error, describe_native)


@dataclass(frozen=True, slots=True)
class Family:
    """One API.

    Every route is registered under each of ``prefixes``. ``refuse`` answers any error, including a refused token, in the API's own form.
    ``roots`` are the path prefixes under which unknown paths are answered by this family's ``refuse``. ``services`` are what it serves over
    gRPC.
    """

    routes: Sequence[Route]
    prefixes: Sequence[str] = ("",)
    roots: Sequence[str] = ()
    refuse: Refuse = refuse_plainly
    services: Sequence[Service] = ()
