"""Which spans a search finds, and in which pages, in every composition of the tiers (tael/storage/api.py)."""

from __future__ import annotations

from typing import Any

import pytest

from tael.errors import Rejected
from tael.model.span import Span
from tael.model.time import ALL_TIME, TimeRange
from tael.storage.api import Cursor, SpanQuery
from tael.storage.merge import newest_first
from tests.contract.test_span_storage import AROUND, found
from tests.support.storage import START_NS, HotTier, new_trace_id, of_service, span_query, wire_span


async def test_each_filter_narrows(any_tier: HotTier) -> None:
    """Every parameter alone, on spans of which each takes some."""
    slow = wire_span(1, duration_ns=5_000, name="GET /cart", status=2, attributes={"n": 5, "user": "ann"})
    fast = wire_span(2, duration_ns=10, name="POST /pay", status=1, attributes={"n": 5.0, "cached": False})
    text = wire_span(3, duration_ns=900, name="cart", attributes={"n": "5", "user": "bob", "zero": 0})
    call = wire_span(
        4,
        name="chat",
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "m-1",
            "gen_ai.usage.cost": 0.25,
            "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "Why is the Sky blue"}]}],
            "gen_ai.completion.0.content": "Scattering.",
        },
    )
    s, f, t, c = await any_tier.store(of_service("shop", slow, fast, zone="eu"), of_service("agent", text, call, pid=5))
    cases: list[tuple[dict[str, Any], list[Span]]] = [
        ({}, [c, t, f, s]),
        ({"service": "shop"}, [f, s]),
        ({"operation": "cart"}, [t, s]),
        ({"operation": "CART"}, []),
        ({"min_duration_ns": 900}, [c, t, s]),
        ({"max_duration_ns": 900}, [t, f]),
        ({"status_code": 2}, [s]),
        ({"status_code": 0}, [c, t]),
        ({"attributes": [("n", "5")]}, [t, f, s]),
        ({"attributes": [("n", "5"), ("user", "ann")]}, [s]),
        ({"attributes": [("n", "6")]}, []),
        ({"attributes": [("cached", "false")]}, [f]),
        ({"attributes": [("cached", "true")]}, []),
        ({"attributes": [("zero", "0")]}, [t]),
        ({"attributes": [("absent", "")]}, []),
        ({"attributes": [("zone", "eu")]}, [f, s]),
        ({"attributes": [("pid", "5")]}, [c, t]),
        ({"attributes": [("service.name", "agent"), ("user", "bob")]}, [t]),
        ({"text": "sky BLUE"}, [c]),
        ({"text": "scattering sky"}, [c]),
        ({"text": "sky green"}, []),
        ({"model": "m-1"}, [c]),
        ({"min_cost_usd": 0.25}, [c]),
        ({"min_cost_usd": 0.3}, []),
        ({"limit": 2}, [c, t]),
        ({"service": "shop", "limit": 1}, [f]),
    ]
    for query, expected in cases:
        answer = await any_tier.reader.find_spans("t1", span_query(AROUND, **query))
        assert answer.value == expected, query


async def test_values_are_never_part_of_the_sql(any_tier: HotTier) -> None:
    """Quotes, braces, backslashes and tabs are compared like any other text."""
    nasty = "x'\"\\{tenant:String}`;--\t\n%_"
    span = wire_span(name=nasty, attributes={nasty: nasty})
    written = await any_tier.store(of_service(nasty, span), tenant=nasty)
    assert await found(any_tier, nasty, service=nasty, operation=nasty, attributes=[(nasty, nasty)]) == written
    assert [stats.name for stats in (await any_tier.reader.list_services(nasty, AROUND)).value] == [nasty]


async def test_the_range_is_half_open(any_tier: HotTier) -> None:
    """A span that starts at its end is outside; an empty range holds nothing."""
    first, second = await any_tier.store(of_service("shop", wire_span(0), wire_span(1)))
    for time_range, expected in [
        (TimeRange(START_NS, START_NS + 1), [first]),
        (TimeRange(START_NS + 1, START_NS + 2), [second]),
        (TimeRange(START_NS, START_NS), []),
        (TimeRange(START_NS + 5, START_NS), []),
        (ALL_TIME, [second, first]),
    ]:
        assert (await any_tier.reader.find_spans("t1", SpanQuery(time_range))).value == expected


async def test_pages_neither_repeat_nor_skip(any_tier: HotTier) -> None:
    """Through spans of which many start at the same instant, in one trace and in several."""
    ids = [new_trace_id() for _ in range(3)]
    spans = [wire_span((i // 7) * 1_800 * 10**9, trace_id=ids[i % 3]) for i in range(40)]
    written = await any_tier.store(of_service("shop", *spans))
    day = TimeRange(START_NS, START_NS + 86_400 * 10**9)
    assert len(written) == 40
    for service in ("", "shop"):
        pages: list[Span] = []
        after: Cursor | None = None
        while page := await found(any_tier, time_range=day, service=service, limit=6, after=after):
            pages += page
            after = Cursor(page[-1].start_ns, page[-1].trace_id, page[-1].span_id)
        assert pages == sorted(written, key=newest_first), service


async def test_pages_of_a_number_that_spans_and_resources_have(hot_tier: HotTier) -> None:
    """A span that is found as both is there once, and pages are full."""
    both = [wire_span(at // 2, attributes={"n": 5 if at % 3 else "5"}) for at in range(12)]
    written = await hot_tier.store(of_service("shop", *both, n=5), of_service("pay", wire_span(3), n=5.0), of_service("db", wire_span(4)))
    expected = sorted((span for span in written if span.service != "db"), key=newest_first)
    pages: list[Span] = []
    after: Cursor | None = None
    while page := await found(hot_tier, attributes=[("n", "5")], limit=5, after=after):
        pages += page
        after = Cursor(page[-1].start_ns, page[-1].trace_id, page[-1].span_id)
        assert len(page) == 5 or len(pages) == len(expected)
    assert pages == expected


async def test_a_large_page_is_whole(any_tier: HotTier) -> None:
    """Of more spans than are fetched at once."""
    written = await any_tier.store(of_service("shop", *(wire_span(i // 2) for i in range(2_300))))
    assert await found(any_tier, limit=2_200) == sorted(written, key=newest_first)[:2_200]


async def test_a_limit_out_of_range_is_rejected(hot_tier: HotTier) -> None:
    """Naming what it takes."""
    with pytest.raises(Rejected, match="1 to 10000"):
        await found(hot_tier, limit=0)
