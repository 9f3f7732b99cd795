"""What every composition of the hot tier must hold for logs (LogReader in tael/storage/api.py), run against one shard and against two."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import SEVERITY_NUMBER_ERROR2, ResourceLogs, ScopeLogs
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as WireLogRecord

from tael.errors import Rejected
from tael.model.attributes import AttributeValue
from tael.model.log import LEVELS, LogRecord
from tael.model.time import ALL_TIME, TimeRange
from tael.otlp.anyvalue import encode_attributes, encode_value
from tael.otlp.decode import decode_logs
from tael.storage.api import LogCursor, LogQuery
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.merge import newest_log_first, oldest_log_first
from tests.contract.test_span_storage import AROUND, EVERY_TYPE
from tests.support.databases import MakeNode
from tests.support.hotnode import HotNode
from tests.support.storage import RECEIVED_NS, START_NS, HotTier, log_query, logs_of, new_trace_id, open_tier, wire_log

BODIES: list[AttributeValue] = [
    "zwölf 'quoted' \\ \n\x00",
    "",
    True,
    False,
    0,
    (1 << 63) - 1,
    -(1 << 63),
    1e-7,
    5.0,
    -0.0,
    -math.inf,
    b"\x00\xff'",
    b"",
    None,
    ["a", 1, None, {"deep": [[]]}],
    [],
    {"message": "structured", "n": 1, "": {"x": [b"\x01"]}},
    {},
]


def everything(trace_id: bytes) -> ResourceLogs:
    """A record with every field of OTLP filled in."""
    values = encode_attributes(EVERY_TYPE)
    record = WireLogRecord(
        time_unix_nano=START_NS + 1,
        observed_time_unix_nano=START_NS + 2,
        severity_number=SEVERITY_NUMBER_ERROR2,
        severity_text="SEVERE",
        body=encode_value(EVERY_TYPE),
        attributes=values,
        dropped_attributes_count=1,
        flags=0x301,
        trace_id=trace_id,
        span_id=b"\x00spanid\x00",
        event_name="device.app.lifecycle",
    )
    scope = InstrumentationScope(name="lib", version="1.0", attributes=values, dropped_attributes_count=7)
    group = ResourceLogs(scope_logs=[ScopeLogs(scope=scope, log_records=[record], schema_url="https://s")], schema_url="https://r")
    group.resource.attributes.extend(values)
    group.resource.dropped_attributes_count = 8
    return group


async def found(tier: HotTier, tenant: str = "t1", time_range: TimeRange = AROUND, **query: Any) -> list[LogRecord]:
    answer = await tier.logs.find_logs(tenant, log_query(time_range, **query))
    assert answer.missing == ()
    return answer.value


async def test_a_record_comes_out_as_it_went_in(any_tier: HotTier) -> None:
    """Field for field and type for type."""
    written = await any_tier.store_logs(everything(new_trace_id()))
    (read,) = await found(any_tier)
    assert read == written[0]
    assert LEVELS[read.level] == "error"


async def test_bodies_of_every_type_survive(any_tier: HotTier) -> None:
    """Types that compare equal stay apart too."""
    await any_tier.store_logs(logs_of("shop", *(wire_log(i, body) for i, body in enumerate(BODIES)), wire_log(99, math.nan)))
    read = [record.body for record in reversed(await found(any_tier))]
    assert repr(read) == repr([*BODIES, math.nan])


async def test_a_record_without_a_body_has_none(any_tier: HotTier) -> None:
    await any_tier.store_logs(logs_of("shop", WireLogRecord(time_unix_nano=START_NS)))
    assert [record.body for record in await found(any_tier)] == [None]


async def test_time_is_the_event_then_the_observation_then_the_arrival(any_tier: HotTier) -> None:
    """D2."""
    records = [WireLogRecord(time_unix_nano=time, observed_time_unix_nano=seen) for time, seen in [(0, 0), (0, 7), (9, 7), (9, 0)]]
    await any_tier.store_logs(logs_of("shop", *records))
    read = await found(any_tier, time_range=ALL_TIME)
    assert sorted((record.timestamp_ns, record.observed_ns) for record in read) == [(7, 7), (9, 0), (9, 7), (RECEIVED_NS, 0)]


async def test_strange_times_neither_fail_nor_poison_the_batch(any_tier: HotTier) -> None:
    """Beyond 2^63 and beyond 32 bits of hours."""
    huge = (1 << 64) - 1
    written = await any_tier.store_logs(logs_of("shop", *(WireLogRecord(time_unix_nano=t) for t in (1, huge, 1 << 63, 5 * 10**18))))
    read = await found(any_tier, time_range=ALL_TIME)
    assert sorted(read, key=lambda record: record.timestamp_ns) == sorted(written, key=lambda record: record.timestamp_ns)


async def test_a_record_with_invalid_ids_belongs_to_no_trace(any_tier: HotTier) -> None:
    """D1: absent, all zero, or of a wrong length."""
    trace_id = new_trace_id()
    pairs = [(b"", b""), (bytes(16), bytes(8)), (b"short", b"x" * 9), (trace_id, b"s" * 8), (trace_id, b"")]
    await any_tier.store_logs(logs_of("shop", *(wire_log(i, trace_id=t, span_id=s) for i, (t, s) in enumerate(pairs))))
    read = reversed(await found(any_tier))
    assert [(record.trace_id, record.span_id) for record in read] == [(b"", b"")] * 3 + [(trace_id, b"s" * 8), (trace_id, b"")]
    assert len(await found(any_tier, trace_id=trace_id)) == 2
    assert len(await found(any_tier, trace_id=trace_id, span_id=b"s" * 8)) == 1
    assert await found(any_tier, trace_id=new_trace_id()) == []


LEVELLED: list[tuple[dict[str, Any], str]] = [
    ({}, "unspecified"),
    ({"severity_number": 1}, "trace"),
    ({"severity_number": 8}, "debug"),
    ({"severity_number": 9}, "info"),
    ({"severity_number": 16}, "warn"),
    ({"severity_number": 24, "severity_text": "debug"}, "fatal"),
    ({"severity_number": 25}, "unspecified"),
    ({"severity_number": -3, "severity_text": "Warning"}, "warn"),
    ({"severity_text": "CRITICAL"}, "fatal"),
    ({"severity_text": "S1", "attributes": {"level": "x", "lvl": "dbg"}}, "debug"),
    ({"attributes": {"severity": "Error", "lvl": "info"}, "body": "WARN"}, "error"),
    ({"attributes": {"level": 5}, "body": "2026-01-01 00:00:00,1 [ERROR] main: no such thing"}, "error"),
    ({"body": 'level=info msg="an error"'}, "info"),
    ({"body": "errors_total warned"}, "unspecified"),
    ({"body": "x" * 63 + " error"}, "unspecified"),
    ({"body": "x" * 58 + " error"}, "error"),
    ({"body": {"level": "error"}}, "unspecified"),
    ({"body": "Überwarn warnüber"}, "warn"),
]


async def test_levels_are_detected_as_the_model_says(any_tier: HotTier) -> None:
    """By number, text, attribute, and the start of the body; the same in SQL as in Python."""
    wires = [wire_log(i, fields.pop("body", "hello"), **fields) for i, fields in enumerate(dict(given) for given, _ in LEVELLED)]
    written = await any_tier.store_logs(logs_of("shop", *wires))
    read = list(reversed(await found(any_tier)))
    assert [LEVELS[record.level] for record in written] == [name for _, name in LEVELLED]
    assert [LEVELS[record.level] for record in read] == [name for _, name in LEVELLED]


async def test_each_filter_narrows(any_tier: HotTier) -> None:
    """Every parameter alone, on records of which each takes some."""
    trace_id = new_trace_id()
    wires = [
        wire_log(1, "Payment declined by provider: TIMEOUT after 5ms", severity_number=17, attributes={"n": 5, "user": "ann"}),
        wire_log(2, "cache miss for key session:5", severity_number=9, attributes={"n": 5.0, "hit": False}),
    ]
    others = [
        wire_log(3, {"message": "payment accepted", "n": 5}, severity_number=13, trace_id=trace_id, span_id=b"s" * 8),
        wire_log(4, "Grüße an alle", severity_text="debug", attributes={"n": "5"}),
    ]
    a, b, c, d = await any_tier.store_logs(logs_of("shop", *wires, zone="eu"), logs_of("agent", *others))
    cases: list[tuple[dict[str, Any], list[LogRecord]]] = [
        ({}, [d, c, b, a]),
        ({"service": "shop"}, [b, a]),
        ({"level": 5}, [a]),
        ({"level": 0}, []),
        ({"min_level": 4}, [c, a]),
        ({"min_level": 2, "service": "agent"}, [d, c]),
        ({"body_contains": "payment"}, [c, a]),
        ({"body_contains": "DECLINED BY PRO"}, [a]),
        ({"body_contains": "clined by pro"}, [a]),
        ({"body_contains": ": timeout af"}, [a]),
        ({"body_contains": "cache hit for"}, []),
        ({"body_contains": "GRÜSSE"}, []),
        ({"body_contains": "grÜßE"}, [d]),
        ({"words": "timeout payment"}, [a]),
        ({"words": "pay"}, []),
        ({"words": "SESSION miss"}, [b]),
        ({"trace_id": trace_id}, [c]),
        ({"span_id": b"s" * 8}, [c]),
        ({"attributes": [("n", "5")]}, [d, b, a]),
        ({"attributes": [("n", "5"), ("zone", "eu"), ("hit", "false")]}, [b]),
        ({"limit": 2}, [d, c]),
        ({"service": "shop", "limit": 1}, [b]),
    ]
    for query, expected in cases:
        assert await found(any_tier, **query) == expected, query


async def test_values_are_never_part_of_the_sql(any_tier: HotTier) -> None:
    """Quotes, braces, backslashes and tabs are compared like any other text."""
    nasty = "x'\"\\{tenant:String}`;--\t\n%_"
    written = await any_tier.store_logs(logs_of(nasty, wire_log(0, nasty, attributes={nasty: nasty})), tenant=nasty)
    assert await found(any_tier, nasty, service=nasty, body_contains=nasty, words=nasty, attributes=[(nasty, nasty)]) == written


async def test_pages_neither_repeat_nor_skip(any_tier: HotTier) -> None:
    """Through records of which many are of one instant, and some are equal."""
    await any_tier.store_logs(logs_of("shop", *(wire_log((i // 9) * 1_800 * 10**9, f"n{i // 2}") for i in range(40))))
    day = TimeRange(START_NS, START_NS + 86_400 * 10**9)
    for service, oldest_first in product(("", "shop"), (False, True)):
        pages: list[LogRecord] = []
        after: LogCursor | None = None
        while page := await found(any_tier, time_range=day, service=service, limit=6, after=after, oldest_first=oldest_first):
            pages += page
            after = LogCursor(page[-1].timestamp_ns, page[-1].serial)
        assert sorted(str(record.body) for record in pages) == sorted(f"n{i // 2}" for i in range(40)), (service, oldest_first)
        assert pages == sorted(pages, key=oldest_log_first if oldest_first else newest_log_first), (service, oldest_first)


async def test_a_large_page_is_whole(any_tier: HotTier) -> None:
    """Of more records than are fetched at once."""
    await any_tier.store_logs(logs_of("shop", *(wire_log(i, i) for i in range(4_500))))
    assert [record.body for record in await found(any_tier, limit=4_400)] == list(range(4_499, 99, -1))


async def test_a_limit_out_of_range_is_rejected(hot_tier: HotTier) -> None:
    with pytest.raises(Rejected, match="1 to 10000"):
        await found(hot_tier, limit=0)


async def test_tenants_do_not_see_each_other(any_tier: HotTier) -> None:
    """Not even in one trace."""
    trace_id = new_trace_id()
    mine = await any_tier.store_logs(logs_of("mine", wire_log(trace_id=trace_id)), tenant="t1")
    await any_tier.store_logs(logs_of("theirs", wire_log(trace_id=trace_id)), tenant="t2")
    assert await found(any_tier, trace_id=trace_id) == mine
    assert await found(any_tier, "t3") == []


async def test_a_token_is_written_once(hot_tier: HotTier) -> None:
    """However often it comes, though each record draws a serial."""
    for _ in range(3):
        await hot_tier.store_logs(logs_of("shop", *(wire_log(hour * 3_600 * 10**9) for hour in range(4))), token="0:1-5:logs")
    assert len(await found(hot_tier, time_range=ALL_TIME)) == 4


async def test_a_resource_without_a_name_is_an_unknown_service(any_tier: HotTier) -> None:
    group = ResourceLogs(scope_logs=[ScopeLogs(log_records=[wire_log()])])
    await any_tier.store_logs(group)
    assert await found(any_tier, service="unknown_service") == list(decode_logs([group], RECEIVED_NS))


async def test_a_dead_shard_is_named_and_the_rest_answers(shared_hot_node: HotNode, migrated_nodes: MakeNode) -> None:
    node = migrated_nodes()
    async with open_tier([shared_hot_node, node]) as tier:
        await tier.store_logs(logs_of("shop", *(wire_log(i, trace_id=new_trace_id()) for i in range(20))))
        node.kill()
        answer = await tier.logs.find_logs("t1", LogQuery(AROUND))
        assert answer.missing == ("shard-1",)
        assert 0 < len(answer.value) < 20


async def test_retention_sees_the_hours_of_logs(shared_hot_node: HotNode) -> None:
    """And can drop one."""
    async with open_tier([shared_hot_node]) as tier:
        await tier.store_logs(logs_of("shop", wire_log(), wire_log(1), wire_log(3_600 * 10**9)))
        schema = ClickHouseSchema(tier.clickhouses[0])
        first, second = [partition for partition in await schema.list_partitions() if partition.table == "logs"]
        assert (first.rows, second.rows, second.start_ns - first.start_ns) == (2, 1, 3_600 * 10**9)
        await schema.drop_partition(first)
        assert len(await found(tier, time_range=ALL_TIME)) == 1
