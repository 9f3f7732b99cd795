"""SeriesReader of one shard: builds statements, runs them, and assembles the columns of their answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tael.errors import TooLarge
from tael.model.histogram import SAMPLE_BYTES
from tael.model.series import (
    METRIC_NAME,
    ROLLUP_MS,
    TOO_MANY_SAMPLES,
    TOO_MANY_SERIES,
    Exemplar,
    Family,
    Grid,
    GridRequest,
    Labels,
    Matcher,
    Rollups,
    Samples,
    Selection,
    labels_of,
)
from tael.runtime.tasks import both
from tael.storage import series_merge
from tael.storage.api import Answer
from tael.storage.clickhouse import native
from tael.storage.clickhouse.client import QUERY_LIMITS, ClickHouse, Limits
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.series import columns, query_builder, rolled
from tael.storage.clickhouse.series.arriving import Arriving
from tael.storage.clickhouse.series.labels import LabelCache, Ordered, label_sets
from tael.storage.clickhouse.series.runs import Numbers
from tael.storage.clickhouse.source import HotTables, Source
from tael.vectors.ranges.rollups import COLUMNS

MAX_EXEMPLARS: Final = 10_000
MAX_SERIES: Final = 500_000
"""Series whose labels one query may load: some 250 MB."""
GRID_STEPS: Final = 1_000
"""Steps of one statement; the limit bounds the memory that a long grid takes on the shard."""
_LIMITS: Final = Limits(seconds=120, memory_bytes=2 << 30, steps=False)
"""Usually the caller's deadline passes first, and the statement is cancelled when its caller goes away."""
_SETTINGS: Final = {
    "allow_experimental_time_series_aggregate_functions": 1,
    "cancel_http_readonly_queries_on_client_close": 1,
    # Dashboards ask for the same few series again and again. The server uses the cache only for reads of up to a million rows.
    "use_uncompressed_cache": 1,
}
_SPILL: Final = {
    "max_bytes_before_external_sort": _LIMITS.memory_bytes // 4,
    "max_bytes_before_external_group_by": _LIMITS.memory_bytes // 4,
}


class ClickHouseSeries:
    """See SeriesReader. Caches in ``labels`` the labels of recently used series. Raises TooLarge for a query of more than ``max_series``
    series.
    """

    def __init__(
        self, clickhouse: ClickHouse, max_series: int = MAX_SERIES, source: Source | None = None, labels: LabelCache | None = None
    ) -> None:
        self._clickhouse = clickhouse
        self._max_series = max_series
        self._source = source or HotTables(clickhouse.database)
        self._labels = labels if labels is not None else LabelCache()

    async def select(self, tenant: str, selection: Selection, max_samples: int) -> Answer[Samples]:
        """See SeriesReader."""
        # One row more than allowed shows that there are too many. The limit applies to rows before duplicates are removed, but an answer in
        # which none overlap has as many samples as rows.
        limit = max_samples + 1
        floats, histograms = await both(
            self._floats(query_builder.select_samples(self._source, tenant, selection, limit)),
            self._histograms(tenant, selection, max_samples),
            name="select series",
        )
        found = columns.samples(floats, histograms)
        if found is None:
            merged = query_builder.select_samples(self._source, tenant, selection, limit, merged=True)
            found = columns.samples(await self._floats(merged), histograms)
            assert found is not None, "merged rows do not overlap"
        if len(found.times_ms) > max_samples:
            raise TooLarge(TOO_MANY_SAMPLES)
        order = await self._in_order(tenant, selection, found.runs.series)
        labelled = columns.labelled(found, order)
        if order.repeated:
            labelled = series_merge.united([labelled])
        return Answer(replace(labelled, rollups=self._rollups(tenant, selection, rolled_histograms=found.weights is not None)))

    def _rollups(self, tenant: str, selection: Selection, *, rolled_histograms: bool) -> Rollups | None:
        of_samples = query_builder.rollups_until_ms(self._source, tenant, selection)
        of_histograms = query_builder.rollups_until_ms(self._source, tenant, selection, "histograms") if rolled_histograms else 0
        until_ms = max(of_samples, of_histograms)
        return Rollups(until_ms, histograms=rolled_histograms) if until_ms else None

    async def _histograms(self, tenant: str, selection: Selection, max_samples: int) -> list[native.Column]:
        if not await self._may_have_histograms(tenant, selection):
            return []
        rollups = query_builder.rollups_until_ms(self._source, tenant, selection, "histograms") > 0
        statement = query_builder.select_histograms(self._source, tenant, selection, max_samples + 1, rollups=rollups)
        return await self._columns(statement, _histogram_bytes(max_samples))

    async def _any_histogram(self, tenant: str, selection: Selection) -> bool:
        if not await self._may_have_histograms(tenant, selection):
            return False
        return bool(await self._columns(query_builder.any_histogram(self._source, tenant, selection)))

    async def _may_have_histograms(self, tenant: str, selection: Selection) -> bool:
        """Whether the named metric has native histograms under any labels: matching labels costs more, and most metrics have
        none at all.
        """
        named = replace(
            selection, matchers=tuple(matcher for matcher in selection.matchers if matcher.name == METRIC_NAME and matcher.op == "=")
        )
        return not named.matchers or bool(await self._columns(query_builder.any_histogram(self._source, tenant, named)))

    async def grid(self, tenant: str, request: GridRequest, max_series: int) -> Answer[Grid] | None:
        """See SeriesReader."""
        selection = Selection(request.matchers, request.start_ms - request.window_ms, request.end_ms)
        histograms, found = await both(
            self._any_histogram(tenant, selection), self._grid(tenant, request, max_series), name="evaluate series"
        )
        # ClickHouse's functions know only floats, so the caller evaluates series with native histograms from their samples.
        if histograms or found is None:
            return None
        order = await self._in_order(tenant, selection, found.series)
        if order.repeated:
            return None
        labelled = columns.labelled_grid(found, order)
        until_ms = query_builder.rollups_until_ms(self._source, tenant, selection)
        return Answer(replace(labelled, rollups=Rollups(until_ms, exact=rolled.exact(request))) if until_ms else labelled)

    async def _grid(self, tenant: str, request: GridRequest, max_series: int) -> columns.NumberedGrid | None:
        """The grid, or None where the shard's arithmetic is in doubt. Steps over rollups use our own arithmetic."""
        selection = Selection(request.matchers, request.start_ms - request.window_ms, request.end_ms)
        old, new = rolled.split(request, query_builder.rollups_until_ms(self._source, tenant, selection))
        found = await self._evaluated(tenant, old, new, max_series)
        if found is None and old is not None and rolled.exact(request):
            # Raw samples can be put into buckets as well, and where buckets are exact, evaluating all steps over them avoids the doubt.
            found = await self._evaluated(tenant, request, None, max_series)
        if found is not None and len(found.series) > max_series:
            raise TooLarge(TOO_MANY_SAMPLES)
        return found

    async def _evaluated(
        self, tenant: str, old: GridRequest | None, new: GridRequest | None, max_series: int
    ) -> columns.NumberedGrid | None:
        parts, steps = [], []
        for stretch, count in _stretches(old) if old else ():
            parts.append(await self._over_buckets(tenant, stretch, max_series))
            steps.append(count)
        for stretch, count in _stretches(new) if new else ():
            statement = query_builder.grid(self._source, tenant, stretch)
            part = columns.grid(await self._columns(statement, {"max_rows_to_group_by": max_series}), count, stretch.function)
            if columns.doubtful(part, stretch.function):
                return None
            parts.append(part)
            steps.append(count)
        return columns.joined(parts, steps)

    async def _over_buckets(self, tenant: str, request: GridRequest, max_series: int) -> columns.NumberedGrid:
        """The request evaluated over whole buckets, for steps whose windows reach into rollups."""
        at = rolled.places_of(request)
        wide = replace(request, start_ms=int(at.ends_ms[0]), end_ms=int(at.ends_ms[-1]), window_ms=at.wide_ms)
        # A group is one bucket of one series; a series has at most as many as its windows cover.
        most = max_series * (len(at.ends_ms) + at.wide_ms // ROLLUP_MS)
        statement = query_builder.buckets(self._source, tenant, wide, COLUMNS[request.function])
        return columns.grid_of_buckets(await self._columns(statement, {**_SPILL, "max_rows_to_group_by": most}), request.function, at)

    async def list_series(self, tenant: str, selection: Selection, limit: int) -> Answer[list[Labels]]:
        """See SeriesReader."""
        if not limit:
            return Answer(sorted(set((await self._ask_labels(tenant, selection)).values())))
        statement = query_builder.list_series(self._source, tenant, selection, limit, ordered=True)
        return Answer(sorted(label_sets(await self._columns(statement)).values()))

    async def label_names(self, tenant: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader."""
        return Answer(await self._texts(query_builder.label_names(self._source, tenant, selection, limit)))

    async def label_values(self, tenant: str, name: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader."""
        return Answer(await self._texts(query_builder.label_values(self._source, tenant, name, selection, limit)))

    async def families(self, tenant: str, metric: str, limit: int) -> Answer[list[Family]]:
        """See SeriesReader."""
        rows = await self._rows(query_builder.families(self._source, tenant, metric, limit))
        return Answer([Family(*(text(value) for value in row)) for row in rows])

    async def exemplars(self, tenant: str, matchers: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int) -> Answer[list[Exemplar]]:
        """See SeriesReader. At most 10000 for each of ``matchers``."""
        found: dict[tuple[Labels, int, float, Labels], Exemplar] = {}
        for several in matchers:
            selection = Selection(several, start_ms, end_ms)
            rows = await self._rows(query_builder.exemplars(self._source, tenant, selection, MAX_EXEMPLARS))
            if not rows:
                continue
            series = await self._ask_labels(tenant, selection)
            for number, time_ms, value, labels in rows:
                if (owner := series.get(int(number))) is not None:
                    own = labels_of({text(name): text(content) for name, content in labels.items()})
                    found[owner, int(time_ms), value, own] = Exemplar(owner, int(time_ms), float(value), own)
        return Answer([found[key] for key in sorted(found)])

    async def _in_order(self, tenant: str, selection: Selection, series: Numbers) -> Ordered:
        """The series by labels. A series that is being written may have samples but no labels yet, and is left out."""
        self._bounded(len(series))
        ordered = self._labels.order(series)
        if ordered is not None:
            return ordered
        wanted = series.tolist()
        known = self._labels.find(wanted)
        if len(known) < len(wanted):
            # All labels of the selection, not just the missing ones: the statement stays short however many are missing.
            loaded = await self._ask_labels(tenant, selection)
            self._labels.add(loaded)
            known |= loaded
        return self._labels.put_in_order(series, known)

    async def _ask_labels(self, tenant: str, selection: Selection) -> dict[int, Labels]:
        statement = query_builder.list_series(self._source, tenant, selection, self._max_series + 1)
        found = label_sets(await self._columns(statement))
        self._bounded(len(found))
        return found

    def _bounded(self, series: int) -> None:
        if series > self._max_series:
            raise TooLarge(TOO_MANY_SERIES)

    async def _texts(self, statement: Statement) -> list[str]:
        return [text(value) for (value,) in await self._rows(statement)]

    async def _rows(self, statement: Statement) -> list[Sequence[Any]]:
        return await self._clickhouse.query(statement.sql, statement.parameters, QUERY_LIMITS)

    async def _columns(self, statement: Statement, settings: Mapping[str, Any] | None = None) -> list[native.Column]:
        asked = {**_SETTINGS, **(settings or {})}
        with _within_limits():
            return native.read(await self._clickhouse.native(statement.sql, statement.parameters, _LIMITS, asked))

    async def _floats(self, statement: Statement) -> Arriving:
        found = Arriving()
        with _within_limits():
            await self._clickhouse.native_pieces(found.take, statement.sql, statement.parameters, _LIMITS, _SETTINGS)
        return found


@contextlib.contextmanager
def _within_limits() -> Iterator[None]:
    """Raises TooLarge when the shard would need more memory, or return more, than one query may."""
    try:
        yield
    except TooLarge as error:
        raise TooLarge(TOO_MANY_SAMPLES) from error


def _histogram_bytes(max_samples: int) -> Mapping[str, Any]:
    """Settings that bound the answer in bytes: a histogram takes as much room as many samples, depending on its buckets."""
    return {"max_result_bytes": SAMPLE_BYTES * max_samples, "result_overflow_mode": "throw"}


def _stretches(request: GridRequest) -> list[tuple[GridRequest, int]]:
    """The request in pieces of at most ``GRID_STEPS`` steps, each with its number of steps."""
    step = request.step_ms or 1
    count = (request.end_ms - request.start_ms) // step + 1
    pieces = []
    for first in range(0, count, GRID_STEPS):
        steps = min(GRID_STEPS, count - first)
        start = request.start_ms + first * step
        pieces.append((replace(request, start_ms=start, end_ms=start + (steps - 1) * step), steps))
    return pieces
