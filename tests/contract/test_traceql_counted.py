"""Metrics over the traces whose spans satisfy a limit: what statements count is what the evaluation of whole traces counts."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pytest

from tael.errors import TooLarge
from tael.model.time import NS_PER_SECOND
from tael.storage.clickhouse.traceql import span_sums, traces
from tael.traceql.ast import MetricsAggregate
from tael.traceql.metrics import Accumulator, Grid, Labels
from tael.traceql.parse import parse
from tests.support.storage import START_NS, HotTier, of_service, wire_span

S = NS_PER_SECOND
GRID = Grid.over(START_NS, START_NS + 60 * S, 10 * S)
PIPELINES = (
    "{ status = error } | count() > 1",
    "{ status = error } | count() >= 1 | { kind = server }",
    "{ status = error } | count() = 1",
    "{ status = error } | count() < 3 | select(name)",
    "{ } | count() > 2",
    "{ } | count() != 3 | max(duration) > 5s",
    "{ status = error } | { duration > 1ns } | sum(duration) >= 3us",
    "{ } | min(duration) < 1us",
    "{ } | avg(duration) > 1.5us",
    "{ } | avg(duration) = 1500ns",
    "{ } | avg(duration) <= 1500.5",
    "{ .size = 1 } | count() > 1",
    '{ .tags = "a" } | count() > 1',
)
FUNCTIONS = (
    "count_over_time()",
    "rate() by (name)",
    "sum_over_time(duration) by (resource.service.name)",
    "max_over_time(span.size)",
    "quantile_over_time(duration, .5)",
    "histogram_over_time(duration) by (span.size, kind)",
)


async def summed(tier: HotTier, text: str) -> dict[Labels, list[float]]:
    """The series of a query by their labels."""
    query = parse(text)
    assert isinstance(query.metrics, MetricsAggregate)
    answer = await tier.spansets.sum_spans("t1", query, query.metrics, GRID, 1000, 0)
    into = Accumulator(query.metrics, GRID, max_series=1000)
    for labels, sums in answer.value.items():
        into.add_sums(labels, sums)
    return {series.labels: series.values.tolist() for series in into.series()}


async def both(tier: HotTier, monkeypatch: pytest.MonkeyPatch, *queries: str) -> list[dict[Labels, list[float]]]:
    """The answers by statements, which must be those of the evaluation of whole traces."""
    found = []
    for query in queries:
        by_statements = await summed(tier, query)
        with monkeypatch.context() as patched:
            patched.setattr(span_sums, "counted", lambda _: None)
            whole = await summed(tier, query)
        assert by_statements.keys() == whole.keys(), query
        for labels, values in whole.items():
            assert by_statements[labels] == pytest.approx(values, rel=1e-9, nan_ok=True), query
        found.append(by_statements)
    return found


def traces_of(*times: tuple[int, ...]) -> list[Any]:
    """A trace for each row of seconds, whose spans differ in most that is asked for; each is the parent of the next."""
    spans = []
    for number, starts in enumerate(times):
        parent = b""
        for place, second in enumerate(starts):
            attributes: dict[str, Any] = {"size": place % 2} if (number + place) % 3 else {}
            span = wire_span(
                second * S,
                trace_id=bytes([number + 1]) * 16,
                status=2 if (number + place) % 3 == 0 else 0,
                name=f"call {place % 2}",
                duration_ns=1000 * place + 500 * (number % 3),
                attributes=attributes,
            )
            span.kind, span.parent_span_id, parent = 2 + place % 2, parent, span.span_id  # type: ignore[assignment]  # a number
            spans.append(span)
    return spans


WITHIN = ((1, 2, 3), (4, 4, 4, 4), (9, 10, 11, 20), (30,), (40, 41), (58, 59, 61, 62))
AROUND = ((-200, 5, 6), (-299, -9, 1), (50, 200, 340), (-20, -15), (100, 200), (-10, 0, 60, 70))
"""Spans within five minutes of the range, some traces without any span in it."""
FAR = ((-4000, -20, 5, 6), (5, 6, 7, 4000), (-4000, 2), (-3700, 30, 3700), (-310, -5), (-90_000, 20, 21))


async def test_pipelines_and_functions(hot_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over traces within the range, across its borders and far beyond."""
    spans = traces_of(*WITHIN, *AROUND, *FAR)
    await hot_tier.store(of_service("shop", *spans[::2]), of_service("db", *spans[1::2]))
    functions = cycle(FUNCTIONS)
    found = await both(hot_tier, monkeypatch, *(f"{pipeline} | {next(functions)}" for pipeline in PIPELINES))
    found += await both(hot_tier, monkeypatch, *(f"{PIPELINES[0]} | {function}" for function in FUNCTIONS[1:]))
    assert sum(map(bool, found)) > len(PIPELINES)


async def test_no_trace_is_read_that_can_be_counted(hot_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no span was sent twice and none is far outside of the range."""

    async def fail(*_: Any) -> None:
        pytest.fail("a trace is read")

    monkeypatch.setattr(traces.TraceBlocks, "_candidates", fail)
    await hot_tier.store(of_service("shop", *traces_of(*WITHIN, *AROUND)))
    for pipeline in PIPELINES:
        await summed(hot_tier, f"{pipeline} | rate()")


@pytest.mark.parametrize("chosen", [slice(0, 3), slice(3, None, 4)], ids=["few", "many"])
async def test_copies(any_tier: HotTier, monkeypatch: pytest.MonkeyPatch, chosen: slice) -> None:
    """Of a span that was sent twice the most complete copy counts, and once; it may be the one that does not match."""
    spans, again = traces_of(*WITHIN, *AROUND, *FAR), traces_of(*WITHIN, *AROUND, *FAR)
    for span, copy in zip(spans, again, strict=True):
        copy.CopyFrom(span)
        copy.status.code = 2 if span.status.code == 0 else 0
        copy.end_time_unix_nano = 0 if span.trace_id[0] % 2 else span.end_time_unix_nano + 1
    await any_tier.store(of_service("shop", *spans))
    await any_tier.store(of_service("shop", *again[chosen]))
    found = await both(any_tier, monkeypatch, *(f"{pipeline} | count_over_time()" for pipeline in PIPELINES[:9]))
    assert sum(map(bool, found)) > len(PIPELINES) // 2


async def test_durations_of_centuries(hot_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of spans whose ends are in a wrong unit: three of them last longer than an integer counts nanoseconds."""
    spans = [wire_span(at * S, trace_id=bytes([at % 2 + 1]) * 16, duration_ns=(1 << 62) >> at % 2) for at in range(6)]
    await hot_tier.store(of_service("shop", *spans))
    found = await both(
        hot_tier, monkeypatch, *(f"{{ }} | {limit} | count_over_time()" for limit in ("avg(duration) > 1h", "max(duration) > 1h"))
    )
    assert [sum(values) for series in found for values in series.values()] == [6, 6]


async def test_lists(hot_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their elements are compared."""
    tagged = [wire_span(at * S, trace_id=bytes([at % 3 + 1]) * 16, attributes={"tags": ["a", "b"] if at % 2 else "a"}) for at in range(9)]
    await hot_tier.store(of_service("shop", *tagged))
    (found,) = await both(hot_tier, monkeypatch, f"{PIPELINES[-1]} | count_over_time()")
    assert [sum(values) for values in found.values()] == [9]


async def test_more_traces_apart_than_are_looked_up(hot_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then all are evaluated whole."""
    monkeypatch.setattr(traces, "_IDS_AT_ONCE", 2)
    await hot_tier.store(of_service("shop", *traces_of(*WITHIN, *AROUND, *FAR)))
    assert all(await both(hot_tier, monkeypatch, *(f"{pipeline} | rate()" for pipeline in PIPELINES[:2])))


async def test_statements_that_take_too_much_memory(hot_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """All traces are evaluated whole, in parts."""

    async def fail(*_: Any) -> list[bytes]:
        raise TooLarge("it takes more memory than a shard gives to one query")

    monkeypatch.setattr(traces.TraceBlocks, "apart", fail)
    await hot_tier.store(of_service("shop", *traces_of(*WITHIN)))
    assert all(await both(hot_tier, monkeypatch, f"{PIPELINES[0]} | rate()"))


async def test_tiers(any_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the spans are hot, cold or both, and so are those far away."""
    await any_tier.store(of_service("shop", *traces_of(*WITHIN, *AROUND, *FAR)))
    assert all(await both(any_tier, monkeypatch, *(f"{pipeline} | rate()" for pipeline in PIPELINES[:3])))
