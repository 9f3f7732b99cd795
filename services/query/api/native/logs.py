"""The native API's reads of logs, under ``/api/v1``: ``{"logs", "count", "cursor", "partial"}``, as for traces.

Long lists are rendered in a thread, so that other requests continue.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from services.query.api.family import Route
from services.query.api.native.log_json import log_json
from services.query.api.native.partial import partial_json
from services.query.api.tenant import tenant_of
from services.query.backend import Backend
from services.query.questions.logs import find_logs
from services.query.questions.page import Page
from tael.model.log import LogRecord
from tael.runtime.http import json_response

_INLINE_RECORDS = 200


class NativeLogs:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """Every route."""
        return [Route("GET", "/api/v1/logs", self.find)]

    async def find(self, request: web.Request) -> web.Response:
        """``GET /api/v1/logs``: records that match every filter, newest first."""
        async with find_logs(self._backend, tenant_of(request), list(request.query.items())) as page:
            return _json(page) if len(page.items) <= _INLINE_RECORDS else await asyncio.to_thread(_json, page)


def _json(page: Page[LogRecord]) -> web.Response:
    head = {"cursor": page.cursor, "count": len(page.items), **partial_json(page.missing, page.unresolved)}
    return json_response({**head, "logs": [log_json(record) for record in page.items]})
