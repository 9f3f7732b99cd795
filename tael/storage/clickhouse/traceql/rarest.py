"""How many spans pass the tests of a trace, and which of the tests are made in which order, pure: the one that the fewest spans pass comes
first, because the others then look at few traces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tael.model.time import TimeRange
from tael.storage.clickhouse.columns import SPAN_COLUMNS
from tael.storage.clickhouse.conditions import Conditions, Statement
from tael.storage.clickhouse.predicate import condition
from tael.storage.clickhouse.source import Source
from tael.traceql.needs import AllOf, AnyOf, HasSpan, TraceTest

_COMMON: Final = 5
"""A test is common that so large a part of all spans passes: the fifth."""


def count_passing(source: Source, tenant: str, test: TraceTest, time_range: TimeRange) -> Statement:
    """One row: the number of spans in a range, and of those that pass each HasSpan of a test, in its order."""
    where = Conditions(tenant)
    where.within("start_time", time_range)
    counts = (f"countIf({condition(one.predicate, SPAN_COLUMNS, where.parameters)})" for one in _leaves(test))
    rows = source.rows("spans", tenant, time_range)
    sql = f"SELECT {', '.join(('count()', *counts))}\nFROM {rows}\nWHERE {where}"  # names of ours and parameters
    return Statement(sql, where.parameters)


def rarest_first(test: TraceTest, counts: Sequence[int], spans: int) -> tuple[TraceTest, int]:
    """The same test with the rarest part of each AllOf first and without the others that are common, and the most of the counted spans that
    can be in traces which pass it. ``spans`` are as many as were looked at.

    Most traces have a span that passes a common test, so it would cost more to find those without than to read them in vain.
    """
    return _ordered(test, iter(counts), spans // _COMMON)


def _ordered(test: TraceTest, counts: Iterator[int], most: int) -> tuple[TraceTest, int]:
    if isinstance(test, HasSpan):
        return test, next(counts)
    parts = [_ordered(part, counts, most) for part in test.parts]
    if isinstance(test, AnyOf):
        return AnyOf(tuple(part for part, _ in parts)), sum(count for _, count in parts)
    parts.sort(key=lambda part: part[1])
    kept = tuple(part for at, (part, count) in enumerate(parts) if not at or count <= most)
    return (AllOf(kept) if len(kept) != 1 else kept[0]), min((count for _, count in parts), default=0)


def _leaves(test: TraceTest) -> Iterator[HasSpan]:
    if isinstance(test, HasSpan):
        yield test
    else:
        for part in test.parts:
            yield from _leaves(part)
