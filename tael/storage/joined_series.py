"""Several SeriesReaders of different series as one: what is stored, and what is made of spans."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from tael.model.series import Exemplar, Family, Grid, GridRequest, Labels, Matcher, Samples, Selection
from tael.runtime.tasks import together
from tael.storage import series_merge
from tael.storage.api import Answer, SeriesReader

T = TypeVar("T")


class JoinedSeries:
    """See SeriesReader. An error of one reader is the error of all."""

    def __init__(self, readers: Sequence[SeriesReader]) -> None:
        self._readers = tuple(readers)

    async def select(self, tenant: str, selection: Selection, max_samples: int) -> Answer[Samples]:
        """See SeriesReader."""
        answers = await self._ask(lambda reader: reader.select(tenant, selection, max_samples))
        return Answer(series_merge.samples([answer.value for answer in answers]), _missing(answers))

    async def grid(self, tenant: str, request: GridRequest, max_series: int) -> Answer[Grid] | None:
        """See SeriesReader; None where one of the readers has none."""
        found = await self._ask(lambda reader: reader.grid(tenant, request, max_series))
        answers = [answer for answer in found if answer is not None]
        merged = series_merge.grids([answer.value for answer in answers]) if len(answers) == len(found) else None
        return None if merged is None else Answer(merged, _missing(answers))

    async def list_series(self, tenant: str, selection: Selection, limit: int) -> Answer[list[Labels]]:
        """See SeriesReader."""
        answers = await self._ask(lambda reader: reader.list_series(tenant, selection, limit))
        return Answer(series_merge.ordered([answer.value for answer in answers], limit), _missing(answers))

    async def label_names(self, tenant: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader."""
        answers = await self._ask(lambda reader: reader.label_names(tenant, selection, limit))
        return Answer(series_merge.ordered([answer.value for answer in answers], limit), _missing(answers))

    async def label_values(self, tenant: str, name: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader."""
        answers = await self._ask(lambda reader: reader.label_values(tenant, name, selection, limit))
        return Answer(series_merge.ordered([answer.value for answer in answers], limit), _missing(answers))

    async def families(self, tenant: str, metric: str, limit: int) -> Answer[list[Family]]:
        """See SeriesReader."""
        answers = await self._ask(lambda reader: reader.families(tenant, metric, limit))
        return Answer(series_merge.families([answer.value for answer in answers], limit), _missing(answers))

    async def exemplars(self, tenant: str, matchers: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int) -> Answer[list[Exemplar]]:
        """See SeriesReader."""
        answers = await self._ask(lambda reader: reader.exemplars(tenant, matchers, start_ms, end_ms))
        return Answer(series_merge.exemplars([answer.value for answer in answers]), _missing(answers))

    async def _ask(self, ask: Callable[[SeriesReader], Awaitable[T]]) -> list[T]:
        async def one(reader: SeriesReader) -> T:
            return await ask(reader)

        return await together((one(reader) for reader in self._readers), name="ask series")


def _missing(answers: Iterable[Answer[T]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for answer in answers for name in answer.missing))
