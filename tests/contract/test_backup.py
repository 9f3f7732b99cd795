"""`tael backup` and `tael restore` against a real nats-server: what a NATS that was lost gets back."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from nats.aio.client import Client

from tael.cluster.lease import Lease, Member, compactor_key, writer_key
from tael.cluster.nats_kv import NatsKeyValue
from tael.cluster.shard import SHARD_MAP_KEY, ShardAddress, ShardMap
from tests.support.nats import NatsServer


def tael(*arguments: str, server: NatsServer, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("TAEL_")}
    env |= {"TAEL_NATS_URL": server.url, "TAEL_TRACE_RETENTION_DAYS": "a service's own", **environment}
    return subprocess.run([sys.executable, "-m", "tael.cli", *arguments], env=env, capture_output=True, text=True, timeout=60, check=False)


async def test_a_lost_nats_gets_leases_and_shards_back(nats_server: NatsServer, nats_client: Client, tmp_path: Path) -> None:
    kv, file = NatsKeyValue(nats_client, "tael"), tmp_path / "state.json"
    await kv.ensure()
    shards = ShardMap(version=4, shards=(ShardAddress(index=0, url="http://a:8123"),))
    lease = Lease(holder="ingest-0", epoch=7, granted_by=3, committed=500, generation=11)
    member = Member(node_id="ingest-0", target="ingest")
    written = {SHARD_MAP_KEY: shards, writer_key(0): lease, compactor_key(0): Lease(holder="c", epoch=2), "member.ingest-0": member}
    for key, value in written.items():
        await kv.put(key, value.encode())
    await kv.put("cold.0", b"a head")

    ended = await asyncio.to_thread(tael, "backup", str(file), server=nats_server)
    assert ended.returncode == 0, ended.stderr
    assert set(json.loads(file.read_text())["keys"]) == {SHARD_MAP_KEY, writer_key(0), compactor_key(0), "cold.0"}
    refused = await asyncio.to_thread(tael, "restore", str(file), server=nats_server)
    assert (refused.returncode, "has state already" in refused.stderr) == (1, True)

    await nats_client.jetstream().delete_stream("KV_tael_cluster")
    restored = await asyncio.to_thread(tael, "restore", str(file), server=nats_server)
    assert restored.returncode == 0, restored.stderr
    found = {value.key: value for value in await kv.list("")}
    assert set(found) == {SHARD_MAP_KEY, writer_key(0), compactor_key(0)}, "the newest head of the cold tier is in the bucket"
    assert ShardMap.decode(found[SHARD_MAP_KEY]) == shards
    back = Lease.decode(found[writer_key(0)])
    assert (back.holder, back.epoch, back.committed) == ("", 8, 500)
    assert back.generation != lease.generation, "tokens of batches that were written since are not used again"
    assert (Lease.decode(found[compactor_key(0)]).holder, Lease.decode(found[compactor_key(0)]).epoch) == ("", 3)
