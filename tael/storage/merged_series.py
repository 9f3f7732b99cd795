"""A SeriesReader over several others, each with some of the series: answers are merged by labels."""

from __future__ import annotations

from collections.abc import Sequence

from tael.errors import TooLarge
from tael.model.series import TOO_MANY_SAMPLES, Exemplar, Family, Grid, GridRequest, Labels, Matcher, Samples, Selection
from tael.storage import series_merge
from tael.storage.api import Answer, SeriesReader
from tael.storage.gather import Merged


class MergedSeries(Merged[SeriesReader]):
    """See SeriesReader."""

    async def select(self, tenant: str, selection: Selection, max_samples: int) -> Answer[Samples]:
        """See SeriesReader."""
        gathered = await self._gather.ask(lambda reader: reader.select(tenant, selection, max_samples))
        merged = series_merge.samples(gathered.values)
        # Each reader bounds its own answer; together they may exceed the limit.
        if len(merged.times_ms) > max_samples:
            raise TooLarge(TOO_MANY_SAMPLES)
        return Answer(merged, gathered.missing)

    async def grid(self, tenant: str, request: GridRequest, max_series: int) -> Answer[Grid] | None:
        """See SeriesReader. Also None when two shards have values of the same series: only its samples can be merged."""

        async def ask(shard: SeriesReader) -> Answer[Grid | None]:
            answer = await shard.grid(tenant, request, max_series)
            return Answer(None) if answer is None else Answer(answer.value, answer.missing)

        gathered = await self._gather.ask(ask)
        grids = [grid for grid in gathered.values if grid is not None]
        merged = series_merge.grids(grids) if len(grids) == len(gathered.values) else None
        if merged is None:
            return None
        if len(merged.labels) > max_series:
            raise TooLarge(TOO_MANY_SAMPLES)
        return Answer(merged, gathered.missing)

    async def list_series(self, tenant: str, selection: Selection, limit: int) -> Answer[list[Labels]]:
        """See SeriesReader."""
        gathered = await self._gather.ask(lambda reader: reader.list_series(tenant, selection, limit))
        return Answer(series_merge.ordered(gathered.values, limit), gathered.missing)

    async def label_names(self, tenant: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader."""
        gathered = await self._gather.ask(lambda reader: reader.label_names(tenant, selection, limit))
        return Answer(series_merge.ordered(gathered.values, limit), gathered.missing)

    async def label_values(self, tenant: str, name: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader."""
        gathered = await self._gather.ask(lambda reader: reader.label_values(tenant, name, selection, limit))
        return Answer(series_merge.ordered(gathered.values, limit), gathered.missing)

    async def families(self, tenant: str, metric: str, limit: int) -> Answer[list[Family]]:
        """See SeriesReader."""
        gathered = await self._gather.ask(lambda reader: reader.families(tenant, metric, limit))
        return Answer(series_merge.families(gathered.values, limit), gathered.missing)

    async def exemplars(self, tenant: str, matchers: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int) -> Answer[list[Exemplar]]:
        """See SeriesReader."""
        gathered = await self._gather.ask(lambda reader: reader.exemplars(tenant, matchers, start_ms, end_ms))
        return Answer(series_merge.exemplars(gathered.values), gathered.missing)
