"""The query of log records by filters."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from services.query.backend import Backend
from services.query.questions.cursor import decode_log_cursor, encode_log_cursor
from services.query.questions.filters import LOG_FILTERS, read_log_filters
from services.query.questions.page import Page, read_page
from services.query.questions.payloads import INLINE, PAYLOADS, REFERENCE, resolve_logs
from tael.model.log import LogRecord
from tael.storage.api import MAX_FIND_LIMIT, LogCursor, LogQuery


@contextlib.asynccontextmanager
async def find_logs(backend: Backend, tenant: str, pairs: Sequence[tuple[str, str]]) -> AsyncIterator[Page[LogRecord]]:
    """Records that match every filter: ``LOG_FILTERS``, ``attribute``, a range, ``limit`` and ``cursor``.

    Payloads are resolved where ``payloads`` is ``inline``. Raises Rejected, and what the reader raises.
    """
    query, digest = read_log_query(pairs, now_ns=time.time_ns(), max_limit=backend.settings.max_query_limit)
    async with backend.turns.turn("logs", tenant) as turn:
        wanted = min(query.limit + 1, MAX_FIND_LIMIT)
        answer = await turn.ask(backend.logs.find_logs(tenant, replace(query, limit=wanted)))
        page, cursor = answer.value[: query.limit], None
        if len(answer.value) == wanted:
            cursor = encode_log_cursor(LogCursor(page[-1].timestamp_ns, page[-1].serial), query.time_range, digest)
        if dict(pairs).get(PAYLOADS) != INLINE:
            yield Page(page, cursor, answer.missing)
            return
        found = await resolve_logs(backend, turn, tenant, page)
        yield Page(found.items, cursor, tuple(dict.fromkeys((*answer.missing, *found.missing))), found.left)


def read_log_query(pairs: Sequence[tuple[str, str]], *, now_ns: int, max_limit: int) -> tuple[LogQuery, bytes]:
    """The query of these parameters, and the digest for its cursors. Raises Rejected. Pure."""
    page = read_page(pairs, (*LOG_FILTERS, PAYLOADS), decode_log_cursor, now_ns=now_ns, max_limit=max_limit)
    page.parameters.choice(PAYLOADS, (INLINE, REFERENCE))
    return LogQuery(page.time_range, read_log_filters(page.parameters), page.limit, page.after), page.digest
