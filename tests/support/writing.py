"""One shard's WAL on a real nats-server, and its writer into a real hot tier."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from nats.aio.client import Client
from prometheus_client import CollectorRegistry

from services.ingest.telemetry import WriterMetrics
from services.ingest.writer.parts import Parts
from services.ingest.writer.prepare import Preparation
from services.ingest.writer.settings import WriterSettings
from services.ingest.writer.shard import ShardWriter
from tael.cluster.lease import Lease, first_lease, writer_key
from tael.cluster.nats_kv import NatsKeyValue
from tael.runtime.failpoint import fail_at
from tael.runtime.service import Stop
from tael.storage.api import BatchWriter
from tael.wal.jetstream.digests import JetStreamDigests
from tael.wal.jetstream.read import JetStreamReader
from tael.wal.jetstream.streams import JetStreamStreams
from tests.support.nats import NatsServer


async def open_cluster(server: NatsServer, client: Client, max_bytes: int) -> NatsKeyValue:
    """Create the streams of one shard and the cluster's bucket."""
    await JetStreamStreams(client, "tael", [server.monitor_url], replicas=1, max_bytes=max_bytes).ensure(1)
    kv = NatsKeyValue(client, "tael")
    await kv.ensure()
    return kv


@asynccontextmanager
async def writing(
    client: Client, kv: NatsKeyValue, storage: BatchWriter, preparations: Mapping[str, Preparation] | None = None, *, wal: int = 0
) -> AsyncIterator[WriterMetrics]:
    """Run the writer of one of the shard's WALs while the block runs; it continues where the previous one ended."""
    before = await kv.get(writer_key(wal))
    lease = Lease.decode(before) if before else first_lease()
    await kv.put(writer_key(wal), lease.grant("node", granted_by=1).encode())
    found = await kv.get(writer_key(wal))
    assert found is not None
    metrics, stop = WriterMetrics(CollectorRegistry()), Stop()
    settings = WriterSettings.model_validate({"TAEL_BATCH_MAX_SECS": "0.05"})
    parts = Parts(
        wal,
        "node",
        kv,
        JetStreamReader(client, "tael", wal),
        JetStreamDigests(client, "tael", wal),
        storage,
        settings,
        metrics,
        fail_at(""),
        preparations or {},
    )
    task = asyncio.create_task(ShardWriter(parts, found).run(stop))
    try:
        yield metrics
    finally:
        stop.set()
        await task
