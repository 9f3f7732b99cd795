"""Items that lie far from now wait in a WAL of their own: they are written exactly once, and others do not wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tael.model.lanes import aside_of
from tael.model.signals import TRACES
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.writer import ASIDE_HOURS, ClickHouseWriter
from tael.wal import codec
from tael.wal.jetstream.append import JetStreamAppender
from tests.support.databases import MIGRATED, MakeNode
from tests.support.nats import NatsServer
from tests.support.storage import RECEIVED_NS, of_service, wire_span
from tests.support.writing import open_cluster, writing

HOURS = 200
HOUR_NS = 3_600 * 10**9


@pytest.fixture
async def clickhouse(migrated_nodes: MakeNode) -> AsyncIterator[ClickHouse]:
    """A client of a node of the test's own: to end one takes less than to empty hundreds of partitions."""
    node = migrated_nodes()
    made = ClickHouse(node.url, MIGRATED, node.user, node.password)
    yield made
    await made.close()


def body(service: str, *offsets_ns: int) -> bytes:
    """A body of the WAL with a span at each of these times."""
    request = ExportTraceServiceRequest(resource_spans=[of_service(service, *(wire_span(offset) for offset in offsets_ns))])
    return codec.encode("default", RECEIVED_NS, request.SerializeToString())


async def count(clickhouse: ClickHouse, service: str) -> tuple[int, int]:
    """Rows of a service, and different spans among them."""
    sql = f"SELECT count(), uniqExact(span_id) FROM {clickhouse.database}.spans WHERE service = {{service:String}}"  # names of ours
    [[rows, spans]] = await clickhouse.query(sql, {"service": service})
    return int(rows), int(spans)


async def test_neighbours_pass(clickhouse: ClickHouse, nats_server: NatsServer, nats_client: Client) -> None:
    """A span of now is readable while hundreds of hours are still being written, and then these are, each span once."""
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    appender = JetStreamAppender(nats_client, "tael")
    await appender.append(aside_of(0), TRACES, body("far", *(-hour * HOUR_NS for hour in range(HOURS))), HOURS, "a")
    far = writing(nats_client, kv, ClickHouseWriter(clickhouse, max_hours=ASIDE_HOURS), wal=aside_of(0))
    async with far as metrics, writing(nats_client, kv, ClickHouseWriter(clickhouse)), asyncio.timeout(240):
        while (await count(clickhouse, "far"))[0] == 0:  # noqa: ASYNC110  # what is watched is in another process
            await asyncio.sleep(0.02)
        await appender.append(0, TRACES, body("near", 0), 1, "b")
        while (await count(clickhouse, "near"))[0] == 0:  # noqa: ASYNC110  # the same
            await asyncio.sleep(0.02)
        assert (await count(clickhouse, "far"))[0] < HOURS
        while (await count(clickhouse, "far"))[0] < HOURS:  # noqa: ASYNC110  # the same
            await asyncio.sleep(0.1)
    assert await count(clickhouse, "far") == (HOURS, HOURS)
    assert not metrics.dead_letters._metrics


async def test_another_writer_resumes_inserts_of_far_items(clickhouse: ClickHouse, nats_server: NatsServer, nats_client: Client) -> None:
    """Stopped in the middle of its inserts: the successor repeats the intent, and nothing is there twice."""
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    storage = ClickHouseWriter(clickhouse, max_hours=ASIDE_HOURS)
    hours = HOURS // 4
    await JetStreamAppender(nats_client, "tael").append(
        aside_of(0), TRACES, body("far", *(-hour * HOUR_NS for hour in range(hours))), hours, "a"
    )
    for wanted in (1, hours):
        async with writing(nats_client, kv, storage, wal=aside_of(0)), asyncio.timeout(120):
            while (await count(clickhouse, "far"))[0] < wanted:  # noqa: ASYNC110  # what is watched is in another process
                await asyncio.sleep(0.01)
    assert await count(clickhouse, "far") == (hours, hours)
