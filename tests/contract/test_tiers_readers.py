"""Every reader of a shard over its tiers: the answers about rows that are hot are those about the same rows when half of them, and all, are
cold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.cold.files import hour_of
from tael.model.histogram import Histograms
from tael.model.predicate import EVERYTHING, Or, intrinsic
from tael.model.predicate import Compare as Equals
from tael.model.series import Exemplar, GridRequest, Matcher, Samples, Selection, labels_of
from tael.model.time import TimeRange
from tael.storage.api import Answer, LogCounts, LogQuery, SpanQuery
from tael.storage.clickhouse.series.reader import ClickHouseSeries
from tael.storage.clickhouse.span_counts import ClickHouseSpanCounts
from tael.storage.merged import MergedSpanCounts
from tael.storage.merged_series import MergedSeries
from tael.traceql.ast import Compare, MetricsAggregate, Scope
from tael.traceql.metrics import Grid
from tael.traceql.parse import parse, parse_field
from tael.vectors.histograms import text as histogram_text
from tael.vectors.histograms.text import expressions
from tests.support.objects import ObjectServer
from tests.support.series import StoredSeries
from tests.support.storage import START_NS, HotTier, log_query, logs_of, of_service, open_tier, span_query, wire_log, wire_span

S, HOUR_NS = 10**9, 3_600 * 10**9
FIRST_HOUR = hour_of(START_NS)
DAY = TimeRange(FIRST_HOUR, FIRST_HOUR + 24 * HOUR_NS)
TRACES = [bytes([7] * 15 + [number]) for number in range(2)]
UP, SIZES = (Matcher("__name__", "=", "up"),), (Matcher("__name__", "=~", "sizes"), Matcher("job", "=", "api"))
"""A metric that is named in full, and one that is looked up."""
Ask = Callable[[], Awaitable[Answer[Any]]]


async def fill(tier: HotTier) -> None:
    """In each of two hours the calls of one service to another, an LLM call, log records, samples, histograms and exemplars."""
    series = StoredSeries(tier)
    for hour in range(2):
        at = hour * HOUR_NS
        for number, trace_id in enumerate(TRACES):
            ids = [bytes([hour, number, place, 0, 0, 0, 0, 9]) for place in range(4)]
            root = _span(at + number * S, trace_id, ids[0], WireSpan.SPAN_KIND_SERVER, name="GET /")
            call = _span(at + number * S + 1, trace_id, ids[1], WireSpan.SPAN_KIND_CLIENT, ids[0], name="select")
            called = _span(at + number * S + 2, trace_id, ids[2], WireSpan.SPAN_KIND_SERVER, ids[1], name="rows", status=2)
            chat = _span(
                at + number * S + 3,
                trace_id,
                ids[3],
                WireSpan.SPAN_KIND_CLIENT,
                ids[0],
                name="chat",
                attributes={"gen_ai.operation.name": "chat", "gen_ai.request.model": "m-1", "gen_ai.usage.input_tokens": 5 + number},
            )
            await tier.store(of_service("shop", root, call, chat, zone="eu"), of_service("db", called))
        await tier.store_logs(logs_of("shop", *(wire_log(at + place, f"line {place}", severity_text="INFO") for place in range(3))))
        start_ms = (FIRST_HOUR + at) // 10**6
        for job in ("api", "web"):
            series.add({"__name__": "up", "job": job}, [(start_ms + 60_000 * place, float(place)) for place in range(4)])
            series.add({"__name__": "sizes", "job": job}, [(start_ms + 60_000 * place, _histogram(place)) for place in range(2)])
        series.add_exemplar(Exemplar(labels_of({"__name__": "up", "job": "api"}), start_ms, 1.0, labels_of({"trace_id": "ab" * 16})))
    # A sample of the second hour that is written again: the later one counts, wherever the earlier one is.
    await series.flush()


def _span(offset_ns: int, trace_id: bytes, span_id: bytes, kind: Any, parent: bytes = b"", **fields: Any) -> WireSpan:
    span = wire_span(offset_ns, trace_id=trace_id, span_id=span_id, **fields)
    span.kind, span.parent_span_id = kind, parent
    return span


def _histogram(place: int) -> Histograms:
    return histogram_text.parse(f"{{{{schema:0 count:{3 + place} sum:{place} buckets:[1 {2 + place}]}}}}")


def questions(tier: HotTier) -> Mapping[str, Ask]:
    """Each method of each port that reads rows which roll."""
    counts = MergedSpanCounts(tier.gather(tier.shards(ClickHouseSpanCounts)))
    series = MergedSeries(tier.gather(tier.shards(lambda clickhouse, source: ClickHouseSeries(clickhouse, source=source))))
    first, last = DAY.start_ns // 10**6 - 1, DAY.start_ns // 10**6 + 2 * 3_600_000
    steps = Grid(DAY.start_ns, 600 * S, 13)
    related = parse('{ resource.service.name = "shop" } >> { resource.service.name = "db" }')
    errors = parse("{ status = error }")
    rates = GridRequest(UP, "rate", first + 60_001, last, 60_000, 300_000)
    return {
        "find_spans": lambda: tier.reader.find_spans("t1", span_query(DAY, limit=7)),
        "find_spans of a service": lambda: tier.reader.find_spans("t1", span_query(DAY, service="db")),
        "get_trace": lambda: tier.reader.get_trace("t1", TRACES[0]),
        "list_services": lambda: tier.reader.list_services("t1", DAY),
        "find_logs": lambda: tier.logs.find_logs("t1", log_query(DAY, words="line", limit=4)),
        "find_logs oldest first": lambda: tier.logs.find_logs("t1", log_query(DAY, oldest_first=True, limit=4)),
        "count_logs": lambda: _sorted(tier.logs.count_logs("t1", LogCounts(DAY, slot_ns=HOUR_NS, by_level=True, sizes=True), 100)),
        "find_traces": lambda: tier.spansets.find_traces("t1", related, DAY, 5, 3),
        "sum_spans": lambda: tier.spansets.sum_spans("t1", errors, MetricsAggregate("rate", by=(parse_field("name"),)), steps, 100, 0),
        "sum_spans of traces": lambda: tier.spansets.sum_spans("t1", related, MetricsAggregate("count_over_time"), steps, 100, 0),
        "compare_spans": lambda: tier.spansets.compare_spans("t1", parse("{}"), Compare(errors.pipeline.stages[0]), steps),  # type: ignore[arg-type]  # a filter
        "tag_names": lambda: tier.spansets.tag_names("t1", EVERYTHING, DAY, (Scope.SPAN, Scope.RESOURCE), 100),
        "tag_values": lambda: tier.spansets.tag_values("t1", EVERYTHING, DAY, parse_field("resource.service.name"), 100),
        "tag_values of roots": lambda: tier.spansets.tag_values("t1", EVERYTHING, DAY, parse_field("rootName"), 100),
        "topology services": lambda: tier.topology.list_services("t1", DAY),
        "topology operations": lambda: tier.topology.list_operations("t1", "shop", DAY),
        "topology calls": lambda: tier.topology.count_calls("t1", DAY),
        "llm calls": lambda: tier.llm.calls("t1", DAY, 1000),
        "count_edges": lambda: counts.count_edges("t1", first, last, 600_000, 1000),
        "select": lambda: series.select("t1", Selection(UP, first, last), 1000),
        "select histograms": lambda: series.select("t1", Selection(SIZES, first, last), 1000),
        "grid": lambda: _some(series.grid("t1", rates, 100)),
        "list_series": lambda: series.list_series("t1", Selection((), first, last), 0),
        "label_values": lambda: series.label_values("t1", "job", Selection(UP, first, last), 0),
        "exemplars": lambda: series.exemplars("t1", [UP], first, last),
    }


def impossible(tier: HotTier) -> Mapping[str, Ask]:
    """Questions whose condition no row can satisfy, of which some are the constant false."""
    steps, no_time = Grid(DAY.start_ns, 600 * S, 13), TimeRange(DAY.start_ns, DAY.start_ns)
    short, nothing = parse('{ trace:id = "zz" }'), Or(())
    of_short_id = Equals(intrinsic("trace_id"), "=", b"zz")
    return {
        "spans": lambda: tier.reader.find_spans("t1", SpanQuery(DAY, of_short_id, 7)),
        "spans of nothing": lambda: tier.reader.find_spans("t1", SpanQuery(DAY, nothing, 7)),
        "spans in no time": lambda: tier.reader.find_spans("t1", span_query(no_time)),
        "logs": lambda: tier.logs.find_logs("t1", LogQuery(DAY, of_short_id, 7)),
        "logs in no time": lambda: tier.logs.find_logs("t1", log_query(no_time)),
        "counts of logs": lambda: tier.logs.count_logs("t1", LogCounts(DAY, predicate=of_short_id), 100),
        "traces": lambda: tier.spansets.find_traces("t1", short, DAY, 5, 3),
        "sums": lambda: tier.spansets.sum_spans("t1", short, MetricsAggregate("rate", by=(parse_field("name"),)), steps, 100, 0),
        "values of a tag": lambda: tier.spansets.tag_values("t1", of_short_id, DAY, parse_field("name"), 100),
    }


async def _sorted(asked: Awaitable[Answer[list[Any]]]) -> Answer[Any]:
    answer = await asked
    added: dict[Any, tuple[int, int]] = {}
    for row in answer.value:  # two rows of a group add up
        count, size = added.get(row[:4], (0, 0))
        added[row[:4]] = (count + row[4], size + row[5])
    return Answer(sorted(added.items()), answer.missing)


async def _some(asked: Awaitable[Answer[Any] | None]) -> Answer[Any]:
    answer = await asked
    assert answer is not None
    return answer


async def answers(tier: HotTier) -> dict[str, str]:
    """What every question is answered, as text; all must be whole and none empty."""
    found = {}
    with np.printoptions(threshold=10**6):
        for name, ask in questions(tier).items():
            answer = await ask()
            assert answer.missing == (), name
            found[name] = _text(answer.value)
    return found


def _text(value: Any) -> str:
    if isinstance(value, Samples):  # histograms stand in any order behind their samples
        histograms = expressions(value.histograms) if value.histograms is not None and value.histogram is not None else []
        shown = [histograms[at] if at >= 0 else "" for at in (value.histogram.tolist() if value.histogram is not None else ())]
        return repr((value.labels, value.offsets.tolist(), value.times_ms.tolist(), value.values.tolist(), shown))
    if isinstance(value, set):
        return repr(sorted(map(repr, value)))
    if isinstance(value, dict):
        return repr(sorted((repr(key), _text(one)) for key, one in value.items()))
    return repr(value)


@pytest.fixture(params=[1, 2], ids=["one-shard", "two-shards"])
async def tier(request: pytest.FixtureRequest, object_server: ObjectServer) -> Any:  # it has to run
    nodes = [request.getfixturevalue(name) for name in ("shared_hot_node", "second_hot_node")[: request.param]]
    async with open_tier(nodes, tiering="cold", deadline_seconds=60) as opened:
        opened.rolls = False
        yield opened


async def test_every_reader_answers_as_before(tier: HotTier) -> None:
    """While all is hot, with one of two hours cold, and with both."""
    assert tier.cold is not None
    await fill(tier)
    hot = await answers(tier)
    assert not [name for name, text in hot.items() if text in ("[]", "{}", "set()")]
    for before_ns in (FIRST_HOUR + HOUR_NS, None):
        await tier.cold.roll(before_ns)
        found = await answers(tier)
        for name, text in hot.items():
            assert found[name] == text, name
        for name, ask in impossible(tier).items():
            answer = await ask()
            assert (answer.missing, len(answer.value)) == ((), 0), name


async def test_a_sample_that_came_late_replaces_the_cold_one(tier: HotTier) -> None:
    """Of two samples of one time the later one counts: hot over cold, and of two files the later."""
    assert tier.cold is not None
    series = StoredSeries(tier)
    at = FIRST_HOUR // 10**6
    reader = MergedSeries(tier.gather(tier.shards(lambda clickhouse, source: ClickHouseSeries(clickhouse, source=source))))
    for value in (1.0, 2.0, 3.0):
        series.add({"__name__": "up", "job": "api"}, [(at, value), (at + 60_000 * int(value), value)])
        await series.flush()
        for _ in range(2):
            found = (await reader.select("t1", Selection(UP, at - 1, at + 600_000), 100)).value
            assert found.values.tolist() == [value, *map(float, range(1, int(value) + 1))]
            grid = await reader.grid("t1", GridRequest(UP, "last", at, at, 60_000, 1000), 100)
            assert grid is not None
            assert grid.value.values.ravel().tolist() == [value]
            await tier.cold.roll()
