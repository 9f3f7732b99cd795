"""Items that protobuf reads and ClickHouse does not, as only a damaged or a hostile request has them: the writer goes on, and stores them.

Protobuf cuts a number that is too wide for its field, lets the last member of a oneof win, and takes a field of another wire type for one
that it does not know. What it takes is acknowledged, so it must not keep the writer from the acknowledged items behind it.
"""

from __future__ import annotations

import random
import time

import aiohttp
import pytest
from nats.aio.client import Client
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from services.ingest.telemetry import WriterMetrics
from tael.model.signals import LOGS, METRICS, TRACES
from tael.otlp.signals import SIGNALS
from tael.wal.jetstream.append import JetStreamAppender
from tests.contract.test_dead_letters import until
from tests.contract.test_fuzz import damaged
from tests.support.hotnode import HotNode
from tests.support.nats import NatsServer
from tests.support.otlp import Receivers, receiving, sample
from tests.support.storage import HotTier, open_tier
from tests.support.writing import open_cluster, writing

WIDE = b"\x80\x80\x80\x80\x80\x80\x20"
"""2**43 as a varint."""
BOTH = KeyValue(key="both").SerializeToString() + b"\x12\x05" + b"\x0a\x01a" + b"\x18\x05"
"""An attribute whose value is a text and then the number 5."""
TAILS = {
    LOGS: {
        "a severity that is too wide": b"\x10" + WIDE,
        "flags of another type": b"\x40\x01",
        "a group": b"\xa3\x06\x08\x01\xa4\x06",
        "two values in one": b"\x32" + bytes([len(BOTH)]) + BOTH,
    },
    TRACES: {
        "a kind that is too wide": b"\x30" + WIDE,
        "a start of another type": b"\x38\x01",
        "a group": b"\xa3\x06\x08\x01\xa4\x06",
        "two values in one": b"\x4a" + bytes([len(BOTH)]) + BOTH,
    },
}
"""What follows an item's own bytes, by signal."""


async def send(r: Receivers, signal: str, body: bytes) -> int:
    """The status of a request over HTTP."""
    headers = {"Content-Type": "application/x-protobuf"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"http://{r.http}{SIGNALS[signal].http_path}", data=body) as answer,
    ):
        return answer.status


def with_tail(signal: str, name: str, tail: bytes) -> bytes:
    """A request of one item whose bytes end so; ``name`` is its body or its name."""
    if signal == LOGS:
        logs = ExportLogsServiceRequest()
        logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=time.time_ns()).body.string_value = name
        item = logs.resource_logs[0].scope_logs[0].log_records[0].SerializeToString() + tail
    else:
        spans = ExportTraceServiceRequest()
        spans.resource_spans.add().scope_spans.add().spans.add(
            trace_id=b"t" * 16, span_id=b"s" * 8, name=name, start_time_unix_nano=time.time_ns()
        )
        item = spans.resource_spans[0].scope_spans[0].spans[0].SerializeToString() + tail
    for tag in (b"\x12", b"\x12", b"\x0a"):
        assert len(item) < 128
        item = tag + bytes([len(item)]) + item
    return item


async def names(tier: HotTier, table: str, column: str) -> set[str]:
    clickhouse = tier.clickhouses[0]
    rows = await clickhouse.query(f"SELECT {column} FROM {clickhouse.database}.{table}", {})
    return {name.decode() if isinstance(name, bytes) else str(name) for (name,) in rows}


def untroubled(metrics: WriterMetrics) -> bool:
    """Nothing was buried and nothing had to be tried again."""
    counters = [metrics.retries.labels("0"), *(metrics.dead_letters.labels("0", signal) for signal in SIGNALS)]
    return all(counter._value.get() == 0 for counter in counters)


@pytest.mark.parametrize(("signal", "table", "column"), [(LOGS, "logs", "body"), (TRACES, "spans", "name")])
async def test_damaged_items_and_those_after_them_are_stored(
    signal: str, table: str, column: str, nats_server: NatsServer, nats_client: Client, shared_hot_node: HotNode
) -> None:
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    async with (
        open_tier([shared_hot_node]) as tier,
        receiving(JetStreamAppender(nats_client, "tael")) as r,
        writing(nats_client, kv, tier.writers[0]) as metrics,
    ):
        for name, tail in TAILS[signal].items():
            assert await send(r, signal, with_tail(signal, name, tail)) == 200

            async def stored(name: str = name) -> bool:
                return name in await names(tier, table, column)

            await until(stored)
        assert untroubled(metrics)


async def test_every_acknowledged_damaged_request_is_written(
    nats_server: NatsServer, nats_client: Client, shared_hot_node: HotNode
) -> None:
    """Of hundreds of damaged requests of every signal those that were taken; then what others send."""
    chance = random.Random(5)
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    async with (
        open_tier([shared_hot_node]) as tier,
        receiving(JetStreamAppender(nats_client, "tael")) as r,
        writing(nats_client, kv, tier.writers[0]) as metrics,
    ):
        for signal in (TRACES, LOGS, METRICS) * 120:
            assert await send(r, signal, damaged(sample(signal, 3).SerializeToString(), chance)) in (200, 400)
        assert await send(r, LOGS, sample(LOGS, 1, marker="neighbour").SerializeToString()) == 200

        async def stored() -> bool:
            return "order 0 neighbour" in await names(tier, "logs", "body")

        await until(stored)
        assert untroubled(metrics)
