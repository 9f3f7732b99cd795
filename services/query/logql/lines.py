"""Reads lines page by page, so that at most two pages are in memory, however many lines a query reads: one is evaluated while the next is
read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from dataclasses import replace
from typing import Final, TypeVar

from services.query.threads import in_thread
from tael.errors import TooLarge
from tael.logql.records import Entry
from tael.runtime.tasks import cancelled
from tael.storage.api import MAX_FIND_LIMIT, LogCursor, LogQuery, LogReader

R = TypeVar("R")
_SMALLER: Final = 8
"""By how much a page is made smaller whose lines are too long for an answer of a shard."""


class Pages:
    """The lines of ``query``, whose limit is ignored; ``missing`` names the shards that did not answer. ``names`` is as in
    ``LogReader.read_lines``.
    """

    def __init__(self, reader: LogReader, tenant: str, query: LogQuery, names: Collection[str] | None = None) -> None:
        self._reader, self._tenant, self._query, self._names = reader, tenant, query, names
        self._most = MAX_FIND_LIMIT
        self.missing: dict[str, None] = {}

    async def read(self, first: int = MAX_FIND_LIMIT, *, ahead: bool = True) -> AsyncGenerator[list[Entry], None]:
        """Pages in the query's order of time; the first has ``first`` lines, later ones more. Without ``ahead`` the second is read only
        when it is asked for.

        To be closed by a caller that ends early.
        """
        size = min(first, MAX_FIND_LIMIT)
        coming: asyncio.Task[tuple[list[Entry], bool]] | None = asyncio.create_task(self._page(size, None))
        try:
            while coming is not None:
                page, last = await coming
                coming = None
                # Growing fourfold: a query that drops nearly every line takes few pages, and one that is soon satisfied reads little.
                size = size * 4
                after = LogCursor(page[-1].timestamp_ns, page[-1].serial) if page else None
                if not last and ahead:
                    coming = asyncio.create_task(self._page(size, after))
                if page:
                    yield page
                if not last and coming is None:
                    coming, ahead = asyncio.create_task(self._page(size, after)), True
        finally:
            if coming is not None:
                await cancelled(coming)

    async def _page(self, size: int, after: LogCursor | None) -> tuple[list[Entry], bool]:
        """A page, and whether it is the last one. One that is too large is asked for again with fewer lines."""
        while True:
            size = min(size, self._most)
            try:
                answer = await self._reader.read_lines(self._tenant, replace(self._query, limit=size, after=after), self._names)
            except TooLarge:
                if size == 1:
                    raise
                self._most = max(1, size // _SMALLER)
                continue
            self.missing |= dict.fromkeys(answer.missing)
            return answer.value, len(answer.value) < size


async def each(entries: list[Entry], work: Callable[[Entry], R | None], enough: Callable[[list[R]], bool]) -> list[R]:
    """``work`` of each line, in a thread, until there is ``enough``; results that are None are left out."""

    def run(check: Callable[[], None]) -> list[R]:
        found: list[R] = []
        for place, entry in enumerate(entries):
            if place % 256 == 0:
                check()
            made = work(entry)
            if made is not None:
                found.append(made)
                if enough(found):
                    break
        return found

    return await in_thread(run)
