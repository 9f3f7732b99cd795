"""Three NATS nodes and three replicas: a node may die, freeze, be cut off or lose its disk, and each may be restarted in turn; what was
acknowledged is written once, and clients are told to retry in the meantime.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from nats.aio.client import Client

from tael.cluster.nats_kv import NatsKeyValue
from tael.errors import Conflict, Retryable
from tael.runtime.nats import connection
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.streams import JetStreamStreams
from tests.support.nats_cluster import NatsCluster, Networks, can_cut_networks, nats_cluster
from tests.support.suite import until
from tests.support.writer_bench import Bench, MemoryTier

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
STREAM = "tael_wal_0"
CONFIGS = Path(__file__).parents[2] / "deploy" / "nats"
NATS_SERVER = Path(sys.executable).with_name("nats-server")


@dataclass
class Sending:
    """Numbered requests from several clients, each sent again until it is acknowledged."""

    bench: Bench
    acknowledged: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    stopped: bool = False

    async def run(self, lane: int) -> None:
        number = 0
        while not self.stopped:
            name = f"{lane}-{number}"
            number += 1
            while True:
                try:
                    await self.bench.append(name)
                except Retryable as error:
                    self.refused[type(error).__name__] += 1
                    await asyncio.sleep(0.1)
                else:
                    self.acknowledged.add(name)
                    break
            await asyncio.sleep(0.005)

    async def more(self, count: int, seconds: float = 60) -> None:
        """Until so many more are acknowledged than now."""
        wanted = len(self.acknowledged) + count
        await until_true(lambda: len(self.acknowledged) >= wanted, f"{count} more acknowledgements ({dict(self.refused)})", seconds)


async def until_true(check: Callable[[], object], what: str, seconds: float = 60) -> None:
    """Until a check that asks the network holds."""
    try:
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(check):  # noqa: ASYNC110  # what is asked for is elsewhere
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"waited {seconds} s for {what}")


@dataclass
class Running:
    """A cluster under load, and who is loaded."""

    cluster: NatsCluster
    networks: Networks | None
    bench: Bench


@pytest_asyncio.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """Streams and bucket of three replicas, and a lease."""
    with nats_cluster(tmp_path) as (cluster, networks):
        async with connection(cluster.settings(), "test") as client:
            await made(cluster, client)
            bench = Bench(
                client, NatsKeyValue(client, "tael", replicas=3), JetStreamAppender(client, "tael", patience_seconds=6), MemoryTier()
            )
            await granted(bench)
            yield Running(cluster, networks, bench)


async def made(cluster: NatsCluster, client: Client) -> None:
    """The streams and the bucket, as the coordinator makes them."""
    streams = JetStreamStreams(client, "tael", cluster.monitor_urls, replicas=3, max_bytes=64 << 20)

    async def ensure() -> None:
        await streams.ensure(1)
        await NatsKeyValue(client, "tael", replicas=3).ensure()

    await until_taken(ensure, Retryable, Conflict)


async def granted(bench: Bench) -> None:
    """The lease, as the coordinator grants it."""
    with contextlib.suppress(Conflict):  # it was granted, and the answer lost
        await until_taken(lambda: bench.grant("node-a"), Retryable)


async def until_taken(ask: Callable[[], Awaitable[None]], *again: type[Exception]) -> None:
    """Ask again after these errors, until the cluster, which may just have lost a leader, takes it."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await ask()
            except again:
                await asyncio.sleep(0.2)


@asynccontextmanager
async def under_load(running: Running) -> AsyncIterator[Sending]:
    """Senders and the writer while the block runs; afterwards everything that was acknowledged is written, and written once."""
    sending = Sending(running.bench)
    async with running.bench.writing("node-a"):
        lanes = [asyncio.create_task(sending.run(lane)) for lane in range(8)]
        try:
            await sending.more(100)
            yield sending
            await sending.more(100)
        finally:
            sending.stopped = True
            await asyncio.gather(*lanes)
        tier = running.bench.tier
        await until_true(lambda: sending.acknowledged <= set(tier.names), "everything that was acknowledged to be written")
    twice = [name for name, times in Counter(tier.names).items() if times > 1]
    assert not twice


async def test_the_streams_leader_is_killed(running: Running) -> None:
    """Another node leads; the one that died comes back and has everything."""
    async with under_load(running) as sending:
        leader = running.cluster.leader_of(STREAM)
        assert leader is not None
        running.cluster.nodes[leader].kill()
        await sending.more(200)
        running.cluster.nodes[leader].start()
        await until_true(lambda: running.cluster.current(STREAM), "every replica to be current")


async def test_the_streams_leader_freezes(running: Running) -> None:
    """Its connections stay and nothing answers; clients go elsewhere, and it takes its place again when it thaws."""
    async with under_load(running) as sending:
        leader = running.cluster.leader_of(STREAM)
        assert leader is not None
        running.cluster.nodes[leader].pause()
        try:
            await sending.more(200, 90)
        finally:
            running.cluster.nodes[leader].resume()
        await until_true(lambda: running.cluster.current(STREAM), "every replica to be current")


async def test_the_node_that_clients_use_is_cut_off(running: Running) -> None:
    """Neither they nor the other nodes reach it; what it took and could not replicate it gives up when it is back."""
    if running.networks is None:
        pytest.skip("network namespaces need root and iproute2")
    async with under_load(running) as sending:
        url = running.bench.client.connected_url
        assert url is not None
        node = running.networks.hosts.index(url.hostname or "")
        running.networks.cut(node)
        try:
            await sending.more(200, 90)
        finally:
            running.networks.join(node)
        await until_true(lambda: running.cluster.current(STREAM), "every replica to be current", 90)


async def test_a_nodes_disk_is_lost(running: Running) -> None:
    """It joins with an empty disk and gets everything from the others."""
    async with under_load(running) as sending:
        leader = running.cluster.leader_of(STREAM)
        assert leader is not None
        running.cluster.nodes[leader].kill()
        running.cluster.wipe(leader)
        await sending.more(100)
        running.cluster.nodes[leader].start()
        await until_true(lambda: running.cluster.current(STREAM), "every replica to be current", 90)
        other = (leader + 1) % 3
        running.cluster.nodes[other].kill()
        await sending.more(100)
        running.cluster.nodes[other].start()


async def test_every_node_is_restarted_in_turn(running: Running) -> None:
    """As an upgrade does it: the next one when the one before is current."""
    async with under_load(running) as sending:
        for node in running.cluster.nodes:
            node.kill(signal.SIGTERM)
            node.start()
            await until_true(lambda: running.cluster.current(STREAM), "every replica to be current")
            await sending.more(50)


def test_the_shipped_configuration_makes_a_cluster(tmp_path: Path) -> None:
    """What deploy/docker-compose.cluster.yml starts, by its own variables: three servers that find each other and let nobody else in."""
    if not can_cut_networks():
        pytest.skip("network namespaces need root and iproute2")
    with Networks() as networks, contextlib.ExitStack() as stack:
        routes = {f"NATS_ROUTE_{n}": f"nats://tael:secret@{host}:6222" for n, host in enumerate(networks.hosts, 1)}
        for node, _ in enumerate(networks.hosts):
            directory = tmp_path / f"n{node}"
            directory.mkdir()
            for name in ("nats.conf", "cluster.conf"):
                (directory / name).write_text((CONFIGS / name).read_text().replace("/data", str(directory)))
            command = [*networks.launcher(node), str(NATS_SERVER), "-c", str(directory / "cluster.conf")]
            environ = {**os.environ, **routes, "NATS_NAME": f"nats-{node + 1}", "NATS_PASSWORD": "secret"}
            log = stack.enter_context((directory / "log").open("wb"))
            server = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
            stack.callback(server.wait, 15)
            stack.callback(server.terminate)
        urls = [f"http://{host}:8222" for host in networks.hosts]
        until(lambda: [meta_cluster(url) for url in urls] == [("tael", 3)] * 3, "three servers in one cluster")
        with socket.create_connection((networks.hosts[0], 6222), 30) as stranger:
            stranger.settimeout(30)
            stranger.recv(4096)
            stranger.sendall(b'CONNECT {"verbose":false,"name":"x","user":"tael","pass":"wrong"}\r\nPING\r\n')
            assert b"Authorization" in b"".join(iter(lambda: stranger.recv(4096), b""))


def meta_cluster(url: str) -> tuple[str, int] | None:
    """The name and size of the cluster that a server has a leader of."""
    try:
        with urllib.request.urlopen(f"{url}/jsz", timeout=2) as answer:  # noqa: S310  # an http URL of ours
            found = json.load(answer).get("meta_cluster", {})
    except OSError:
        return None
    return (found["name"], found["cluster_size"]) if found.get("leader") else None
