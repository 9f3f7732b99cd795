"""CORS: which web pages may send (Fetch standard, "CORS protocol")."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aiohttp import web

_USUAL_HEADERS = "content-type, content-encoding, authorization, x-scope-orgid, traceparent, tracestate, baggage"
_HEADER_NAMES = re.compile(r"[A-Za-z0-9_-]+(\s*,\s*[A-Za-z0-9_-]+)*")
# The maximum time for which Chromium caches the answer to a preflight.
_MAX_AGE_SECONDS = 7200


def allow_origin(origin: str | None, allowed: Sequence[str]) -> str:
    """The value of Access-Control-Allow-Origin for a request's origin; empty when there is none or it is not allowed."""
    if origin is None:
        return ""
    if "*" in allowed:
        return "*"
    return origin if origin in allowed else ""


def preflight(origin: str, wanted_headers: str) -> web.Response:
    """The answer to OPTIONS: an allowed origin may send any header it asks for."""
    response = web.Response(status=204, headers={"Allow": "POST, OPTIONS", "Vary": "Origin, Access-Control-Request-Headers"})
    if origin:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Methods"] = "POST"
        response.headers["Access-Control-Allow-Headers"] = wanted_headers if _HEADER_NAMES.fullmatch(wanted_headers) else _USUAL_HEADERS
        response.headers["Access-Control-Max-Age"] = str(_MAX_AGE_SECONDS)
    return response
