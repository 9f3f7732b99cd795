"""A part that is damaged on disk: the answer says that it is not whole, and an operator is told which file."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tael.errors import Unavailable
from tael.model.signals import TRACES
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.writer import ClickHouseWriter
from tael.wal import codec
from tests.support.storage import RECEIVED_NS, MakeNode, of_service, wire_span


async def test_a_damaged_part_is_named_to_the_operator_alone(hot_nodes: MakeNode) -> None:
    """With file and checksums; the caller reads only that a part is damaged."""
    node = hot_nodes()
    clickhouse = ClickHouse(node.url, "damaged")
    await ClickHouseSchema(clickhouse).migrate()
    spans = [wire_span(index, name=secrets.token_hex(50)) for index in range(2_000)]
    await ClickHouseWriter(clickhouse).write(
        TRACES,
        codec.encode("default", RECEIVED_NS, ExportTraceServiceRequest(resource_spans=[of_service("shop", *spans)]).SerializeToString()),
        "token",
    )
    [[path]] = await clickhouse.query("SELECT path FROM system.parts WHERE database = 'damaged' AND table = 'spans' AND active", {})
    node.stop()
    file = Path(path.decode()) / "data.bin"
    content = bytearray(file.read_bytes())
    content[::1_000] = bytes(byte ^ 0xFF for byte in content[::1_000])
    file.write_bytes(content)
    node.start()
    counted = {"server": f"127.0.0.1:{node.port}"}
    with capture_logs() as logs, pytest.raises(Unavailable, match="a part of this shard's data is damaged") as refused:
        await clickhouse.query("SELECT sum(cityHash64(span_id)), sum(length(name)) FROM damaged.spans", {})
    await clickhouse.close()
    assert path.decode() not in str(refused.value)
    [line] = [line for line in logs if line["event"] == "ClickHouse cannot read a damaged part"]
    assert str(file) in line["reason"]
    assert "Checksum doesn't match" in line["reason"]
    assert REGISTRY.get_sample_value("tael_clickhouse_damaged_reads_total", counted) == 1
