"""Reads whole traces of one shard as blocks of spans: traces with given ids, and the possibly very many that may match a query
in a range.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from tael.errors import TooLarge
from tael.model import predicate as p
from tael.model.predicate import Predicate
from tael.model.time import NS_PER_SECOND, TimeRange
from tael.storage import work
from tael.storage.clickhouse import groups, lacking, native
from tael.storage.clickhouse.client import ClickHouse, Limits, Row
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.predicate import is_narrow
from tael.storage.clickhouse.query_builder import trace_hours
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.traceql import statements
from tael.storage.clickhouse.traceql.blocks import block, has_unknown_service, known_filters, traces_with_copies, with_known_spans
from tael.storage.clickhouse.traceql.counted import CountedTraces, any_copies, any_far, find_copied, find_far
from tael.storage.clickhouse.traceql.finding import Found, find_traces, read_found
from tael.storage.clickhouse.traceql.rarest import count_passing, rarest_first
from tael.storage.clickhouse.traceql.statements import Candidates
from tael.traceql.ast import Filter, Named, Query
from tael.traceql.columns import Mask
from tael.traceql.needs import AllOf, HasSpan, TraceTest, exact_filters, fields, first_conditions, lists_in, lower, trace_test
from tael.traceql.pinned import pinned
from tael.traceql.spans import Block
from tael.traceql.spansets import matched
from tael.traceql.structure import ORPHAN

LIMITS: Final = Limits(seconds=60, memory_bytes=1 << 30, result_rows=2_000_000)
_SETTINGS: Final = {"cancel_http_readonly_queries_on_client_close": 1}
_SORTED: Final = {**_SETTINGS, "max_block_size": 250_000, "preferred_block_size_bytes": 64 << 20}
"""Large blocks for what is sorted: merging many small ones costs more than sorting them."""
AT_ONCE: Final = replace(LIMITS, steps=False)
"""For conditions on narrow columns, which most granules have a row for: they are tested together."""
APART: Final = replace(AT_ONCE, apart=True, threads=2)
"""For the spans of traces, of which each may be in a granule of its own."""
_NEAR_NS: Final = 10 * NS_PER_SECOND
SAMPLE_NS: Final = 10 * NS_PER_SECOND
"""The spans of so long are counted to learn which are rare."""
_PAGE: Final = 100
_SPANS_OF_A_PART: Final = 1_000_000
_IDS_AT_ONCE: Final = 2_000
_FEW: Final = 5 * _PAGE
"""Up to this many traces with copies of spans are read again by themselves; with more, the whole answer is."""


class TraceBlocks:
    """Reads traces. Every method raises TooLarge for a single trace that is too large, and the errors of the client."""

    def __init__(self, clickhouse: ClickHouse, source: Source) -> None:
        self._clickhouse = clickhouse
        self._source = source

    async def matching(
        self, tenant: str, query: Query, time_range: TimeRange, *, only_inside: bool = False, among: Sequence[bytes] = ()
    ) -> AsyncIterator[tuple[Block, Mask]]:
        """Blocks with every trace that may match and has a span in the range, each trace whole in one block, and the spans that the
        pipeline keeps; if there are traces to look ``among``, only these.

        With ``only_inside`` traces without a span in the range are left out, which pays for a short one in the hot table. A trace's spans
        count if they start up to five minutes outside of the range. If one of these has a parent that is not among them, all spans of the
        trace that started within a day count.
        """
        if among:
            parts = [Candidates(trace_test(query.pipeline), statements.widened(time_range), among=tuple(among))]
        else:
            parts = await self._parts(tenant, trace_test(query.pipeline), time_range, only_inside=only_inside)
        if not among and statements.is_of_any(parts[0].test):
            ((count,),) = await self._rows(statements.count_spans(self._source, tenant, time_range))
            if int(count) > 2 * _SPANS_OF_A_PART:
                # Every trace is a candidate, so it is known before the first statement that it would be too large.
                parts = [one for part in parts for one in _divided(part, 1 + int(count) // _SPANS_OF_A_PART)]
        while parts:
            part = parts.pop()
            try:
                spans, again = await self._candidates(tenant, query, part)
            except TooLarge:
                # Nothing of this part was yielded yet, so its traces come only from its divisions.
                parts += _divided(part, 4)
                continue
            far = [one for one in dict.fromkeys([*await self._longer(tenant, spans, part), *again]) if one not in part.without]
            # The traces that reach beyond the range are left out here, and follow whole.
            work.add(traces=len(spans.trace_ids))
            yield spans, await asyncio.to_thread(_matched, query, spans, [*far, *part.without])
            for page in range(0, len(far), _PAGE):
                for whole in await self.of(tenant, far[page : page + _PAGE], list(fields(query))):
                    yield whole, await asyncio.to_thread(matched, query.pipeline, whole)

    async def _parts(self, tenant: str, test: TraceTest, time_range: TimeRange, *, only_inside: bool) -> list[Candidates]:
        """The candidates of ``matching``, in parts.

        A second test reads the ids of all spans again. So then the rarest is made first; and as most traces with a span in a short range
        are short too, their spans are read from little more than the range, and only those of the others from all that is around it.
        """
        around = statements.widened(time_range)
        inside = only_inside and self._source.in_table("spans", around)
        if not isinstance(test, AllOf):
            return [Candidates(test, around, time_range if inside else None)]
        if not inside:
            middle = (time_range.start_ns + time_range.end_ns) // 2
            return [Candidates((await self.rarest(tenant, test, TimeRange(middle, time_range.end_ns)))[0], around)]
        near = TimeRange(max(around.start_ns, time_range.start_ns - _NEAR_NS), min(around.end_ns, time_range.end_ns + _NEAR_NS))
        found = await self._rows(statements.find_cut(self._source, tenant, time_range, near, around, _IDS_AT_ONCE + 1), AT_ONCE)
        if len(found) > _IDS_AT_ONCE:
            return [Candidates(test, around, time_range)]
        cut = tuple(bytes.fromhex(bytes(trace_id).decode()) for (trace_id,) in found)
        short = Candidates(test, near, time_range, without=frozenset(cut))
        return [Candidates(test, around, among=cut), short] if cut else [short]

    async def apart(self, tenant: str, traces: CountedTraces) -> list[bytes] | None:
        """Of the traces that may satisfy limits, those that counting rows does not do justice; None if they are too many."""
        found: dict[bytes, None] = {}
        ((copies,),) = await self._rows(any_copies(self._source, tenant, traces))
        far = await self._rows(any_far(self._source, tenant, traces))
        for find, wanted in ((find_copied, bool(copies)), (find_far, bool(far))):
            rows = await self._rows(find(self._source, tenant, traces, _IDS_AT_ONCE + 1)) if wanted else ()
            found |= dict.fromkeys(bytes.fromhex(bytes(trace_id).decode()) for (trace_id,) in rows)
        return list(found) if len(found) <= _IDS_AT_ONCE else None

    async def rarest(self, tenant: str, test: TraceTest, time_range: TimeRange) -> tuple[TraceTest, int | None]:
        """The test with its rarest parts first and without common ones, and how many spans pass the rarest one in the first SAMPLE_NS of a
        range; None if there are no spans, or not where counting is cheap.
        """
        sample = TimeRange(time_range.start_ns, min(time_range.end_ns, time_range.start_ns + SAMPLE_NS))
        if not self._source.in_table("spans", sample):
            return test, None
        ((spans, *counts),) = await self._rows(count_passing(self._source, tenant, test, sample))
        # A wrong guess costs time but no exactness.
        found, fewest = rarest_first(test, [int(count) for count in counts], int(spans))
        return found, fewest if int(spans) else None

    async def _candidates(self, tenant: str, query: Query, part: Candidates) -> tuple[Block, list[bytes]]:
        """The spans of the part, and the traces in which some span occurs more than once. The store evaluates the filters, unless a
        compared attribute is a list on some span.
        """
        known = exact_filters(query.pipeline)
        predicates = [lower(one, lists=False).predicate for one in known]
        named = list(fields(query, known))
        read = partial(statements.read_candidates, self._source, tenant, part)
        limits = AT_ONCE if _is_narrow(part.test) else LIMITS
        columns, selected, again = await self._once_each(partial(read, named, predicates, lists_in(known)), few=_FEW, limits=limits)
        found, has_list = known_filters(columns, selected, known)
        if not has_list:
            return found, again
        # The store's conditions do not look into lists, while TraceQL compares their elements: evaluate the filters here.
        columns, selected, again = await self._once_each(partial(read, list(fields(query)), (), ()), few=_FEW)
        return known_filters(columns, selected, ())[0], again

    async def _longer(self, tenant: str, spans: Block, part: Candidates) -> list[bytes]:
        """The traces with a span outside of the part's range; only those are looked up in which the parent of some span is unknown."""
        if not spans.size:
            return []
        cut = await asyncio.to_thread(lambda: np.unique(spans.trace[spans.structure.parent == ORPHAN]))
        wanted = {spans.trace_ids[trace] for trace in cut.tolist()}
        if not wanted:
            return []
        few = sorted(wanted) if len(wanted) <= _IDS_AT_ONCE else ()
        found = await self._rows(statements.find_longer(self._source, tenant, part, few))
        longer = (bytes.fromhex(bytes(trace_id).decode()) for (trace_id,) in found)
        return [trace_id for trace_id in longer if trace_id in wanted]

    async def pages(self, tenant: str, query: Query, window: TimeRange, size: int, *, spans: bool = False) -> AsyncIterator[list[Found]]:
        """Pages of at most ``size`` traces that may match, those with the newest spans first; with ``spans`` these are listed."""
        after, (wanted, lists) = None, _alternatives(query)
        limits = AT_ONCE if all(map(is_narrow, wanted)) else LIMITS
        while True:
            try:
                statement = find_traces(self._source, tenant, wanted, lists, window, size, after, spans=spans)
                page = [read_found(row) for row in await lacking.asked(self._clickhouse, statement, groups.INSTEAD, limits)]
            except TooLarge:
                if not spans:
                    raise
                # Without their spans, very many traces take a third of the memory.
                spans = False
                continue
            if page:
                yield page
            if len(page) < size:
                return
            after = page[-1]

    async def of_found(self, tenant: str, traces: Sequence[Found], query: Query, named: Sequence[Named], within: TimeRange) -> list[Block]:
        """The spans of these traces. Where all of a trace's spans are ``within`` the range that was searched, those are known that the
        query keeps, and attributes that have one value on all of these are not read.
        """
        known = {one.trace_id: one.spans for one in traces if one.spans is not None}
        values = pinned(query) if known else {}
        rest = [one.trace_id for one in traces if one.trace_id not in known]
        blocks = []
        for spans, again in await self._whole(tenant, list(known), [one for one in named if one not in values], few=_FEW) if known else ():
            marked, left_out = await asyncio.to_thread(with_known_spans, spans, known, query, values, within, again)
            blocks.append(marked)
            rest += left_out
        return [*blocks, *(await self.of(tenant, rest, named) if rest else ())]

    async def of(self, tenant: str, trace_ids: Sequence[bytes], named: Sequence[Named]) -> list[Block]:
        """The spans of these traces, in several blocks if they are too many for one answer."""
        return [spans for spans, _ in await self._whole(tenant, trace_ids, named)]

    async def _whole(
        self, tenant: str, trace_ids: Sequence[bytes], named: Sequence[Named], few: int = 0
    ) -> list[tuple[Block, list[bytes]]]:
        """See ``of`` and ``_once_each``."""
        hours: set[int] | None = None
        if self._source.elsewhere("spans"):
            hours = {int(second) * NS_PER_SECOND for (second,) in await self._rows(trace_hours(self._source, tenant, trace_ids))}
        read = partial(statements.read_traces, self._source, tenant, trace_ids, named, hours)
        try:
            columns, selected, again = await self._once_each(partial(read, named_service=True), few, APART)
            if has_unknown_service(columns, selected):
                columns, selected, again = await self._once_each(read, few, APART)
            return [(block(columns, selected), again)]
        except TooLarge:
            if len(trace_ids) == 1:
                raise
        half = len(trace_ids) // 2
        return [*await self._whole(tenant, trace_ids[:half], named, few), *await self._whole(tenant, trace_ids[half:], named, few)]

    async def _once_each(
        self, read: Callable[..., tuple[Statement, list[Named]]], few: int = 0, limits: Limits = LIMITS
    ) -> tuple[list[native.Column], list[Named], list[bytes]]:
        """The answer to a statement with only the most complete copy of each span. Copies are compared, which is expensive, only if there
        are any.

        If only up to ``few`` traces have copies, these stay in the answer and the ids of the traces are returned, to be read by themselves.
        """
        statement, selected = read()
        columns = await self.columns(statement, _SORTED, limits)
        again = traces_with_copies(columns)
        if len(again) <= few:
            return columns, selected, again
        return await self.columns(read(once=True)[0], _SORTED, limits), selected, []

    async def columns(self, statement: Statement, settings: Mapping[str, Any] = _SETTINGS, limits: Limits = LIMITS) -> list[native.Column]:
        """A statement's answer by columns."""
        return await columns_of(self._clickhouse, statement, settings, limits)

    async def _rows(self, statement: Statement, limits: Limits = LIMITS) -> list[Row]:
        return await self._clickhouse.query(statement.sql, statement.parameters, limits)


async def columns_of(
    clickhouse: ClickHouse, statement: Statement, settings: Mapping[str, Any] = _SETTINGS, limits: Limits = LIMITS
) -> list[native.Column]:
    """A statement's answer by columns."""
    body = await clickhouse.native(statement.sql, statement.parameters, limits, settings)
    return await asyncio.to_thread(native.read, body)


def _is_narrow(test: TraceTest) -> bool:
    return is_narrow(test.predicate) if isinstance(test, HasSpan) else all(map(_is_narrow, test.parts))


def _alternatives(query: Query) -> tuple[list[Predicate], list[p.Listed]]:
    """Predicates of which every span satisfies one that may let its trace match: what has one of these lists, which no index covers, is a
    case of its own.
    """
    lists = lists_in(first_conditions(stage.expression) for stage in query.pipeline.stages if isinstance(stage, Filter))
    tests = [trace_test(query.pipeline, lists=with_lists) for with_lists in ((False, True) if lists else (False,))]
    alone = [test.predicate for test in tests if isinstance(test, HasSpan)]
    return [*alone[:1], *(p.all_of((p.Or(tuple(lists)), one)) for one in alone[1:])], lists


def _matched(query: Query, spans: Block, without: Sequence[bytes]) -> Mask:
    """The spans that the pipeline keeps, except those of the traces in ``without``."""
    found = matched(query.pipeline, spans)
    if without:
        left_out = set(without)
        kept = np.fromiter((trace_id not in left_out for trace_id in spans.trace_ids), dtype=bool, count=len(spans.trace_ids))
        found = found & kept[spans.trace]
    return found


def _divided(part: Candidates, into: int) -> Iterator[Candidates]:
    """Divide a part into ``into`` parts. Ids with hash ≡ part modulo parts are those with hash ≡ part + n · parts modulo parts · into, for
    some n.
    """
    for number in range(into):
        yield replace(part, parts=part.parts * into, part=part.part + number * part.parts)
