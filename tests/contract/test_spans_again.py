"""A span that was sent at its start and at its end: questions are asked of the most complete copy alone, on every tier."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tael.model.attributes import Attributes
from tael.model.predicate import Predicate
from tael.model.search import find_spans
from tael.model.span import Span
from tael.model.time import TimeRange
from tael.storage.api import Cursor, SpanQuery
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.clickhouse.traceql import traces
from tael.traceql.parse import parse
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, HotTier, new_trace_id, of_service, open_tier, wire_span

AROUND = TimeRange(START_NS - 10**9, START_NS + 10**9)
ERROR = 2
SECOND_NS = 10**9


async def _twice(tier: HotTier, count: int) -> list[bytes]:
    """Traces of one span each, begun as running with no status and ended as failed after a second; those at odd places ended first."""
    trace_ids = [new_trace_id() for _ in range(count)]
    at_start: Attributes = {"step": "a"}
    at_end: Attributes = {"step": "b", "gen_ai.usage.input_tokens": 5}
    begun, ended = (
        [
            wire_span(at, trace_id=trace_id, span_id=b"s" * 8, duration_ns=length, status=status, attributes=said)
            for at, trace_id in enumerate(trace_ids)
        ]
        for length, status, said in ((0, 0, at_start), (SECOND_NS, ERROR, at_end))
    )
    for wire in begun:
        wire.end_time_unix_nano = 0
    for first, second in ((begun, ended), (ended, begun)):
        chosen = slice(0 if first is begun else 1, None, 2)
        await tier.store(of_service("shop", *first[chosen]))
        await tier.store(of_service("shop", *second[chosen]))
    return trace_ids


FILTERS: list[tuple[Predicate, bool]] = [
    (find_spans(status_code=ERROR), True),
    (find_spans(status_code=0), False),
    (find_spans(service="shop", status_code=0), False),
    (find_spans(min_duration_ns=SECOND_NS), True),
    (find_spans(max_duration_ns=SECOND_NS - 1), False),
    (find_spans(attributes=[("step", "a")]), False),
    (find_spans(attributes=[("step", "b")]), True),
]
"""Predicates, and whether they hold for a span when it has ended."""
QUERIES = [
    ("{ status = error }", True),
    ("{ status = unset }", False),
    ("{ duration >= 1s }", True),
    ("{ duration < 1s }", False),
    ('{ .step = "a" }', False),
    ('{ .step = "b" } | count() = 1', True),
    ("{ status = unset } >> { }", False),
    ("{ } | max(duration) < 1s", False),
]


async def _pages(tier: HotTier, predicate: Predicate, limit: int) -> list[Span]:
    """All pages, one after the other."""
    pages: list[Span] = []
    after = None
    while True:
        page = (await tier.reader.find_spans("t1", SpanQuery(AROUND, predicate, limit, after))).value
        pages += page
        if len(page) < limit:
            return pages
        after = Cursor(page[-1].start_ns, page[-1].trace_id, page[-1].span_id)


async def test_a_filter_judges_the_most_complete_copy(any_tier: HotTier) -> None:
    """And pages go on behind what was left out, whatever their size."""
    trace_ids = await _twice(any_tier, 4)
    other = wire_span(3, trace_id=new_trace_id(), status=0, duration_ns=1, attributes={"step": "a"})
    await any_tier.store(of_service("shop", other))
    for predicate, holds in FILTERS:
        expected = sorted(trace_ids) if holds else [other.trace_id]
        for limit in (1, 100):
            pages = await _pages(any_tier, predicate, limit)
            assert sorted(span.trace_id for span in pages) == expected, predicate
            assert all(span.status_code == (ERROR if holds else 0) for span in pages)


async def test_a_page_does_without_spans_that_go_while_it_is_read(shared_hot_node: HotNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention or a deletion takes them after they were found."""
    async with open_tier([shared_hot_node]) as tier:
        (clickhouse,) = tier.clickhouses
        await tier.store(of_service("shop", wire_span(), wire_span(1)))
        query, asked = clickhouse.query, 0

        async def query_and_drop(*arguments: Any) -> list[Any]:
            nonlocal asked
            found, asked = await query(*arguments), asked + 1
            await clickhouse.command(f"TRUNCATE TABLE {clickhouse.database}.spans")
            return found

        monkeypatch.setattr(clickhouse, "query", query_and_drop)
        answer = await ClickHouseSpans(clickhouse).find_spans("t1", SpanQuery(AROUND, find_spans(service="shop")))
        assert (answer.value, asked) == ([], 2)


async def test_traceql_judges_the_most_complete_copy(any_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """In filters, in aggregates and where spans are related, whether few traces have copies or many."""
    trace_ids = await _twice(any_tier, 4)
    for (query, holds), few in itertools.product(QUERIES, (4, 3)):
        monkeypatch.setattr(traces, "_FEW", few)
        answer = await any_tier.spansets.find_traces("t1", parse(query), AROUND, 10, 3)
        assert sorted(trace.trace_id for trace in answer.value) == (sorted(trace_ids) if holds else []), query


async def test_usage_is_of_the_most_complete_copy(any_tier: HotTier) -> None:
    """A call is charged for what it told when it ended."""
    trace_ids = [new_trace_id() for _ in range(4)]
    begun = [wire_span(trace_id=one, duration_ns=-1, attributes={"gen_ai.operation.name": "chat"}) for one in trace_ids]
    ended = [
        wire_span(
            trace_id=one.trace_id,
            span_id=one.span_id,
            duration_ns=7,
            attributes={"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5},
        )
        for one in begun
    ]
    for group in (begun[:2], ended, begun[2:]):
        await any_tier.store(of_service("shop", *group))
    calls = (await any_tier.llm.calls("t1", AROUND, 100)).value
    assert (calls.tokens["input_tokens"].tolist(), calls.duration_ns.tolist()) == ([5] * 4, [7] * 4)
