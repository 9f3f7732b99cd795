"""A shard's writer over a real WAL and lease, into a hot tier in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest_asyncio
from nats.aio.client import Client
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client import CollectorRegistry

from services.ingest.telemetry import WriterMetrics
from services.ingest.writer.parts import Parts
from services.ingest.writer.settings import WriterSettings
from services.ingest.writer.shard import ShardWriter
from tael.cluster.lease import Lease, writer_key
from tael.cluster.nats_kv import NatsKeyValue
from tael.errors import Rejected, Unavailable
from tael.model.signals import TRACES
from tael.runtime.failpoint import fail_at
from tael.runtime.service import Stop
from tael.storage.api import LANDING
from tael.wal import codec
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.digests import JetStreamDigests
from tael.wal.jetstream.read import JetStreamReader
from tael.wal.jetstream.streams import JetStreamStreams
from tests.support.nats import NatsServer
from tests.support.suite import PATIENCE_SECONDS


@dataclass
class MemoryTier:
    """A BatchWriter that keeps span names, deduplicates by token, and refuses bodies with names that a test has marked."""

    names: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    landings: list[int] = field(default_factory=list)
    unavailable: int = 0

    async def write(self, signal: str, body: bytes, token: str, landing: int = LANDING) -> None:
        """See BatchWriter."""
        assert signal == TRACES
        self.landings.append(landing)
        if self.unavailable:
            self.unavailable -= 1
            raise Unavailable("away", retry_after_seconds=0)
        names = [
            span.name
            for record in codec.decode(body)
            for resource in ExportTraceServiceRequest.FromString(record.request).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        if wrong := self.refused.intersection(names):
            raise Rejected(f"cannot take {sorted(wrong)}")
        if token not in self.tokens:
            self.tokens.add(token)
            self.names += names


@dataclass
class Bench:
    """A shard's WAL, its lease, and a tier to write into."""

    client: Client
    kv: NatsKeyValue
    appender: JetStreamAppender
    tier: MemoryTier
    metrics: WriterMetrics = field(default_factory=lambda: WriterMetrics(CollectorRegistry()))

    async def append(self, *names: str, shard: int = 0) -> None:
        """Append one request with a span of each name."""
        message = ExportTraceServiceRequest()
        spans = message.resource_spans.add().scope_spans.add().spans
        for name in names:
            spans.add(trace_id=bytes(15) + b"1", span_id=bytes(7) + b"1", name=name)
        name = " ".join(names)
        digest = hashlib.sha256(name.encode()).digest()[: codec.DIGEST_BYTES]
        body = codec.encode("default", 1, message.SerializeToString(), digest=digest, items=len(names))
        await self.appender.append(shard, TRACES, body, len(names), name)

    async def lease(self) -> Lease:
        """The shard's stored writer lease."""
        found = await self.kv.get(writer_key(0))
        assert found is not None
        return Lease.decode(found)

    async def grant(self, holder: str) -> None:
        """Grant the lease to another node, as the coordinator does."""
        found = await self.kv.get(writer_key(0))
        if found is None:
            await self.kv.create(writer_key(0), Lease(holder="", epoch=0).grant(holder, granted_by=1).encode())
        else:
            await self.kv.update(writer_key(0), Lease.decode(found).grant(holder, granted_by=1).encode(), found.revision)

    async def writer(self, node_id: str, **settings: str) -> ShardWriter:
        """A writer under the current lease."""
        found = await self.kv.get(writer_key(0))
        assert found is not None
        chosen = WriterSettings.model_validate({"TAEL_BATCH_MAX_SECS": "0.05", **settings})
        reader = JetStreamReader(self.client, "tael", 0)
        digests = JetStreamDigests(self.client, "tael", 0)
        return ShardWriter(Parts(0, node_id, self.kv, reader, digests, self.tier, chosen, self.metrics, fail_at("")), found)

    @asynccontextmanager
    async def writing(self, node_id: str, **settings: str) -> AsyncIterator[asyncio.Task[None]]:
        """Run a writer while the block runs, and drain it at the end."""
        stop = Stop()
        task = asyncio.create_task((await self.writer(node_id, **settings)).run(stop))
        try:
            yield task
        finally:
            stop.set()
            await asyncio.gather(task, return_exceptions=True)


@pytest_asyncio.fixture
async def bench(nats_server: NatsServer, nats_client: Client) -> Bench:
    """Streams, bucket and an empty tier; node-a holds the lease."""
    await JetStreamStreams(nats_client, "tael", [nats_server.monitor_url], replicas=1, max_bytes=64 << 20).ensure(1)
    kv = NatsKeyValue(nats_client, "tael")
    await kv.ensure()
    made = Bench(nats_client, kv, JetStreamAppender(nats_client, "tael"), MemoryTier())
    await made.grant("node-a")
    return made


async def holds(condition: Callable[[], object]) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110  # what is watched is a plain value
            await asyncio.sleep(0.01)
