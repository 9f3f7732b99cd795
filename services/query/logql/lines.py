"""Reads records page by page: never more than a page of them is held, however many a query looks at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from services.query.threads import in_thread
from tael.model.log import LogRecord
from tael.model.predicate import Predicate
from tael.model.time import TimeRange
from tael.storage.api import MAX_FIND_LIMIT, LogCursor, LogQuery, LogReader

R = TypeVar("R")

SMALLEST_PAGE: Final = 500


class Pages:
    """The records of a range that satisfy a predicate, and the shards that did not give theirs."""

    def __init__(self, reader: LogReader, tenant: str, time_range: TimeRange, predicate: Predicate, *, oldest_first: bool = False) -> None:
        self._reader, self._tenant = reader, tenant
        self._time_range, self._predicate, self._oldest_first = time_range, predicate, oldest_first
        self.missing: dict[str, None] = {}

    async def read(self, first: int = MAX_FIND_LIMIT) -> AsyncIterator[list[LogRecord]]:
        """Pages in the order of time; the first holds ``first`` records, later ones more."""
        size = min(max(first, SMALLEST_PAGE), MAX_FIND_LIMIT)
        after: LogCursor | None = None
        while True:
            query = LogQuery(self._time_range, self._predicate, size, after, self._oldest_first)
            answer = await self._reader.find_logs(self._tenant, query)
            self.missing |= dict.fromkeys(answer.missing)
            if answer.value:
                yield answer.value
            if len(answer.value) < size:
                return
            after = LogCursor(answer.value[-1].timestamp_ns, answer.value[-1].serial)
            size = min(size * 4, MAX_FIND_LIMIT)


async def each(records: list[LogRecord], work: Callable[[LogRecord], R | None], enough: Callable[[list[R]], bool]) -> list[R]:
    """What ``work`` makes of the records, in a thread, until there is ``enough``; None is left out."""

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
