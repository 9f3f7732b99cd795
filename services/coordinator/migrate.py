"""Migrates every shard's schema, independently: an unreachable shard delays only itself.

A migrated shard is checked now and then: a server that comes back with an empty disk is migrated again. Each shard's state is stored at
``schema.<shard>``, so that every process can show why a shard has no writer.
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
from tael.storage.partitions import SchemaStore

log = get_logger("migrate")
_PAUSE_SECONDS, _PAUSE_MAX_SECONDS = 0.5, 10.0
_LOOK_SECONDS = 10.0


class Migrations:
    """Tries each shard of the newest map, one attempt at a time with growing pauses, until it succeeds; then checks it every
    ``look_seconds``.
    """

    def __init__(self, kv: KeyValue, schema: Callable[[ShardAddress], SchemaStore], *, look_seconds: float = _LOOK_SECONDS) -> None:
        self._kv = kv
        self._schema = schema
        self._damaged = DamagedKeys()
        self._running: dict[ShardAddress, asyncio.Task[SchemaState]] = {}
        self._done: dict[ShardAddress, SchemaState] = {}
        self._due: dict[ShardAddress, tuple[float, float]] = {}
        self._look_seconds = look_seconds
        self._looking: dict[ShardAddress, asyncio.Task[bool]] = {}
        self._looked: dict[ShardAddress, float] = {}

    async def step(self, shard_map: ShardMap) -> set[int]:
        """Start attempts that are due and collect those that ended; return the indexes of migrated shards. Raises Unavailable."""
        self._look()
        for shard in shard_map.shards:
            if shard not in self._done and shard not in self._running and time.monotonic() >= self._due.get(shard, (0.0, 0.0))[0]:
                self._running[shard] = asyncio.create_task(self._migrate(shard), name=f"migrate-{shard.name}")
        if self._running:
            # A short wait lets a freshly started cluster grant leases in this same round; a slow shard is collected in a later one.
            await asyncio.wait(self._running.values(), timeout=0.1)
        # Keyed by address, not index: a shard that moved to another ClickHouse is migrated there too.
        for shard in [shard for shard, task in self._running.items() if task.done()]:
            state = self._running.pop(shard).result()
            await self._publish(shard, state)
            if state.migrated:
                self._done[shard] = state
                self._looked[shard] = time.monotonic()
            else:
                pause = min(_PAUSE_MAX_SECONDS, self._due.get(shard, (0.0, _PAUSE_SECONDS / 2))[1] * 2)
                self._due[shard] = (time.monotonic() + pause, pause)
        return {shard.index for shard in shard_map.shards if shard in self._done}

    async def close(self) -> None:
        """Cancel what runs; the next leader repeats an interrupted migration from the start."""
        tasks = [*self._running.values(), *self._looking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look(self) -> None:
        """Check that migrated shards still have their tables; one that has lost them becomes due again."""
        for shard in [shard for shard, task in self._looking.items() if task.done()]:
            self._looked[shard] = time.monotonic()
            if not self._looking.pop(shard).result():
                log.warning("a shard has lost its tables; making them again, empty", shard=shard.name)
                del self._done[shard]
        for shard in self._done:
            if shard not in self._looking and time.monotonic() - self._looked[shard] >= self._look_seconds:
                self._looking[shard] = asyncio.create_task(self._is_migrated(shard), name=f"look-at-{shard.name}")

    async def _is_migrated(self, shard: ShardAddress) -> bool:
        try:
            return await self._schema(shard).is_migrated()
        # A shard that does not answer is not known to have lost anything; one that a newer coordinator migrated is left alone.
        except TaelError:
            return True

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
        # Written only when it changed: otherwise every retry of an unreachable shard would wake all watchers of the bucket.
        if found is None or self._damaged.read(SchemaState, found) != state:
            await self._kv.put(key, state.encode())
            if not state.migrated:
                log.warning("a shard is waiting for its schema migration", shard=shard.name, reason=state.reason)
