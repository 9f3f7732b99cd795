"""The leader's gauges of the hot tier show what is there now, and nothing once another process leads."""

from __future__ import annotations

import asyncio
from typing import cast

from prometheus_client import REGISTRY

from services.coordinator.sizes import watch_sizes
from tael.cluster.shard import ShardAddress
from tael.runtime.service import Stop
from tael.storage.partitions import DetachedPart, PartitionSize, SchemaStore
from tests.support.otlp import eventually

SHARD = ShardAddress(index=7, url="http://localhost")


class Tables:
    """A shard's partitions, and the dead letters."""

    def __init__(self) -> None:
        self.partitions = [PartitionSize(table, 0, 5, 100, 2, "traces") for table in ("spans", "spans_rolling")]
        self.looks = 0

    async def list_partitions(self) -> list[PartitionSize]:
        """See SchemaStore."""
        self.looks += 1
        return self.partitions

    async def list_detached(self) -> list[DetachedPart]:
        """See SchemaStore."""
        return []

    async def dead_letters(self) -> int:
        """See Letters."""
        return 3


def rows(table: str) -> float | None:
    """The gauge of a table."""
    return REGISTRY.get_sample_value("tael_hot_rows", {"shard": "7", "table": table})


async def test_sizes_of_an_emptied_table_and_of_a_former_leader_are_removed() -> None:
    tables, stop = Tables(), Stop()

    async def shards() -> list[ShardAddress]:
        return [SHARD]

    watching = asyncio.create_task(watch_sizes(shards, lambda _: cast("SchemaStore", tables), tables, stop, every_seconds=0.001))
    await eventually(lambda: tables.looks >= 2)
    assert (rows("spans"), rows("spans_rolling"), REGISTRY.get_sample_value("tael_dead_letters")) == (5, 5, 3)
    tables.partitions = tables.partitions[:1]
    enough = tables.looks + 2
    await eventually(lambda: tables.looks >= enough)
    assert (rows("spans"), rows("spans_rolling")) == (5, None)
    stop.set()
    await watching
    assert (rows("spans"), REGISTRY.get_sample_value("tael_dead_letters")) == (None, 0)
