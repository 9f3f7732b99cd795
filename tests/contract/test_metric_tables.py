"""What the log carries of metrics becomes rows of the hot tier, bit for bit and once."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest
import xxhash

from tael.model.series import STALE_BITS
from tael.model.signals import METRICS
from tael.pb.metrics_pb2 import Exemplar, Family, Histogram, MetricBatch, Series
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.wal import codec
from tests.support.storage import HotTier

HOUR = 1_790_000_400 // 3600 * 3600
T0 = HOUR * 1000


def bits(number: int) -> float:
    """The double with these bits."""
    return float(struct.unpack("<d", struct.pack("<Q", number))[0])


def batch(*, at: int = T0) -> MetricBatch:
    """Two samples of one series, one of them its end; one of everything else."""
    return MetricBatch(
        metric=[1, 1],
        series=[2**64 - 1, 2**64 - 1],
        time_ms=[at, at + 1],
        value=[0.1, bits(STALE_BITS)],
        histograms=[
            Histogram(
                metric=1,
                series=3,
                time_ms=at,
                schema=-4,
                count=4.5,
                sum=bits(STALE_BITS),
                zero_threshold=1e-128,
                zero_count=1,
                positive_index=[-3, 7],
                positive_counts=[1, 2.5],
                negative_index=[0],
                negative_counts=[1],
                reset_hint=3,
            )
        ],
        exemplars=[
            Exemplar(metric=1, series=2, time_ms=at, value=7, label_names=["trace_id"], label_values=["00ff"], trace_id=b"\x00\xff" * 8)
        ],
        new_series=[Series(metric=1, series=2, hour=HOUR, label_names=["__name__", "job"], label_values=["up", "ä\n"])],
        families=[Family(name="up", type="gauge", unit="", help="whether it is", hour=HOUR)],
    )


async def rows(clickhouse: ClickHouse, columns: str, table: str) -> Sequence[Any]:
    """Every row of a table, each once."""
    return [tuple(row) for row in await clickhouse.query(f"SELECT {columns} FROM {clickhouse.database}.{table} FINAL ORDER BY ALL", {})]


@pytest.mark.parametrize("hot_tier", ["one-shard"], indirect=True)
async def test_every_part_of_a_batch_becomes_rows(hot_tier: HotTier) -> None:
    """Bodies joined, one of them written twice, whose later value wins where a key comes again."""
    [clickhouse] = hot_tier.clickhouses
    again = MetricBatch(metric=[1], series=[5], time_ms=[T0], value=[1.0]), MetricBatch(metric=[1], series=[5], time_ms=[T0], value=[2.0])
    body = b"".join(codec.encode("t1", 1, message.SerializeToString()) for message in (batch(), *again))
    for _ in range(2):
        await hot_tier.writers[0].write(METRICS, body, "token")
    await hot_tier.writers[0].write(METRICS, codec.encode("t1", 1, again[0].SerializeToString()), "later")
    samples = await rows(clickhouse, "tenant, metric, series, toUnixTimestamp64Milli(ts), reinterpretAsUInt64(value)", "samples")
    assert samples == [
        (b"t1", 1, 5, T0, struct.unpack("<Q", struct.pack("<d", 1.0))[0]),
        (b"t1", 1, 2**64 - 1, T0, struct.unpack("<Q", struct.pack("<d", 0.1))[0]),
        (b"t1", 1, 2**64 - 1, T0 + 1, STALE_BITS),
    ]
    columns = "series, schema, count, reinterpretAsUInt64(sum), zero_threshold, zero_count, positive_index, positive_counts"
    histograms = await rows(clickhouse, f"{columns}, negative_index, negative_counts, custom_bounds, reset_hint", "histograms")
    assert histograms == [(3, -4, 4.5, STALE_BITS, 1e-128, 1.0, [-3, 7], [1.0, 2.5], [0], [1.0], [], 3)]
    assert await rows(clickhouse, "series, value, labels, trace_id", "exemplars") == [(2, 7.0, {b"trace_id": b"00ff"}, b"\x00\xff" * 8)]
    labels = {b"__name__": b"up", b"job": "ä\n".encode()}
    assert await rows(clickhouse, "metric_name, metric, series, toUnixTimestamp(hour), labels", "series") == [(b"up", 1, 2, HOUR, labels)]
    assert await rows(clickhouse, "name, type, unit, help", "metric_families") == [(b"up", b"gauge", b"", b"whether it is")]


@pytest.mark.parametrize("hot_tier", ["one-shard"], indirect=True)
async def test_the_engine_hashes_names_as_we_do(hot_tier: HotTier) -> None:
    """So that a query may write xxh3('name')."""
    for name in ("", "up", "http_requests_total", "ä" * 300):
        [[found]] = await hot_tier.clickhouses[0].query("SELECT xxh3({name:String})", {"name": name})
        assert found == xxhash.xxh3_64_intdigest(name.encode())


@pytest.mark.parametrize("hot_tier", ["one-shard"], indirect=True)
async def test_retention_sees_and_drops_every_hour(hot_tier: HotTier) -> None:
    """Each table is parted by hour, and a dropped hour is gone while the next one stays."""
    [clickhouse] = hot_tier.clickhouses
    schema = ClickHouseSchema(clickhouse)
    later = batch(at=T0 + 3_600_000)
    for message in (later.new_series[0], later.families[0]):
        message.hour += 3600
    body = b"".join(codec.encode("t1", 1, message.SerializeToString()) for message in (batch(), later))
    await hot_tier.writers[0].write(METRICS, body, "token")
    partitions = await schema.list_partitions()
    tables = {"samples", "histograms", "exemplars", "series", "metric_families"}
    assert {(one.table, one.start_ns) for one in partitions} == {
        (table, start * 10**9) for table in tables for start in (HOUR, HOUR + 3600)
    }
    for partition in partitions:
        if partition.start_ns == HOUR * 10**9:
            await schema.drop_partition(partition)
    for table in tables:
        assert {one.start_ns for one in await schema.list_partitions() if one.table == table} == {(HOUR + 3600) * 10**9}
