"""What every composition of the hot tier must hold (tael/storage/api.py), run against one shard and against two."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.errors import Unavailable
from tael.model.attributes import Attributes
from tael.model.signals import TRACES
from tael.model.span import Span
from tael.model.time import ALL_TIME, TimeRange
from tael.otlp.anyvalue import encode_attributes
from tael.storage.api import Cursor, SpanQuery
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.merge import newest_first
from tael.wal import codec
from tests.support.databases import MakeNode
from tests.support.hotnode import HotNode
from tests.support.storage import RECEIVED_NS, START_NS, HotTier, new_trace_id, of_service, open_tier, span_query, wire_span

AROUND = TimeRange(START_NS - 10**9, START_NS + 10**9)

EVERY_TYPE: Attributes = {
    "string": "zwölf",
    "empty string": "",
    "true": True,
    "false": False,
    "zero": 0,
    "largest": (1 << 63) - 1,
    "smallest": -(1 << 63),
    "double": 1e-7,
    "whole double": 5.0,
    "negative zero": -0.0,
    "infinite": -math.inf,
    "bytes": b"\x00\xff'",
    "no bytes": b"",
    "nothing": None,
    "array": ["a", 1, 2.5, True, None, b"\x01", ["nested", {"deep": [[]]}]],
    "empty array": [],
    "map": {"a": {"b": {"c": {"d": [1, {"e": None}]}}}, "": ""},
    "empty map": {},
    "": "key of no letters",
    'it\'s \\ "quoted" \n': 'it\'s \\ "quoted" \n\x00',
}


def everything(trace_id: bytes) -> ResourceSpans:
    """A span with every field of OTLP filled in."""
    values = encode_attributes(EVERY_TYPE)
    span = WireSpan(
        trace_id=trace_id,
        span_id=b"\x00spanid\x00",
        trace_state="a=1,b=2",
        parent_span_id=b"\x00parent\x00",
        name="Grüße",
        kind=WireSpan.SPAN_KIND_PRODUCER,
        start_time_unix_nano=START_NS + 1,
        end_time_unix_nano=START_NS + 123_456_789,
        attributes=values,
        dropped_attributes_count=1,
        events=[
            WireSpan.Event(time_unix_nano=START_NS + 7, name="first", attributes=values, dropped_attributes_count=2),
            WireSpan.Event(name="bare"),
        ],
        dropped_events_count=3,
        links=[
            WireSpan.Link(trace_id=b"t" * 16, span_id=b"s" * 8, trace_state="x=y", attributes=values, dropped_attributes_count=4, flags=5),
            WireSpan.Link(trace_id=b"odd", span_id=b""),
        ],
        dropped_links_count=6,
        status=Status(message="went wrong", code=Status.STATUS_CODE_ERROR),
        flags=0x301,
    )
    scope = InstrumentationScope(name="lib", version="1.0", attributes=values, dropped_attributes_count=7)
    group = ResourceSpans(scope_spans=[ScopeSpans(scope=scope, spans=[span], schema_url="https://s")], schema_url="https://r")
    group.resource.attributes.extend(values)
    group.resource.dropped_attributes_count = 8
    return group


async def found(tier: HotTier, tenant: str = "t1", time_range: TimeRange = AROUND, **query: Any) -> list[Span]:
    answer = await tier.reader.find_spans(tenant, span_query(time_range, **query))
    assert answer.missing == ()
    return answer.value


async def trace(tier: HotTier, trace_id: bytes, tenant: str = "t1") -> list[Span]:
    answer = await tier.reader.get_trace(tenant, trace_id)
    assert not answer.partial
    return answer.value


async def test_a_span_comes_out_as_it_went_in(any_tier: HotTier) -> None:
    """Field for field and type for type, by trace and by search."""
    trace_id = new_trace_id()
    written = await any_tier.store(everything(trace_id))
    assert await trace(any_tier, trace_id) == written
    assert await found(any_tier) == written


async def test_types_survive_that_compare_equal(any_tier: HotTier) -> None:
    """A boolean is not the integer 1, 5.0 not 5, -0.0 not 0.0, and NaN is NaN."""
    trace_id = new_trace_id()
    values: Attributes = {"bool": True, "int": 1, "double": 5.0, "negative zero": -0.0, "nan": math.nan, "array": [True, 1, 1.0]}
    span = wire_span(trace_id=trace_id, attributes=values)
    span.events.add(name="e").attributes.extend(encode_attributes(values))
    await any_tier.store(of_service("shop", span))
    (read,) = await trace(any_tier, trace_id)
    for attributes in (read.attributes, read.events[0].attributes):
        assert repr({key: attributes[key] for key in values}) == repr(values)


async def test_strange_times_neither_fail_nor_poison_the_batch(any_tier: HotTier) -> None:
    """Zero, beyond 2^63, beyond 32 bits of hours, an end before its start: all come back, and so do their neighbours."""
    huge = (1 << 64) - 1
    pairs = [(0, 0), (1, huge), (huge, 3), (huge, huge), (1 << 63, 0), ((1 << 63) - 1, 1 << 63), (START_NS, START_NS - 5), (5 * 10**18, 1)]
    trace_id = new_trace_id()
    spans = [
        WireSpan(trace_id=trace_id, span_id=bytes([9] * 7 + [i]), start_time_unix_nano=s, end_time_unix_nano=e)
        for i, (s, e) in enumerate(pairs)
    ]
    spans[0].events.add(time_unix_nano=huge, name="late")
    written = await any_tier.store(of_service("shop", *spans))
    assert await trace(any_tier, trace_id) == sorted(written, key=lambda span: span.start_ns)
    answer = await any_tier.reader.find_spans("t1", SpanQuery(ALL_TIME))
    assert answer.value == sorted(written, key=newest_first)
    assert await found(any_tier) == [written[6]]
    assert written[6].duration_ns == 0


async def test_a_repeated_key_keeps_one_value(any_tier: HotTier) -> None:
    """The last of the type; the batch is never refused for it."""
    trace_id = new_trace_id()
    span = wire_span(trace_id=trace_id)
    span.attributes.extend([KeyValue(key="k", value=AnyValue(string_value=text)) for text in ("first", "last")])
    await any_tier.store(of_service("shop", span))
    assert (await trace(any_tier, trace_id))[0].attributes == {"k": "last"}


async def test_text_that_is_not_utf8_does_not_fail_reads(any_tier: HotTier) -> None:
    """The gate refuses such a request, yet one in the log must not cost the answers that it is in."""
    trace_id = new_trace_id()
    group = of_service("shop", wire_span(trace_id=trace_id, name="marked", attributes={"k": "marked"}))
    body = codec.encode("t1", RECEIVED_NS, b"\x0a" + length_prefix(group) + group.SerializeToString()).replace(b"marked", b"mar\xffed")
    await asyncio.gather(*(writer.write(TRACES, body, "token") for writer in any_tier.writers[:1]))
    (read,) = await trace(any_tier, trace_id)
    assert (read.name, read.attributes) == ("mar\ufffded", {"k": "mar\ufffded"})


def length_prefix(group: ResourceSpans) -> bytes:
    size = group.ByteSize()
    return bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])


async def test_a_service_without_a_name_is_unknown(any_tier: HotTier) -> None:
    """As OpenTelemetry's SDKs call it."""
    group = ResourceSpans(scope_spans=[ScopeSpans(spans=[wire_span()])])
    written = await any_tier.store(group)
    assert await found(any_tier, service="unknown_service") == written


async def test_tenants_do_not_see_each_other(any_tier: HotTier) -> None:
    """Not by trace, search or service, even when they share a trace id."""
    trace_id = new_trace_id()
    mine = await any_tier.store(of_service("mine", wire_span(trace_id=trace_id)), tenant="t1")
    await any_tier.store(of_service("theirs", wire_span(trace_id=trace_id)), tenant="t2")
    assert await trace(any_tier, trace_id) == mine
    assert await found(any_tier) == mine
    assert [stats.name for stats in (await any_tier.reader.list_services("t1", AROUND)).value] == ["mine"]
    assert await trace(any_tier, trace_id, tenant="t3") == []


async def test_an_unknown_trace_is_empty(any_tier: HotTier) -> None:
    """And so is an id that no trace can have."""
    await any_tier.store(of_service("shop", wire_span()))
    assert await trace(any_tier, new_trace_id()) == []
    assert await trace(any_tier, b"short") == []


async def test_a_trace_is_whole_across_hours_and_batches(any_tier: HotTier) -> None:
    """Whatever time range is given as a hint, ordered by start."""
    trace_id = new_trace_id()
    hours = [2, 0, 5, 1]
    written = [
        span for hour in hours for span in await any_tier.store(of_service(f"s{hour}", wire_span(hour * 3_600 * 10**9, trace_id=trace_id)))
    ]
    answer = await any_tier.reader.get_trace("t1", trace_id, AROUND)
    assert answer.value == sorted(written, key=lambda span: span.start_ns)


async def test_services_are_summed(any_tier: HotTier) -> None:
    """Spans, traces, errors and durations; an end before its start adds nothing."""
    ids = [new_trace_id() for _ in range(4)]
    shop = [wire_span(i, trace_id=ids[i % 4], duration_ns=10, status=2 if i < 3 else 1) for i in range(8)]
    await any_tier.store(of_service("shop", *shop), of_service("agent", wire_span(trace_id=ids[0], duration_ns=-50)))
    agent, stats = (await any_tier.reader.list_services("t1", AROUND)).value
    assert (stats.name, stats.span_count, stats.trace_count, stats.error_count, stats.duration_sum_ns) == ("shop", 8, 4, 3, 80)
    assert (agent.name, agent.span_count, agent.trace_count, agent.duration_sum_ns) == ("agent", 1, 1, 0)
    assert (await any_tier.reader.list_services("t1", TimeRange(0, START_NS))).value == []


async def test_services_of_any_range_are_exact(any_tier: HotTier) -> None:
    """By hours, by minutes and between them; a trace that crosses them counts once."""
    minute_ns, trace_id = 60 * 10**9, new_trace_id()
    offsets = [0, 1, minute_ns - 1, minute_ns, 47 * minute_ns, 61 * minute_ns, 119 * minute_ns + 7, 120 * minute_ns, 200 * minute_ns]
    await any_tier.store(of_service("shop", *(wire_span(offset, trace_id=trace_id, duration_ns=3, status=2) for offset in offsets)))
    await any_tier.store(of_service("shop", *(wire_span(offset + 5, trace_id=trace_id, duration_ns=4) for offset in offsets)))
    starts = sorted(START_NS + offset + later for offset in offsets for later in (0, 5))
    for start_ns, end_ns in ((0, 201), (0, 1), (1, 61), (30, 120), (46, 48), (47, 200), (-30, 300)):
        for around in (0, 6):
            held = TimeRange(START_NS + start_ns * minute_ns + around, START_NS + end_ns * minute_ns - around)
            within = [start for start in starts if held.start_ns <= start < held.end_ns]
            stats = (await any_tier.reader.list_services("t1", held)).value
            assert [(one.span_count, one.trace_count) for one in stats] == ([(len(within), 1)] if within else [])
            errors = sum((start - START_NS) in offsets for start in within)
            assert [(one.error_count, one.duration_sum_ns) for one in stats] == ([(errors, 4 * len(within) - errors)] if within else [])


async def test_a_span_that_was_sent_again_is_there_once(any_tier: HotTier) -> None:
    """The most complete one, in its trace and in pages of any size, whatever came first: ended before running, with more before
    with less.
    """
    trace_id, bare = new_trace_id(), [wire_span(index // 3, trace_id=new_trace_id()) for index in range(12)]
    running, ended = (wire_span(20, trace_id=trace_id, span_id=b"s" * 8, duration_ns=length) for length in (-START_NS - 20, 7))
    later = wire_span(21, trace_id=trace_id, span_id=b"s" * 8)
    full = [wire_span(0, attributes={"k": 1}) for _ in bare]
    for again, span in zip(full, bare, strict=True):
        again.trace_id, again.span_id = span.trace_id, span.span_id
        again.start_time_unix_nano, again.end_time_unix_nano = span.start_time_unix_nano, span.end_time_unix_nano
    for group in ((running, *full), bare[:5], (ended, *bare), (running, later)):
        await any_tier.store(of_service("shop", *group))
    trace = (await any_tier.reader.get_trace("t1", trace_id)).value
    assert [(span.start_ns, span.end_ns) for span in trace] == [(START_NS + 20, START_NS + 27), (START_NS + 21, START_NS + 1_021)]
    expected = {(span.trace_id, span.span_id) for span in (*full, later)}
    for limit in (1, 3, 14, 100):
        found: list[Span] = []
        after = None
        while True:
            page = (await any_tier.reader.find_spans("t1", SpanQuery(ALL_TIME, limit=limit, after=after))).value
            found += page
            if len(page) < limit:
                break
            after = Cursor(page[-1].start_ns, page[-1].trace_id, page[-1].span_id)
        assert len(found) == 14
        assert {(span.trace_id, span.span_id) for span in found} == expected
        assert all(span.attributes == {"k": 1} for span in found if span.trace_id != trace_id)


async def test_a_dead_shard_is_named_and_the_rest_answers(shared_hot_node: HotNode, migrated_nodes: MakeNode) -> None:
    """By every method; a shard that hangs counts as dead after the deadline, and when none is left the reader says so."""
    node = migrated_nodes()
    async with open_tier([shared_hot_node, node]) as tier:
        written = await tier.store(of_service("shop", *(wire_span(i) for i in range(20))))
        node.kill()
        answer = await tier.reader.find_spans("t1", SpanQuery(AROUND))
        assert answer.missing == ("shard-1",)
        assert 0 < len(answer.value) < len(written)
        assert (await tier.reader.get_trace("t1", answer.value[0].trace_id)).missing == ("shard-1",)
        services = await tier.reader.list_services("t1", AROUND)
        assert (services.missing, services.value[0].span_count) == (("shard-1",), len(answer.value))
        node.start()
        assert len(await found(tier)) == 20


async def test_when_no_shard_answers_the_reader_is_unavailable(migrated_nodes: MakeNode) -> None:
    """Alone and composed; so is the writer."""
    nodes = [migrated_nodes(), migrated_nodes()]
    async with open_tier(nodes) as tier:
        for node in nodes:
            node.kill()
        with pytest.raises(Unavailable, match=r"shard-0.*shard-1"):
            await tier.reader.list_services("t1", AROUND)
        with pytest.raises(Unavailable):
            await ClickHouseSpans(tier.clickhouses[0]).find_spans("t1", SpanQuery(AROUND))
        with pytest.raises(Unavailable):
            await tier.writers[0].write(TRACES, b"", "token")


async def test_arrays_of_any_depth_come_back(any_tier: HotTier) -> None:
    """As deep as protobuf itself reads."""
    value = AnyValue(string_value="core")
    for _ in range(15):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    span = wire_span(trace_id=new_trace_id())
    span.attributes.add(key="deep", value=value)
    written = await any_tier.store(of_service("shop", span))
    assert await trace(any_tier, span.trace_id) == written
