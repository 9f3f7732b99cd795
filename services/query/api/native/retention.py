"""The native API's view of retention: its settings, what is stored, and what expires next."""

from __future__ import annotations

import time
from typing import Any

from aiohttp import web

from services.query.api.family import Route
from services.query.api.native.partial import partial_json
from services.query.api.native.span_json import rfc3339
from services.query.api.tenant import reach_of
from services.query.backend import Backend
from services.query.questions.retention import Kept, list_retention
from tael.model.time import DAY_NS
from tael.runtime.http import json_response


class RetentionApi:
    """The handler."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """The route."""
        return [Route("GET", "/api/v1/retention", self.list)]

    async def list(self, request: web.Request) -> web.Response:
        """``GET /api/v1/retention``: how long each tenant's signals are kept, how much is stored since when, and what expires next."""
        answer = await list_retention(self._backend, reach_of(request), list(request.query.items()))
        now_ns = time.time_ns()
        return json_response({"retention": [_kept_json(one, now_ns) for one in answer.value], **partial_json(answer.missing)})


def _kept_json(kept: Kept, now_ns: int) -> dict[str, Any]:
    held, next_ns = kept.held, kept.next_ns
    return {
        "tenant": kept.tenant,
        "signal": kept.signal,
        "wanted_days": kept.days,
        "set_by": "limits file" if kept.is_own else "settings",
        "oldest": held and rfc3339(held.oldest_ns),
        "actual_days": held and round((now_ns - held.oldest_ns) / DAY_NS, 2),
        "items": held.items if held else 0,
        "bytes": held.bytes if held else 0,
        "hot_bytes": held.hot_bytes if held else 0,
        "cold_bytes": held.cold_bytes if held else 0,
        "next": {"at": rfc3339(next_ns), "bytes": held.oldest_bytes} if held and next_ns is not None else None,
    }
