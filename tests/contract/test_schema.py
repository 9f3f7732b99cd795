"""The schema of a shard: migrations that run once and can be resumed, and partitions that can be dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tael.errors import Rejected, Unavailable
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema, Migration, read_migrations
from tael.storage.partitions import PartitionSize
from tests.contract.test_span_inserts import rows_of
from tests.support.databases import new_database
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, of_service, open_tier, wire_span


async def test_migrations_run_once_and_can_be_resumed(shared_hot_node: HotNode) -> None:
    """A migration that died before it was recorded is repeated whole; rows survive."""
    async with open_tier([shared_hot_node]) as tier:
        (clickhouse,) = tier.clickhouses
        schema = ClickHouseSchema(clickhouse)
        assert await schema.migrate() == []
        await tier.store(of_service("shop", wire_span()))
        await clickhouse.command(f"TRUNCATE TABLE {clickhouse.database}.tael_migrations")
        await clickhouse.command(f"DROP VIEW {clickhouse.database}.spans_in_9_to_spans")
        assert await schema.migrate() == [migration.name for migration in read_migrations()]
        assert await schema.migrate() == []
        await tier.store(of_service("shop", wire_span()))
        assert await rows_of(clickhouse, "spans") == 2


@pytest.fixture
async def bare(shared_hot_node: HotNode) -> AsyncIterator[ClickHouse]:
    """A database of the test's own that nothing is in."""
    clickhouse = ClickHouse(shared_hot_node.url, new_database(), shared_hot_node.user, shared_hot_node.password)
    yield clickhouse
    await clickhouse.command(f"DROP DATABASE {clickhouse.database} SYNC")
    await clickhouse.close()


FIRST = Migration(1, "0001_first", ("CREATE TABLE IF NOT EXISTS {{database}}.first (x Int8) ENGINE = {{engine}} ORDER BY x",))


async def test_a_broken_migration_is_not_recorded(bare: ClickHouse) -> None:
    """What ran before it stays, and it is tried again."""
    good = Migration(90, "0090_good", ("CREATE TABLE IF NOT EXISTS {{database}}.extra (x Int8) ENGINE = {{engine}} ORDER BY x",))
    bad = Migration(91, "0091_bad", (good.statements[0], "CREATE NONSENSE"))
    with pytest.raises(Unavailable, match="NONSENSE"):
        await ClickHouseSchema(bare, migrations=[FIRST, good, bad]).migrate()
    mended = replace(bad, statements=good.statements)
    assert await ClickHouseSchema(bare, migrations=[FIRST, good, mended]).migrate() == ["0091_bad"]


async def test_a_newer_schema_is_refused(bare: ClickHouse) -> None:
    """A program must not write to tables that it does not know."""
    newer = Migration(99, "0099_tomorrow", ("SELECT 1",))
    assert await ClickHouseSchema(bare, migrations=[FIRST, newer]).migrate() == ["0001_first", "0099_tomorrow"]
    with pytest.raises(Rejected, match="99"):
        await ClickHouseSchema(bare, migrations=[FIRST]).migrate()


async def test_partitions_are_hours_that_can_be_dropped(shared_hot_node: HotNode) -> None:
    """Oldest first; dropping one twice is no error and touches no other."""
    async with open_tier([shared_hot_node]) as tier:
        schema = ClickHouseSchema(tier.clickhouses[0])
        hour_ns = 3_600 * 10**9
        await tier.store(of_service("shop", wire_span(hour_ns), wire_span(0), wire_span(1)))

        async def hours() -> list[PartitionSize]:
            return [partition for partition in await schema.list_partitions() if partition.table == "spans"]

        first, second = await hours()
        assert (first.table, first.rows, second.rows) == ("spans", 2, 1)
        assert (first.start_ns, second.start_ns) == (START_NS // hour_ns * hour_ns, START_NS // hour_ns * hour_ns + hour_ns)
        assert first.bytes_on_disk > 0
        await schema.drop_partition(first)
        await schema.drop_partition(first)
        assert await hours() == [second]
        with pytest.raises(Rejected):
            await schema.drop_partition(replace(second, table="tael_migrations"))
