"""Bringing every shard's schema up to date, each on its own: a shard that is away keeps nobody waiting but itself.

How a shard stands is kept at ``schema.<shard>``, so that every process can tell why one has no writer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tael.cluster.api import KeyValue
from tael.cluster.damaged import DamagedKeys
from tael.cluster.shard import SchemaState, ShardAddress, ShardMap, schema_key
from tael.errors import TaelError
from tael.runtime.observe import get_logger
from tael.storage.api import SchemaStore

log = get_logger("migrate")
_PAUSE_SECONDS, _PAUSE_MAX_SECONDS = 0.5, 10.0


class Migrations:
    """One attempt at a time for each shard of the newest map, repeated with growing pauses until it succeeds."""

    def __init__(self, kv: KeyValue, schema: Callable[[ShardAddress], SchemaStore]) -> None:
        self._kv = kv
        self._schema = schema
        self._damaged = DamagedKeys()
        self._running: dict[ShardAddress, asyncio.Task[SchemaState]] = {}
        self._done: dict[ShardAddress, SchemaState] = {}
        self._due: dict[ShardAddress, tuple[float, float]] = {}

    async def step(self, shard_map: ShardMap) -> set[int]:
        """Start what is due, gather what has ended; the indexes of the shards that are migrated. Raises Unavailable."""
        for shard in shard_map.shards:
            if shard not in self._done and shard not in self._running and time.monotonic() >= self._due.get(shard, (0.0, 0.0))[0]:
                self._running[shard] = asyncio.create_task(self._migrate(shard), name=f"migrate-{shard.name}")
        if self._running:
            # A short wait lets a fresh start hand out leases in this very round; a slow shard is looked at again in the next one.
            await asyncio.wait(self._running.values(), timeout=0.1)
        # The key is the address and not the index: a shard that moved to another ClickHouse is migrated there too.
        for shard in [shard for shard, task in self._running.items() if task.done()]:
            state = self._running.pop(shard).result()
            await self._publish(shard, state)
            if state.migrated:
                self._done[shard] = state
            else:
                pause = min(_PAUSE_MAX_SECONDS, self._due.get(shard, (0.0, _PAUSE_SECONDS / 2))[1] * 2)
                self._due[shard] = (time.monotonic() + pause, pause)
        return {shard.index for shard in shard_map.shards if shard in self._done}

    async def close(self) -> None:
        """End what runs; a migration that was cut short is repeated whole by the next leader."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _migrate(self, shard: ShardAddress) -> SchemaState:
        try:
            ran = await self._schema(shard).migrate()
        except TaelError as error:
            return SchemaState(migrated=False, reason=str(error))
        if ran:
            log.info("migrated", shard=shard.name, migrations=ran)
        return SchemaState(migrated=True)

    async def _publish(self, shard: ShardAddress, state: SchemaState) -> None:
        key = schema_key(shard.index)
        found = await self._kv.get(key)
        # Written only when it changed: every retry of a shard that is away would otherwise wake all who watch the bucket.
        if found is None or self._damaged.read(SchemaState, found) != state:
            await self._kv.put(key, state.encode())
            if not state.migrated:
                log.warning("a shard is waiting for its schema migration", shard=shard.name, reason=state.reason)
