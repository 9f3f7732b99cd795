"""Limits how much one query loads; its reads run concurrently and share the budget."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from tael.errors import TooLarge
from tael.model.series import TOO_MANY_SAMPLES, TOO_MANY_SERIES
from tael.runtime.tasks import together

T = TypeVar("T")
AT_ONCE: Final = 8
"""Reads of one query that run at the same time."""


class Budget:
    """Limits of ``samples`` for the whole query (a native histogram counts by its buckets, a grid's cell as one) and of ``series`` for each
    read.
    """

    def __init__(self, samples: int, series: int) -> None:
        self._left = samples
        self._series = series
        self._sharing = 1
        self._missing: dict[str, None] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._alone = asyncio.Lock()

    @property
    def missing(self) -> tuple[str, ...]:
        """The shards that are missing from any of the answers."""
        return tuple(self._missing)

    async def all(self, *questions: Coroutine[Any, Any, None]) -> None:
        """Run reads that go through ``ask``; the first failure cancels the others."""
        self._sharing = min(len(questions), AT_ONCE)
        await together(questions, name="fetch")

    async def ask(self, question: Callable[[int], Awaitable[T]]) -> T:
        """Read with a share of the remaining budget or, where that is too small, once more with all of it, one such read at a time.

        ``question`` is called with the number of samples that it may load, and raises TooLarge beyond it.
        """
        async with self._turns:
            if self._sharing == 1:
                return await question(self._left)
            # Concurrent reads get equal shares, so that what they hold together stays within the budget.
            with contextlib.suppress(TooLarge):
                return await question(self._left // self._sharing)
        # Outside the semaphore, so that small reads continue meanwhile. Together they may hold twice the budget; take() refuses the sum.
        async with self._alone:
            return await question(self._left)

    def take(self, samples: int, series: int, missing: tuple[str, ...]) -> None:
        """Charge an answer to the budget. Raises TooLarge when it is exceeded."""
        self._missing |= dict.fromkeys(missing)
        self._left -= samples
        if series > self._series:
            raise TooLarge(TOO_MANY_SERIES)
        if self._left < 0:
            raise TooLarge(TOO_MANY_SAMPLES)
