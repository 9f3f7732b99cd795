"""The ingest service: receivers in front of the WAL, and the writer behind it; either alone by ``TAEL_INGEST_ROLE``.

On the drain the receivers stop accepting requests and finish those in progress, and the writer finishes its current batch; the rest stays
in the WAL for the shard's next writer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from prometheus_client import REGISTRY

from services.ingest.observer import Observer, WalStates
from services.ingest.pipeline import Pipeline
from services.ingest.receivers import datadog, otlp_grpc, otlp_http
from services.ingest.settings import IngestSettings
from services.ingest.wal_health import WatchedAppender
from services.ingest.writer.parts import Parts
from services.ingest.writer.pool import WriterPool
from tael.cluster.api import KeyValue
from tael.cluster.follow import follow_shard_map
from tael.cluster.lease import Member
from tael.cluster.membership import heartbeat
from tael.cluster.shard import Router, ShardMap
from tael.runtime.config import Address
from tael.runtime.observe import get_logger
from tael.runtime.service import Readiness, Stop
from tael.runtime.tasks import together
from tael.wal.api import WalAppender

log = get_logger("ingest")
T = TypeVar("T")
Serve: TypeAlias = Callable[[IngestSettings, Pipeline], AbstractAsyncContextManager[Address | None]]
RECEIVERS: Final[dict[str, Serve]] = {"otlp_grpc": otlp_grpc.serve, "otlp_http": otlp_http.serve, "datadog": datadog.serve}
"""Every listener for telemetry; each yields the address it is bound to, None when it is switched off."""


@dataclass(frozen=True)
class Ports:
    """The ports of ingest. ``writer_parts`` builds the parts of a shard's writer, given the shard map and the WAL's number."""

    kv: KeyValue
    appender: WalAppender
    writer_parts: Callable[[ShardMap, int], Awaitable[Parts]]
    wal_states: WalStates


async def run(settings: IngestSettings, stop: Stop, ports: Ports, readiness: Readiness) -> None:
    """Serve until ``stop``, then drain."""
    member = Member(
        node_id=settings.node_id,
        # The coordinator grants writer leases to members of the target ``ingest`` only.
        target="receive" if settings.ingest_role == "receive" else "ingest",
        internal=str(settings.internal_addr),
        started_at=time.time(),
    )
    newest: list[ShardMap] = []
    observer = Observer(settings, ports.kv, ports.wal_states, lambda: pipeline.router.shard_count, REGISTRY)
    appender = WatchedAppender(ports.appender)
    pipeline = Pipeline(appender, Router(1), settings, require=observer.require)

    def apply(shard_map: ShardMap) -> None:
        newest[:] = [shard_map]
        pipeline.router = Router(len(shard_map.shards))

    async def parts_of(shard: int) -> Parts:
        return await ports.writer_parts(newest[0], shard)

    async with follow_shard_map(ports.kv, apply) as known:
        if not await _either(known.wait(), stop.wait()):
            return
        readiness.set("shard map")
        async with asyncio.TaskGroup() as group:
            if settings.ingest_role != "receive":
                group.create_task(WriterPool(ports.kv, settings.node_id, parts_of).run(stop), name="writer-pool")
            group.create_task(heartbeat(ports.kv, member, stop, settings.lease_ttl_seconds), name="heartbeat")
            if settings.ingest_role != "write":
                group.create_task(
                    observer.run(stop, lambda: readiness.set("wal", appender.problem or observer.wal_problem)), name="observer"
                )
                async with _receivers(settings, pipeline):
                    readiness.set("receivers")
                    await stop.wait()
                    readiness.set("receivers", "draining")
            else:
                readiness.set("receivers")
                await stop.wait()
    log.info("drained")


@contextlib.asynccontextmanager
async def _receivers(settings: IngestSettings, pipeline: Pipeline) -> AsyncIterator[None]:
    """Run every receiver while the block runs; they drain concurrently, so the drain takes no longer than the slowest one."""
    async with _drained_together() as started:
        addresses = {name: await started(serve(settings, pipeline)) for name, serve in RECEIVERS.items()}
        log.info("receiving", **{name: str(address or "off") for name, address in addresses.items()})
        yield


@contextlib.asynccontextmanager
async def _drained_together() -> AsyncIterator[Callable[[contextlib.AbstractAsyncContextManager[T]], Awaitable[T]]]:
    """Yields a function that enters a context; all entered contexts are left concurrently when the block ends."""
    entered: list[contextlib.AsyncExitStack] = []

    async def enter(context: contextlib.AbstractAsyncContextManager[T]) -> T:
        stack = contextlib.AsyncExitStack()
        value = await stack.enter_async_context(context)
        entered.append(stack)
        return value

    try:
        yield enter
    finally:
        await together([stack.aclose() for stack in entered], name="drain")


async def _either(first: Awaitable[object], second: Awaitable[object]) -> bool:
    """Wait for either of two awaitables; True when ``first`` is done."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(second)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    won = tasks[0].done()
    for task in tasks:
        task.cancel()
    return won
