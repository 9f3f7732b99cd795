"""Parameters of a request that may be in the URL, in a form, or in both."""

from __future__ import annotations

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tael.errors import Rejected, TooLarge

MAX_FORM_BYTES = 10 << 20
"""The largest form of a request; Prometheus and Loki have the same limit."""
# Bytes that are not of the form's charset, an unknown charset, a damaged part, an unknown encoding of one.
_DAMAGED = (ValueError, LookupError, RuntimeError, HttpProcessingError)


async def parameters(request: web.Request) -> dict[str, list[str]]:
    """Every parameter with its values, those of a POST's form before the URL's. Raises Rejected for a form that cannot be read, and
    TooLarge.
    """
    found: dict[str, list[str]] = {}
    try:
        posted = await request.post() if request.method == "POST" else {}
    except _DAMAGED as error:
        raise Rejected(f"the form cannot be read: {error}", where="body", accepted="application/x-www-form-urlencoded in UTF-8") from error
    except web.HTTPRequestEntityTooLarge as error:
        raise TooLarge("the form is too long", where="body", accepted=f"at most {MAX_FORM_BYTES:,} bytes") from error
    for name, value in [*posted.items(), *request.query.items()]:
        if isinstance(value, str):
            found.setdefault(name, []).append(value)
    return found
