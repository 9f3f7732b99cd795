"""From a hot tier that takes nothing, or a WAL that fills, to a client that is told to come back; and back to normal without hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from google.rpc.error_details_pb2 import RetryInfo
from nats.aio.client import Client
from prometheus_client import CollectorRegistry

from services.ingest.observer import Observer
from services.ingest.pipeline import Pipeline
from services.ingest.pressure import PressureSettings
from services.ingest.receivers import otlp_grpc, otlp_http
from tael.cluster.nats_kv import NatsKeyValue
from tael.cluster.shard import Router
from tael.model.time import ALL_TIME
from tael.runtime.config import Address
from tael.storage.api import SpanQuery
from tael.wal.jetstream.append import JetStreamAppender
from tael.wal.jetstream.streams import wal_states
from tests.support.hotnode import HotNode
from tests.support.nats import NatsServer
from tests.support.otlp import call, receiver_settings, request_of
from tests.support.storage import HotTier, open_tier
from tests.support.writing import open_cluster, writing

_WAL_BYTES = 4 << 20


@dataclass
class Door:
    """Receivers before a real log, and what watches it; ``free`` is what the disk is said to have left."""

    client: Client
    kv: NatsKeyValue
    observer: Observer
    grpc: Address
    http: Address
    registry: CollectorRegistry
    free: list[int]
    sent: int = 0

    async def send(self, spans: int = 1, attribute: str = "v") -> tuple[Any, str]:
        """One request over gRPC: its code, and the words of a refusal, which must say when to come again."""
        answer = await call(self.grpc, request_of(spans, attribute=attribute).SerializeToString())
        if answer.code is grpc.StatusCode.OK:
            self.sent += spans
        else:
            assert answer.status is not None
            retry = RetryInfo()
            assert answer.status.details[0].Unpack(retry)
            assert retry.retry_delay.seconds > 0
        return answer.code, answer.message

    async def post(self) -> tuple[int, str | None]:
        """One request over HTTP: its status and Retry-After."""
        headers = {"Content-Type": "application/x-protobuf"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://{self.http}/v1/traces", data=b"", headers=headers) as answer,
        ):
            return answer.status, answer.headers.get("Retry-After")

    async def until(self, condition: Callable[[], Any]) -> None:
        """Look, as the observer does, until the condition holds."""
        async with asyncio.timeout(90):
            while True:
                await self.observer.look()
                if condition():
                    return
                await asyncio.sleep(0.05)

    def closed(self, cause: str) -> float | None:
        """What ``/metrics`` says."""
        return self.registry.get_sample_value("tael_ingest_backpressure", {"cause": cause})


@asynccontextmanager
async def opened(nats_server: NatsServer, client: Client, **variables: Any) -> AsyncIterator[Door]:
    """A door whose WAL takes 4 MiB."""
    kv = await open_cluster(nats_server, client, _WAL_BYTES)
    settings, registry, free = receiver_settings(), CollectorRegistry(), [1 << 40]
    pressure = PressureSettings.model_validate({"TAEL_WATCHED_DIRS": "/data", **variables})
    observer = Observer(pressure, kv, wal_states(client, "tael"), lambda: 1, registry, lambda _: free[0])
    pipeline = Pipeline(JetStreamAppender(client, "tael"), Router(1), settings, registry=registry, require=observer.require)
    async with otlp_grpc.serve(settings, pipeline) as grpc_address, otlp_http.serve(settings, pipeline) as http_address:
        yield Door(client, kv, observer, grpc_address, http_address, registry, free)


async def everything_is_readable(door: Door, tier: HotTier) -> None:
    async def count() -> int:
        return len((await tier.reader.find_spans("default", SpanQuery(ALL_TIME, limit=10_000))).value)

    async with asyncio.timeout(90):
        while await count() < door.sent:  # noqa: ASYNC110  # another process has to get there
            await asyncio.sleep(0.1)
    assert await count() == door.sent


async def test_too_many_parts_make_the_writer_wait_then_clients_and_all_recovers(
    nats_server: NatsServer, nats_client: Client, shared_hot_node: HotNode
) -> None:
    async with open_tier([shared_hot_node]) as tier, opened(nats_server, nats_client, TAEL_MAX_LAG_SECS="1") as door:
        spans, clickhouse = f"{tier.clickhouses[0].database}.spans", tier.clickhouses[0]
        async with writing(door.client, door.kv, tier.writers[0]) as metrics:
            await door.send(3)
            await everything_is_readable(door, tier)
            await clickhouse.command(f"SYSTEM STOP MERGES {spans}")
            await clickhouse.command(f"ALTER TABLE {spans} MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1")
            async with asyncio.timeout(90):
                while not metrics.retries.labels("0")._value.get():
                    await door.send(1)
            await door.until(lambda: door.closed("lag"))
            code, words = await door.send()
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "the hot tier of shard 0 is" in words
            assert "TAEL_MAX_LAG_SECS" in words
            assert await door.post() == (429, "5")
            await clickhouse.command(f"ALTER TABLE {spans} MODIFY SETTING parts_to_delay_insert = 1000, parts_to_throw_insert = 3000")
            await clickhouse.command(f"SYSTEM START MERGES {spans}")
            await door.until(lambda: door.closed("lag") == 0)
            assert (await door.send())[0] is grpc.StatusCode.OK
            await everything_is_readable(door, tier)


async def test_writes_are_refused_before_a_wal_is_full_until_the_writer_catches_up(
    nats_server: NatsServer, nats_client: Client, shared_hot_node: HotNode
) -> None:
    async with open_tier([shared_hot_node]) as tier, opened(nats_server, nats_client) as door:
        while not door.closed("wal"):
            assert (await door.send(50, "v" * 500))[0] is grpc.StatusCode.OK, "the WAL itself was full first"
            await door.observer.look()
        code, words = await door.send()
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "the WAL of shard 0 is 9" in words
        assert door.registry.get_sample_value("tael_wal_bytes", {"shard": "0"}) >= 0.9 * _WAL_BYTES  # type: ignore[operator]  # it is there
        async with writing(door.client, door.kv, tier.writers[0]):
            await door.until(lambda: door.closed("wal") == 0)
            assert (await door.send())[0] is grpc.StatusCode.OK
            await everything_is_readable(door, tier)


async def test_a_low_disk_is_refused_by_name_until_there_is_room(nats_server: NatsServer, nats_client: Client) -> None:
    async with opened(nats_server, nats_client, TAEL_MIN_FREE_BYTES="1MiB") as door:
        assert (await door.send())[0] is grpc.StatusCode.OK
        door.free[0] = 1000
        await door.until(lambda: door.closed("disk"))
        code, words = await door.send()
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert words == "the disk of /data has 1000 bytes left, less than TAEL_MIN_FREE_BYTES=1048576"
        assert await door.post() == (429, "5")
        door.free[0] = 1 << 30
        await door.until(lambda: door.closed("disk") == 0)
        assert (await door.send())[0] is grpc.StatusCode.OK


async def test_a_real_disk_is_looked_at(nats_server: NatsServer, nats_client: Client, tmp_path: Path) -> None:
    async with opened(nats_server, nats_client) as door:
        variables = {"TAEL_MIN_FREE_BYTES": "1000000TiB", "TAEL_WATCHED_DIRS": f"{tmp_path},/nowhere"}
        settings = PressureSettings.model_validate(variables)
        observer = Observer(settings, door.kv, wal_states(nats_client, "tael"), lambda: 1, CollectorRegistry())
        await observer.look()
        assert [reason.split(" has ")[0] for reason in observer.pressure.reasons] == [f"the disk of {tmp_path}"]
