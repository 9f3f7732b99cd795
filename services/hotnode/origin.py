"""Keeps web pages out: a page open in a browser on this machine can send requests here, even under a host name of its own."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tael.runtime import http
from tael.runtime.origins import host_name, is_loopback

_OWN_SITES = ("", "none", "same-origin")


def problem_with(host: str, origin: str | None, fetch_site: str, *, loopback_only: bool) -> str:
    """Why a request with these headers is refused; empty when it is not.

    A loopback listener is only known by loopback's names: any other host name is DNS rebinding.
    """
    if origin is not None or fetch_site not in _OWN_SITES:
        return "requests from web pages are refused (Origin, Sec-Fetch-Site)"
    return (
        ""
        if not loopback_only or is_loopback(host_name(host))
        else f"the host {host[:100]!r} is refused: this node is called 127.0.0.1 or localhost"
    )


def refuse_browsers(*, loopback_only: bool) -> Any:
    """A middleware that answers requests from web pages with 403."""

    @web.middleware
    async def middleware(request: web.Request, handler: http.Route) -> web.StreamResponse:
        headers = request.headers
        problem = problem_with(
            headers.get("Host", ""), headers.get("Origin"), headers.get("Sec-Fetch-Site", ""), loopback_only=loopback_only
        )
        return web.Response(status=403, text=f"{problem}\n") if problem else await handler(request)

    return middleware
