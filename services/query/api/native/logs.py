"""The native API's reads of logs, under ``/api/v1``: ``{"logs", "count", "cursor", "partial"}``, as for traces (native.py)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from aiohttp import web

from services.query.api.family import Route
from services.query.api.native.filters import LOG_FILTERS, read_log_filters
from services.query.api.native.log_json import log_json
from services.query.api.native.traces import partial_json
from services.query.api.tenant import tenant_of
from services.query.cursor import decode_log_cursor, encode_log_cursor, query_digest
from services.query.parameters import Parameters
from services.query.turns import Turns
from tael.runtime.http import json_response
from tael.storage.api import MAX_FIND_LIMIT, LogCursor, LogQuery, LogReader

_RANGE = ("last", "start", "end")
_DEFAULT_LIMIT = 100
_INLINE_RECORDS = 200


class NativeLogs:
    """The handlers, over one reader."""

    def __init__(self, logs: LogReader, turns: Turns, *, max_limit: int) -> None:
        self._logs = logs
        self._turns = turns
        self._max_limit = max_limit

    def routes(self) -> list[Route]:
        """Every route."""
        return [Route("GET", "/api/v1/logs", self.find)]

    async def find(self, request: web.Request) -> web.Response:
        """``GET /api/v1/logs``: records that match every filter, newest first."""
        tenant = tenant_of(request)
        query, digest = read_log_query(list(request.query.items()), now_ns=time.time_ns(), max_limit=self._max_limit)
        async with self._turns.turn("logs", tenant) as turn:
            wanted = min(query.limit + 1, MAX_FIND_LIMIT)
            answer = await turn.ask(self._logs.find_logs(tenant, replace(query, limit=wanted)))
            page = answer.value[: query.limit]
            cursor = None
            if len(answer.value) == wanted:
                cursor = encode_log_cursor(LogCursor(page[-1].timestamp_ns, page[-1].serial), query.time_range, digest)

            def render() -> web.Response:
                head = {"cursor": cursor, "count": len(page), **partial_json(answer.missing)}
                return json_response({**head, "logs": [log_json(record) for record in page]})

            return render() if len(page) <= _INLINE_RECORDS else await asyncio.to_thread(render)


def read_log_query(pairs: Sequence[tuple[str, str]], *, now_ns: int, max_limit: int) -> tuple[LogQuery, bytes]:
    """The query that these parameters ask for, and the digest that its cursors carry. Raises Rejected. Pure."""
    parameters = Parameters(pairs, known=(*LOG_FILTERS, *_RANGE, "limit", "cursor"), repeatable=("attribute",))
    limit = parameters.whole("limit", default=_DEFAULT_LIMIT, low=1, high=max_limit, high_from="TAEL_MAX_QUERY_LIMIT")
    predicate = read_log_filters(parameters)
    time_range = parameters.time_range(now_ns=now_ns)
    digest = query_digest([(name, value) for name, value in pairs if value and name not in ("limit", "cursor")])
    after = None
    if parameters.text("cursor"):
        after, time_range = decode_log_cursor(parameters.text("cursor"), digest)
    return LogQuery(time_range, predicate, limit, after), digest
