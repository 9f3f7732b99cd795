"""A SeriesReader of the metrics made from counted spans (listed in span_metrics)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tael.model.series import METRIC_NAME, Exemplar, Family, Grid, GridRequest, Labels, Matcher, Samples, Selection, all_match
from tael.model.span_counts import Group, SpanCounts
from tael.storage import series_merge, span_metrics
from tael.storage.api import Answer, SpanCountReader
from tael.storage.span_metrics import Wanted

MAX_ROWS: Final = 5_000_000
"""Rows of counts that one query may read."""
LISTED_EDGES_MS: Final = 3_600_000
"""Lists cover only the last hour of their range for edges, because edges are joined at every query."""
_LISTED_SLOT_MS: Final = 3_600_000
_CALLING: Final = frozenset({3, 4})
"""Client and producer."""
_CALLED: Final = frozenset({2, 5})
"""Server and consumer."""
_HISTOGRAMS: Final = (span_metrics.LATENCY, *span_metrics.SIDES.values())
FAMILIES: Final = (
    Family(span_metrics.CALLS, "counter", "", "Spans by service, name, kind and status."),
    Family(span_metrics.REQUESTS, "counter", "", "Calls from one service to another."),
    Family(span_metrics.FAILED, "counter", "", "Calls from one service to another that failed."),
    *(Family(metric, "histogram", "seconds", "How long spans took.") for metric in _HISTOGRAMS),
)


@dataclass(frozen=True, slots=True)
class _Source:
    """One kind of counts and the series made of them."""

    names: tuple[str, ...]
    label_names: frozenset[str]
    count: Callable[[str, int, int, int, int], Awaitable[Answer[SpanCounts]]]
    kinds: tuple[frozenset[int], ...]
    """The source has series only if each of these sets has a kind of which there is a span."""
    samples: Callable[[SpanCounts, int, int, Wanted, int], Samples]
    labels: Callable[[Iterable[Group]], Iterator[Labels]]
    listed_ms: int

    def may_match(self, matchers: Sequence[Matcher]) -> bool:
        """Whether any of these series could match, judging by metric and label names alone."""
        named = [matcher for matcher in matchers if matcher.name == METRIC_NAME]
        others = (matcher for matcher in matchers if matcher.name not in self.label_names)
        return any(all(matcher.matches(name) for matcher in named) for name in self.names) and all(
            matcher.matches("") for matcher in others
        )


class SpanSeries:
    """See SeriesReader. Has no grids of its own series, because their samples exist only once they are computed for a query."""

    def __init__(self, counts: SpanCountReader, *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self._span_kinds = counts.span_kinds
        self._sources = (
            _Source(
                span_metrics.CALL_NAMES,
                span_metrics.CALL_LABELS,
                counts.count_calls,
                (),
                span_metrics.call_series,
                span_metrics.call_labels,
                1 << 62,
            ),
            _Source(
                span_metrics.EDGE_NAMES,
                span_metrics.EDGE_LABELS,
                counts.count_edges,
                (_CALLING, _CALLED),
                span_metrics.edge_series,
                span_metrics.edge_labels,
                LISTED_EDGES_MS,
            ),
        )

    async def select(self, tenant: str, selection: Selection, max_samples: int) -> Answer[Samples]:
        """See SeriesReader."""
        start, end = selection.start_ms, selection.end_ms
        parts, missing = [], dict[str, None]()
        for source in self._matching(selection.matchers):
            answer = await source.count(tenant, start, end, span_metrics.slot_ms(start, end), MAX_ROWS)
            parts.append(source.samples(answer.value, start, end, lambda labels: all_match(selection.matchers, labels), max_samples))
            missing |= dict.fromkeys(answer.missing)
        return Answer(series_merge.samples(parts), tuple(missing))

    async def grid(self, tenant: str, request: GridRequest, max_series: int) -> Answer[Grid] | None:
        """See SeriesReader; None where one of these series may match."""
        del tenant, max_series
        if self._matching(request.matchers):
            return None
        steps = (request.end_ms - request.start_ms) // (request.step_ms or 1) + 1
        return Answer(Grid([], np.empty((0, steps)), np.empty((0, steps), np.bool_)))

    async def list_series(self, tenant: str, selection: Selection, limit: int) -> Answer[list[Labels]]:
        """See SeriesReader."""
        end = min(selection.end_ms, self._now_ms())
        found, missing = set[Labels](), dict[str, None]()
        for source in self._matching(selection.matchers):
            start = max(selection.start_ms, 0, end - source.listed_ms)
            # A slot more, because counts leave out the slot that ends after their range, which is the one with ``end``.
            answer = await source.count(tenant, start, end + _LISTED_SLOT_MS, _LISTED_SLOT_MS, MAX_ROWS)
            # The slots are an hour, the coarsest, because only the newest time of each group is used.
            counts = answer.value
            recent = np.unique(counts.group[counts.newest_ms >= start]).tolist()
            groups = (counts.groups[group] for group in recent)
            found |= {labels for labels in source.labels(groups) if all_match(selection.matchers, labels)}
            missing |= dict.fromkeys(answer.missing)
        return Answer(series_merge.ordered([sorted(found)], limit), tuple(missing))

    async def label_names(self, tenant: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader. Without matchers the names follow from the kinds of spans that are there."""
        if not selection.matchers:
            sources = await self._present(tenant, selection.start_ms, selection.end_ms)
            names = [name for source in sources.value for name in source.label_names]
            return Answer(series_merge.ordered([names], limit), sources.missing)
        series = await self.list_series(tenant, selection, 0)
        return Answer(series_merge.ordered([[name for labels in series.value for name, _ in labels]], limit), series.missing)

    async def label_values(self, tenant: str, name: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader. Names of metrics follow from the kinds of spans that are there."""
        if name == METRIC_NAME and all(matcher.name == METRIC_NAME for matcher in selection.matchers):
            sources = await self._present(tenant, selection.start_ms, selection.end_ms)
            names = [name for source in sources.value for name in source.names if all(m.matches(name) for m in selection.matchers)]
            return Answer(series_merge.ordered([names], limit), sources.missing)
        if not any(name in source.label_names for source in self._sources):
            return Answer([])
        series = await self.list_series(tenant, selection, 0)
        values = [value for labels in series.value for known, value in labels if known == name]
        return Answer(series_merge.ordered([values], limit), series.missing)

    async def families(self, tenant: str, metric: str, limit: int) -> Answer[list[Family]]:
        """See SeriesReader; the families for the kinds of spans that are there."""
        asked = [family for family in FAMILIES if metric in ("", family.name)]
        if not asked:
            return Answer([])
        sources = await self._present(tenant, 0, self._now_ms())
        names = {name for source in sources.value for name in source.names}
        there = [family for family in asked if any(name.startswith(family.name) for name in names)]
        return Answer(series_merge.families([there], limit), sources.missing)

    async def exemplars(self, tenant: str, matchers: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int) -> Answer[list[Exemplar]]:
        """See SeriesReader; there are none."""
        del tenant, matchers, start_ms, end_ms
        return Answer([])

    async def _present(self, tenant: str, start_ms: int, end_ms: int) -> Answer[list[_Source]]:
        """The sources that have series in a range."""
        answer = await self._span_kinds(tenant, max(0, start_ms), min(end_ms, self._now_ms() + _LISTED_SLOT_MS))
        kinds = answer.value
        return Answer([source for source in self._sources if kinds and all(kinds & needed for needed in source.kinds)], answer.missing)

    def _matching(self, matchers: Sequence[Matcher]) -> list[_Source]:
        return [source for source in self._sources if source.may_match(matchers)]
