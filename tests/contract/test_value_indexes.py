"""A search for a rare value reads the granules that may have it, whichever landing table its spans came through and whenever they were
written.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from tael.model.predicate import Compare, Field
from tael.model.signals import TRACES
from tael.model.time import TimeRange
from tael.storage.api import SpanQuery
from tael.storage.clickhouse import query_builder
from tael.storage.clickhouse import writer as clickhouse_writer
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema, read_migrations
from tael.storage.clickhouse.source import HotTables
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.wal import codec
from tests.support.databases import empty_shard, new_database
from tests.support.hotnode import HotNode
from tests.support.plans import indexes_of
from tests.support.storage import RECEIVED_NS, START_NS, of_service, wire_span

SPANS = 40_000
"""Five granules."""
AROUND = TimeRange(START_NS - 10**9, START_NS + 10**9)
RARE = SpanQuery(AROUND, Compare(Field("resource", "host.name"), "=", "rare"))
RARE_OF_SPAN = SpanQuery(AROUND, Compare(Field("attribute", "user.id"), "=", "rare"))


def on_host(host: str, first: int, count: int) -> ResourceSpans:
    """Spans of a host, each of which says it too."""
    spans = (wire_span(first + at, attributes={"user.id": host}) for at in range(count))
    return of_service("shop", *spans, **{"host.name": host})


async def store(clickhouse: ClickHouse, *groups: ResourceSpans, landing: str = "") -> None:
    """Write them by this or by another landing table."""
    body = codec.encode("t1", RECEIVED_NS, ExportTraceServiceRequest(resource_spans=groups).SerializeToString())
    table = landing or clickhouse_writer.LANDINGS[TRACES].table
    await clickhouse.insert(table, body, "ProtobufSingle", clickhouse_writer.settings_of(TRACES, secrets.token_hex(8)))


async def granules(clickhouse: ClickHouse, query: Any) -> tuple[int, int]:
    """How many of how many granules are read."""
    statement = query_builder.find_keys(HotTables(clickhouse.database), "t1", query)
    [[plan]] = await clickhouse.query(f"EXPLAIN indexes = 1, json = 1 SELECT * FROM ({statement.sql})", statement.parameters)
    found = [index for index in indexes_of(json.loads(plan)) if index.get("Type") == "Skip" and "value" in index["Name"]]
    return min(index["Selected Granules"] for index in found), max(index["Initial Granules"] for index in found)


@pytest.fixture
async def clickhouse(shared_hot_node: HotNode) -> Any:
    """A database of its own, without its newest migrations."""
    client = ClickHouse(shared_hot_node.url, new_database())
    yield client
    await client.command(f"DROP DATABASE IF EXISTS {client.database} SYNC")
    await client.close()


@pytest.mark.parametrize("query", [RARE, RARE_OF_SPAN], ids=["resource", "span"])
async def test_a_rare_value_is_found_by_an_index(shared_hot_node: HotNode, query: Any) -> None:
    """In one granule of several."""
    async with empty_shard(shared_hot_node, ClickHouse) as clickhouse:
        await store(clickhouse, on_host("common", 0, SPANS), on_host("rare", SPANS, 1))
        read, of = await granules(clickhouse, query)
        assert (read, of > 3) == (1, True)
        assert len((await ClickHouseSpans(clickhouse).find_spans("t1", query)).value) == 1


async def test_rows_from_before_the_hashes_are_found(clickhouse: ClickHouse) -> None:
    """By older landing tables, before and after the migration, and when its parts were merged."""
    before = [migration for migration in read_migrations() if migration.version < 45]
    await ClickHouseSchema(clickhouse, migrations=before).migrate()
    await store(clickhouse, on_host("rare", 0, 1), landing="spans_in_4")
    await ClickHouseSchema(clickhouse).migrate()
    reader = ClickHouseSpans(clickhouse)
    await store(clickhouse, on_host("rare", 1, 1), landing="spans_in_3")
    await store(clickhouse, on_host("rare", 2, 1), landing="spans_in_4")
    await store(clickhouse, on_host("rare", 3, 1), on_host("common", 4, SPANS))
    assert len((await reader.find_spans("t1", RARE)).value) == 4
    await clickhouse.command(f"OPTIMIZE TABLE {clickhouse.database}.spans FINAL")
    assert len((await reader.find_spans("t1", RARE)).value) == 4
    read, of = await granules(clickhouse, RARE)
    assert read < of
