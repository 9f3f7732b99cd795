"""``compare()`` over few spans, which are counted at once, and over many, attribute by attribute: both say the same."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.model.time import NS_PER_SECOND
from tael.storage.clickhouse.traceql.reader import ClickHouseSpansets
from tael.storage.spansets import MergedSpansets
from tael.traceql import comparison
from tael.traceql.ast import Compare, Static, Type
from tael.traceql.metrics import Grid, Labels
from tael.traceql.parse import parse
from tests.support.storage import START_NS, HotTier, of_service, wire_span

GRID = Grid(START_NS // NS_PER_SECOND * NS_PER_SECOND, NS_PER_SECOND, 6)
QUERIES = (
    "{ } | compare({ status = error })",
    "{ } | compare({ span.size = 0 }, 2)",
    '{ span.tags = "a" } | compare({ resource.service.name = "shop" })',
    '{ span.tags != "a" } | compare({ kind = client })',
    f"{{ }} | compare({{ status = error }}, 10, {START_NS + 1}, {START_NS + 2 * NS_PER_SECOND})",
    "{ status = error } >> { } | compare({ span.rare = 1 })",
)


async def compared(tier: HotTier, text: str, many: int) -> dict[Labels, list[float]]:
    """The series of a query by their labels."""
    query = parse(text)
    assert isinstance(query.metrics, Compare)
    shards = tier.shards(lambda clickhouse, source: ClickHouseSpansets(clickhouse, source, many=many))
    answer = await MergedSpansets(tier.gather(shards)).compare_spans("t1", query, query.metrics, GRID)
    return {series.labels: series.values.tolist() for series in comparison.series(answer.value, query.metrics.top)}


async def fill(tier: HotTier) -> None:
    """Every type of value, defaults among them, keys that one span has, and lists."""
    spans = []
    for place in range(24):
        attributes = {
            "size": place % 3,
            "ratio": place % 2 / 2,
            "cached": place % 4 == 0,
            "route": f"/r/{place % 5}" if place % 6 else "",
            "id": f"id-{place}",
            "tags": ["a", "b"] if place % 8 == 0 else "a",
            **({"rare": 1, "odd key": 1} if place == 7 else {}),
        }
        trace_id, span_id, status = (place // 4 + 1).to_bytes(16), (place + 1).to_bytes(8), 2 if place % 4 == 1 else 0
        span = wire_span(place * NS_PER_SECOND // 5, status=status, trace_id=trace_id, span_id=span_id, attributes=attributes)
        span.parent_span_id = place.to_bytes(8) if place % 4 else b""
        spans.append(span)
    await tier.store(of_service("shop", *spans[:12], zone="eu"), of_service("db", *spans[12:], zone=""))


async def test_few_and_many_spans_are_counted_alike(any_tier: HotTier) -> None:
    """Whatever the types, tiers and shards."""
    await fill(any_tier)
    for query in QUERIES:
        few, many = [await compared(any_tier, query, many) for many in (1 << 60, -1)]
        assert few == many, query
        assert few, query


async def test_keys_that_seem_to_have_few_values(hot_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at a part of the spans finds one value; there are more than are counted without finding the frequent ones first."""
    await fill(hot_tier)
    expected = [await compared(hot_tier, query, 1 << 60) for query in QUERIES[:3]]
    monkeypatch.setattr("tael.storage.clickhouse.traceql.counting._SAMPLE", 1)
    monkeypatch.setattr("tael.storage.clickhouse.traceql.compared._MOST_FEW", 3)
    assert [await compared(hot_tier, query, -1) for query in QUERIES[:3]] == expected


async def test_values_that_are_equally_frequent(any_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with the smallest text are shown, of any type, whether their hashes tell which they are or they are too many for that."""
    await fill(any_tier)
    for query, top in product(QUERIES[:2], (1, 3, 10)):
        asked = query.replace("}, 2)", "})").replace(" })", f" }}, {top})")
        expected = await compared(any_tier, asked, 1 << 60)
        # What one shard has more of may be cut off by another, with so few values to spare (ADR 0020): one shard alone is exact for any
        # number.
        alone = top > 1 or len(any_tier.clickhouses) == 1
        for alike in (1, 300) if alone else (300,):
            with monkeypatch.context() as patched:
                patched.setattr("tael.storage.clickhouse.traceql.compared._MOST_FEW", 1)
                patched.setattr("tael.storage.clickhouse.traceql.frequent.MOST_ALIKE", alike)
                assert await compared(any_tier, asked, -1) == expected, (asked, alike)


async def test_lists_and_keys_that_are_no_names(hot_tier: HotTier) -> None:
    """A list is counted as nil, and a key is shown as a query writes it."""
    await fill(hot_tier)
    found = await compared(hot_tier, QUERIES[0], -1)
    lists = [sum(values) for labels, values in found.items() if labels[1] == ("span.tags", Static(Type.STRING, "nil"))]
    assert sorted(lists) == [3]
    assert [sum(values) for labels, values in found.items() if labels[1] == ('span."odd key"', Static(Type.INT, 1))] == [1]


async def test_a_selection_within_a_time(hot_tier: HotTier) -> None:
    """Spans outside of it are the baseline's, whatever they are."""
    await fill(hot_tier)
    found = await compared(hot_tier, QUERIES[4], -1)
    told = {labels: sum(values) for labels, values in found.items() if labels[1] == ("status", Static(Type.STATUS, 2))}
    assert {str(labels[0][1].value): count for labels, count in told.items() if labels[0][1]} == {"selection": 3, "baseline": 3}


def child_of(parent: bytes, *args: Any, **fields: Any) -> WireSpan:
    """A span with a parent."""
    span = wire_span(*args, **fields)
    span.parent_span_id = parent
    return span


ROOTS_AND_CHILDREN = {
    ("baseline", "rootName", "later root"): 2,
    ("baseline", "rootName", ""): 1,
    ("baseline", "rootServiceName", "web"): 2,
    ("baseline", "rootServiceName", ""): 1,
    ("baseline", "span:childCount", 0): 2,
    ("baseline", "span:childCount", 1): 1,
    ("selection", "rootName", "later root"): 1,
    ("selection", "rootServiceName", "web"): 1,
    ("selection", "span:childCount", 0): 1,
}


async def test_roots_and_children(any_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """A span's root and children count whether or not they are compared, and whoever evaluates the query; a trace without a root has the
    empty text.
    """
    ids, trace, other = [number.to_bytes(8) for number in range(8)], b"a" * 16, b"b" * 16
    root = wire_span(-200 * NS_PER_SECOND, name="root", trace_id=trace, span_id=ids[1])
    later = wire_span(-199 * NS_PER_SECOND, name="later root", trace_id=trace, span_id=ids[2])
    children = [child_of(ids[2], at, name="child", trace_id=trace, span_id=ids[3 + at]) for at in (0, 1)]
    grandchild = child_of(ids[3], 3, name="child", status=2, trace_id=trace, span_id=ids[6])
    orphan = child_of(ids[1], 4, name="orphan", trace_id=other, span_id=ids[7])
    await any_tier.store(of_service("web", root, later), of_service("shop", *children, grandchild, orphan))
    for query, many in product(("{ }", "{ nestedSetLeft >= 0 }"), (1 << 60, -1)):
        monkeypatch.setattr("tael.storage.clickhouse.traceql.counting._IN_A_SET", many)
        found = await compared(any_tier, f"{query} | compare({{ status = error }})", many)
        told = {
            (str(labels[0][1].value), labels[1][0], labels[1][1].value): sum(values)
            for labels, values in found.items()
            if labels[0][1] and labels[1][1] and labels[1][0] in ("rootName", "rootServiceName", "span:childCount")
        }
        assert told == ROOTS_AND_CHILDREN, (query, many)


async def test_the_root_among_several(any_tier: HotTier) -> None:
    """It is the last one, of those that start together the one with the largest id, and of its copies the longest."""
    trace, low, high = b"a" * 16, b"\x01" + b"\xff" * 7, b"\xf0" + bytes(7)
    roots = [
        wire_span(-2, name="first", trace_id=trace, span_id=high, duration_ns=9),
        wire_span(-1, name="low", trace_id=trace, span_id=low, duration_ns=9),
        wire_span(-1, name="short", trace_id=trace, span_id=high, duration_ns=1),
    ]
    longest = wire_span(-1, name="long \0 ünï", trace_id=trace, span_id=high, duration_ns=300)
    child = child_of(low, 0, name="child", trace_id=trace, span_id=bytes(7) + b"\x07")
    await any_tier.store(of_service("shop", *roots, child), of_service("wéb\0", longest))
    found = await compared(any_tier, '{ name = "child" } | compare({ status = error })', -1)
    told = {labels[1][0]: labels[1][1].value for labels in found if labels[0][1] and labels[1][1] and labels[1][0].startswith("root")}
    assert told == {"rootName": "long \0 ünï", "rootServiceName": "wéb\0"}


async def test_roots_without_a_service(hot_tier: HotTier) -> None:
    """The empty text is the service of a root whose resource has none, and a name that was sent is that name."""
    traces, ids = [bytes([at]) * 16 for at in (1, 2)], [bytes([at]) * 8 for at in (1, 2)]
    unnamed, named = (wire_span(name=f"root {at}", trace_id=traces[at], span_id=ids[at]) for at in (0, 1))
    children = [child_of(ids[at], 1, trace_id=traces[at], span_id=bytes([at + 5]) * 8) for at in (0, 1)]
    await hot_tier.store(of_service("", unnamed), of_service("unknown_service", named), of_service("shop", *children))
    found = await compared(hot_tier, '{ resource.service.name = "shop" } | compare({ status = error })', -1)
    told = {labels[1][1].value for labels in found if labels[0][1] and labels[1][1] and labels[1][0] == "rootServiceName"}
    assert told == {"", "unknown_service"}


@pytest.mark.parametrize("query", ["{ }", "{ nestedSetLeft >= 0 }"])
async def test_bounds_of_a_selections_time(hot_tier: HotTier, query: str) -> None:
    """As of every step, the first is excluded and the last included."""
    await hot_tier.store(of_service("shop", *(wire_span(at, name=f"at {at}", trace_id=b"t" * 16) for at in range(1, 4))))
    found = await compared(hot_tier, f"{query} | compare({{ }}, 10, {START_NS + 1}, {START_NS + 3})", -1)
    names = {labels[1][1].value: labels[0][1].value for labels in found if labels[0][1] and labels[1][1] and labels[1][0] == "name"}
    assert names == {"at 1": "baseline", "at 2": "selection", "at 3": "selection"}


async def test_names_of_roots_that_are_many(hot_tier: HotTier) -> None:
    """Only the most frequent values are listed; the total counts every span."""
    roots = [wire_span(at, name=f"root {at}", trace_id=bytes([at + 1]) * 16, span_id=bytes([at + 1]) * 8) for at in range(6)]
    await hot_tier.store(of_service("shop", *roots, child_of(bytes([4]) * 8, 9, trace_id=bytes([4]) * 16)))
    found = await compared(hot_tier, "{ } | compare({ status = error }, 1)", -1)
    names = {
        (labels[0][1].value, labels[1][1]): sum(values) for labels, values in found.items() if labels[0][1] and labels[1][0] == "rootName"
    }
    assert names == {("baseline", Static(Type.STRING, "root 3")): 2, ("baseline_total", None): 7}


async def test_roots_that_have_no_service(any_tier: HotTier) -> None:
    """The root has its name also where its resource does not say which service it is of; whether that was sent as a text is no matter."""
    trace, other = b"a" * 16, b"b" * 16
    nameless = of_service("", wire_span(0, name="nameless", trace_id=trace, span_id=b"1" * 8))
    del nameless.resource.attributes[:]
    literal = of_service("unknown_service", wire_span(1, name="literal", trace_id=other, span_id=b"2" * 8))
    children = [child_of(b"0" * 8, 2, trace_id=trace, span_id=b"3" * 8), child_of(b"0" * 8, 3, trace_id=other, span_id=b"4" * 8)]
    await any_tier.store(nameless, literal, of_service("shop", *children))
    for query in ("{ }", "{ nestedSetLeft >= 0 }"):
        found = await compared(any_tier, f"{query} | compare({{ status = error }})", -1)
        told = {
            (labels[1][0], str(labels[1][1].value)): sum(values)
            for labels, values in found.items()
            if labels[0][1] and labels[1][1] and labels[1][0].startswith("root")
        }
        assert told == {
            ("rootName", "nameless"): 2,
            ("rootName", "literal"): 2,
            ("rootServiceName", ""): 2,
            ("rootServiceName", "unknown_service"): 2,
        }, query


async def test_more_roots_than_have_codes(hot_tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is the same, from the statement that ranks them."""
    traces = [bytes([own]) * 16 for own in range(1, 6)]
    roots = [wire_span(at * NS_PER_SECOND, name=f"root {at}", trace_id=own, span_id=own[:8]) for at, own in enumerate(traces)]
    await hot_tier.store(of_service("web", *roots))
    expected = await compared(hot_tier, "{ } | compare({ status = error })", -1)
    monkeypatch.setattr("tael.storage.clickhouse.traceql.relatives.MOST_CODES", 4)
    assert await compared(hot_tier, "{ } | compare({ status = error })", -1) == expected
    assert sum(labels[1][0] == "rootName" for labels in expected) == 6
