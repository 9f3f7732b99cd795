"""An insert that takes more memory than it may is cut in two, and nothing of it is stored twice: not even when a part of it was stored
already.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from nats.aio.client import Client
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from services.ingest.writer.bisect import halve
from tael.errors import Overloaded, TooLarge
from tael.model.signals import LOGS, TRACES
from tael.storage.clickhouse import stored
from tael.storage.clickhouse import writer as clickhouse_writer
from tael.storage.clickhouse.client import INSERT_LIMITS, OUT_OF_MEMORY, ClickHouse
from tael.storage.clickhouse.rows import text
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.wal import codec
from tael.wal.jetstream.append import JetStreamAppender
from tests.support.databases import empty_shard
from tests.support.hotnode import HotNode
from tests.support.nats import NatsServer
from tests.support.storage import RECEIVED_NS, START_NS
from tests.support.writing import open_cluster, writing


class Scarce(ClickHouse):
    """A ClickHouse whose inserts may take little."""

    memory_bytes = 0
    refused = 0

    async def insert(self, table, body, body_format, settings, limits=INSERT_LIMITS) -> None:  # type: ignore[no-untyped-def]  # as its base
        """See ClickHouse."""
        try:
            await super().insert(
                table, body, body_format, settings, replace(limits, memory_bytes=limits.memory_bytes and self.memory_bytes)
            )
        except TooLarge:
            self.refused += 1
            raise


@pytest.fixture
async def scarce(shared_hot_node: HotNode) -> AsyncIterator[Scarce]:
    async with empty_shard(shared_hot_node, Scarce) as clickhouse:
        yield clickhouse


def heavy(spans: int, text_bytes: int, *, service: str = "shop") -> bytes:
    """A body whose spans take that much each."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    name = group.resource.attributes.add(key="service.name")
    name.value.string_value = service
    into = group.scope_spans.add().spans
    for index in range(spans):
        span = into.add(trace_id=os.urandom(16), span_id=os.urandom(8), name="x", start_time_unix_nano=START_NS + index)
        span.attributes.add(key="text").value.string_value = os.urandom(text_bytes // 2).hex()
    return codec.encode("default", RECEIVED_NS, request.SerializeToString())


async def rows(clickhouse: ClickHouse, table: str = "spans", count: str = "count()") -> int:
    """How many there are."""
    [[found]] = await clickhouse.query(f"SELECT {count} FROM {clickhouse.database}.{table}", {})  # names of ours
    return int(found)


async def test_an_insert_beyond_its_memory_is_cut(scarce: Scarce, nats_server: NatsServer, nats_client: Client) -> None:
    """Down to pieces that fit, each of which is there once."""
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    appender = JetStreamAppender(nats_client, "tael")
    for name in ("a", "b", "c"):
        await appender.append(0, TRACES, heavy(70, 100_000), 70, name)
    scarce.memory_bytes = 60 << 20
    async with writing(nats_client, kv, ClickHouseWriter(scarce)) as metrics, asyncio.timeout(120):
        while await rows(scarce) < 210:  # noqa: ASYNC110  # what is watched is in another process
            await asyncio.sleep(0.05)
    assert scarce.refused
    assert await rows(scarce, count="uniqExact(span_id)") == await rows(scarce) == 210
    assert not metrics.dead_letters._metrics


async def test_a_partly_stored_insert_is_completed_without_duplicates(scarce: Scarce) -> None:
    """The spans are there and what is counted from them is not, as when that ran out of memory: the whole is inserted again, under its
    token.
    """
    body = heavy(6_000, 10, service="s" * 60_000)
    view = f"{scarce.database}.spans_to_red"
    [[definition]] = await scarce.query(f"SHOW CREATE TABLE {view}", {})
    await scarce.command(f"DROP VIEW {view}")
    await scarce.insert(clickhouse_writer.LANDINGS[TRACES].table, body, "ProtobufSingle", clickhouse_writer.settings_of(TRACES, "token"))
    await scarce.command(text(definition))
    assert (await rows(scarce), await rows(scarce, "red")) == (6_000, 0)
    scarce.memory_bytes = 150 << 20
    await ClickHouseWriter(scarce).write(TRACES, body, "token")
    assert scarce.refused
    assert await rows(scarce) == 6_000
    assert await rows(scarce, "red", "sum(calls)") == 6_000


async def test_a_large_resource_is_not_copied_for_each_span(scarce: Scarce) -> None:
    """Neither in its table nor in an index or a view of that: 6,000 copies of 60 kB would be 344 MiB."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="process.command_line").value.string_value = os.urandom(30_000).hex()
    into = group.scope_spans.add().spans
    for index in range(6_000):
        into.add(trace_id=os.urandom(16), span_id=os.urandom(8), name="x", start_time_unix_nano=START_NS + index)
    scarce.memory_bytes = 48 << 20
    await ClickHouseWriter(scarce).write(TRACES, codec.encode("default", RECEIVED_NS, request.SerializeToString()), "token")
    assert not scarce.refused
    assert await rows(scarce) == 6_000


class Starved(ClickHouse):
    """A ClickHouse that never has the memory for more than so many bytes, nor for what holds ``never``."""

    most_bytes = 1 << 40
    never = b"never fits"

    async def insert(self, table, body, body_format, settings, limits=INSERT_LIMITS) -> None:  # type: ignore[no-untyped-def]  # as its base
        """See ClickHouse."""
        if len(body) > self.most_bytes or self.never in body:
            raise (TooLarge("over its own limit") if limits.memory_bytes else Overloaded(OUT_OF_MEMORY, retry_after_seconds=0))
        await super().insert(table, body, body_format, settings, limits)


@pytest.mark.parametrize("signal", [TRACES, LOGS])
async def test_a_partly_stored_insert_that_never_fits_ends_in_dead_letters(
    signal: str, shared_hot_node: HotNode, nats_server: NatsServer, nats_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The items that are not there are written in pieces, one that fits nowhere is a dead letter, and all others are there once."""
    monkeypatch.setattr(clickhouse_writer, "_STARVED_ATTEMPTS", 2)
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    table, body = ("spans", heavy(100, 1_000)) if signal == TRACES else ("logs", lines(100, 1_000))
    cut = halve(signal, body)
    assert cut is not None
    async with empty_shard(shared_hot_node, Starved) as starved:
        storage = ClickHouseWriter(starved)
        await storage.write(signal, cut[0], "before")
        starved.most_bytes, starved.never = 20_000, (b"%d says" % 99 if signal == LOGS else body[-1_000:-900])
        await JetStreamAppender(nats_client, "tael").append(0, signal, body, 100, "a")
        async with writing(nats_client, kv, storage) as metrics, asyncio.timeout(120):
            while not metrics.dead_letters._metrics:  # noqa: ASYNC110  # what is watched is in another process
                await asyncio.sleep(0.05)
        assert await rows(starved, table) == 99
        assert await rows(starved, table, "uniqExact(span_id)" if signal == TRACES else "uniqExact(body)") == 99
    assert metrics.dead_letters.labels("0", signal)._value.get() == 1
    assert metrics.incomplete.labels("0", signal)._value.get() == 1


def lines(count: int, text_bytes: int) -> bytes:
    """A body of log records, several at each instant, of which two are the same."""
    request = ExportLogsServiceRequest()
    into = request.resource_logs.add().scope_logs.add().log_records
    for index in range(count):
        into.add(time_unix_nano=START_NS + index // 4).body.string_value = f"{index} says {'x' * text_bytes}"
    return codec.encode("default", RECEIVED_NS, request.SerializeToString())


def test_of_items_with_one_key_the_first_are_there() -> None:
    """Rows are made in the order of the body."""
    record = LogRecord(time_unix_nano=START_NS)
    request = ExportLogsServiceRequest(resource_logs=[ResourceLogs(scope_logs=[ScopeLogs(log_records=[record] * 3)])])
    body = codec.encode("default", RECEIVED_NS, request.SerializeToString())
    row = (b"default", RECEIVED_NS, START_NS, b"0", b"")
    for there in range(4):
        rest = stored.rest_of(LOGS, body, [(*row, there)])
        assert sum(one.items for one in codec.decode(rest)) == 3 - there or rest == body
    assert stored.rest_of(LOGS, body, [(*row, 3)]) == b""


async def test_a_server_without_memory_is_asked_a_few_times(scarce: Scarce, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may have taken it; after that the insert counts as too large."""

    async def starved(*_: object, **__: object) -> None:
        raise Overloaded("(total) memory limit exceeded (MEMORY_LIMIT_EXCEEDED)")

    monkeypatch.setattr(scarce, "insert", starved)
    writer = ClickHouseWriter(scarce)
    for _ in range(4):
        with pytest.raises(Overloaded):
            await writer.write(TRACES, heavy(1, 10), "token")
    with pytest.raises(TooLarge):
        await writer.write(TRACES, heavy(1, 10), "token")
