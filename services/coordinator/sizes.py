"""The leader's metrics of the hot tier: parts, rows and bytes by shard and table; detached parts; dead letters.

The rows of a detached part are missing from answers. Its path is logged once, when the leader first sees it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from prometheus_client import REGISTRY, Gauge

from tael.cluster.shard import ShardAddress
from tael.errors import Rejected, Retryable
from tael.runtime.observe import get_logger
from tael.runtime.service import Stop
from tael.storage.partitions import DetachedPart, PartitionSize, SchemaStore

log = get_logger("sizes")
_LABELS = ["shard", "table"]
PARTS = Gauge("tael_hot_parts", "Active parts.", _LABELS, registry=REGISTRY)
MOST_PARTS = Gauge(
    "tael_hot_most_parts",
    "Active parts of the partition with the most parts, which is what TOO_MANY_PARTS checks.",
    _LABELS,
    registry=REGISTRY,
)
ROWS = Gauge("tael_hot_rows", "Rows.", _LABELS, registry=REGISTRY)
BYTES = Gauge("tael_hot_bytes", "Bytes on disk.", _LABELS, registry=REGISTRY)
DETACHED = Gauge(
    "tael_hot_detached_parts",
    "Parts that are not read, because they were damaged or taken away.",
    ["shard", "table", "reason"],
    registry=REGISTRY,
)
_OF_TABLES = (PARTS, MOST_PARTS, ROWS, BYTES)
DEAD_LETTERS = Gauge("tael_dead_letters", "Dead letters awaiting inspection.", registry=REGISTRY)


class Letters(Protocol):
    """Counts the dead letters."""

    async def dead_letters(self) -> int:
        """The number of dead letters. Raises Unavailable."""
        ...


async def watch_sizes(
    shards: Callable[[], Awaitable[Iterable[ShardAddress]]],
    schema: Callable[[ShardAddress], SchemaStore],
    letters: Letters,
    stop: Stop,
    *,
    every_seconds: float = 15.0,
) -> None:
    """Update the gauges every few seconds until ``stop``, then clear them: from then on another leader reports."""
    seen: set[tuple[str, DetachedPart]] = set()
    filled: set[tuple[str, str]] = set()
    try:
        while not stop.is_set:
            try:
                DEAD_LETTERS.set(await letters.dead_letters())
                for shard in await shards():
                    filled = await _look(str(shard.index), schema(shard), filled)
                    seen = await _look_for_detached(str(shard.index), schema(shard), seen)
            except (Retryable, Rejected) as error:
                log.debug("cannot read table sizes", reason=str(error))
            await stop.sleep(every_seconds)
    finally:
        for gauge in (*_OF_TABLES, DETACHED):
            gauge.clear()
        DEAD_LETTERS.set(0)


async def _look(shard: str, schema: SchemaStore, filled: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Show the sizes of a shard's tables; return ``filled``, the shards and tables with partitions, with this shard's replaced."""
    tables: dict[str, list[PartitionSize]] = {}
    for partition in await schema.list_partitions():
        tables.setdefault(partition.table, []).append(partition)
    now = {(shard, table) for table in tables}
    # A table whose last partition was dropped or rolled is not listed any more, and would keep its last size.
    for labels in {one for one in filled if one[0] == shard} - now:
        for gauge in _OF_TABLES:
            gauge.remove(*labels)
    for table, partitions in tables.items():
        PARTS.labels(shard, table).set(sum(partition.parts for partition in partitions))
        MOST_PARTS.labels(shard, table).set(max(partition.parts for partition in partitions))
        ROWS.labels(shard, table).set(sum(partition.rows for partition in partitions))
        BYTES.labels(shard, table).set(sum(partition.bytes_on_disk for partition in partitions))
    return {one for one in filled if one[0] != shard} | now


async def _look_for_detached(shard: str, schema: SchemaStore, seen: set[tuple[str, DetachedPart]]) -> set[tuple[str, DetachedPart]]:
    """Count a shard's detached parts and log those not in ``seen``; return ``seen`` with this shard's parts replaced."""
    found = await schema.list_detached()
    now = {(shard, part) for part in found}
    counts = Counter((part.table, part.reason) for part in found)
    # A gauge without parts would keep its last value: labels that no part has any more are removed.
    for table, reason in {(part.table, part.reason) for seen_shard, part in seen if seen_shard == shard} - counts.keys():
        DETACHED.remove(shard, table, reason)
    for (table, reason), count in counts.items():
        DETACHED.labels(shard, table, reason).set(count)
    for _, part in sorted(now - seen, key=lambda one: one[1].path):
        log.error(
            "ClickHouse has detached a part; its rows are missing from answers",
            shard=shard,
            table=part.table,
            file=part.path,
            reason=part.reason or "detached by hand",
            bytes_on_disk=part.bytes_on_disk,
        )
    return {one for one in seen if one[0] != shard} | now
