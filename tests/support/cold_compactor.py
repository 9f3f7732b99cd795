"""The compactors of one shard in the cold tier's model test: the one that holds the lease, and those before it that do not know yet that
they lost it.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from services.compactor.rewrite import ColdEraser
from services.compactor.roll import Roller
from tael.cluster.api import KeyValue
from tael.cluster.manifests import ManifestOwner, Manifests, cold_key
from tael.cluster.shard import ShardAddress
from tael.cold.manifest import MOVING
from tael.cold.plan import Policy
from tael.errors import Damaged, Fenced, Rejected, Retryable
from tael.model.retention import Retention
from tael.objects import MinioObjectStore
from tael.runtime.failpoint import FailPoint
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.erase_cold import ClickHouseColdErase
from tael.storage.clickhouse.rolling import ClickHouseRolling
from tael.storage.erase import Erasure, Selection
from tael.storage.rolling import Pace

ALL = Policy(before_ns=1 << 62, quiet_ns=0)
_SHARDS = itertools.count(10_000)


class Compactor:
    """Works for one shard. ``number`` is the shard's in the bucket and the key-value store, which histories share; ``address`` has the one
    in its history.
    """

    def __init__(
        self, place: int, clickhouse: ClickHouse, kv: KeyValue, objects: MinioObjectStore, bucket_url: str, fail: FailPoint
    ) -> None:
        self.number = next(_SHARDS)
        self.address = ShardAddress(index=place, name=f"shard-{place}", url="http://127.0.0.1:1")
        self.clickhouse = clickhouse
        self.zombies: list[Roller] = []
        self._kv, self._objects, self._bucket_url, self._fail = kv, objects, bucket_url, fail
        self._manifests = Manifests(kv, objects)
        self._rolling = ClickHouseRolling(clickhouse, bucket_url)
        self._roller: Roller | None = None
        self._lease, self._epoch = 0, 0

    async def owner(self) -> Roller:
        """The living owner, or another one in the place of a dead one."""
        if self._roller is None:
            self._lease += 1
            self._epoch += 1
            lease = self._lease

            async def still_mine() -> None:
                if lease != self._lease:
                    raise Fenced("another compactor holds the lease")

            owner = ManifestOwner(self._kv, self._objects, self._manifests, self.number, self._epoch)
            roller = Roller(owner, self._rolling, self._objects, still_mine, Pace(), self._fail, grace_ns=0)
            await roller.take()
            self._roller = roller
        return self._roller

    def die(self) -> None:
        """Whether the last change took effect is not known: the next owner reads the manifest."""
        self._roller = None

    async def take_over(self) -> None:
        """Grant the lease to another compactor; the one before does not know of it yet."""
        if self._roller is not None:
            self.zombies.append(self._roller)
        self._roller = None
        await self.owner()

    async def lose_the_head(self) -> None:
        """The key-value store loses everything, and the next compactor restores the manifest from the bucket."""
        await self.owner()
        await self._kv.delete(cold_key(self.number))
        self._epoch = 0
        await self.take_over()

    async def roll(self, steps: int) -> None:
        """Do at most so many steps of the roll."""
        roller = await self.owner()
        for _ in range(steps):
            if not await roller.step(ALL):
                break

    async def keep_house(self) -> None:
        """Merge generations, and delete what nothing names."""
        roller = await self.owner()
        await roller.load()
        while await roller.merge():
            pass
        await roller.sweep()

    async def roll_up(self) -> None:
        """Roll up samples, and gather their days."""
        roller = await self.owner()
        await roller.load()
        while await roller.roll_up(1 << 62) or await roller.gather(1 << 62):
            pass

    async def cut_off(self) -> None:
        """The engine is killed while it moves hours: it has copied them, and removed nothing."""
        partitions = await self._rolling.partitions()
        rolling = {(one.table, one.hour_ns) for one in partitions.rolling}
        for hour in (await self._manifests.head(self.number)).open:
            if hour.state == MOVING and (hour.table, hour.hour_ns) not in rolling:
                table = f"{self.clickhouse.database}.{hour.table}"
                sql = f"INSERT INTO {table}_rolling SELECT * FROM {table} WHERE _partition_id = '{hour.partition_id}'"  # names of ours
                await self.clickhouse.command(sql)

    @asynccontextmanager
    async def cold(self, *_: object) -> AsyncIterator[ColdEraser]:
        """Hold the cold tier, as deletions and the collection of payloads do."""
        try:
            roller = await self.owner()
            await roller.confirm()
            yield self._eraser(roller)
        except BaseException:
            self._roller = None
            raise

    def _eraser(self, roller: Roller) -> ColdEraser:
        return ColdEraser(roller.owner, ClickHouseColdErase(self.clickhouse, self._bucket_url), self._objects, Pace(), self._fail)

    async def haunt(self, deed: str, retention: Retention, deletions: Iterable[Erasure]) -> None:
        """Let a compactor that has lost its lease try something: it must be refused, or find nothing to do, and change no head."""
        zombie = self.zombies.pop()
        before = await self._manifests.stored(self.number)
        with contextlib.suppress(Retryable, Rejected, Damaged, Fenced):
            match deed:
                case "step":
                    await zombie.step(ALL)
                case "merge":
                    await zombie.load()
                    await zombie.merge()
                case "roll up":
                    await zombie.load()
                    await zombie.roll_up(1 << 62)
                case "sweep":
                    await zombie.sweep()
                case "retire":
                    await zombie.retire(retention)
                case _:
                    for what in deletions:
                        if what.kind != "user":
                            await self._eraser(zombie).erase(Selection(what, (bytes.fromhex(what.value),) if what.kind == "trace" else ()))
        assert await self._manifests.stored(self.number) == before
