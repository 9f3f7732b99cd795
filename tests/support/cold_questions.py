"""The questions of the cold tier's model test: readers over both tiers, merged as the query service does, whose answers are compared with
the ledger.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
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
from tael.storage.clickhouse.payloads import ClickHousePayloads
from tael.storage.clickhouse.series.reader import ClickHouseSeries
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.clickhouse.tiered import TieredShard, Tiers
from tael.storage.gather import Shards
from tael.storage.merged import MergedLogs, MergedSpans
from tael.storage.merged_series import MergedSeries
from tael.storage.payloads import MergedPayloads
from tests.support.cold_ledger import Ledger, Row, content_of
from tests.support.collecting import hash_of
from tests.support.storage import START_NS, log_query, span_query

R = TypeVar("R")
FIRST = hour_of(START_NS)
HOURS = (0, 1, 12)
"""The hours of the model, counted from ``FIRST``; the last one is on another day."""
COUNTED = Matcher("__name__", "=", "counted")
"""The one metric: a sample's value is its number, a histogram's sum and an exemplar's value too."""
EVER = TimeRange(FIRST, FIRST + 24 * HOUR_NS)
TENANTS = ("a", "b")
TRACE_NUMBERS = (1, 2, 3)
WORDS = ("apple", "birch", "cedar", "daisy")
"""What payloads are known by: every tenant has some of each."""
TABLES = {TRACES: ("spans",), LOGS: ("logs",), METRICS: ("samples", "series", "histograms", "exemplars")}
"""The tables with rows of a signal."""
_SAMPLES = ("samples", "series", "histograms")
_PAUSE_SECONDS = 0.5
"""Between questions that are asked while a compactor works."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question of these tables; ``check`` compares what is answered with the ledger."""

    tables: Sequence[str]
    time_range: TimeRange
    ask: Callable[[], Awaitable[Answer[Any]]]
    check: Callable[[Any], None]


class Questions:
    """The readers of all shards, by number. They live as long as the model, so what they remember of the manifest may be outdated."""

    def __init__(self, shards: Mapping[int, ClickHouse], manifests: Manifests, bucket_url: str, ledger: Ledger) -> None:
        self._manifests, self._ledger = manifests, ledger
        self._tiers = {
            Tiers(number, f"shard-{number}", clickhouse, manifests, bucket_url): clickhouse for number, clickhouse in shards.items()
        }
        self._numbers = tuple(shards)
        self._spans = MergedSpans(self._shards(lambda clickhouse, source: ClickHouseSpans(clickhouse, source=source)))
        self._logs = MergedLogs(self._shards(ClickHouseLogs))
        self._series = MergedSeries(self._shards(lambda clickhouse, source: ClickHouseSeries(clickhouse, source=source)))
        self.payloads = MergedPayloads(self._shards(ClickHousePayloads))
        self._turns = itertools.count()

    def _shards(self, build: Callable[[ClickHouse, Source | None], R]) -> Shards[R]:
        asked: list[AskedShard[R]] = [TieredShard(tiers, partial(build, clickhouse)) for tiers, clickhouse in self._tiers.items()]
        return Shards(asked, deadline_seconds=60.0)

    async def check(self) -> None:
        """Ask for everything of a tenant, and for an hour, a trace and a word in turn: every answer is right, also while a compactor lies
        dead in the middle of something.
        """
        turn = next(self._turns)
        for question in self._in_turn(turn):
            await self._check(question)

    async def check_all(self) -> None:
        """Ask for every hour, trace and word."""
        for tenant in TENANTS:
            hours = [TimeRange(hour := FIRST + at * HOUR_NS, hour + HOUR_NS) for at in HOURS]
            for question in (
                *self._of_all(tenant),
                *(self._by_time(signal, tenant, hour) for hour in hours for signal in TABLES),
                *(self._by_id(tenant, trace) for trace in TRACE_NUMBERS),
                *(self._by_word(tenant, word) for word in WORDS),
            ):
                await self._check(question)

    async def _check(self, question: Question) -> None:
        # Nobody may ever finish the move: then the shard refuses after a while, and does not answer with half of the rows.
        waits = await self._moving(question)
        with patch.object(tiered, "MOVING_SECONDS", 0.05 if waits else tiered.MOVING_SECONDS):
            try:
                answer = await question.ask()
            except Unavailable:
                assert waits, "refused without a reason"
                return
        _compare(question, answer, waits)

    async def _moving(self, question: Question) -> set[str]:
        """The shards that move an hour of which the question asks."""
        heads = {number: await self._manifests.head(number) for number in self._numbers}
        return {f"shard-{number}" for number, head in heads.items() if head.open_hours(MOVING, question.tables, question.time_range)}

    async def for_ever(self) -> None:
        """Ask one question after another."""
        for turn in itertools.count():
            for question in self._in_turn(turn):
                waited = await self._moving(question)
                try:
                    answer = await question.ask()
                except Unavailable as error:
                    # An owner died in a move, and what is done meanwhile is something else; or the machine is too slow for the reader's
                    # patience.
                    if "finishes the move" not in str(error):
                        raise
                else:
                    _compare(question, answer, waited | await self._moving(question) if answer.missing else set())
                await asyncio.sleep(_PAUSE_SECONDS)

    def _in_turn(self, turn: int) -> Sequence[Question]:
        """Everything of one tenant, and an hour, a trace and a word of it."""
        tenant, place = TENANTS[turn % len(TENANTS)], turn // len(TENANTS)
        hour = FIRST + HOURS[place % len(HOURS)] * HOUR_NS
        return (
            *self._of_all(tenant),
            self._by_time([*TABLES][place % len(TABLES)], tenant, TimeRange(hour, hour + HOUR_NS)),
            self._by_id(tenant, TRACE_NUMBERS[place % len(TRACE_NUMBERS)]),
            self._by_word(tenant, WORDS[place % len(WORDS)]),
        )

    def _of_all(self, tenant: str) -> Sequence[Question]:
        by_time = (self._by_time(signal, tenant, EVER) for signal in TABLES)
        return (*by_time, self._counted(tenant), self._exemplars(tenant), self._payloads(tenant))

    def _rows(self, asked: Callable[[Row], bool]) -> Callable[[Sequence[int]], None]:
        """The check of an answer that has the numbers of these rows."""
        return lambda numbers: self._ledger.check(asked, Counter(numbers))

    def _by_time(self, signal: str, tenant: str, time_range: TimeRange) -> Question:
        def asked(row: Row) -> bool:
            return (row.signal, row.tenant) == (signal, tenant) and time_range.start_ns <= FIRST + row.hour * HOUR_NS < time_range.end_ns

        ask = {TRACES: self._find_spans, LOGS: self._find_logs, METRICS: self._select}[signal]
        tables = _SAMPLES if signal == METRICS else TABLES[signal]
        return Question(tables, time_range, partial(ask, tenant, time_range), self._rows(asked))

    def _by_word(self, tenant: str, word: str) -> Question:
        check = self._rows(lambda row: (row.signal, row.tenant, row.said) == (TRACES, tenant, word))
        return Question(("spans", "payloads"), EVER, partial(self._find_spans, tenant, EVER, text=word), check)

    def _by_id(self, tenant: str, trace: int) -> Question:
        async def ask() -> Answer[Sequence[int]]:
            answer = await self._spans.get_trace(tenant, bytes([trace] * 16))
            return Answer([int.from_bytes(span.span_id) for span in answer.value], answer.missing)

        return Question(("spans",), EVER, ask, self._rows(lambda row: (row.signal, row.tenant, row.trace) == (TRACES, tenant, trace)))

    def _counted(self, tenant: str) -> Question:
        async def ask() -> Answer[int]:
            answer = await self._logs.count_logs(tenant, LogCounts(EVER, slot_ns=HOUR_NS), 1_000)
            return Answer(sum(count.records for count in answer.value), answer.missing)

        return Question(("logs",), EVER, ask, partial(self._ledger.check_count, lambda row: (row.signal, row.tenant) == (LOGS, tenant)))

    def _exemplars(self, tenant: str) -> Question:
        async def ask() -> Answer[Sequence[int]]:
            first_ms, last_ms = EVER.start_ns // 1_000_000, EVER.end_ns // 1_000_000
            answer = await self._series.exemplars(tenant, [(COUNTED,)], first_ms, last_ms)
            return Answer([int(exemplar.value) for exemplar in answer.value], answer.missing)

        return Question(("exemplars", "series"), EVER, ask, self._rows(lambda row: (row.signal, row.tenant) == (METRICS, tenant)))

    def _payloads(self, tenant: str) -> Question:
        async def ask() -> Answer[set[str]]:
            words = {hash_of(content_of(word)): word for word in WORDS}
            answer = await self.payloads.get_payloads(tenant, [*words])
            assert all(content == content_of(words[known]).encode() for known, content in answer.value.items())
            return Answer({words[known] for known in answer.value}, answer.missing)

        return Question(("payloads",), EVER, ask, partial(self._ledger.check_words, tenant))

    async def _find_spans(self, tenant: str, time_range: TimeRange, text: str = "") -> Answer[Sequence[int]]:
        answer = await self._spans.find_spans(tenant, span_query(time_range, limit=1_000, text=text))
        return Answer([int.from_bytes(span.span_id) for span in answer.value], answer.missing)

    async def _find_logs(self, tenant: str, time_range: TimeRange) -> Answer[Sequence[int]]:
        answer = await self._logs.find_logs(tenant, log_query(time_range, limit=1_000))
        return Answer([int(str(record.body)) for record in answer.value], answer.missing)

    async def _select(self, tenant: str, time_range: TimeRange) -> Answer[Sequence[int]]:
        first_ms, last_ms = time_range.start_ns // 1_000_000, time_range.end_ns // 1_000_000
        answer = await self._series.select(tenant, Selection((COUNTED,), first_ms - 1, last_ms - 1), 10_000)
        samples = answer.value
        if samples.histogram is None or samples.histograms is None:
            return Answer([*map(int, samples.values)], answer.missing)
        return Answer([*map(int, samples.values[samples.histogram < 0]), *map(int, samples.histograms.sum)], answer.missing)


def _compare(question: Question, answer: Answer[Any], may_be_missing: set[str]) -> None:
    assert set(answer.missing) <= may_be_missing
    # What the other shards answered is right, but not all; the ledger does not know shards.
    if not answer.missing:
        question.check(answer.value)
