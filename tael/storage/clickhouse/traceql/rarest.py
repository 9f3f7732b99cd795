"""How many spans pass the tests of a trace, and the order of the tests, pure: the one that the fewest spans pass comes first, because the
others then look at few traces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tael.model.time import TimeRange
from tael.storage.clickhouse.columns import SPAN_COLUMNS
from tael.storage.clickhouse.conditions import Conditions, Statement
from tael.storage.clickhouse.predicate import condition
from tael.storage.clickhouse.source import Source
from tael.traceql.needs import AllOf, AnyOf, HasSpan, TraceTest


def count_passing(source: Source, tenant: str, test: TraceTest, time_range: TimeRange) -> Statement:
    """One row: the number of spans in a range, and of those that pass each HasSpan of a test, in its order."""
    where = Conditions(tenant)
    where.within("start_time", time_range)
    counts = (f"countIf({condition(one.predicate, SPAN_COLUMNS, where.parameters)})" for one in _leaves(test))
    rows = source.rows("spans", tenant, time_range)
    sql = f"SELECT {', '.join(('count()', *counts))}\nFROM {rows}\nWHERE {where}"  # names of ours and parameters
    return Statement(sql, where.parameters)


def rarest_first(test: TraceTest, counts: Sequence[int]) -> tuple[TraceTest, int]:
    """The same test with the rarest part of each AllOf first, and the most of the counted spans that can be in traces which pass it."""
    return _ordered(test, iter(counts))


def _ordered(test: TraceTest, counts: Iterator[int]) -> tuple[TraceTest, int]:
    if isinstance(test, HasSpan):
        return test, next(counts)
    parts = [_ordered(part, counts) for part in test.parts]
    if isinstance(test, AnyOf):
        return AnyOf(tuple(part for part, _ in parts)), sum(count for _, count in parts)
    parts.sort(key=lambda part: part[1])
    return AllOf(tuple(part for part, _ in parts)), min((count for _, count in parts), default=0)


def _leaves(test: TraceTest) -> Iterator[HasSpan]:
    if isinstance(test, HasSpan):
        yield test
    else:
        for part in test.parts:
            yield from _leaves(part)
