"""Metrics that are made of spans: counted right, in every tier, as Tempo's metrics generator names them."""

from __future__ import annotations

import os

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.model.series import GridRequest, Matcher, Selection
from tael.storage.clickhouse import span_counts
from tael.storage.clickhouse.span_counts import ClickHouseSpanCounts
from tael.storage.gather import AllOf
from tael.storage.merged import MergedSpanCounts
from tael.storage.merged_series import MergedSeries
from tael.storage.span_series import SpanSeries
from tests.support.series import MemorySeries
from tests.support.series_questions import matchers
from tests.support.storage import START_NS, HotTier, lone, new_trace_id, of_service, wire_span

S, MS = 10**9, 10**6
T0 = START_NS // MS
"""Two thirds of a minute into one: a multiple of five seconds, not of fifteen."""
SLOT = T0 // 15_000 * 15_000 + 15_000
"""Where the slot that holds T0 ends."""


def reader(tier: HotTier, now_ms: int = T0 + 60_000) -> SpanSeries:
    shards = tier.shards(ClickHouseSpanCounts)
    return SpanSeries(lone(shards) or MergedSpanCounts(tier.gather(shards)), now_ms=lambda: now_ms)


async def read(tier: HotTier, *texts: str, start: int = T0 - 60_000, end: int = T0 + 60_000) -> dict[str, list[tuple[int, float]]]:
    """Samples by labels, times in seconds after SLOT."""
    found = (await reader(tier).select("t1", Selection(matchers(*texts), start, end), 10**7)).value
    return {
        ",".join("=".join(pair) for pair in labels if pair[0] != "__name__"): [
            ((int(found.times_ms[at]) - SLOT) // 1000, round(float(found.values[at]), 6))
            for at in range(found.offsets[row], found.offsets[row + 1])
        ]
        for row, labels in enumerate(found.labels)
    }


def of_kind(kind: int, offset_ns: int, **fields: object) -> WireSpan:
    span = wire_span(offset_ns, **fields)  # type: ignore[arg-type]  # fields of wire_span
    span.kind = kind  # type: ignore[assignment]  # the number on the wire
    return span


async def test_calls_are_counted_by_slot_and_keep_growing(any_tier: HotTier) -> None:
    """From a zero before the first, in the slot in which a span ends, on whatever shard it is; errors apart."""
    await any_tier.store(
        of_service("shop", *(of_kind(2, 0, name="GET") for _ in range(10)), of_kind(2, 0, name="GET", status=2)),
        of_service("shop", of_kind(2, 14 * S, name="GET", duration_ns=16 * S), of_kind(1, 0, name="step")),
    )
    await any_tier.store(of_service("other", of_kind(3, 0)), tenant="t2")
    found = await read(any_tier, "__name__=traces_spanmetrics_calls_total", "service=shop")
    ok = "service=shop,span_kind=SPAN_KIND_SERVER,span_name=GET,status_code=STATUS_CODE_UNSET"
    assert found[ok] == [(-15, 0), (0, 10), (15, 10), (30, 11), (45, 11)]
    assert found[ok.replace("UNSET", "ERROR")] == [(-15, 0), (0, 1), (15, 1), (30, 1), (45, 1)]
    assert found[ok.replace("SERVER", "INTERNAL").replace("GET", "step")][1] == (0, 1)
    assert len(found) == 3


async def test_counters_include_spans_before_the_range(any_tier: HotTier) -> None:
    """A series that has had nothing for ten minutes has ended."""
    await any_tier.store(of_service("shop", of_kind(2, 0), of_kind(2, 0), of_kind(2, 30 * S)))
    found = await read(any_tier, "__name__=traces_spanmetrics_calls_total", start=SLOT + 1_000, end=SLOT + 40_000)
    assert list(found.values()) == [[(15, 2), (30, 3)]]
    late = await read(any_tier, "__name__=traces_spanmetrics_calls_total", start=SLOT + 600_000, end=SLOT + 700_000)
    assert list(late.values()) == [[(615, 3), (630, 3)]]
    assert await read(any_tier, "__name__=traces_spanmetrics_calls_total", start=SLOT + 660_000, end=SLOT + 700_000) == {}


async def test_durations_are_a_classic_histogram(any_tier: HotTier) -> None:
    """A bucket holds what is no longer than its bound; what is longer than all is only in the last."""
    durations = [-5, 0, 2 * MS, 2 * MS + 1, 4 * MS, 1024 * MS, 16_384 * MS, 20 * S]
    await any_tier.store(of_service("shop", *(of_kind(2, -20 * S, duration_ns=duration) for duration in durations)))
    found = await read(any_tier, "__name__=~traces_spanmetrics_latency_.*", "service=shop", start=SLOT, end=SLOT + 15_000)
    buckets = {labels.split(",")[0]: samples for labels, samples in found.items() if labels.startswith("le=")}
    assert {le: samples[-1][1] for le, samples in buckets.items()} == {
        "le=0.002": 3,
        **dict.fromkeys(["le=0.004", "le=0.008", "le=0.016", "le=0.032", "le=0.064", "le=0.128", "le=0.256", "le=0.512"], 5),
        **dict.fromkeys(["le=1.024", "le=2.048", "le=4.096", "le=8.192"], 6),
        "le=16.384": 7,
        "le=+Inf": 8,
    }
    named = await reader(any_tier).list_series("t1", Selection(matchers("__name__=~.*latency_(sum|count)"), T0 - 60_000, T0 + 60_000), 0)
    assert [dict(labels)["__name__"].rpartition("_")[2] for labels in named.value] == ["count", "sum"]
    total = await read(any_tier, "__name__=traces_spanmetrics_latency_sum", start=SLOT, end=SLOT + 15_000)
    assert next(iter(total.values()))[-1][1] == pytest.approx(0.002 + 0.002000001 + 0.004 + 1.024 + 16.384 + 20)
    count = await read(any_tier, "__name__=traces_spanmetrics_latency_count", start=SLOT, end=SLOT + 15_000)
    assert next(iter(count.values()))[-1][1] == 8


async def fill_graph(tier: HotTier) -> None:
    """Three calls from web to shop, of which one fails; one message from shop to mail; spans that are no calls."""
    web, shop, mail = [], [], []
    for status in (0, 0, 2):
        trace, client = new_trace_id(), os.urandom(7) + b"\0"
        server = of_kind(2, 20 * MS, duration_ns=150 * MS, trace_id=trace, status=status)
        server.parent_span_id = client
        sent = os.urandom(8)
        consumer = of_kind(5, 30 * MS, duration_ns=10 * MS, trace_id=trace)
        consumer.parent_span_id = sent
        alone = of_kind(2, 0, trace_id=trace)
        alone.parent_span_id = os.urandom(8)
        web += [of_kind(3, 0, duration_ns=300 * MS, trace_id=trace, span_id=client), of_kind(3, 0, trace_id=trace)]
        shop += [server, alone, *([of_kind(4, 0, trace_id=trace, span_id=sent)] if status else [])]
        mail.append(consumer)
    for service, spans in (("web", web), ("shop", shop), ("mail", mail)):
        await tier.store(of_service(service, *spans))


async def test_calls_between_services_are_the_edges_of_a_graph(any_tier: HotTier) -> None:
    """A client's span with a server's below it, whenever they were written; how long either took."""
    await fill_graph(any_tier)
    edge = "client=web,server=shop"
    assert await read(any_tier, "__name__=traces_service_graph_request_total") == {
        edge: [(-15, 0), (0, 3), (15, 3), (30, 3), (45, 3)],
        "client=shop,connection_type=messaging_system,server=mail": [(-15, 0), (0, 1), (15, 1), (30, 1), (45, 1)],
    }
    assert await read(any_tier, "__name__=traces_service_graph_request_failed_total", end=SLOT) == {edge: [(-15, 0), (0, 1)]}
    for side, seconds, le in (("server", 0.45, "0.2"), ("client", 0.9, "0.4")):
        metric = f"__name__=traces_service_graph_request_{side}_seconds"
        assert (await read(any_tier, f"{metric}_sum", "client=web", end=SLOT))[edge] == [(-15, 0), (0, seconds)]
        assert (await read(any_tier, f"{metric}_count", "client=web", end=SLOT))[edge] == [(-15, 0), (0, 3)]
        buckets = await read(any_tier, f"{metric}_bucket", "client=web", start=SLOT - 1, end=SLOT)
        filled = [name for name, samples in buckets.items() if samples[0][1] == 3]
        assert len(buckets) == 9
        assert min(filled, key=lambda name: float(name.partition("le=")[2].partition(",")[0])).split(",")[1] == f"le={le}"


async def test_many_spans_are_estimated_from_some_traces(any_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at is bounded, and the counts are near."""
    monkeypatch.setattr(span_counts, "JOINED_SPANS", 200)
    for _ in range(2):
        spans = []
        for _ in range(200):
            client = of_kind(3, 0)
            server = of_kind(2, 0, trace_id=client.trace_id)
            server.parent_span_id = client.span_id
            spans += [client, server]
        await any_tier.store(of_service("both", *spans))
    [samples] = (await read(any_tier, "__name__=traces_service_graph_request_total")).values()
    assert 200 < samples[-1][1] < 700


async def test_lists_name_what_there_is(any_tier: HotTier) -> None:
    """Labels and their values, also beside stored series."""
    await fill_graph(any_tier)
    stored = MemorySeries()
    stored.add({"__name__": "up", "job": "a"}, [(T0, 1.0)])
    joined = MergedSeries(AllOf([stored, reader(any_tier)]))
    around = Selection((), T0 - 60_000, T0 + 60_000)
    names = (await joined.label_values("t1", "__name__", around, 0)).value
    assert {"up", "traces_spanmetrics_calls_total", "traces_service_graph_request_failed_total"} < set(names)
    assert (await joined.label_values("t1", "__name__", Selection(matchers("__name__=~u.*"), T0, T0), 0)).value == ["up"]
    assert {"job", "client", "span_name", "le"} < set((await joined.label_names("t1", around, 0)).value)
    assert (await joined.label_values("t1", "client", around, 0)).value == ["shop", "web"]
    assert (await joined.label_values("t1", "job", around, 0)).value == ["a"]
    calls = Selection(matchers("__name__=traces_spanmetrics_calls_total"), T0 - 60_000, T0 + 60_000)
    assert (await joined.label_values("t1", "service", calls, 0)).value == ["mail", "shop", "web"]
    assert (await joined.label_names("t1", calls, 0)).value == ["__name__", "service", "span_kind", "span_name", "status_code"]
    assert [family.type for family in (await joined.families("t1", "traces_spanmetrics_latency", 0)).value] == ["histogram"]


async def test_a_grid_is_left_to_the_caller_only_where_spans_may_match(any_tier: HotTier) -> None:
    """Every other grid costs nothing."""
    spans = reader(any_tier)

    async def answers(*chosen: Matcher) -> bool:
        return await spans.grid("t1", GridRequest(chosen, "rate", T0, T0 + 60_000, 15_000, 60_000), 10) is not None

    assert await answers(*matchers("__name__=up"))
    assert await answers(*matchers("job=a"))
    assert await answers(*matchers("__name__=~traces_.*", "job!="))
    assert not await answers(*matchers("__name__=traces_spanmetrics_calls_total", "job="))
    assert not await answers(*matchers("service=shop"))
