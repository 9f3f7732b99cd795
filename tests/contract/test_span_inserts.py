"""What an insert of spans promises: a token is written once, also over a restart, and what is refused leaves nothing."""

from __future__ import annotations

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from tael.errors import Rejected, Unavailable
from tael.model.signals import TRACES
from tael.model.time import ALL_TIME, TimeRange
from tael.storage.api import LANDING, SpanQuery
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.writer import MAX_HOURS, settings_of
from tael.wal import codec
from tests.contract.test_span_storage import length_prefix, trace
from tests.support.databases import MakeNode
from tests.support.hotnode import HotNode
from tests.support.storage import RECEIVED_NS, START_NS, HotTier, logs_of, new_trace_id, of_service, open_tier, wire_log, wire_span


async def test_a_token_is_written_once(hot_tier: HotTier) -> None:
    """However often it comes, also for spans of several hours and tenants."""
    spans = [wire_span(hour * 3_600 * 10**9) for hour in range(4) for _ in range(5)]
    for _ in range(3):
        await hot_tier.store(of_service("shop", *spans), token="0:1-5:traces")
    assert sum([await rows_of(clickhouse, "spans") for clickhouse in hot_tier.clickhouses]) == 20
    (stats,) = (await hot_tier.reader.list_services("t1", TimeRange(START_NS - 10**9, START_NS + 5 * 3_600 * 10**9))).value
    assert stats.span_count == 20
    await hot_tier.store(of_service("shop", *spans), token="0:6-9:traces")
    assert sum([await rows_of(clickhouse, "spans") for clickhouse in hot_tier.clickhouses]) == 40
    assert len((await hot_tier.reader.find_spans("t1", SpanQuery(ALL_TIME))).value) == 20


async def rows_of(clickhouse: ClickHouse, table: str) -> int:
    ((count,),) = await clickhouse.query(f"SELECT count() FROM {clickhouse.database}.{table}", {})
    return int(count)


async def test_a_token_is_remembered_over_a_restart(hot_nodes: MakeNode) -> None:
    """Also when the engine is killed, by the tables that views fill too, and where the process before made the tables."""
    node = hot_nodes()
    async with open_tier([node]) as tier:
        group, records = of_service("shop", wire_span(), wire_span()), logs_of("shop", wire_log(), wire_log(1))
        await tier.store(group, token="a")
        await tier.store_logs(records, token="b")
        node.kill()
        node.start()
        await tier.store(group, token="a")
        await tier.store_logs(records, token="b")
        (clickhouse,) = tier.clickhouses
        assert [await rows_of(clickhouse, table) for table in ("spans", "trace_index", "logs")] == [2, 2, 2]
        assert await clickhouse.query(f"SELECT sum(records) FROM {clickhouse.database}.log_streams", {}) == [(2,)]


@pytest.mark.parametrize("only", ["spans", "trace_index"])
async def test_a_block_that_reached_one_of_two_tables_is_completed(shared_hot_node: HotNode, only: str) -> None:
    """What a crash between the two targets leaves behind: the same token again completes it and doubles nothing."""
    async with open_tier([shared_hot_node]) as tier:
        (clickhouse,) = tier.clickhouses
        trace_id = new_trace_id()
        group = of_service("shop", wire_span(trace_id=trace_id), wire_span(1, trace_id=trace_id))
        written = await tier.store(group, token="a")
        other = "trace_index" if only == "spans" else "spans"
        await _forget(clickhouse, other)
        await tier.store(group, token="a")
        assert await rows_of(clickhouse, "spans") == 2
        assert await trace(tier, trace_id) == written
        await tier.store(group, token="a")
        assert await rows_of(clickhouse, "spans") == 2
        assert await rows_of(clickhouse, "trace_index") == 1


async def _forget(clickhouse: ClickHouse, table: str) -> None:
    """As if the block had never reached the table: neither its rows nor the memory of its token."""
    database = clickhouse.database
    await clickhouse.command(f"CREATE TABLE {database}.fresh AS {database}.{table}")
    await clickhouse.command(f"EXCHANGE TABLES {database}.fresh AND {database}.{table}")
    await clickhouse.command(f"DROP TABLE {database}.fresh")


async def test_bytes_that_are_no_batch_are_rejected_and_leave_nothing(shared_hot_node: HotNode) -> None:
    """Garbage, a cut body, ids of a wrong length: never retried, and the tier goes on."""
    async with open_tier([shared_hot_node]) as tier:
        (writer,) = tier.writers
        good = of_service("shop", wire_span())
        body = codec.encode("t1", RECEIVED_NS, b"\x0a" + length_prefix(good) + good.SerializeToString())
        bad_id = of_service("shop", wire_span(trace_id=b"x" * 20))
        wrong = codec.encode("t1", RECEIVED_NS, b"\x0a" + length_prefix(bad_id) + bad_id.SerializeToString())
        for index, refused in enumerate((b"garbage that is no protobuf", body[:-3], body + wrong)):
            with pytest.raises(Rejected):
                await writer.write(TRACES, refused, f"bad-{index}")
        assert await rows_of(tier.clickhouses[0], "spans") == 0
        await writer.write(TRACES, body, "good")
        assert await rows_of(tier.clickhouses[0], "spans") == 1


async def test_a_batch_over_too_many_hours_is_rejected(shared_hot_node: HotNode) -> None:
    """So that the writer cuts it in two; each hour is a part on disk."""
    async with open_tier([shared_hot_node]) as tier:
        spans = [wire_span(hour * 3_600 * 10**9) for hour in range(MAX_HOURS + 1)]
        with pytest.raises(Rejected, match="partitions"):
            await tier.store(of_service("shop", *spans))
        await tier.store(of_service("shop", *spans[:MAX_HOURS]))
        assert await rows_of(tier.clickhouses[0], "spans") == MAX_HOURS


async def test_an_empty_batch_is_accepted(shared_hot_node: HotNode) -> None:
    """A request without spans is legal."""
    async with open_tier([shared_hot_node]) as tier:
        await tier.store()
        await tier.store(ResourceSpans())
        assert await rows_of(tier.clickhouses[0], "spans") == 0


async def test_an_insert_of_an_older_release_is_repeated_into_its_landing_table(shared_hot_node: HotNode) -> None:
    """The token of an insert is known by its own landing table alone."""
    async with open_tier([shared_hot_node]) as tier:
        (clickhouse,) = tier.clickhouses
        body = codec.encode("t1", START_NS, ExportTraceServiceRequest(resource_spans=[of_service("shop", wire_span())]).SerializeToString())
        settings = settings_of(TRACES, "token")
        for landing, table in enumerate(("spans_in_5", "spans_in_6", "spans_in_7", "spans_in_8", "spans_in_9"), 0):
            await clickhouse.insert(table, body, "ProtobufSingle", settings)
            await tier.writers[0].write(TRACES, body, "token", landing=landing)
            assert await rows_of(clickhouse, "spans") == landing + 1


async def test_an_insert_of_a_newer_release_is_not_repeated(shared_hot_node: HotNode) -> None:
    """In a table of this release's the token would be new, and the spans would be there twice."""
    async with open_tier([shared_hot_node]) as tier:
        body = codec.encode("t1", START_NS, ExportTraceServiceRequest(resource_spans=[of_service("shop", wire_span())]).SerializeToString())
        with pytest.raises(Unavailable, match="newer version"):
            await tier.writers[0].write(TRACES, body, "token", landing=LANDING + 1)
        assert await rows_of(tier.clickhouses[0], "spans") == 0
