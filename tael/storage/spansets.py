"""The port of TraceQL's questions, and its composition over shards: a trace is on one shard, so answers add up."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Protocol

from tael.model.predicate import Predicate
from tael.model.time import TimeRange
from tael.storage.api import Answer
from tael.storage.gather import Merged, Part
from tael.traceql.ast import Compare, MetricsAggregate, Named, Query, Scope, Static
from tael.traceql.comparison import Counts, add
from tael.traceql.metrics import Accumulator, Grid, Labels, Sums
from tael.traceql.results import FoundTrace, newest_first


class SpansetReader(Protocol):
    """Answers TraceQL. Every method raises Unavailable or Overloaded when the same question may be answered later, TooLarge when it asks for too much."""

    async def find_traces(
        self,
        tenant: str,
        query: Query,
        time_range: TimeRange,
        limit: int,
        max_spans: int,
        *,
        on_part: Callable[[Part[list[FoundTrace]]], None] | None = None,
    ) -> Answer[list[FoundTrace]]:
        """At most ``limit`` of the newest traces that a search finds and that overlap the range, newest first; ``max_spans`` a spanset, 0 for all.

        MUST evaluate whole traces: spans outside of the range count. ``on_part`` MAY be called with parts of the answer as they come: each a
        list of whole traces in the same order, no trace in two of them.
        """
        ...

    async def sum_spans(
        self, tenant: str, query: Query, function: MetricsAggregate, grid: Grid, max_series: int, exemplars: int
    ) -> Answer[dict[Labels, Sums]]:
        """What a metrics function adds up of the query's spans, by group; at most ``max_series`` groups, ``exemplars`` spans of each."""
        ...

    async def compare_spans(self, tenant: str, query: Query, compare: Compare, grid: Grid) -> Answer[Counts]:
        """How often each value of each attribute is on the query's spans, by whether ``compare`` selects them."""
        ...

    async def tag_names(
        self, tenant: str, predicate: Predicate, time_range: TimeRange, scopes: Sequence[Scope], limit: int
    ) -> Answer[dict[Scope, set[str]]]:
        """The attribute keys of each scope, at most ``limit``, on the spans that satisfy a predicate.

        Of everything in a range with very many spans, keys of the same hours MAY be told as well, and keys that are rare MAY be missing.
        """
        ...

    async def tag_values(self, tenant: str, predicate: Predicate, time_range: TimeRange, named: Named, limit: int) -> Answer[set[Static]]:
        """The values of a field, at most ``limit``, on the spans that satisfy a predicate; none for a field that is not stored."""
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
        on_part: Callable[[Part[list[FoundTrace]]], None] | None = None,
    ) -> Answer[list[FoundTrace]]:
        """See SpansetReader."""
        found = await self._gather.ask(lambda reader: reader.find_traces(tenant, query, time_range, limit, max_spans), on_part)
        return Answer(list(islice(heapq.merge(*found.values, key=newest_first), limit)), found.missing)

    async def sum_spans(
        self, tenant: str, query: Query, function: MetricsAggregate, grid: Grid, max_series: int, exemplars: int
    ) -> Answer[dict[Labels, Sums]]:
        """See SpansetReader."""
        found = await self._gather.ask(lambda reader: reader.sum_spans(tenant, query, function, grid, max_series, exemplars))
        into = Accumulator(function, grid, max_series=max_series, exemplars=exemplars)
        for groups in found.values:
            for labels, sums in groups.items():
                into.add_sums(labels, sums)
        return Answer(into.groups, found.missing)

    async def compare_spans(self, tenant: str, query: Query, compare: Compare, grid: Grid) -> Answer[Counts]:
        """See SpansetReader."""
        found = await self._gather.ask(lambda reader: reader.compare_spans(tenant, query, compare, grid))
        counts: Counts = {}
        for part in found.values:
            add(counts, part)
        return Answer(counts, found.missing)

    async def tag_names(
        self, tenant: str, predicate: Predicate, time_range: TimeRange, scopes: Sequence[Scope], limit: int
    ) -> Answer[dict[Scope, set[str]]]:
        """See SpansetReader."""
        found = await self._gather.ask(lambda reader: reader.tag_names(tenant, predicate, time_range, scopes, limit))
        return Answer({scope: set().union(*(names.get(scope, set()) for names in found.values)) for scope in scopes}, found.missing)

    async def tag_values(self, tenant: str, predicate: Predicate, time_range: TimeRange, named: Named, limit: int) -> Answer[set[Static]]:
        """See SpansetReader."""
        found = await self._gather.ask(lambda reader: reader.tag_values(tenant, predicate, time_range, named, limit))
        return Answer(set().union(*found.values), found.missing)
