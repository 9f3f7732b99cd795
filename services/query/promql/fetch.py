"""Fetches the data of an expression from a SeriesReader: concurrently, within a budget, with samples instead of grids that a shard cannot
compute.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

from services.query.budget import Budget
from tael.model.series import ROLLUP_MS, Grid, GridRequest, Samples, Selection, is_stale
from tael.promql.ast import Call, VectorSelector
from tael.promql.fetched import Fetched
from tael.promql.needs import GridNode, Needs, selector_of
from tael.storage.api import Answer, SeriesReader
from tael.vectors.ranges.rollups import OF_HISTOGRAMS, exact

T = TypeVar("T")


async def fetch(reader: SeriesReader, tenant: str, needs: Needs, budget: Budget) -> Answer[Fetched]:
    """Everything in ``needs``, and the shards that are missing from some of it.

    Raises TooLarge beyond the budget, and otherwise as the reader does.
    """
    return await _Fetch(reader, tenant, budget).run(needs)


@dataclass(frozen=True, slots=True)
class _Fetch:
    """The reads of one query and their answers."""

    reader: SeriesReader
    tenant: str
    budget: Budget
    samples: dict[VectorSelector, Samples] = field(default_factory=dict)
    grids: dict[GridNode, Grid] = field(default_factory=dict)
    info: dict[Call, Samples] = field(default_factory=dict)

    async def run(self, needs: Needs) -> Answer[Fetched]:
        refused: list[GridNode] = []
        # without_grid below changes ``needs``, so what was needed at first is kept.
        as_samples, requests = frozenset(needs.samples), dict(needs.grids)
        await self.budget.all(
            *(self._select(self.samples, selector, selection) for selector, selection in needs.samples.items()),
            *(self._select(self.info, call, selection) for call, selection in needs.info.items()),
            *(self._grid(node, request, refused) for node, request in needs.grids.items()),
        )
        again = dict(needs.without_grid(node) for node in refused)
        await self.budget.all(*(self._select(self.samples, selector, selection) for selector, selection in again.items()))
        doubtful = as_samples | {selector_of(node[0]) for node in refused if not exact(requests[node], OF_HISTOGRAMS)}
        for selector in again.keys() - doubtful:
            self.samples[selector] = _exact(self.samples[selector])
        return Answer(Fetched(self.samples, self.grids, self.info), self.budget.missing)

    async def _select(self, into: dict[T, Samples], key: T, selection: Selection) -> None:
        answer = await self.budget.ask(lambda most: self.reader.select(self.tenant, selection, most))
        if (rollups := answer.value.rollups) is not None and rollups.histograms:
            # Windows over rollups consist of whole buckets, so the first one may begin up to two buckets before the requested start.
            wider = replace(selection, start_ms=selection.start_ms - 2 * ROLLUP_MS)
            answer = await self.budget.ask(lambda most: self.reader.select(self.tenant, wider, most))
        self.budget.take(answer.value.room, len(answer.value.labels), answer.missing)
        into[key] = answer.value

    async def _grid(self, node: GridNode, request: GridRequest, refused: list[GridNode]) -> None:
        steps = node[1].count
        # A grid has one value for each series and step, however many samples it was computed from: dividing by the steps bounds the series.
        answer = await self.budget.ask(lambda most: self.reader.grid(self.tenant, request, most // steps))
        if answer is None:
            refused.append(node)
            return
        self.budget.take(answer.value.values.size, len(answer.value.labels), answer.missing)
        self.grids[node] = answer.value


def _exact(samples: Samples) -> Samples:
    """Samples whose only uses are exact over rollups of histograms, marked exact; not if there are floats too, which have only
    last values.
    """
    rollups = samples.rollups
    if rollups is None or samples.histogram is None:
        return samples
    floats = (samples.histogram < 0) & ~is_stale(samples.values) & (samples.times_ms <= rollups.until_ms)
    return samples if floats.any() else replace(samples, rollups=replace(rollups, exact=True))
