"""What a leading coordinator does with members and shards, against a real nats-server; the shards' schemas are answered in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from nats.aio.client import Client

from services.coordinator import app
from services.coordinator.settings import CoordinatorSettings
from tael.cluster.lease import LEADER_KEY, MEMBER_PREFIX, Intent, Lease, Member, compactor_key, writer_key
from tael.cluster.membership import heartbeat
from tael.cluster.nats_kv import NatsKeyValue
from tael.cluster.shard import SHARD_MAP_KEY, SchemaState, ShardAddress, schema_key
from tael.cluster.status import ClusterStatus
from tael.errors import Damaged, Unavailable
from tael.runtime.service import Readiness, Stop
from tael.storage.partitions import DetachedPart, PartitionSize
from tael.wal.jetstream.streams import JetStreamStreams, wal_states
from tests.support.nats import NatsServer

TTL_SECONDS = 1.0


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again, for a minute at most."""
    async with asyncio.timeout(60):
        while not await check():  # noqa: ASYNC110  # what is asked is another process
            await asyncio.sleep(0.02)


class MemorySchema:
    """A SchemaStore that is away until told, and counts its migrations."""

    def __init__(self, *, away: bool = False, hangs: bool = False) -> None:
        self.away, self.hangs = away, hangs
        self.migrations = 0

    async def migrate(self) -> list[str]:
        """Nothing to run."""
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise Unavailable("nobody listens there")
        self.migrations += 1
        return ["0001_first"]

    async def is_migrated(self) -> bool:
        """It is, once it was."""
        return self.migrations > 0

    async def list_partitions(self) -> list[PartitionSize]:
        """None."""
        return []

    async def list_detached(self) -> list[DetachedPart]:
        """None."""
        return []

    async def drop_partition(self, partition: PartitionSize) -> None:
        """Nothing."""


@dataclass
class Cluster:
    """A leading coordinator over two shards, and the members that a test starts."""

    server: NatsServer
    client: Client
    schemas: list[MemorySchema]
    group: asyncio.TaskGroup
    members: dict[str, tuple[Stop, asyncio.Task[None]]] = field(default_factory=dict)

    @property
    def kv(self) -> NatsKeyValue:
        """The cluster's bucket."""
        return NatsKeyValue(self.client, "tael")

    def join(self, node_id: str, target: str) -> None:
        """A member that beats until it dies or leaves."""
        stop = Stop()
        self.members[node_id] = stop, self.group.create_task(heartbeat(self.kv, Member(node_id=node_id, target=target), stop, TTL_SECONDS))

    def die(self, node_id: str) -> None:
        """No more beats, and the key stays."""
        self.members.pop(node_id)[1].cancel()

    async def lease(self, key: str) -> Lease:
        """What stands there now."""
        found = await self.kv.get(key)
        return Lease.decode(found) if found else Lease(holder="", epoch=0)

    async def holders(self, *keys: str) -> list[str]:
        """Who holds them."""
        return [(await self.lease(key)).holder for key in keys]

    async def until_held(self, key: str, holder: str) -> Lease:
        """The lease once this one holds it; one that is damaged may be repaired meanwhile."""

        async def held() -> bool:
            try:
                return (await self.lease(key)).holder == holder
            except Damaged:
                return False

        await until(held)
        return await self.lease(key)

    async def until_shared(self, *holders: str) -> None:
        """Until the two shards' writer leases are with these."""

        async def shared() -> bool:
            return sorted(await self.holders(writer_key(0), writer_key(1))) == sorted(holders)

        await until(shared)

    async def until_joined(self, node_id: str) -> None:
        """Until its first beat is there."""

        async def joined() -> bool:
            return await self.kv.get(MEMBER_PREFIX + node_id) is not None

        await until(joined)


@contextlib.asynccontextmanager
async def leading(server: NatsServer, client: Client, schemas: list[MemorySchema]) -> AsyncIterator[Cluster]:
    """One coordinator that leads while the block runs, then drains."""
    settings = CoordinatorSettings.model_validate(
        {
            "TAEL_NODE_ID": "boss",
            "TAEL_NATS_URL": server.url,
            "TAEL_NATS_MONITOR_URL": server.monitor_url,
            "TAEL_LEASE_TTL_SECS": TTL_SECONDS,
            "TAEL_CLICKHOUSE_URLS": ",".join(f"http://127.0.0.1:{port + 1}" for port in range(len(schemas))),
            "TAEL_WAL_MAX_BYTES": "8MiB",
        }
    )
    kv = NatsKeyValue(client, "tael")
    streams = JetStreamStreams(client, "tael", [server.monitor_url], replicas=1, max_bytes=settings.wal_max_bytes)

    def schema(shard: ShardAddress) -> MemorySchema:
        return schemas[shard.index]

    stop = Stop()
    async with asyncio.TaskGroup() as group:
        group.create_task(app.run(settings, stop, app.Ports(kv, kv.ensure, streams, schema), Readiness("nats")))
        cluster = Cluster(server, client, schemas, group)
        try:
            yield cluster
        finally:
            for member_stop, _ in cluster.members.values():
                member_stop.set()
            stop.set()


async def test_leases_go_to_live_members_of_the_right_kind(nats_server: NatsServer, nats_client: Client) -> None:
    """Writers to ingest alone, compactors to compactors; a pure receiver gets none; two writers share two shards."""
    async with leading(nats_server, nats_client, [MemorySchema(), MemorySchema()]) as cluster:
        for node_id, target in (("front", "receive"), ("w1", "ingest"), ("w2", "ingest"), ("c1", "compactor")):
            cluster.join(node_id, target)
        await cluster.until_held(compactor_key(1), "c1")
        await cluster.until_shared("w1", "w2")
        leader = await cluster.lease(LEADER_KEY)
        assert leader.holder == "boss"
        assert (await cluster.lease(writer_key(0))).granted_by == leader.epoch
    assert (await cluster.lease(LEADER_KEY)).holder == ""


async def test_a_dead_writers_lease_moves_with_its_progress(nats_server: NatsServer, nats_client: Client) -> None:
    """The next epoch, the same committed and intent; the one that lives keeps what it has."""
    async with leading(nats_server, nats_client, [MemorySchema()]) as cluster:
        cluster.join("w1", "ingest")
        held = await cluster.until_held(writer_key(0), "w1")
        found = await cluster.kv.get(writer_key(0))
        assert found is not None
        await cluster.kv.update(
            writer_key(0), held.model_copy(update={"committed": 7}).intend(Intent(first=8, last=9)).encode(), found.revision
        )
        cluster.join("w2", "ingest")
        await cluster.until_joined("w2")
        cluster.die("w1")
        moved = await cluster.until_held(writer_key(0), "w2")
        assert (moved.epoch, moved.committed, moved.intent) == (held.epoch + 1, 7, Intent(first=8, last=9))


@pytest.mark.parametrize("second", [MemorySchema(away=True), MemorySchema(hangs=True)], ids=["away", "hangs"])
async def test_a_shard_that_is_away_delays_no_other(nats_server: NatsServer, nats_client: Client, second: MemorySchema) -> None:
    """The other shard gets its writer; the one that comes back gets its own, and until then says why not."""
    async with leading(nats_server, nats_client, [MemorySchema(), second]) as cluster:
        cluster.join("w1", "ingest")
        await cluster.until_held(writer_key(0), "w1")
        assert await cluster.holders(writer_key(1)) == [""]
        if second.hangs:
            return
        status = ClusterStatus(cluster.kv, "tael", "test", TTL_SECONDS, wal_states(nats_client, "tael"))
        shards = (await status.read())["shards"]
        assert [shard["schema"] for shard in shards] == [
            {"migrated": True, "reason": ""},
            {"migrated": False, "reason": "nobody listens there"},
        ]
        second.away = False
        await cluster.until_held(writer_key(1), "w1")
        found = await cluster.kv.get(schema_key(1))
        assert found is not None
        assert SchemaState.decode(found).migrated


async def test_a_lease_of_a_newer_leader_is_left_alone(nats_server: NatsServer, nats_client: Client) -> None:
    """A smaller epoch must not overrule a larger one, whoever holds the shard."""
    kv = NatsKeyValue(nats_client, "tael")
    await kv.ensure()
    newer = Lease(holder="elsewhere", epoch=5, granted_by=99)
    await kv.create(writer_key(0), newer.encode())
    async with leading(nats_server, nats_client, [MemorySchema()]) as cluster:
        cluster.join("w1", "ingest")
        cluster.join("c1", "compactor")
        await cluster.until_joined("w1")
        await cluster.until_held(compactor_key(0), "c1")
        await asyncio.sleep(TTL_SECONDS)  # several rounds, in each of which the leader could have taken it
        assert await cluster.lease(writer_key(0)) == newer


async def test_an_outage_of_nats_moves_no_lease(nats_server: NatsServer, nats_client: Client) -> None:
    """Longer than a lease: nobody could renew, so nobody counts as gone."""
    async with leading(nats_server, nats_client, [MemorySchema(), MemorySchema()]) as cluster:
        cluster.join("w1", "ingest")
        cluster.join("w2", "ingest")
        await cluster.until_shared("w1", "w2")
        before = [await cluster.lease(writer_key(shard)) for shard in (0, 1)]
        nats_server.kill()
        await asyncio.sleep(3 * TTL_SECONDS)
        nats_server.start()
        async with asyncio.timeout(60):
            while not nats_client.is_connected:  # noqa: ASYNC110  # the client offers no event for it
                await asyncio.sleep(0.02)
        await asyncio.sleep(3 * TTL_SECONDS)
        assert [await cluster.lease(writer_key(shard)) for shard in (0, 1)] == before


async def test_a_damaged_key_costs_only_what_it_holds(nats_server: NatsServer, nats_client: Client) -> None:
    """A writer's lease waits for a person and is named; every other key is written anew, under an epoch or version that was never used."""
    kv = NatsKeyValue(nats_client, "tael")
    await kv.ensure()
    garbage = {
        key: await kv.put(key, b"\x00garbage") for key in (LEADER_KEY, SHARD_MAP_KEY, writer_key(0), compactor_key(0), schema_key(0))
    }
    await kv.put(MEMBER_PREFIX + "ghost", b"{}")
    async with leading(nats_server, nats_client, [MemorySchema(), MemorySchema()]) as cluster:
        cluster.join("w1", "ingest")
        cluster.join("c1", "compactor")
        await cluster.until_held(writer_key(1), "w1")
        assert (await cluster.until_held(compactor_key(0), "c1")).epoch > garbage[compactor_key(0)]
        assert (await cluster.lease(LEADER_KEY)).epoch > garbage[LEADER_KEY]
        status = await ClusterStatus(cluster.kv, "tael", "test", TTL_SECONDS, wal_states(nats_client, "tael")).read()
        assert status["shard_map_version"] >= garbage[SHARD_MAP_KEY]
        assert set(status["damaged_keys"]) == {writer_key(0), MEMBER_PREFIX + "ghost"}
        assert status["damaged_keys"][writer_key(0)].startswith(f"revision {garbage[writer_key(0)]} is not a Lease")
        assert [shard["writer"] and shard["writer"]["holder"] for shard in status["shards"]] == [None, "w1"]
        await kv.put(writer_key(0), Lease(holder="", epoch=7, committed=5).encode())
        repaired = await cluster.until_held(writer_key(0), "w1")
        assert (repaired.epoch, repaired.committed) == (8, 5)
