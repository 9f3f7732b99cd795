"""Runs LogQL: decides what the shards count and what is read line by line, reads lines in pages, and evaluates in threads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TypeVar

from services.query.logql.lines import Pages, each
from services.query.threads import in_thread
from tael.errors import TooLarge
from tael.logql import evaluate as evaluation
from tael.logql.ast import LogQuery as LineQuery
from tael.logql.ast import Metric
from tael.logql.counted import LinesNeeded, of_counts
from tael.logql.evaluate import Value, leaves
from tael.logql.functions import of_samples, shifted
from tael.logql.needs import decided, wanted
from tael.logql.pipeline import Pipeline
from tael.logql.plans import Plan, counts, values
from tael.logql.reads import labels_told_apart
from tael.logql.records import Entry
from tael.logql.row import Row
from tael.logql.samples import BYTES, AllLabelsNeeded, Bounds, Extraction, Leaf, Room
from tael.logql.selected import selected
from tael.logql.sizes import ChunkSize
from tael.logql.valued import samples_of
from tael.model.predicate import EVERYTHING, NOTHING, all_of
from tael.model.series import Labels, Matcher, Samples, Selection
from tael.model.time import NS_PER_MS, TimeRange
from tael.runtime.tasks import together
from tael.storage.api import Answer, LogCount, LogCounts, LogQuery, LogReader, LogValues, TooManyGroups
from tael.vectors.values import Steps, Vector

Request = TypeVar("Request", LogQuery, LogCounts)
LOOKED_AT = 500
"""The size of the first page of a query whose stages may drop lines."""
SIZED = 5_000
"""How many lines are at most read one by one to measure their size with metadata."""
MAX_GROUPS = 500_000
"""How many groups, counted by slot, shards may return for one part of a query."""


@dataclass(frozen=True, slots=True)
class LogqlOptions:
    """The limits of one query; ``push`` lets shards count where they can."""

    max_entries: int = 5_000
    max_series: int = 5_000
    max_samples: int = 10_000_000
    push: bool = True

    @property
    def bounds(self) -> Bounds:
        """These limits in the form that the extraction of samples takes."""
        return Bounds(self.max_series, self.max_samples)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The lines to return: how many, of which range, in which direction; two lines are at least ``interval_ns`` apart."""

    time_range: TimeRange
    limit: int
    oldest_first: bool = False
    interval_ns: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """The labels of a stream, and the number and bytes of its lines."""

    labels: dict[str, str]
    count: int
    bytes: int
    slot: int = 0


class LogqlEngine:
    """Runs queries over one LogReader; keeps no state between them."""

    def __init__(self, reader: LogReader, options: LogqlOptions) -> None:
        self.reader = reader
        self.options = options

    async def lines(self, tenant: str, query: LineQuery, request: Wanted) -> Answer[list[Row]]:
        """The lines of a log query, in the requested order of time.

        Raises what the reader raises. When the caller is cancelled or gives up, the work ends at one of the next records.
        """
        predicate = wanted(query)
        if predicate == NOTHING:
            return Answer([])
        asked = LogQuery(request.time_range, predicate, oldest_first=request.oldest_first, streams=query.matchers)
        pages = Pages(self.reader, tenant, _resolved(asked))
        pick = _Pick(query, request, time.time_ns())
        # Where stages may drop lines, a first page of only ``limit`` records would usually need a second one.
        first = request.limit if decided(query) and not request.interval_ns else max(request.limit, LOOKED_AT)
        async with contextlib.aclosing(pages.read(first, ahead=False)) as read:
            async for page in read:
                pick.rows += await each(page, pick.row, lambda found: len(pick.rows) + len(found) >= request.limit)
                if len(pick.rows) >= request.limit:
                    break
        return Answer(pick.rows, tuple(pages.missing))

    async def value(self, tenant: str, expr: Metric, steps: Steps) -> Answer[Value]:
        """The value of a metric query at ``steps`` (ns).

        Raises Rejected where lines or series do not allow it, TooLarge beyond the limits, and what the reader raises.
        """
        found: dict[Leaf, Vector] = {}
        missing: dict[str, None] = {}
        room = Room(self.options.max_samples)

        async def one(leaf: Leaf) -> None:
            answer = await self._leaf(tenant, leaf, steps, room)
            found[leaf] = answer.value
            missing.update(dict.fromkeys(answer.missing))

        await together([one(leaf) for leaf in dict.fromkeys(leaves(expr))], name="logql")
        value = await in_thread(lambda check: evaluation.evaluate(expr, steps, found, check, room.most))
        if isinstance(value, Vector) and len(value.labels) > self.options.max_series:
            raise TooLarge(f"the result has more than {self.options.max_series} series (TAEL_LOGQL_MAX_SERIES)")
        return Answer(value, tuple(missing))

    async def labels(self, tenant: str, matchers: tuple[Matcher, ...], time_range: TimeRange) -> Answer[list[dict[str, str]]]:
        """The labels of the streams that have lines in the hours of the range."""
        streams, pushed = selected(matchers)
        if pushed != EVERYTHING:
            found = await self.streams(tenant, matchers, time_range)
            return Answer([stream.labels for stream in found.value], found.missing)
        selection = Selection(streams, time_range.start_ns // NS_PER_MS, max(time_range.start_ns, time_range.end_ns - 1) // NS_PER_MS)
        answer = await self.reader.list_streams(tenant, selection, 0)
        return Answer([dict(stream.labels) for stream in answer.value], answer.missing)

    async def streams(
        self, tenant: str, matchers: tuple[Matcher, ...], time_range: TimeRange, slot_ns: int = 0, names: Collection[str] | None = None
    ) -> Answer[list[Stream]]:
        """The streams that have lines in the range, with the number and bytes of these, by slot where ``slot_ns`` is given. With ``names``,
        streams are merged by these labels and have no others.
        """
        request = LogCounts(time_range, streams=matchers, slot_ns=slot_ns, sizes=True, labels=None if names is None else tuple(names))
        answer = await self.reader.count_logs(tenant, _resolved(request), MAX_GROUPS)
        shown: dict[Labels, Labels] = {}
        found: dict[tuple[Labels, int], tuple[int, int]] = {}
        for part in answer.value:
            if (labels := shown.get(part.labels)) is None:
                labels = tuple(pair for pair in part.labels if names is None or pair[0] in names)
                shown[part.labels] = labels
            count, size = found.get((labels, part.slot), (0, 0))
            found[labels, part.slot] = (count + part.records, size + part.bytes)
        return Answer([Stream(dict(labels), count, size, slot) for (labels, slot), (count, size) in found.items()], answer.missing)

    async def volumes(
        self, tenant: str, matchers: tuple[Matcher, ...], time_range: TimeRange, names: Collection[str] | None = None
    ) -> Answer[list[Stream]]:
        """The streams with the bytes that Loki would count for them, metadata included; with more than ``SIZED`` lines only the bytes of
        lines. ``names`` is as in ``streams``.
        """
        answer = await self.streams(tenant, matchers, time_range, names=names)
        if answer.missing or sum(stream.count for stream in answer.value) > SIZED:
            return answer
        pages = Pages(self.reader, tenant, _resolved(LogQuery(time_range, streams=matchers)))
        sizes: dict[Labels, ChunkSize] = {}

        def take(page: list[Entry], check: Callable[[], None]) -> None:
            check()
            for found in page:
                sizes.setdefault(tuple(sorted(found.stream.items())), ChunkSize()).add(found.line, found.metadata)

        await self._each_page(pages, take)
        return Answer([Stream(dict(labels), 0, size.bytes) for labels, size in sizes.items()], tuple(pages.missing))

    async def _leaf(self, tenant: str, leaf: Leaf, steps: Steps, room: Room) -> Answer[Vector]:
        counted = counts(leaf, steps) if self.options.push else None
        if self.options.push and (plan := values(leaf)) is not None:
            try:
                return await self._valued(tenant, leaf, steps, room, plan, in_parts=counted is None)
            except LinesNeeded:
                counted = None
            except TooLarge:
                # Sums take less room, and are exact where the numbers are whole.
                if counted is None:
                    raise
        if counted is not None:
            try:
                return await self._counted(tenant, leaf, steps, room, counted)
            except (TooLarge, LinesNeeded):
                # A member may have many values, of which what is read line by line makes fewer series, or a better error.
                if not counted.members:
                    raise
        samples = await self._samples(tenant, leaf, LogQuery(_range_of(leaf, steps), wanted(leaf.query)))
        room.take(len(samples.value.labels) * steps.count)
        return Answer(await in_thread(lambda _: of_samples(leaf.aggregation, samples.value, steps)), samples.missing)

    async def _counted(self, tenant: str, leaf: Leaf, steps: Steps, room: Room, plan: Plan) -> Answer[Vector]:
        time_range = _range_of(leaf, steps)
        request = _requested(leaf, plan, time_range)
        counted: Answer[list[LogCount]] = Answer([])
        if plan.predicate != NOTHING:
            counted = await self.reader.count_logs(tenant, request, MAX_GROUPS)
        # Only lines that the shards could not count without reading them are read.
        left = NOTHING if all(part.known for part in counted.value) else plan.predicate
        rest = await self._samples(tenant, leaf, LogQuery(time_range, left, unknown=plan.known, known_if=plan.known_if))
        vector = await in_thread(lambda _: of_counts(leaf, plan, counted.value, rest.value, steps, self.options.bounds, room))
        return Answer(vector, (*counted.missing, *rest.missing))

    async def _valued(self, tenant: str, leaf: Leaf, steps: Steps, room: Room, plan: Plan, *, in_parts: bool) -> Answer[Vector]:
        time_range = _range_of(leaf, steps)
        read: Answer[list[LogValues]] = Answer([])
        if plan.predicate != NOTHING:
            read = await self._values(tenant, _requested(leaf, plan, time_range), in_parts=in_parts)
        left = NOTHING if all(group.known for group in read.value) else plan.predicate
        rest = await self._samples(tenant, leaf, LogQuery(time_range, left, unknown=plan.known, known_if=plan.known_if))
        samples = await in_thread(lambda _: samples_of(leaf, plan, read.value, rest.value, self.options.bounds))
        room.take(len(samples.labels) * steps.count)
        vector = await in_thread(lambda _: of_samples(leaf.aggregation, samples, steps))
        return Answer(vector, (*read.missing, *rest.missing))

    async def _values(self, tenant: str, request: LogCounts, *, in_parts: bool) -> Answer[list[LogValues]]:
        """The values of the lines; with ``in_parts``, of parts of the range where all are too many for one answer of a shard."""
        parts, found = [request.time_range], list[LogValues]()
        missing: dict[str, None] = {}
        while parts:
            part = parts.pop()
            try:
                answer = await self.reader.read_values(tenant, replace(request, time_range=part), MAX_GROUPS)
            except TooManyGroups:
                raise LinesNeeded from None
            except TooLarge:
                middle = (part.start_ns + part.end_ns) // 2
                if middle == part.start_ns or not in_parts:
                    raise
                parts += [TimeRange(middle, part.end_ns), TimeRange(part.start_ns, middle)]
                continue
            found += answer.value
            missing |= dict.fromkeys(answer.missing)
            self.options.bounds.hold(0, sum(len(group.places) for group in found))
        return Answer(found, tuple(missing))

    async def _samples(self, tenant: str, leaf: Leaf, query: LogQuery) -> Answer[Samples]:
        """The samples of the lines of ``query`` in the leaf's streams."""
        query = _resolved(replace(query, streams=leaf.query.matchers))
        names, now_ns = labels_told_apart(leaf), time.time_ns()
        try:
            return await self._extracted(tenant, Extraction(leaf, self.options.bounds, names, now_ns=now_ns), query)
        except AllLabelsNeeded:
            return await self._extracted(tenant, Extraction(leaf, self.options.bounds, now_ns=now_ns), query)

    async def _extracted(self, tenant: str, extraction: Extraction, query: LogQuery) -> Answer[Samples]:
        if query.predicate == NOTHING or query.time_range.end_ns <= query.time_range.start_ns:
            return Answer(extraction.samples())
        pages = Pages(self.reader, tenant, query, extraction.names)

        def take(page: list[Entry], check: Callable[[], None]) -> None:
            check()
            extraction.add(found.row(extraction.hints) for found in page)

        await self._each_page(pages, take)
        return Answer(extraction.samples(), tuple(pages.missing))

    async def _each_page(self, pages: Pages, take: Callable[[list[Entry], Callable[[], None]], None]) -> None:
        """Call ``take`` with each page, in a thread."""
        async with contextlib.aclosing(pages.read()) as read:
            async for page in read:
                await in_thread(lambda check, page=page: take(page, check))  # type: ignore[misc]


class _Pick:
    """Runs a log query's stages on lines, and selects the lines of the answer."""

    def __init__(self, query: LineQuery, request: Wanted, now_ns: int) -> None:
        self.rows: list[Row] = []
        self._pipeline = Pipeline(query.stages, now_ns=now_ns)
        self._interval_ns = request.interval_ns
        self._last_ns: int | None = None

    def row(self, entry: Entry) -> Row | None:
        """The line's row, or None when it is not a line of the answer."""
        row = entry.row()
        if not self._pipeline.keeps(row):
            return None
        if self._interval_ns and self._last_ns is not None and abs(row.timestamp_ns - self._last_ns) < self._interval_ns:
            return None
        self._last_ns = row.timestamp_ns
        return row


def _resolved(request: Request) -> Request:
    """A request whose ``streams`` are those of a selector, as storage understands it: what it does not know of streams is asked
    of records.
    """
    streams, pushed = selected(request.streams)
    # NOTHING stays what it is: nothing is read then.
    predicate = request.predicate if request.predicate == NOTHING else all_of((request.predicate, pushed))
    return replace(request, streams=streams, predicate=predicate)


def _requested(leaf: Leaf, plan: Plan, time_range: TimeRange) -> LogCounts:
    """What a shard is asked for by a plan."""
    return _resolved(
        LogCounts(
            time_range,
            plan.predicate,
            leaf.query.matchers,
            plan.known,
            slot_ns=plan.slot_ns,
            by_level=plan.by_level,
            sizes=leaf.aggregation.op in BYTES,
            by_stream=plan.by_stream,
            labels=plan.labels,
            known_if=plan.known_if,
            texts=plan.patterns,
            value=plan.value_pattern,
        )
    )


def _range_of(leaf: Leaf, steps: Steps) -> TimeRange:
    """The range that a leaf's windows cover. Windows exclude their start and include their end; a TimeRange does the reverse."""
    ends = shifted(steps, leaf.aggregation.range.offset_ns)
    last = ends.start_ms + (steps.count - 1) * steps.step_ms
    return TimeRange(ends.start_ms - leaf.aggregation.range.range_ns + 1, last + 1)
