"""Questions over two places of rows, as while a partition is on its way to another tier: the answers are those of one table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tael.errors import TooLarge
from tael.model.series import Matcher, Selection
from tael.model.time import ALL_TIME, NS_PER_SECOND, TimeRange
from tael.storage.api import ServiceStats
from tael.storage.clickhouse import topology as clickhouse_topology
from tael.storage.clickhouse.logs import ClickHouseLogs
from tael.storage.clickhouse.source import HotTables, Source
from tael.storage.clickhouse.spans import ClickHouseSpans
from tael.storage.clickhouse.topology import ClickHouseTopology
from tests.support.hotnode import HotNode
from tests.support.storage import (
    START_NS,
    HotTier,
    log_query,
    logs_of,
    new_trace_id,
    of_service,
    open_tier,
    span_query,
    wire_log,
    wire_span,
)

HOUR_NS = 3_600 * 10**9
MOVED = ("spans", "trace_index", "logs", "log_streams")


class TwoTables(HotTables):
    """Rows of a table and of one beside it; neither has the other's."""

    def in_table(self, table: str, time_range: TimeRange) -> bool:  # the same
        return False

    def rows(self, table: str, tenant: str, time_range: TimeRange = ALL_TIME, **_: object) -> str:
        hot = super().rows(table, tenant, time_range)
        if table not in MOVED:
            return hot
        return f"(SELECT * FROM {hot} UNION ALL SELECT * FROM {hot}_rolling)"


@pytest.fixture
async def tier(shared_hot_node: HotNode) -> AsyncIterator[HotTier]:
    """A shard with a table beside each of those that are asked about here."""
    async with open_tier([shared_hot_node]) as opened:
        clickhouse = opened.clickhouses[0]
        made = [table for table in MOVED if table not in ("spans", "logs")]
        for table in made:
            await clickhouse.command(f"CREATE TABLE {clickhouse.database}.{table}_rolling AS {clickhouse.database}.{table}")
        yield opened
        # With the tables that every database has, the next test need not have it migrated again.
        for table in made:
            await clickhouse.command(f"DROP TABLE {clickhouse.database}.{table}_rolling SYNC")


async def move(tier: HotTier, table: str, hour_ns: int) -> None:
    """Move the partition of an hour to the table beside."""
    name, partition = f"{tier.clickhouses[0].database}.{table}", hour_ns // HOUR_NS * 3_600
    await tier.clickhouses[0].command(f"ALTER TABLE {name} MOVE PARTITION ID '{partition}' TO TABLE {name}_rolling")


def both(tier: HotTier) -> Source:
    return TwoTables(tier.clickhouses[0].database)


async def test_spans(tier: HotTier) -> None:
    """Pages, traces and services; a trace that is in both places counts once."""
    ids = [new_trace_id() for _ in range(5)]
    spans = [
        wire_span(hour * HOUR_NS + i, trace_id=ids[i % 5], duration_ns=10, attributes={"k": hour}) for i in range(20) for hour in (0, 1)
    ]
    written = await tier.store(of_service("shop", *spans))
    await move(tier, "spans", START_NS)
    reader, alone = ClickHouseSpans(tier.clickhouses[0], source=both(tier)), ClickHouseSpans(tier.clickhouses[0])
    day = TimeRange(START_NS, START_NS + 24 * HOUR_NS)
    assert len((await alone.find_spans("t1", span_query(day))).value) == 20
    found = (await reader.find_spans("t1", span_query(day, limit=30, service="shop"))).value
    assert [span.start_ns for span in found] == sorted((span.start_ns for span in written), reverse=True)[:30]
    assert {span.attributes["k"] for span in (await reader.find_spans("t1", span_query(day, attributes=[("k", "0")]))).value} == {0}
    assert len((await reader.get_trace("t1", ids[0])).value) == 8
    (stats,) = (await reader.list_services("t1", day)).value
    assert stats == ServiceStats("shop", 40, 5, 0, 400)


async def test_names_of_the_time_within_which_a_range_begins(tier: HotTier) -> None:
    """Names are counted in steps of 15 seconds: a range that begins and ends within one finds what is counted in it."""
    at = START_NS // (15 * NS_PER_SECOND) * 15 * NS_PER_SECOND + 5 * NS_PER_SECOND
    await tier.store(of_service("shop", wire_span(at - START_NS, name="op")))
    topology, range_ = ClickHouseTopology(tier.clickhouses[0]), TimeRange(at - NS_PER_SECOND, at + NS_PER_SECOND)
    assert (await topology.list_services("t1", range_)).value == {"shop"}
    assert (await topology.list_operations("t1", "shop", range_)).value == {("op", 0)}


async def test_names_beyond_the_limit_are_refused(tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that was cut silently would look whole."""
    trace_id = new_trace_id()
    parent, child = (wire_span(i, trace_id=trace_id, span_id=bytes([i + 1] * 8), name=f"op {i}") for i in range(2))
    child.parent_span_id = parent.span_id
    await tier.store(of_service("shop", parent), of_service("db", child))
    topology, day = ClickHouseTopology(tier.clickhouses[0]), TimeRange(START_NS - HOUR_NS, START_NS + HOUR_NS)
    monkeypatch.setattr(clickhouse_topology, "_MOST", 1)
    assert (await topology.list_operations("t1", "shop", day)).value == {("op 0", 0)}
    assert (await topology.count_calls("t1", day)).value == {("shop", "db"): 1}
    with pytest.raises(TooLarge, match="more than 1 services"):
        await topology.list_services("t1", day)


async def test_logs(tier: HotTier) -> None:
    """Words are found without the index too, in any case; streams add up."""
    await tier.store_logs(logs_of("shop", *(wire_log(hour * HOUR_NS, f"Payment DECLINED {hour}") for hour in (0, 1))))
    for table in ("logs", "log_streams"):
        await move(tier, table, START_NS)
    reader = ClickHouseLogs(tier.clickhouses[0], both(tier))
    cases: list[dict[str, Any]] = [{"words": "declined"}, {"body_contains": "payment declined"}, {"service": "shop"}]
    for filters in cases:
        found = (await reader.find_logs("t1", log_query(ALL_TIME, **filters))).value
        assert [record.body for record in found] == ["Payment DECLINED 1", "Payment DECLINED 0"], filters
    start_ms = START_NS // 10**6
    selection = Selection((Matcher("service_name", "=", "shop"),), start_ms, start_ms + 3_600_000)
    assert [stream.records for stream in (await reader.list_streams("t1", selection, 0)).value] == [2]
