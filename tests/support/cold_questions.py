"""The questions of the cold tier's model test: readers over both tiers, merged as the query service does, whose answers are compared with the ledger."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from unittest.mock import patch

from tael.cluster.manifests import Manifests
from tael.cold.files import hour_of
from tael.cold.manifest import MOVING
from tael.errors import Unavailable
from tael.model.series import Matcher, Selection
from tael.model.signals import LOGS, METRICS, TRACES
from tael.model.time import HOUR_NS, TimeRange
from tael.storage.api import Answer, AskedShard, LogCounts
from tael.storage.clickhouse import tiered
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.logs import ClickHouseLogs
from tael.storage.clickhouse.series.reader import ClickHouseSeries
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.clickhouse.tiered import TieredShard, Tiers
from tael.storage.gather import Shards
from tael.storage.merged import MergedLogs, MergedSpans
from tael.storage.merged_series import MergedSeries
from tests.support.cold_ledger import Ledger, Row
from tests.support.storage import START_NS, log_query, span_query

R = TypeVar("R")
FIRST = hour_of(START_NS)
HOURS = (0, 1, 12)
"""The hours of the model, counted from ``FIRST``; the last one is on another day."""
EVER = TimeRange(FIRST, FIRST + 24 * HOUR_NS)
TENANTS = ("a", "b")
TRACE_NUMBERS = (1, 2, 3)
TABLES = {TRACES: ("spans",), LOGS: ("logs",), METRICS: ("samples", "series", "histograms")}
"""The tables that a question about a signal reads."""
_PAUSE_SECONDS = 0.1
"""Between questions that are asked while a compactor works."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question about the rows for which ``asked`` is true; its answer has their numbers or, with ``counts``, how many there are."""

    signal: str
    time_range: TimeRange
    asked: Callable[[Row], bool]
    ask: Callable[[], Awaitable[Answer[Sequence[int]]]]
    counts: bool = False


class Questions:
    """The readers of one shard. They live as long as the model, so what they remember of the manifest may be outdated."""

    def __init__(self, shard: int, clickhouse: ClickHouse, manifests: Manifests, bucket_url: str, ledger: Ledger) -> None:
        self._shard, self._clickhouse, self._manifests, self._ledger = shard, clickhouse, manifests, ledger
        self._tiers = Tiers(shard, "shard-0", clickhouse, manifests, bucket_url)
        self._spans = MergedSpans(self._shards(lambda clickhouse, source: ClickHouseSpans(clickhouse, source=source)))
        self._logs = MergedLogs(self._shards(ClickHouseLogs))
        self._series = MergedSeries(self._shards(lambda clickhouse, source: ClickHouseSeries(clickhouse, source=source)))
        self._turns = itertools.count()

    def _shards(self, build: Callable[[ClickHouse, Source | None], R]) -> Shards[R]:
        asked: list[AskedShard[R]] = [TieredShard(self._tiers, partial(build, self._clickhouse))]
        return Shards(asked, deadline_seconds=60.0)

    async def check(self) -> None:
        """Ask for everything, and for an hour and a trace in turn: every answer is right, also while a compactor lies dead in the middle of something."""
        for question in self._everything(next(self._turns)):
            await self._check(question)

    async def check_all(self) -> None:
        """Ask for every hour and every trace."""
        for turn in range(max(len(HOURS), len(TRACE_NUMBERS))):
            for question in self._everything(turn):
                await self._check(question)

    async def _check(self, question: Question) -> None:
        # Nobody may ever finish the move: then the question is refused after a while, and not answered with half of the rows.
        waits = (await self._manifests.head(self._shard)).open_hours(MOVING, TABLES[question.signal], question.time_range)
        with patch.object(tiered, "MOVING_SECONDS", 0.05 if waits else tiered.MOVING_SECONDS):
            try:
                answer = await question.ask()
            except Unavailable:
                assert waits, "refused without a reason"
                return
        self._compare(question, answer)

    async def for_ever(self) -> None:
        """Ask one question after another."""
        for turn in itertools.count():
            for question in self._everything(turn):
                try:
                    self._compare(question, await question.ask())
                except Unavailable as error:
                    # An owner died in a move, and what is done meanwhile is something else; or the machine is too slow for the reader's patience.
                    if "finishes the move" not in str(error):
                        raise
                await asyncio.sleep(_PAUSE_SECONDS)

    def _compare(self, question: Question, answer: Answer[Sequence[int]]) -> None:
        assert not answer.missing
        if question.counts:
            self._ledger.check_count(question.asked, sum(answer.value))
        else:
            self._ledger.check(question.asked, Counter(answer.value))

    def _everything(self, turn: int) -> list[Question]:
        found: list[Question] = []
        for place, tenant in enumerate(TENANTS, turn):
            hour = FIRST + HOURS[place % len(HOURS)] * HOUR_NS
            found += [self._by_time(signal, tenant, EVER) for signal in TABLES]
            found.append(self._by_time([*TABLES][turn % len(TABLES)], tenant, TimeRange(hour, hour + HOUR_NS)))
            found.append(self._by_id(tenant, TRACE_NUMBERS[place % len(TRACE_NUMBERS)]))
            found.append(self._counted(tenant))
        return found

    def _by_time(self, signal: str, tenant: str, time_range: TimeRange) -> Question:
        def asked(row: Row) -> bool:
            return (row.signal, row.tenant) == (signal, tenant) and time_range.start_ns <= FIRST + row.hour * HOUR_NS < time_range.end_ns

        ask = {TRACES: self._find_spans, LOGS: self._find_logs, METRICS: self._select}[signal]
        return Question(signal, time_range, asked, partial(ask, tenant, time_range))

    def _by_id(self, tenant: str, trace: int) -> Question:
        async def ask() -> Answer[Sequence[int]]:
            answer = await self._spans.get_trace(tenant, bytes([trace] * 16))
            return Answer([int.from_bytes(span.span_id) for span in answer.value], answer.missing)

        return Question(TRACES, EVER, lambda row: (row.signal, row.tenant, row.trace) == (TRACES, tenant, trace), ask)

    def _counted(self, tenant: str) -> Question:
        async def ask() -> Answer[Sequence[int]]:
            answer = await self._logs.count_logs(tenant, LogCounts(EVER, slot_ns=HOUR_NS), 1_000)
            return Answer([count.records for count in answer.value], answer.missing)

        return Question(LOGS, EVER, lambda row: (row.signal, row.tenant) == (LOGS, tenant), ask, counts=True)

    async def _find_spans(self, tenant: str, time_range: TimeRange) -> Answer[Sequence[int]]:
        answer = await self._spans.find_spans(tenant, span_query(time_range, limit=1_000))
        return Answer([int.from_bytes(span.span_id) for span in answer.value], answer.missing)

    async def _find_logs(self, tenant: str, time_range: TimeRange) -> Answer[Sequence[int]]:
        answer = await self._logs.find_logs(tenant, log_query(time_range, limit=1_000))
        return Answer([int(str(record.body)) for record in answer.value], answer.missing)

    async def _select(self, tenant: str, time_range: TimeRange) -> Answer[Sequence[int]]:
        first_ms, last_ms = time_range.start_ns // 1_000_000, time_range.end_ns // 1_000_000
        selection = Selection((Matcher("__name__", "=", "counted"),), first_ms - 1, last_ms - 1)
        answer = await self._series.select(tenant, selection, 10_000)
        return Answer([int(value) for value in answer.value.values], answer.missing)
