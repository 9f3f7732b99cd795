"""Gets what an expression needs from a SeriesReader: everything at once within bounds, and samples where a shard leaves a grid to us."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from tael.errors import TooLarge
from tael.model.series import TOO_MANY_SAMPLES, TOO_MANY_SERIES, Grid, GridRequest, Samples, Selection
from tael.promql.ast import Call, VectorSelector
from tael.promql.fetched import Fetched
from tael.promql.needs import GridNode, Needs
from tael.runtime.tasks import together
from tael.storage.api import Answer, SeriesReader

T = TypeVar("T")
AT_ONCE: Final = 8
"""Questions of one query that are under way at the same time."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one query may load: samples in all, a native histogram by its buckets and a step of a grid as one, and series of each selector."""

    samples: int
    series: int


async def fetch(reader: SeriesReader, tenant: str, needs: Needs, bounds: Bounds) -> Answer[Fetched]:
    """What ``needs`` names, and the shards that are missing from some of it.

    Raises TooLarge beyond the bounds, and otherwise as the reader does.
    """
    return await _Fetch(reader, tenant, bounds.samples, bounds.series).run(needs)


@dataclass(slots=True)
class _Fetch:
    """One query's questions, and what it may still take."""

    reader: SeriesReader
    tenant: str
    left: int
    max_series: int
    sharing: int = 1
    missing: dict[str, None] = field(default_factory=dict)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    alone: asyncio.Lock = field(default_factory=asyncio.Lock)
    samples: dict[VectorSelector, Samples] = field(default_factory=dict)
    grids: dict[GridNode, Grid] = field(default_factory=dict)
    info: dict[Call, Samples] = field(default_factory=dict)

    async def run(self, needs: Needs) -> Answer[Fetched]:
        left_to_us: list[GridNode] = []
        await self._all(
            *(self._select(self.samples, selector, selection) for selector, selection in needs.samples.items()),
            *(self._select(self.info, call, selection) for call, selection in needs.info.items()),
            *(self._grid(node, request, left_to_us) for node, request in needs.grids.items()),
        )
        again = dict(needs.without_grid(node) for node in left_to_us)
        await self._all(*(self._select(self.samples, selector, selection) for selector, selection in again.items()))
        return Answer(Fetched(self.samples, self.grids, self.info), tuple(self.missing))

    async def _select(self, into: dict[T, Samples], key: T, selection: Selection) -> None:
        answer = await self._ask(lambda most: self.reader.select(self.tenant, selection, most))
        self._take(answer.value.room, len(answer.value.labels), answer.missing)
        into[key] = answer.value

    async def _grid(self, node: GridNode, request: GridRequest, left_to_us: list[GridNode]) -> None:
        steps = node[1].count
        answer = await self._ask(lambda most: self.reader.grid(self.tenant, request, most // steps))
        if answer is None:
            left_to_us.append(node)
            return
        self._take(answer.value.values.size, len(answer.value.labels), answer.missing)
        self.grids[node] = answer.value

    async def _all(self, *questions: Coroutine[Any, Any, None]) -> None:
        """All of them; the first failure ends the others."""
        self.sharing = min(len(questions), AT_ONCE)
        await together(questions, name="fetch")

    async def _ask(self, question: Callable[[int], Awaitable[T]]) -> T:
        """Ask beside others for a share of what may still be loaded, and alone for all of it where a share does not do."""
        async with self.turns:
            if self.sharing == 1:
                return await question(self.left)
            with contextlib.suppress(TooLarge):
                return await question(self.left // self.sharing)
        async with self.alone:
            return await question(self.left)

    def _take(self, samples: int, series: int, missing: tuple[str, ...]) -> None:
        self.missing |= dict.fromkeys(missing)
        self.left -= samples
        if series > self.max_series:
            raise TooLarge(TOO_MANY_SERIES)
        if self.left < 0:
            raise TooLarge(TOO_MANY_SAMPLES)
