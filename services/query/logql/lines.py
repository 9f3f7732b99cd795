"""Reads records page by page, so that at most one page is in memory, however many records a query reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TypeVar

from services.query.threads import in_thread
from tael.model.log import LogRecord
from tael.storage.api import MAX_FIND_LIMIT, LogCursor, LogQuery, LogReader

R = TypeVar("R")


class Pages:
    """The records of ``query``, whose limit is ignored; ``missing`` names the shards that did not answer."""

    def __init__(self, reader: LogReader, tenant: str, query: LogQuery) -> None:
        self._reader, self._tenant, self._query = reader, tenant, query
        self.missing: dict[str, None] = {}

    async def read(self, first: int = MAX_FIND_LIMIT) -> AsyncIterator[list[LogRecord]]:
        """Pages in the query's order of time; the first has ``first`` records, later ones more."""
        size = min(first, MAX_FIND_LIMIT)
        after: LogCursor | None = None
        while True:
            answer = await self._reader.find_logs(self._tenant, replace(self._query, limit=size, after=after))
            self.missing |= dict.fromkeys(answer.missing)
            if answer.value:
                yield answer.value
            if len(answer.value) < size:
                return
            after = LogCursor(answer.value[-1].timestamp_ns, answer.value[-1].serial)
            # Growing fourfold: a query that drops nearly every line takes few pages, and one that is soon satisfied reads little.
            size = min(size * 4, MAX_FIND_LIMIT)


async def each(records: list[LogRecord], work: Callable[[LogRecord], R | None], enough: Callable[[list[R]], bool]) -> list[R]:
    """``work`` of each record, in a thread, until there is ``enough``; results that are None are left out."""

    def run(check: Callable[[], None]) -> list[R]:
        found: list[R] = []
        for place, record in enumerate(records):
            if place % 256 == 0:
                check()
            made = work(record)
            if made is not None:
                found.append(made)
                if enough(found):
                    break
        return found

    return await in_thread(run)
