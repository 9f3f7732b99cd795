"""The minimum memory that an insert of spans under one large resource needs on a hot node.

    python -m bench.insert_memory --spans 6000 --resource-bytes 60000

Found by bisection: the insert is tried under different limits until the minimum is known within a twentieth.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import tempfile
from dataclasses import replace
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tael.errors import Overloaded, TooLarge
from tael.model.signals import TRACES
from tael.storage.clickhouse.client import INSERT_LIMITS, ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.writer import LANDINGS, settings_of
from tael.wal import codec
from tests.support.hotnode import HotNode
from tests.support.storage import RECEIVED_NS, START_NS


def body(spans: int, resource_bytes: int) -> bytes:
    """Spans of some dozens of bytes each, under one resource."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="process.command_line").value.string_value = os.urandom(resource_bytes // 2).hex()
    into = group.scope_spans.add().spans
    for index in range(spans):
        into.add(trace_id=os.urandom(16), span_id=os.urandom(8), name="x", start_time_unix_nano=START_NS + index)
    return codec.encode("default", RECEIVED_NS, request.SerializeToString())


async def passes(clickhouse: ClickHouse, inserted: bytes, mebibytes: int) -> bool:
    """Whether the insert succeeds under this limit."""
    limits = replace(INSERT_LIMITS, memory_bytes=mebibytes << 20)
    try:
        await clickhouse.insert(LANDINGS[TRACES].table, inserted, "ProtobufSingle", settings_of(TRACES, secrets.token_hex(8)), limits)
    except (TooLarge, Overloaded):
        return False
    return True


async def least(clickhouse: ClickHouse, inserted: bytes) -> int:
    """The minimum limit, in MiB, under which the insert succeeds."""
    low, high = 1, 4096
    while high - low > max(1, low // 20):
        middle = (low + high) // 2
        low, high = (low, middle) if await passes(clickhouse, inserted, middle) else (middle, high)
    return high


async def measure(spans: int, resource_bytes: int, directory: Path) -> int:
    """Measure on a new hot node."""
    with HotNode(directory / "hot") as node:
        clickhouse = ClickHouse(node.url, "memory")
        await ClickHouseSchema(clickhouse).migrate()
        found = await least(clickhouse, body(spans, resource_bytes))
        await clickhouse.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=int, default=6_000)
    parser.add_argument("--resource-bytes", type=int, default=60_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(f"{asyncio.run(measure(asked.spans, asked.resource_bytes, Path(name)))} MiB")


if __name__ == "__main__":
    main()
