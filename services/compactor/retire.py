"""Enforces a shard's retention: drops whole partitions, and deletes rows of single tenants from a few partitions at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from prometheus_client import REGISTRY, Counter, Gauge

from services.compactor.plan import past_retention
from services.compactor.setbacks import Setbacks
from tael.cold.plan import Work
from tael.model.retention import Retention, Tenants
from tael.runtime.observe import get_logger
from tael.storage.partitions import PartitionSize, SchemaStore
from tael.storage.rows import RowStore

log = get_logger("compactor")
_REWRITTEN_AT_ONCE = 32
"""Partitions that one call deletes rows from: each has to be rewritten, and other shards get their turn in between."""
_PARTITIONS = Counter("tael_compactor_dropped_partitions", "Partitions dropped.", ["shard"], registry=REGISTRY)
_ROWS = Counter("tael_compactor_deleted_rows", "Rows deleted because of the retention of their tenant.", ["shard"], registry=REGISTRY)
_LEFT = Gauge("tael_compactor_expired_partitions", "Partitions with rows that are still to be deleted.", ["shard"], registry=REGISTRY)
GAUGES = (_LEFT,)


async def retire(
    schema: SchemaStore,
    rows: RowStore,
    retention: Retention,
    shard: int,
    *,
    setbacks: Setbacks | None = None,
    at_once: int = _REWRITTEN_AT_ONCE,
) -> int:
    """Drop and delete what is past its retention on shard number ``shard``; returns how many partitions with such rows are left for the
    next call.

    Idempotent, whichever process repeats it. Raises Retryable and Rejected as the stores do; a partition that fails again and again is
    skipped until ``setbacks`` allows another attempt.
    """
    setbacks = setbacks or Setbacks(shard)
    aside = setbacks.aside()
    listed = [one for one in await schema.list_partitions() if _work(one) not in aside]
    past = past_retention(listed, retention, time.time_ns())
    # Whole partitions first: dropping them is cheap and frees the most space, while deleting rows rewrites what stays.
    for partition in past.whole:
        with setbacks.of(_work(partition), _name(partition)):
            await schema.drop_partition(partition)
        _PARTITIONS.labels(str(shard)).inc()
        log.info("dropped", shard=shard, table=partition.table, start=partition.start_ns // 10**9, rows=partition.rows)
    found = await _with_rows(rows, past.in_part, setbacks)
    for partition, tenants, count in found[:at_once]:
        with setbacks.of(_work(partition), _name(partition)):
            await rows.delete_rows(partition, tenants)
        _ROWS.labels(str(shard)).inc(count)
        log.info("deleted rows", shard=shard, table=partition.table, start=partition.start_ns // 10**9, rows=count)
    left = len(found[at_once:])
    _LEFT.labels(str(shard)).set(left)
    return left


async def _with_rows(
    rows: RowStore, in_part: Sequence[tuple[PartitionSize, Tenants]], setbacks: Setbacks
) -> list[tuple[PartitionSize, Tenants, int]]:
    """The partitions that hold rows of their tenants, and how many, oldest first; one query for each table and set of tenants."""
    alike: dict[tuple[str, Tenants], list[PartitionSize]] = {}
    for partition, tenants in in_part:
        alike.setdefault((partition.table, tenants), []).append(partition)
    found: list[tuple[PartitionSize, Tenants, int]] = []
    aside = setbacks.aside()
    for (table, tenants), partitions in alike.items():
        if (work := Work("count", table, 0)) in aside:
            continue
        with setbacks.of(work, table):
            counts = await rows.count_rows(partitions, tenants)
        found += [(partition, tenants, counts[partition]) for partition in partitions if counts.get(partition)]
    return sorted(found, key=lambda one: (one[0].start_ns, one[0].table))


def _work(partition: PartitionSize) -> Work:
    return Work("retire", partition.table, partition.start_ns)


def _name(partition: PartitionSize) -> str:
    return f"{partition.table} of {partition.start_ns // 10**9}"
