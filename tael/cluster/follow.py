"""Follows the shard map as the coordinator publishes it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from tael.cluster.api import KeyValue
from tael.cluster.damaged import DamagedKeys
from tael.cluster.shard import SHARD_MAP_KEY, ShardMap


@contextlib.asynccontextmanager
async def follow_shard_map(kv: KeyValue, apply: Callable[[ShardMap], None]) -> AsyncIterator[asyncio.Event]:
    """Call ``apply`` with the current map and with each newer version while the block runs.

    Yields an event that is set once the first map was applied.
    """
    known = asyncio.Event()

    async def follow() -> None:
        version, damaged = 0, DamagedKeys()
        async for change in kv.watch(SHARD_MAP_KEY):
            if change.key == SHARD_MAP_KEY and change.value:
                shard_map = damaged.read(ShardMap, change)
                # Versions only grow: an older one, from a store restored from a backup, could lack shards that are being written to.
                if shard_map is not None and shard_map.version > version:
                    version = shard_map.version
                    apply(shard_map)
                    known.set()

    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow(), name="follow-shard-map")
        try:
            yield known
        finally:
            task.cancel()
