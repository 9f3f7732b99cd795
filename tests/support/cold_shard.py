"""A shard with everything that a roll needs: real tables, bucket and key-value store, and an owner that can be made to crash."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from nats.aio.client import Client

from services.compactor.rewrite import ColdEraser
from services.compactor.roll import Roller
from services.compactor.setbacks import Setbacks
from tael.cluster.manifests import ManifestOwner, Manifests
from tael.cluster.nats_kv import NatsKeyValue
from tael.cold.files import ROLLED, ColdFile, hour_of
from tael.cold.manifest import Manifest
from tael.cold.plan import Policy
from tael.errors import Fenced
from tael.model.signals import METRICS
from tael.objects import MinioObjectStore
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.erase_cold import ClickHouseColdErase
from tael.storage.clickhouse.rolling import ClickHouseRolling
from tael.storage.erase import ColdEraseStore
from tael.storage.rolling import Pace
from tael.wal import codec
from tests.contract.test_metric_tables import batch
from tests.support.cold import Crash
from tests.support.hotnode import HotNode
from tests.support.objects import object_settings
from tests.support.storage import START_NS, HotTier, logs_of, of_service, open_tier, wire_log, wire_span

HOUR = hour_of(START_NS)
ALL = Policy(before_ns=1 << 62, quiet_ns=0)
_SHARDS = itertools.count(1000)


@dataclass
class Cold:
    """A shard with everything that a roll needs; ``crash_at`` names the place where the owner crashes."""

    tier: HotTier
    objects: MinioObjectStore
    kv: NatsKeyValue
    shard: int = field(default_factory=lambda: next(_SHARDS))
    crash_at: str = ""
    epoch: int = 0
    fenced: bool = False
    url: str = object_settings()["TAEL_S3_URL"]

    @property
    def clickhouse(self) -> ClickHouse:
        return self.tier.clickhouses[0]

    @property
    def bucket_url(self) -> str:
        return f"{self.url}/{object_settings()['TAEL_S3_BUCKET']}/"

    def _fail(self, place: str) -> None:
        if place == self.crash_at:
            raise Crash

    def store(self) -> ClickHouseRolling:
        return ClickHouseRolling(self.clickhouse, self.bucket_url)

    async def roller(self, store: ClickHouseRolling | None = None) -> Roller:
        """A roller under the next epoch."""
        self.epoch += 1

        async def still_mine() -> None:
            if self.fenced:
                raise Fenced("somebody else's")

        owner = ManifestOwner(self.kv, self.objects, Manifests(self.kv, self.objects), self.shard, self.epoch)
        roller = Roller(owner, store or self.store(), self.objects, still_mine, Pace(), self._fail, grace_ns=0)
        await roller.take()
        return roller

    async def eraser(self, store: ColdEraseStore | None = None, setbacks: Setbacks | None = None) -> ColdEraser:
        """An eraser under the next epoch."""
        owner = (await self.roller()).owner
        store = store or ClickHouseColdErase(self.clickhouse, self.bucket_url)
        return ColdEraser(owner, store, self.objects, Pace(), self._fail, setbacks)

    async def roll(self) -> int:
        """Roll everything as a new owner; return the number of steps."""
        roller = await self.roller()
        return await finish(roller)

    async def manifest(self) -> Manifest:
        return await Manifests(self.kv, self.objects).read(self.shard)

    async def ledger(self) -> dict[str, int]:
        """The rows of each table that a reader would count now, with places taken from the manifest; None while it would have to wait."""
        manifest = await self.manifest()
        assert not manifest.moving(ROLLED)
        counts = {}
        for table in ROLLED:
            places = [f"SELECT * FROM {self.clickhouse.database}.{table}"]
            ids = [one.partition_id for one in manifest.rolling(table)]
            if ids:
                places.append(f"SELECT * FROM {self.clickhouse.database}.{table}_rolling WHERE _partition_id IN {tuple(ids)}")
            rows = [(await self.clickhouse.query(f"SELECT count() FROM ({place})", {}))[0][0] for place in places]
            counts[table] = sum(map(int, rows)) + sum([await self.rows_of(file) for file in manifest.files(table)])
        return counts

    async def rows_of(self, file: ColdFile) -> int:
        [(rows,)] = await self.clickhouse.query(f"SELECT count() FROM s3('{self.bucket_url}{file.key}', 'Parquet')", {})
        assert int(rows) == file.rows
        return file.rows


async def finish(roller: Roller) -> int:
    steps = 0
    while await roller.step(ALL):
        steps += 1
    return steps


@pytest.fixture
async def cold(shared_hot_node: HotNode, objects: MinioObjectStore, nats_client: Client) -> AsyncIterator[Cold]:
    kv = NatsKeyValue(nats_client, "tael")
    await kv.ensure()
    async with open_tier([shared_hot_node]) as tier:
        yield Cold(tier, objects, kv)


async def fill(tier: HotTier) -> None:
    """Insert rows into every table, of two tenants where possible."""
    await tier.store(of_service("shop", wire_span(0), wire_span(1)))
    await tier.store(of_service("cart", wire_span(2)), tenant="o'ther*")
    await tier.store_logs(logs_of("shop", wire_log()))
    await tier.store_payloads(b"said")
    await tier.writers[0].write(METRICS, codec.encode("t1", 1, batch().SerializeToString()), secrets.token_hex(8))


FILLED = {"spans": 3, "logs": 1, "samples": 2, "histograms": 1, "exemplars": 1, "series": 1, "payloads": 1}
