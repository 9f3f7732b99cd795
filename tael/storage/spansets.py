"""The port for TraceQL, and its composition over shards: a trace is on one shard, so answers can be added."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol

from tael.model.predicate import Predicate
from tael.model.time import TimeRange
from tael.storage.api import Answer
from tael.storage.gather import Merged
from tael.traceql.ast import Compare, MetricsAggregate, Named, Query, Scope, Static
from tael.traceql.comparison import Counts, add
from tael.traceql.metrics import Accumulator, Grid, Labels, Sums
from tael.traceql.results import FoundTrace, newest_first


class SpansetReader(Protocol):
    """Answers TraceQL queries.

    Every method raises Retryable when the same query may be answered later, Rejected for one that no shard can answer as it stands, and
    TooLarge when it exceeds a limit.
    """

    async def find_traces(
        self,
        tenant: str,
        query: Query,
        time_range: TimeRange,
        limit: int,
        max_spans: int,
        *,
        on_part: Callable[[list[FoundTrace]], None] | None = None,
    ) -> Answer[list[FoundTrace]]:
        """The newest ``limit`` traces that match the search and overlap the range, newest first, with at most ``max_spans`` spans a spanset
        (0: all).

        MUST evaluate whole traces: spans outside of the range count. ``on_part`` MAY be called with parts of the answer as they arrive:
        each a list of whole traces in the same order, no trace in two of them.
        """
        ...

    async def sum_spans(
        self, tenant: str, query: Query, function: MetricsAggregate, grid: Grid, max_series: int, exemplars: int
    ) -> Answer[dict[Labels, Sums]]:
        """The sums of a metrics function over the query's spans, by group: at most ``max_series`` groups, each with at most ``exemplars``
        exemplars.
        """
        ...

    async def compare_spans(self, tenant: str, query: Query, compare: Compare, grid: Grid) -> Answer[Counts]:
        """How often each value of each attribute occurs on the query's spans, counted separately for those that ``compare`` selects and the
        others.
        """
        ...

    async def tag_names(
        self, tenant: str, predicate: Predicate, time_range: TimeRange, scopes: Sequence[Scope], limit: int
    ) -> Answer[dict[Scope, set[str]]]:
        """The attribute keys of each scope, at most ``limit``, on the spans that satisfy a predicate.

        When the predicate selects everything and the range has very many spans, keys from elsewhere in the same hours MAY be included and
        rare keys MAY be missing.
        """
        ...

    async def tag_values(self, tenant: str, predicate: Predicate, time_range: TimeRange, named: Named, limit: int) -> Answer[set[Static]]:
        """At most ``limit`` values of a field on the spans that satisfy a predicate; none for a field that is not stored."""
        ...


class MergedSpansets(Merged[SpansetReader]):
    """See SpansetReader."""

    async def find_traces(
        self,
        tenant: str,
        query: Query,
        time_range: TimeRange,
        limit: int,
        max_spans: int,
        *,
        on_part: Callable[[list[FoundTrace]], None] | None = None,
    ) -> Answer[list[FoundTrace]]:
        """See SpansetReader."""
        gathered = await self._gather.ask(lambda reader: reader.find_traces(tenant, query, time_range, limit, max_spans), on_part)
        return Answer(list(islice(heapq.merge(*gathered.values, key=newest_first), limit)), gathered.missing)

    async def sum_spans(
        self, tenant: str, query: Query, function: MetricsAggregate, grid: Grid, max_series: int, exemplars: int
    ) -> Answer[dict[Labels, Sums]]:
        """See SpansetReader."""
        gathered = await self._gather.ask(lambda reader: reader.sum_spans(tenant, query, function, grid, max_series, exemplars))
        into = Accumulator(function, grid, max_series=max_series, exemplars=exemplars)
        for groups in gathered.values:
            for labels, sums in groups.items():
                into.add_sums(labels, sums)
        return Answer(into.groups, gathered.missing)

    async def compare_spans(self, tenant: str, query: Query, compare: Compare, grid: Grid) -> Answer[Counts]:
        """See SpansetReader."""
        gathered = await self._gather.ask(lambda reader: reader.compare_spans(tenant, query, compare, grid))
        counts: Counts = {}
        for part in gathered.values:
            add(counts, part)
        return Answer(counts, gathered.missing)

    async def tag_names(
        self, tenant: str, predicate: Predicate, time_range: TimeRange, scopes: Sequence[Scope], limit: int
    ) -> Answer[dict[Scope, set[str]]]:
        """See SpansetReader."""
        gathered = await self._gather.ask(lambda reader: reader.tag_names(tenant, predicate, time_range, scopes, limit))
        return Answer({scope: set().union(*(names.get(scope, set()) for names in gathered.values)) for scope in scopes}, gathered.missing)

    async def tag_values(self, tenant: str, predicate: Predicate, time_range: TimeRange, named: Named, limit: int) -> Answer[set[Static]]:
        """See SpansetReader."""
        gathered = await self._gather.ask(lambda reader: reader.tag_values(tenant, predicate, time_range, named, limit))
        return Answer(set().union(*gathered.values), gathered.missing)
