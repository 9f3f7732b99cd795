"""A shard whose ClickHouse comes back with an empty disk gets its tables again from the coordinator that leads, without a restart."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client

from services.coordinator.migrate import Migrations
from tael.cluster.shard import SchemaState, ShardAddress, ShardMap, schema_key
from tael.errors import Rejected, Unavailable
from tael.model.signals import TRACES
from tael.storage.clickhouse.client import ClickHouse
from tael.storage.clickhouse.schema import ClickHouseSchema, read_migrations
from tael.storage.clickhouse.writer import ClickHouseWriter
from tests.contract.test_frozen_clickhouse import body
from tests.support.databases import MIGRATED, MakeNode
from tests.support.hotnode import HotNode
from tests.support.nats import NatsServer
from tests.support.writing import open_cluster

SHARD = ShardAddress(index=0, url="")
pytestmark = pytest.mark.timeout(800)
MAP = ShardMap(version=1, shards=(SHARD,))


@pytest.fixture
async def shard(hot_nodes: MakeNode) -> AsyncIterator[tuple[HotNode, ClickHouse]]:
    node = hot_nodes()
    clickhouse = ClickHouse(node.url, "lost")
    yield node, clickhouse
    await clickhouse.close()


async def test_tables_that_are_lost_are_made_again(shard: tuple[HotNode, ClickHouse], nats_server: NatsServer, nats_client: Client) -> None:
    """While the server is away nothing is concluded; a writer inserts again afterwards."""
    node, clickhouse = shard
    kv = await open_cluster(nats_server, nats_client, 64 << 20)
    migrations = Migrations(kv, lambda _: ClickHouseSchema(clickhouse), look_seconds=0.1)

    async def until_migrated(*, migrated: bool) -> None:
        async with asyncio.timeout(150):
            while (await migrations.step(MAP) == {0}) is not migrated:  # noqa: ASYNC110  # it is the step that does it
                await asyncio.sleep(0.05)

    await until_migrated(migrated=True)
    await ClickHouseWriter(clickhouse).write(TRACES, body("before"), "one")
    node.kill(signal.SIGKILL)
    for _ in range(5):
        assert await migrations.step(MAP) == {0}
        await asyncio.sleep(0.1)
    shutil.rmtree(node.directory)
    node.start()
    await until_migrated(migrated=False)
    await until_migrated(migrated=True)
    await ClickHouseWriter(clickhouse).write(TRACES, body("after"), "two")
    assert [bytes(name) for (name,) in await clickhouse.query("SELECT name FROM lost.spans", {})] == [b"after"]
    found = await kv.get(schema_key(0))
    assert found is not None
    assert SchemaState.decode(found).migrated
    await migrations.close()


async def test_a_look_tells_lost_from_away_and_from_newer(migrated_nodes: MakeNode) -> None:
    node = migrated_nodes()
    clickhouse, empty = ClickHouse(node.url, MIGRATED), ClickHouse(node.url, "lost")
    schema = ClickHouseSchema(clickhouse)
    assert not await ClickHouseSchema(empty).is_migrated()
    assert await schema.is_migrated()
    with pytest.raises(Rejected, match="run a newer tael"):
        await ClickHouseSchema(clickhouse, migrations=read_migrations()[:-1]).is_migrated()
    node.kill(signal.SIGKILL)
    with pytest.raises(Unavailable):
        await schema.is_migrated()
    await clickhouse.close()
    await empty.close()
