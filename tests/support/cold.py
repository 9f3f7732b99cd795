"""The cold tier of shards under test: the compactor's own code rolls hours into a real bucket, and readers read both tiers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from services.compactor.roll import Roller
from services.compactor.setbacks import Setbacks
from tael.cluster.api import Versioned
from tael.cluster.manifests import ManifestOwner, Manifests
from tael.cold.plan import Policy
from tael.errors import Conflict, Unavailable
from tael.storage.api import AskedShard
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.rolling import ClickHouseRolling
from tael.storage.clickhouse.source import Source
from tael.storage.clickhouse.tiered import TieredShard, Tiers
from tael.storage.rolling import Pace
from tests.support.memory_objects import MemoryObjects
from tests.support.objects import object_settings

R = TypeVar("R")


class MemoryKeyValue:
    """The part of KeyValue that manifests need."""

    def __init__(self) -> None:
        self.kept: dict[str, Versioned] = {}
        self.away = False

    async def get(self, key: str) -> Versioned | None:
        """See KeyValue; raises Unavailable while ``away``."""
        if self.away:
            raise Unavailable("the key-value store is away")
        return self.kept.get(key)

    async def create(self, key: str, value: bytes) -> int:
        """See KeyValue."""
        return await self.update(key, value, 0)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """See KeyValue."""
        if (self.kept[key].revision if key in self.kept else 0) != revision:
            raise Conflict(f"{key} has changed")
        self.kept[key] = Versioned(key, value, revision + 1)
        return revision + 1


class Crash(BaseException):
    """Simulates the death of the process."""


class Cold:
    """The cold tier of some shards. ``roll`` moves every past hour; ``crash_at`` names the place where the compactor dies."""

    def __init__(self, clickhouses: Sequence[ClickHouse]) -> None:
        self.kv, self.objects = MemoryKeyValue(), MemoryObjects()
        self.prefix = f"test-{secrets.token_hex(6)}/"
        settings = object_settings()
        self.crash_at = ""
        self.bucket_url = bucket_url = f"{settings['TAEL_S3_URL']}/{settings['TAEL_S3_BUCKET']}/{self.prefix}"
        self.manifests = Manifests(self.kv, self.objects)  # type: ignore[arg-type]  # as much of it as they need
        self.tiers = [
            Tiers(shard, f"shard-{shard}", clickhouse, self.manifests, bucket_url) for shard, clickhouse in enumerate(clickhouses)
        ]
        self._clickhouses = clickhouses
        self.owners = [
            ManifestOwner(self.kv, self.objects, self.manifests, shard, 1)  # type: ignore[arg-type]  # the same
            for shard in range(len(clickhouses))
        ]
        self._later = 0.0
        self._rollers = [
            Roller(
                self.owners[shard],
                ClickHouseRolling(clickhouse, bucket_url),
                self.objects,
                _always,
                Pace(),
                self._fail,
                setbacks=Setbacks(shard, 3600, now=lambda: time.monotonic() + self._later),
            )
            for shard, clickhouse in enumerate(clickhouses)
        ]

    def _fail(self, place: str) -> None:
        if place == self.crash_at:
            raise Crash

    def later(self) -> None:
        """Advance the clock so far that failed work is retried."""
        self._later += 3600

    async def roll(self, before_ns: int | None = None) -> None:
        """Roll every hour of every shard that has ended, or that ended before the given time."""
        for shard in range(len(self._rollers)):
            while await self.step(shard, before_ns):
                pass

    async def step(self, shard: int = 0, before_ns: int | None = None) -> bool:
        """Do the next step of a shard's roll; False when nothing is left to do."""
        roller = self._rollers[shard]
        if f"cold.{shard}" not in self.kv.kept:
            await roller.take()
        return await roller.step(Policy(before_ns or time.time_ns(), 0))

    async def roll_up(self, before_ns: int | None = None) -> int:
        """Roll up every cold hour of samples that has ended, or that ended before the given time; return the number of files."""
        count = 0
        for roller in self._rollers:
            await roller.take()
            await roller.load()
            while await roller.merge():
                pass
            while await roller.roll_up(before_ns or time.time_ns()):
                count += 1
        return count

    async def gather(self, before_ns: int | None = None) -> int:
        """Merge the files of days that have ended, or that ended before the given time; return the resulting number of files."""
        count = 0
        for roller in self._rollers:
            await roller.take()
            await roller.load()
            while await roller.gather(before_ns or time.time_ns()):
                count += 1
        return count

    def shards(self, build: Callable[[ClickHouse, Source | None], R]) -> list[AskedShard[R]]:
        """The shards, with readers over both of their tiers."""
        return [TieredShard(tiers, partial(build, clickhouse)) for tiers, clickhouse in zip(self.tiers, self._clickhouses, strict=True)]


async def _always() -> None:
    """A lease check that always passes."""
