"""Gzip for answers, where the client accepts it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

_WORTH_BYTES = 1024


@web.middleware
async def compressed(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """A middleware that compresses complete bodies of a kilobyte or more; aiohttp compresses large ones in a thread."""
    response = await handler(request)
    if isinstance(response, web.Response) and isinstance(response.body, bytes) and len(response.body) >= _WORTH_BYTES:
        response.headers["Vary"] = "Accept-Encoding"
        if takes_gzip(request.headers.get("Accept-Encoding", "")):
            response.enable_compression(web.ContentCoding.gzip)
    return response


def takes_gzip(accept_encoding: str) -> bool:
    """Whether the header accepts gzip, or anything, with a weight above zero (RFC 9110, 12.5.3)."""
    weights: dict[str, bool] = {}
    for part in accept_encoding.lower().split(","):
        coding, _, parameters = part.partition(";")
        weight = parameters.strip().removeprefix("q=").strip()
        weights[coding.strip()] = not weight or weight.strip("0.") != ""
    return weights.get("gzip", weights.get("*", False))
