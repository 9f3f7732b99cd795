"""Columns that are empty are not read, and no answer shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.errors import TaelError
from tael.model.attributes import Attributes, AttributeValue
from tael.model.span import Span
from tael.model.time import TimeRange
from tael.otlp.anyvalue import encode_attributes
from tael.storage.api import TraceTooLong
from tael.storage.clickhouse import groups
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema, read_migrations
from tael.storage.clickhouse.spans import ClickHouseSpans
from tests.contract.test_value_indexes import store
from tests.support.databases import migrated, new_database
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, HotTier, model_of, new_trace_id, of_service, open_tier, span_query, wire_span

AROUND = TimeRange(START_NS - 10**9, START_NS + 10**9)
LLM: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 3}


def _with(**fields: Any) -> Callable[[WireSpan], None]:
    return lambda span: span.MergeFrom(WireSpan(**fields))


def _attributes(**values: AttributeValue) -> Callable[[WireSpan], None]:
    return _with(attributes=encode_attributes(values))


FILLED: dict[str, Callable[[WireSpan], None]] = {
    "nothing": _with(),
    "text": _attributes(a="b"),
    "int": _attributes(a=0),
    "double": _attributes(a=0.0),
    "bool": _attributes(a=False),
    "bytes": _attributes(a=b""),
    "list": _attributes(a=[1, "b"]),
    "event": _with(events=[WireSpan.Event()]),
    "link": _with(links=[WireSpan.Link()]),
    "LLM call": _with(attributes=encode_attributes(LLM)),
    "trace state": _with(trace_state="a=1"),
    "status message": _with(status={"message": "no"}),
    "dropped attributes": _with(dropped_attributes_count=1),
    "dropped events": _with(dropped_events_count=1),
    "dropped links": _with(dropped_links_count=1),
    "flags": _with(flags=0x101),
}


def _of_scope(**fields: Any) -> ScopeSpans:
    return ScopeSpans(scope=InstrumentationScope(**fields))


VALUES: tuple[AttributeValue, ...] = (0, 0.0, False, b"", [1, "b"])
FILLED_AROUND: dict[str, ResourceSpans] = {
    **{
        f"resource's {type(value).__name__}": ResourceSpans(resource=Resource(attributes=encode_attributes({"a": value})))
        for value in VALUES
    },
    "resource's dropped attributes": ResourceSpans(resource=Resource(dropped_attributes_count=1)),
    "resource's schema": ResourceSpans(schema_url="https://opentelemetry.io/schemas/1.40.0"),
    "scope's text": ResourceSpans(scope_spans=[_of_scope(attributes=encode_attributes({"a": "b"}))]),
    "scope's number": ResourceSpans(scope_spans=[_of_scope(attributes=encode_attributes({"a": 0}))]),
    "scope's dropped attributes": ResourceSpans(scope_spans=[_of_scope(dropped_attributes_count=1)]),
    "scope's schema": ResourceSpans(scope_spans=[ScopeSpans(schema_url="https://opentelemetry.io/schemas/1.40.0")]),
}
"""What is merged into a resource with one scope: of either a single group is filled."""


def _around(name: str, *spans: WireSpan) -> ResourceSpans:
    group, filled = of_service(f"of {name}", *spans), FILLED_AROUND[name]
    group.resource.MergeFrom(filled.resource)
    group.schema_url = filled.schema_url
    for scope in filled.scope_spans:
        group.scope_spans[0].scope.MergeFrom(scope.scope)
        group.scope_spans[0].schema_url = scope.schema_url
    return group


def _span(name: str, at: int, trace_id: bytes = b"") -> WireSpan:
    span = wire_span(at, name=name, trace_id=trace_id)
    FILLED[name](span)
    return span


async def test_a_span_with_a_single_filled_group_is_read_back(any_tier: HotTier) -> None:
    """By its trace, and in a page with nothing else."""
    written = await any_tier.store(*(of_service(f"of {name}", _span(name, at)) for at, name in enumerate(FILLED)))
    for span in written:
        assert (await any_tier.reader.get_trace("t1", span.trace_id)).value == [span]
        assert (await any_tier.reader.find_spans("t1", span_query(AROUND, service=f"of {span.name}"))).value == [span]


async def test_a_span_under_a_single_filled_group_is_read_back(any_tier: HotTier) -> None:
    """Of its resource or its scope: by its trace, in a page with nothing else, and in a page with all of them."""
    written = await any_tier.store(*(_around(name, wire_span(at)) for at, name in enumerate(FILLED_AROUND)))
    for name, span in zip(FILLED_AROUND, written, strict=True):
        assert (await any_tier.reader.get_trace("t1", span.trace_id)).value == [span]
        assert (await any_tier.reader.find_spans("t1", span_query(AROUND, service=f"of {name}"))).value == [span]
    assert (await any_tier.reader.find_spans("t1", span_query(AROUND))).value == written[::-1]


async def test_spans_that_fill_different_columns_are_whole_together(any_tier: HotTier) -> None:
    """In one trace, and in pages that cut them anywhere."""
    trace_id = new_trace_id()
    spans = [_span(name, at, trace_id) for at, name in enumerate(FILLED)]
    written = await any_tier.store(*(of_service(f"shop-{at % 3}", span) for at, span in enumerate(spans)))
    by_start = sorted(written, key=lambda span: span.start_ns)
    assert (await any_tier.reader.get_trace("t1", trace_id)).value == by_start
    for limit in (1, 5, 100):
        page = (await any_tier.reader.find_spans("t1", span_query(AROUND, limit=limit))).value
        assert page == by_start[::-1][:limit]


async def test_a_copy_that_was_not_found_fills_more(any_tier: HotTier) -> None:
    """A page finds the copies that satisfy its filter, or the first ones, and shows the most complete of each, whole."""
    bare = [wire_span(at, attributes={"wanted": "yes"}, duration_ns=5) for at, _ in enumerate(FILLED)]
    full = []
    for span, fill in zip(bare, FILLED.values(), strict=True):
        full.append(WireSpan())
        full[-1].CopyFrom(span)
        fill(full[-1])
        full[-1].attributes.extend(encode_attributes({"more": "x", "still more": "y"}))
    for copies in (bare, full):
        await any_tier.store(of_service("shop", *copies))
    expected = model_of([of_service("shop", *full)])
    for copy in expected:
        assert (await any_tier.reader.get_trace("t1", copy.trace_id)).value == [copy]
    for limit in (1, 100):
        page = (await any_tier.reader.find_spans("t1", span_query(AROUND, attributes=[("wanted", "yes")], limit=limit))).value
        assert page == expected[::-1][:limit]


async def test_a_trace_that_grows_fills_more(any_tier: HotTier) -> None:
    """Each span of it has one more group than those before, in inserts of their own."""
    trace_id, written = new_trace_id(), list[Span]()
    for at, name in enumerate(FILLED):
        written += await any_tier.store(of_service("shop", _span(name, at, trace_id)))
        assert (await any_tier.reader.get_trace("t1", trace_id)).value == written


async def test_more_keys_than_a_statement_takes(any_tier: HotTier) -> None:
    """A trace of 2,300 spans, of which one is not like the others; and one span more than is allowed."""
    trace_id = new_trace_id()
    spans = [wire_span(at, trace_id=trace_id) for at in range(2_299)]
    written = await any_tier.store(of_service("shop", *spans, _span("event", 2_299, trace_id)))
    assert (await any_tier.reader.get_trace("t1", trace_id)).value == sorted(written, key=lambda span: span.start_ns)
    with pytest.raises(TaelError) as refused:
        await any_tier.reader.get_trace("t1", trace_id, most=2_299)
    assert isinstance(refused.value, TraceTooLong)


async def test_spans_from_before_the_migration_are_read_whole(shared_hot_node: HotNode) -> None:
    """Written before the migration, after it through the earlier landing table, and after it; in separate parts and merged."""
    clickhouse = ClickHouse(shared_hot_node.url, new_database())
    before = [migration for migration in read_migrations() if migration.version < 53]
    await ClickHouseSchema(clickhouse, migrations=before).migrate()
    trace_id = new_trace_id()
    written = [of_service("shop", *(_span(name, 100 * part + at, trace_id) for at, name in enumerate(FILLED))) for part in range(3)]
    await store(clickhouse, written[0], landing="spans_in_7")
    async with migrated(clickhouse):
        await store(clickhouse, written[1], landing="spans_in_6")
        await store(clickhouse, written[2])
        expected = model_of(written)
        reader = ClickHouseSpans(clickhouse)

        async def read() -> tuple[list[Span], list[Span]]:
            trace = await reader.get_trace("t1", trace_id)
            return trace.value, (await reader.find_spans("t1", span_query(AROUND))).value[::-1]

        assert await read() == (expected, expected)
        await clickhouse.command(f"OPTIMIZE TABLE {clickhouse.database}.spans FINAL")
        assert await read() == (expected, expected)
        masks_by_age = f"SELECT start_time < fromUnixTimestamp64Nano({START_NS + 100}), groupArray({groups.MASK}) FROM (SELECT * FROM {clickhouse.database}.spans ORDER BY start_time) GROUP BY 1"
        first, later = sorted((bool(is_first), list(masks)) for is_first, masks in await clickhouse.query(masks_by_age, {}))
        assert first[1] == 2 * later[1]


async def test_a_table_that_is_still_to_be_migrated_is_read(shared_hot_node: HotNode) -> None:
    """A query service may be of the new version before the tables are: that of traces, then the second column of spans too, then both."""
    async with open_tier([shared_hot_node]) as tier:
        (clickhouse,) = tier.clickhouses
        span = wire_span()
        await tier.store(of_service("shop", span))
        await clickhouse.command(f"DROP VIEW {clickhouse.database}.spans_to_trace_index_2")
        await clickhouse.command(f"ALTER TABLE {clickhouse.database}.trace_index DROP COLUMN {groups.OF_TRACE}")
        for lacking in ("", *reversed(groups.COLUMNS)):
            if lacking:
                await clickhouse.command(f"ALTER TABLE {clickhouse.database}.spans DROP COLUMN {lacking}")
            reader = ClickHouseSpans(clickhouse)
            [found] = (await reader.find_spans("t1", span_query(AROUND))).value
            assert (await reader.get_trace("t1", span.trace_id)).value == [found], lacking
