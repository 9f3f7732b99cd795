"""A resource or scope of a megabyte over a thousand items: what they share is stored once, so that the shard neither runs out of memory
nor keeps others waiting.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tael.model.signals import LOGS, TRACES
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.wal import codec
from tests.support.databases import MIGRATED, MakeNode
from tests.support.storage import RECEIVED_NS, START_NS

ITEMS = 1_000
CPU_SECONDS = 60
"""Views that look into resources unpack them: so the writer bounds an insert by what it is unpacked (services.ingest.writer.flat)."""
RESIDENT_BYTES = 3 << 30


def texts() -> list[KeyValue]:
    """A megabyte of attributes."""
    found = [KeyValue(key=f"attr.{index}") for index in range(20)]
    for pair in found:
        pair.value.string_value = os.urandom(25_000).hex()
    return found


def arrays() -> list[KeyValue]:
    """The same in arrays, which are kept as text."""
    found = [KeyValue(key=f"attr.{index}") for index in range(20)]
    for pair in found:
        pair.value.array_value.values.add().string_value = os.urandom(25_000).hex()
    return found


def long_keys() -> list[KeyValue]:
    """The same in the keys."""
    found = [KeyValue(key=os.urandom(25_000).hex()) for _ in range(20)]
    for pair in found:
        pair.value.int_value = 7
    return found


def in_resource(group: Any, make: Callable[[], list[KeyValue]]) -> list[Any]:
    """One resource, one scope."""
    group.resource.attributes.extend(make())
    return [group.scope_spans.add()] * ITEMS


def in_scope(group: Any, make: Callable[[], list[KeyValue]]) -> list[Any]:
    """One scope that says it."""
    scoped = group.scope_spans.add()
    scoped.scope.attributes.extend(make())
    return [scoped] * ITEMS


def over_scopes(group: Any, make: Callable[[], list[KeyValue]]) -> list[Any]:
    """One resource, and a scope for each item."""
    group.resource.attributes.extend(make())
    return [group.scope_spans.add() for _ in range(ITEMS)]


@pytest.mark.parametrize("make", [texts, arrays, long_keys])
@pytest.mark.parametrize("place", [in_resource, in_scope, over_scopes])
async def test_spans_share_what_their_resource_says(
    migrated_nodes: MakeNode, make: Callable[[], list[KeyValue]], place: Callable[[Any, Callable[[], list[KeyValue]]], list[Any]]
) -> None:
    """Wherever it stands, whatever it is made of."""
    request = ExportTraceServiceRequest()
    for scoped in place(request.resource_spans.add(), make):
        scoped.spans.add(
            trace_id=os.urandom(16), span_id=os.urandom(8), name="x", start_time_unix_nano=START_NS, end_time_unix_nano=START_NS
        )
    await _written(migrated_nodes, TRACES, request.SerializeToString(), "spans")


async def test_log_records_share_what_their_resource_says(migrated_nodes: MakeNode) -> None:
    """The same landing, another table."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    group.resource.attributes.extend(texts())
    records = group.scope_logs.add().log_records
    for _ in range(ITEMS):
        records.add(time_unix_nano=START_NS)
    await _written(migrated_nodes, LOGS, request.SerializeToString(), "logs")


async def _written(migrated_nodes: MakeNode, signal: str, request: bytes, table: str) -> None:
    node = migrated_nodes()
    clickhouse = ClickHouse(node.url, MIGRATED)
    assert node.process is not None
    process = psutil.Process(node.process.pid)
    try:
        before = process.cpu_times()
        await ClickHouseWriter(clickhouse).write(signal, codec.encode("default", RECEIVED_NS, request), secrets.token_hex(8))
        after = process.cpu_times()
        sizes = f"SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = '{MIGRATED}' AND table = '{table}'"
        [[rows, size]] = await clickhouse.query(sizes, {})
    finally:
        await clickhouse.close()
    assert rows == ITEMS
    assert size < 16 << 20
    assert after.user + after.system - before.user - before.system < CPU_SECONDS
    assert process.memory_info().rss < RESIDENT_BYTES
