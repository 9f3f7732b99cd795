"""How the native API reports that shards are missing from an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from services.query.freshness import lags
from services.query.questions.spans import TraceUnknown
from tael.runtime.http import describe_native, headers_of, json_response, refuse


def partial_json(missing: Sequence[str], unresolved: int = 0) -> dict[str, Any]:
    """``partial`` and ``missing_shards``; ``lag_seconds`` of the shard that is furthest behind, where any is behind (``freshness.lags``).

    ``unresolved_payloads`` counts references that should have been resolved and were not, where there are any.
    """
    answer: dict[str, Any] = {"partial": True, "missing_shards": list(missing)} if missing else {"partial": False}
    behind = lags()
    if unresolved:
        answer["unresolved_payloads"] = unresolved
    return answer | {"lag_seconds": round(max(behind.values()), 1)} if behind else answer


def refuse_native(request: web.Request, error: Exception) -> web.Response:
    """``{"error": text}``; where a trace may be on shards that did not answer, also their names."""
    if isinstance(error, TraceUnknown):
        return json_response({"error": str(error), **partial_json(error.missing)}, status=503, headers=headers_of(error))
    return refuse(request, error, describe_native)
