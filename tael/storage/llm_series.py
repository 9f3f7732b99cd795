"""A SeriesReader of the metrics made from counted LLM calls (listed in llm_metrics)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from tael.model.series import METRIC_NAME, Exemplar, Family, Grid, GridRequest, Labels, Matcher, Samples, Selection, all_match
from tael.model.time import NS_PER_MS, TimeRange
from tael.storage import llm_metrics, series_merge
from tael.storage.api import Answer
from tael.storage.llm import LlmReader

MAX_SPANS: Final = 1_000_000
"""Spans of traces with LLM calls that one query reads at most."""
_EARLIER_MS: Final = 600_000
"""How long before the range a call that ended in it may have begun; earlier ones are not counted."""
LISTED_MS: Final = 3_600_000
"""Lists cover only the last hour of their range."""
FAMILIES: Final = (
    Family(llm_metrics.USAGE, "histogram", "{token}", "Tokens of LLM calls, counted from their spans."),
    Family(llm_metrics.COST, "counter", "USD", "Cost of LLM calls, as reported or by list prices, counted from their spans."),
)


class LlmSeries:
    """See SeriesReader. Has no grids of its own series, because their samples exist only once they are computed for a query."""

    def __init__(self, llm: LlmReader, *, now_ms: Callable[[], int] = lambda: time.time_ns() // NS_PER_MS) -> None:
        self._llm = llm
        self._now_ms = now_ms

    async def select(self, tenant: str, selection: Selection, max_samples: int) -> Answer[Samples]:
        """See SeriesReader."""
        if not _may_match(selection.matchers):
            return Answer(series_merge.samples([]))
        start, end = selection.start_ms, selection.end_ms
        answer = await self._llm.calls(tenant, _range(start - _EARLIER_MS, end), MAX_SPANS)
        found = llm_metrics.llm_series(answer.value, start, end, lambda labels: all_match(selection.matchers, labels), max_samples)
        return Answer(found, answer.missing)

    async def grid(self, tenant: str, request: GridRequest, max_series: int) -> Answer[Grid] | None:
        """See SeriesReader; None where one of these series may match."""
        del tenant, max_series
        if _may_match(request.matchers):
            return None
        steps = (request.end_ms - request.start_ms) // (request.step_ms or 1) + 1
        return Answer(Grid([], np.empty((0, steps)), np.empty((0, steps), np.bool_)))

    async def list_series(self, tenant: str, selection: Selection, limit: int) -> Answer[list[Labels]]:
        """See SeriesReader."""
        if not _may_match(selection.matchers):
            return Answer([])
        answer = await self._llm.calls(tenant, self._listed(selection.start_ms, selection.end_ms), MAX_SPANS)
        found = [labels for labels in llm_metrics.label_sets(answer.value) if all_match(selection.matchers, labels)]
        return Answer(series_merge.ordered([sorted(found)], limit), answer.missing)

    async def label_names(self, tenant: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader. Without matchers: all names if there are any calls."""
        if not selection.matchers:
            there = await self._llm.has_calls(tenant, self._listed(selection.start_ms, selection.end_ms))
            return Answer(series_merge.ordered([sorted(llm_metrics.LABEL_NAMES)] if there.value else [[]], limit), there.missing)
        series = await self.list_series(tenant, selection, 0)
        return Answer(series_merge.ordered([[name for labels in series.value for name, _ in labels]], limit), series.missing)

    async def label_values(self, tenant: str, name: str, selection: Selection, limit: int) -> Answer[list[str]]:
        """See SeriesReader."""
        if name == METRIC_NAME and all(matcher.name == METRIC_NAME for matcher in selection.matchers):
            names = [name for name in llm_metrics.NAMES if all(matcher.matches(name) for matcher in selection.matchers)]
            if not names:
                return Answer([])
            # Any call has all of these metrics, so it is enough to know that there is one.
            there = await self._llm.has_calls(tenant, self._listed(selection.start_ms, selection.end_ms))
            return Answer(series_merge.ordered([names if there.value else []], limit), there.missing)
        if name not in llm_metrics.LABEL_NAMES:
            return Answer([])
        series = await self.list_series(tenant, selection, 0)
        values = [value for labels in series.value for known, value in labels if known == name]
        return Answer(series_merge.ordered([values], limit), series.missing)

    async def families(self, tenant: str, metric: str, limit: int) -> Answer[list[Family]]:
        """See SeriesReader; none unless there are calls in the last hour."""
        asked = [family for family in FAMILIES if metric in ("", family.name)]
        if not asked:
            return Answer([])
        there = await self._llm.has_calls(tenant, self._listed(0, self._now_ms()))
        return Answer(series_merge.families([asked if there.value else []], limit), there.missing)

    async def exemplars(self, tenant: str, matchers: Sequence[tuple[Matcher, ...]], start_ms: int, end_ms: int) -> Answer[list[Exemplar]]:
        """See SeriesReader; there are none."""
        del tenant, matchers, start_ms, end_ms
        return Answer([])

    def _listed(self, start_ms: int, end_ms: int) -> TimeRange:
        """The last hour of a range, up to now."""
        end = min(end_ms, self._now_ms())
        return _range(max(start_ms, end - LISTED_MS), end)


def _range(start_ms: int, end_ms: int) -> TimeRange:
    """The range ``start_ms < t <= end_ms`` in ns."""
    return TimeRange(max(0, start_ms) * NS_PER_MS, max(0, end_ms) * NS_PER_MS + 1)


def _may_match(matchers: Sequence[Matcher]) -> bool:
    """Whether any of these series could match, judging by metric and label names alone."""
    named = [matcher for matcher in matchers if matcher.name == METRIC_NAME]
    others = (matcher for matcher in matchers if matcher.name not in llm_metrics.LABEL_NAMES)
    return any(all(matcher.matches(name) for matcher in named) for name in llm_metrics.NAMES) and all(
        matcher.matches("") for matcher in others
    )
