"""Retention over real tables: what is kept of each signal, and that nothing is kept for ever because it was forgotten."""

from __future__ import annotations

import secrets
import time

import pytest
from prometheus_client import REGISTRY

from services.compactor.retire import retire
from services.compactor.setbacks import ATTEMPTS, Setbacks
from tael.cold.files import ROLLED
from tael.errors import Unavailable
from tael.model.retention import Retention
from tael.model.signals import METRICS
from tael.storage.api import Shard
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.holdings import ClickHouseHoldings, TableHoldings
from tael.storage.clickhouse.schema import KEPT, ClickHouseSchema
from tael.storage.clickhouse.stored_rows import ClickHouseRows
from tael.storage.holdings import Holding
from tael.storage.partitions import PartitionSize
from tael.wal import codec
from tests.contract.test_metric_tables import batch
from tests.support.cold import Crash
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, HotTier, logs_of, of_service, open_tier, wire_log, wire_span

FOR_EVER, DAY_NS = 36500.0, 86_400 * 10**9
SIGNALS = ("logs", "metrics", "payloads", "traces")
OF_NO_SIGNAL = {"tael_migrations", "tael_counted_since", "tael_condemned_payloads", "tael_known_references"}


async def tables(clickhouse: ClickHouse) -> set[str]:
    """Every table that stores rows, whoever made it."""
    rows = await clickhouse.query(
        "SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree' AND name NOT LIKE '%_rolling'",
        {"database": clickhouse.database},
    )
    return {name.decode() if isinstance(name, bytes) else str(name) for (name,) in rows} - OF_NO_SIGNAL


async def filled(clickhouse: ClickHouse) -> set[str]:
    """Those that have a row."""
    counts = {name: await clickhouse.query(f"SELECT count() FROM {clickhouse.database}.{name}", {}) for name in await tables(clickhouse)}
    return {name for name, rows in counts.items() if int(rows[0][0])}


async def fill(tier: HotTier, tenant: str = "t1") -> None:
    """A span, a log record, a payload and all kinds of samples, all of one day."""
    await tier.store_payloads(b"said", tenant=tenant)
    await tier.store(of_service("shop", wire_span(0)), tenant=tenant)
    await tier.store_logs(logs_of("shop", wire_log()), tenant=tenant)
    await tier.writers[0].write(METRICS, codec.encode(tenant, 1, batch().SerializeToString()), secrets.token_hex(8))


async def test_every_table_is_kept_as_long_as_its_signal(shared_hot_node: HotNode) -> None:
    """Logs go when logs are to go, with them nothing else; with all three, no table that a writer fills has a row left."""
    async with open_tier([shared_hot_node]) as tier:
        [clickhouse] = tier.clickhouses
        schema, days = ClickHouseSchema(clickhouse), {"traces": FOR_EVER, "logs": FOR_EVER, "metrics": FOR_EVER}
        await fill(tier)
        every = await tables(clickhouse)
        assert await filled(clickhouse) == every

        async def gone() -> int:
            before = len(await schema.list_partitions())
            assert await retire(schema, ClickHouseRows(clickhouse), Retention(days), 0) == 0
            return before - len(await schema.list_partitions())

        assert await gone() == 0
        days["logs"] = (time.time_ns() - START_NS) / DAY_NS - 3
        assert await gone() == 3
        of_logs, of_traces = (
            {"logs", "log_streams", "log_attribute_keys"},
            {"spans", "trace_index", "span_attribute_keys", "service_minutes", "service_hours", "span_names"},
        )
        assert await filled(clickhouse) == every - of_logs
        days["traces"] = days["logs"]
        of_traces |= {
            "payloads",
            "payload_hours",
            "payload_references",
        }  # which spans and log records refer to, so the longer of the two keeps them
        assert await gone() == len(of_traces)
        assert await filled(clickhouse) == every - of_logs - of_traces
        days["metrics"] = days["logs"]
        assert await gone() == len(every - of_logs - of_traces)
        assert await filled(clickhouse) == set()
        assert await gone() == 0


async def rows_of(clickhouse: ClickHouse, tenant: str) -> dict[str, int]:
    """How many rows each table has of a tenant, where it has any."""
    found = {
        name: await clickhouse.query(
            f"SELECT count() FROM {clickhouse.database}.{name} WHERE tenant = {{tenant:String}}", {"tenant": tenant}
        )
        for name in KEPT
    }
    return {name: int(rows[0][0]) for name, rows in found.items() if int(rows[0][0])}


async def test_a_tenant_with_a_shorter_retention_loses_its_rows_alone(shared_hot_node: HotNode) -> None:
    """By rows, a few partitions a call; what is stored says so, and what everybody lets go but one tenant stays for that one."""
    async with open_tier([shared_hot_node]) as tier:
        [clickhouse] = tier.clickhouses
        schema, rows = ClickHouseSchema(clickhouse), ClickHouseRows(clickhouse)
        for tenant in ("shop", "bank", "long"):
            await fill(tier, tenant)
        tables, days = set(await rows_of(clickhouse, "shop")), (time.time_ns() - START_NS) / DAY_NS - 3
        assert tables == set(KEPT)
        for_ever = dict.fromkeys(("traces", "logs", "metrics"), FOR_EVER)
        shorter = Retention(for_ever, {"shop": dict.fromkeys(for_ever, days)})
        partitions = len(await schema.list_partitions())
        left = await retire(schema, rows, shorter, 0, at_once=5)
        assert left == partitions - 5
        assert await retire(schema, rows, shorter, 0) == 0
        assert await rows_of(clickhouse, "shop") == {}
        assert set(await rows_of(clickhouse, "bank")) == tables
        reader = ClickHouseHoldings(Shard("shard-0", TableHoldings(clickhouse)))
        held = (await reader.holdings(None)).value
        assert [(one.tenant, one.signal) for one in held] == [(t, s) for t in ("bank", "long") for s in SIGNALS]
        assert all(one.items > 0 and one.bytes > 0 and one.oldest_bytes <= one.bytes for one in held)
        assert [one.tenant for one in (await reader.holdings("long")).value] == ["long"] * len(SIGNALS)
        longer = Retention(dict.fromkeys(for_ever, days), {"long": for_ever})
        assert await retire(schema, rows, longer, 0) == 0
        assert await rows_of(clickhouse, "bank") == {}
        assert set(await rows_of(clickhouse, "long")) == tables


async def test_a_partition_that_cannot_be_dropped_delays_no_other(shared_hot_node: HotNode) -> None:

    class Failing(ClickHouseSchema):
        async def drop_partition(self, partition: PartitionSize) -> None:
            if partition.table == "spans":
                raise Unavailable("it cannot be dropped")
            await super().drop_partition(partition)

    async with open_tier([shared_hot_node]) as tier:
        [clickhouse] = tier.clickhouses
        schema, setbacks = Failing(clickhouse), Setbacks(77, 3600)
        await fill(tier)
        days = Retention(dict.fromkeys(("traces", "logs", "metrics"), (time.time_ns() - START_NS) / DAY_NS - 3))
        for _ in range(ATTEMPTS):
            with pytest.raises(Unavailable):
                await retire(schema, ClickHouseRows(clickhouse), days, 77, setbacks=setbacks)
        assert await retire(schema, ClickHouseRows(clickhouse), days, 77, setbacks=setbacks) == 0
        assert {one.table for one in await schema.list_partitions()} == {"spans"}
        assert counted("dropped_partitions_total") == len(KEPT) - 1
        assert counted("expired_partitions") == 0
        assert counted("set_aside", work="retire") == 1


def counted(metric: str, **labels: str) -> float | None:
    """A metric of the compactor about shard 77: metrics name a shard by its number."""
    return REGISTRY.get_sample_value(f"tael_compactor_{metric}", {"shard": "77", **labels})


@pytest.mark.usefixtures("object_server")
async def test_stored_items_and_bytes_are_counted_in_every_tier(shared_hot_node: HotNode) -> None:
    """Items stay as many wherever they are, on their way too; bytes are told apart; what goes next is the oldest hour of either tier."""
    async with open_tier([shared_hot_node], tiering="cold") as tier:
        cold = tier.cold
        assert cold is not None
        [reader] = [ClickHouseHoldings(shard) for shard in tier.shards(TableHoldings)]

        async def held(tenant: str | None = None) -> dict[tuple[str, str], Holding]:
            answer = await reader.holdings(tenant)
            assert not answer.missing
            return {one[:2]: one for one in answer.value}

        tier.rolls = False
        for tenant in ("shop", "bank"):
            await fill(tier, tenant)
        before = await held()
        assert {one.cold_bytes for one in before.values()} == {0}
        cold.crash_at = "rolling"
        with pytest.raises(Crash):
            await cold.roll()
        assert {key: one.items for key, one in (await held()).items()} == {key: one.items for key, one in before.items()}
        cold.crash_at = ""
        await cold.roll()
        files = await cold.manifests.read(0)
        after = await held()
        for (tenant, signal), one in after.items():
            own = [file for table in ROLLED for file in files.files(table, tenant) if KEPT[table].signal == signal]
            assert (one.items, one.cold_bytes) == (before[tenant, signal].items, sum(file.bytes for file in own))
            assert one.oldest_ns == before[tenant, signal].oldest_ns
            assert one.hot_bytes < before[tenant, signal].hot_bytes
        goes = after["bank", "logs"]
        assert goes.oldest_bytes == goes.bytes  # of the one hour that there is
        await fill(tier, "bank")
        await tier.store_payloads(b"more", tenant="bank")  # the writer's token of the one that was said is still known
        late = await held("bank")
        assert {key: one.items for key, one in late.items()} == {key: 2 * before[key].items for key in late}
        assert all(late[key].hot_bytes > after[key].hot_bytes and late[key].cold_bytes == after[key].cold_bytes for key in late)
