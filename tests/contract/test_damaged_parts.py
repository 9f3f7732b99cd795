"""A part that is damaged on disk: the answer says that it is not whole, and an operator is told which file."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.coordinator import sizes
from tael.cluster.shard import ShardAddress
from tael.errors import Unavailable
from tael.model.signals import TRACES
from tael.runtime.service import Stop
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.wal import codec
from tests.support.databases import MIGRATED, MakeNode
from tests.support.otlp import eventually
from tests.support.storage import RECEIVED_NS, of_service, wire_span


async def test_a_damaged_part_is_named_to_the_operator_alone(migrated_nodes: MakeNode) -> None:
    """With file and checksums; the caller reads only that a part is damaged."""
    node = migrated_nodes()
    clickhouse = ClickHouse(node.url, MIGRATED)
    spans = [wire_span(index, name=secrets.token_hex(50)) for index in range(2_000)]
    await ClickHouseWriter(clickhouse).write(
        TRACES,
        codec.encode("default", RECEIVED_NS, ExportTraceServiceRequest(resource_spans=[of_service("shop", *spans)]).SerializeToString()),
        "token",
    )
    [[path]] = await clickhouse.query(f"SELECT path FROM system.parts WHERE database = '{MIGRATED}' AND table = 'spans' AND active", {})
    node.stop()
    file = Path(path.decode()) / "data.bin"
    content = bytearray(file.read_bytes())
    content[::1_000] = bytes(byte ^ 0xFF for byte in content[::1_000])
    file.write_bytes(content)
    node.start()
    counted = {"server": f"127.0.0.1:{node.port}"}
    with capture_logs() as logs, pytest.raises(Unavailable, match="a part of this shard's data is damaged") as refused:
        await clickhouse.query(f"SELECT sum(cityHash64(span_id)), sum(length(name)) FROM {MIGRATED}.spans", {})
    await clickhouse.close()
    assert path.decode() not in str(refused.value)
    [line] = [line for line in logs if line["event"] == "ClickHouse cannot read a damaged part"]
    assert str(file) in line["reason"]
    assert "Checksum doesn't match" in line["reason"]
    assert REGISTRY.get_sample_value("tael_clickhouse_damaged_reads_total", counted) == 1


async def test_a_part_that_is_set_aside_is_counted_and_named(migrated_nodes: MakeNode) -> None:
    """Broken beyond what ClickHouse loads, and detached by hand; each is logged once, and forgotten when it is gone."""
    node = migrated_nodes()
    clickhouse = ClickHouse(node.url, MIGRATED)
    schema, shard = ClickHouseSchema(clickhouse), ShardAddress(index=0, url=node.url)
    for number in range(2):
        body = ExportTraceServiceRequest(resource_spans=[of_service("shop", wire_span(number * 3_600 * 10**9))])
        await ClickHouseWriter(clickhouse).write(TRACES, codec.encode("default", RECEIVED_NS, body.SerializeToString()), f"token-{number}")
    paths = f"SELECT path FROM system.parts WHERE database = '{MIGRATED}' AND table = 'spans' AND active ORDER BY path"
    [[broken], [taken]] = await clickhouse.query(paths, {})
    await clickhouse.close()
    node.stop()
    (Path(broken.decode()) / "columns.txt").write_text("this is not a list of columns")
    node.start()
    await clickhouse.command(f"ALTER TABLE {MIGRATED}.spans DETACH PART '{Path(taken.decode()).name}'")
    stop = Stop()
    with capture_logs() as logs:
        watching = asyncio.create_task(sizes.watch_sizes(shards_of(shard), lambda _: schema, NoLetters(), stop, every_seconds=0.05))
        await eventually(lambda: counted_aside("") == 1)
        assert counted_aside("broken-on-start") == 1
        await clickhouse.command(
            f"ALTER TABLE {MIGRATED}.spans DROP DETACHED PART '{Path(taken.decode()).name}' SETTINGS allow_drop_detached = 1"
        )
        await eventually(lambda: counted_aside("") is None)
        stop.set()
        await watching
    await clickhouse.close()
    lines = [line for line in logs if line["event"] == "ClickHouse has detached a part; its rows are missing from answers"]
    assert sorted(line["reason"] for line in lines) == ["broken-on-start", "detached by hand"]
    assert all("/detached/" in line["file"] and line["table"] == "spans" for line in lines)


def counted_aside(reason: str) -> float | None:
    """The gauge of the test's table."""
    return REGISTRY.get_sample_value("tael_hot_detached_parts", {"shard": "0", "table": "spans", "reason": reason})


class NoLetters:
    """Nothing was refused."""

    async def dead_letters(self) -> int:
        """None."""
        return 0


def shards_of(shard: ShardAddress) -> Callable[[], Awaitable[Iterable[ShardAddress]]]:
    """A shard map of one."""

    async def shards() -> Iterable[ShardAddress]:
        return [shard]

    return shards
