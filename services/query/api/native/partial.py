"""How the native API says that shards are missing from an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from services.query.freshness import lags
from services.query.questions.spans import TraceUnknown
from tael.runtime.http import describe_native, headers_of, json_response, refuse


def partial_json(missing: Sequence[str], unresolved: int = 0) -> dict[str, Any]:
    """``partial``, and the names behind it; ``lag_seconds`` of the shard that is furthest behind, where any is behind by much.

    ``unresolved_payloads`` counts references that were to be resolved and stand as they are, where there are any.
    """
    said: dict[str, Any] = {"partial": True, "missing_shards": list(missing)} if missing else {"partial": False}
    behind = lags()
    if unresolved:
        said["unresolved_payloads"] = unresolved
    return said | {"lag_seconds": round(max(behind.values()), 1)} if behind else said


def refuse_native(request: web.Request, error: Exception) -> web.Response:
    """``{"error": text}``; where a trace may be on a shard that did not answer, also which."""
    if isinstance(error, TraceUnknown):
        return json_response({"error": str(error), **partial_json(error.missing)}, status=503, headers=headers_of(error))
    return refuse(request, error, describe_native)
