"""Retention over real tables: what is kept of each signal, and that nothing is kept for ever because it was forgotten."""

from __future__ import annotations

import secrets
import time

from services.compactor.app import retire
from tael.model.signals import METRICS
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.wal import codec
from tests.contract.test_metric_tables import batch
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, HotTier, logs_of, of_service, open_tier, wire_log, wire_span

FOR_EVER, DAY_NS = 36500.0, 86_400 * 10**9
OF_NO_SIGNAL = {"tael_migrations"}


async def tables(clickhouse: ClickHouse) -> set[str]:
    """Every table that stores rows, whoever made it."""
    rows = await clickhouse.query(
        "SELECT name FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'", {"database": clickhouse.database}
    )
    return {name.decode() if isinstance(name, bytes) else str(name) for (name,) in rows} - OF_NO_SIGNAL


async def filled(clickhouse: ClickHouse) -> set[str]:
    """Those that have a row."""
    counts = {name: await clickhouse.query(f"SELECT count() FROM {clickhouse.database}.{name}", {}) for name in await tables(clickhouse)}
    return {name for name, rows in counts.items() if int(rows[0][0])}


async def fill(tier: HotTier) -> None:
    """A span, a log record and all kinds of samples, all of one day."""
    await tier.store(of_service("shop", wire_span(0)))
    await tier.store_logs(logs_of("shop", wire_log()))
    await tier.writers[0].write(METRICS, codec.encode("t1", 1, batch().SerializeToString()), secrets.token_hex(8))


async def test_every_table_is_kept_as_long_as_its_signal(shared_hot_node: HotNode) -> None:
    """Logs go when logs are to go, with them nothing else; with all three, no table that a writer fills has a row left."""
    async with open_tier([shared_hot_node]) as tier:
        [clickhouse] = tier.clickhouses
        schema, days = ClickHouseSchema(clickhouse), {"traces": FOR_EVER, "logs": FOR_EVER, "metrics": FOR_EVER}
        await fill(tier)
        every = await tables(clickhouse)
        assert await filled(clickhouse) == every
        assert await retire(schema, days, "shard-0") == 0
        days["logs"] = (time.time_ns() - START_NS) / DAY_NS - 3
        assert await retire(schema, days, "shard-0") == 3
        of_logs, of_traces = {"logs", "log_streams", "log_attribute_keys"}, {"spans", "trace_index", "span_attribute_keys"}
        assert await filled(clickhouse) == every - of_logs
        days["traces"] = days["logs"]
        assert await retire(schema, days, "shard-0") == 3
        assert await filled(clickhouse) == every - of_logs - of_traces
        days["metrics"] = days["logs"]
        assert await retire(schema, days, "shard-0") == len(every) - 6
        assert await filled(clickhouse) == set()
        assert await retire(schema, days, "shard-0") == 0
