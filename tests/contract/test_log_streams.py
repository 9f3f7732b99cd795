"""What every composition of the hot tier must hold for log streams (LogReader.list_streams in tael/storage/api.py), on one shard and on
two.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tael.metrics.identity import labels_id
from tael.model.log import LogRecord
from tael.model.series import Labels, Matcher, Selection
from tael.model.signals import LOGS
from tael.model.span import UNKNOWN_SERVICE
from tael.model.streams import INDEX_LABELS, LogStream, stream_labels
from tael.model.time import ALL_TIME
from tael.storage.api import LogQuery
from tael.storage.clickhouse.schema import ClickHouseSchema, read_migrations
from tael.storage.clickhouse.writer import LANDINGS
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, HotTier, log_query, logs_of, new_trace_id, open_tier, wire_log

HOUR_NS, HOUR_MS = 3_600 * 10**9, 3_600_000
START_MS = START_NS // 10**6
NOW = Selection((), START_MS, START_MS)


async def store(tier: HotTier) -> list[LogRecord]:
    """Records of three streams, some of one stream on several shards and in two batches."""
    cart: dict[str, Any] = {"k8s.pod.name": "cart-1", "deployment.environment.name": "prod", "host.name": "of no label", "process.pid": 7}
    written = await tier.store_logs(
        logs_of("cart", *(wire_log(i, "four", trace_id=new_trace_id()) for i in range(20)), **cart),
        logs_of("cart", wire_log(1, "a"), **{**cart, "k8s.pod.name": "cart-2"}),
    )
    written += await tier.store_logs(logs_of("cart", wire_log(2, "four"), **cart), logs_of("", wire_log(HOUR_NS, "")))
    await tier.store_logs(logs_of("theirs", wire_log()), tenant="t2")
    return written


CART: Labels = (("deployment_environment_name", "prod"), ("k8s_pod_name", "cart-1"), ("service_name", "cart"))
CART_2: Labels = (("deployment_environment_name", "prod"), ("k8s_pod_name", "cart-2"), ("service_name", "cart"))
UNKNOWN: Labels = (("service_name", UNKNOWN_SERVICE),)


def attributes_of(labels: Labels) -> Labels:
    """The labels under the names of their attributes, of which the id is made."""
    return tuple(sorted((INDEX_LABELS[label], value) for label, value in labels))


async def test_streams_are_counted_once(any_tier: HotTier) -> None:
    """Each with the records and bytes of the hours of the range, on whatever shards they are."""
    await store(any_tier)
    assert (await any_tier.logs.list_streams("t1", NOW, 0)).value == [LogStream(CART, 21, 84), LogStream(CART_2, 1, 1)]
    later = Selection((), START_MS, START_MS + HOUR_MS)
    found = (await any_tier.logs.list_streams("t1", later, 0)).value
    assert found == [LogStream(CART, 21, 84), LogStream(CART_2, 1, 1), LogStream(UNKNOWN, 1, 0)]
    assert (await any_tier.logs.list_streams("t1", later, 2)).value == found[:2]
    assert (await any_tier.logs.list_streams("t1", Selection((), START_MS + 2 * HOUR_MS, START_MS + 3 * HOUR_MS), 0)).value == []


async def test_matchers_narrow(any_tier: HotTier) -> None:
    """A label that is missing counts as the empty string; ``__name__`` is a label like any other."""
    await store(any_tier)
    later = (START_MS, START_MS + HOUR_MS)
    cases: list[tuple[tuple[Matcher, ...], list[Labels]]] = [
        ((Matcher("service_name", "=", "cart"),), [CART, CART_2]),
        ((Matcher("service_name", "=", "cart"), Matcher("k8s_pod_name", "!=", "cart-1")), [CART_2]),
        ((Matcher("k8s_pod_name", "=~", "cart-."),), [CART, CART_2]),
        ((Matcher("k8s_pod_name", "=~", "cart"),), []),
        ((Matcher("k8s_pod_name", "=", ""),), [UNKNOWN]),
        ((Matcher("k8s_pod_name", "!~", ".+"),), [UNKNOWN]),
        ((Matcher("__name__", "!=", "x"),), [CART, CART_2, UNKNOWN]),
    ]
    for matchers, expected in cases:
        found = (await any_tier.logs.list_streams("t1", Selection(matchers, *later), 0)).value
        assert [stream.labels for stream in found] == expected, matchers
        records = (await any_tier.logs.find_logs("t1", LogQuery(ALL_TIME, streams=matchers))).value
        assert {record.stream for record in records} == set(expected), matchers


async def test_the_stream_of_a_record_equals_the_tables(hot_tier: HotTier) -> None:
    """Labels and id of every index label, odd text, and resources that name nothing."""
    everything = {name: f"{label} ä\\'" for label, name in INDEX_LABELS.items()}
    written = await hot_tier.store_logs(logs_of(everything.pop("service.name"), wire_log(1), **everything), logs_of("", wire_log(2)))
    rows = [
        row
        for clickhouse in hot_tier.clickhouses
        for row in await clickhouse.query(f"SELECT toUnixTimestamp64Nano(timestamp) AS time, stream FROM {clickhouse.database}.logs", {})
    ]
    assert {int(time): int(stream) for time, stream in rows} == {
        record.timestamp_ns: labels_id("t1", attributes_of(record.stream)) for record in written
    }
    assert len(written[0].stream) == len(INDEX_LABELS)
    assert stream_labels({"service.name": 5, "k8s.pod.name": ""}) == UNKNOWN


async def test_streams_and_a_service_page_in_the_order_of_the_table(hot_tier: HotTier) -> None:
    """With other filters beside."""
    written = await store(hot_tier)
    query = log_query(ALL_TIME, limit=5, body_contains="four")
    matchers = (Matcher("service_name", "=", "cart"), Matcher("k8s_pod_name", "=", "cart-1"))
    found = (await hot_tier.logs.find_logs("t1", LogQuery(query.time_range, query.predicate, 5, streams=matchers))).value
    assert [record.timestamp_ns for record in found] == sorted((r.timestamp_ns for r in written if r.body == "four"), reverse=True)[:5]


async def test_records_of_an_older_schema_and_writer_have_their_stream(shared_hot_node: HotNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that were there before, and rows that a writer of the version before still sends."""
    async with open_tier([shared_hot_node]) as tier:
        clickhouse, matchers = tier.clickhouses[0], (Matcher("service_name", "=", "shop"),)
        await clickhouse.command(f"DROP DATABASE {clickhouse.database}")
        older = [migration for migration in read_migrations() if migration.version < 5]
        await ClickHouseSchema(clickhouse, migrations=older).migrate()
        monkeypatch.setitem(LANDINGS, LOGS, replace(LANDINGS[LOGS], table="logs_in_1"))
        await tier.store_logs(logs_of("shop", wire_log(1)))
        await ClickHouseSchema(clickhouse).migrate()
        await tier.store_logs(logs_of("shop", wire_log(2)))
        rows = await clickhouse.query(f"SELECT stream FROM {clickhouse.database}.logs", {})
        assert [number for (number,) in rows] == [labels_id("t1", (("service.name", "shop"),))] * 2
        found = (await tier.logs.list_streams("t1", Selection(matchers, START_MS, START_MS), 0)).value
        assert found == [LogStream((("service_name", "shop"),), 1, 5)]
