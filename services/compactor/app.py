"""The compactor: for every shard whose lease it holds, drops and deletes data past its retention, and rolls hours that leave the hot tier.

It also creates the bucket and checks that the object store honours conditional writes. What to drop is decided in plan.py and carried out
in retire.py; rolls are in cold.py and roll.py. The coordinator decides which compactor works on which shard.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TypeAlias

from prometheus_client import REGISTRY, Gauge

from services.compactor.cold import ColdTier, WalStates
from services.compactor.collect import Collector, Times
from services.compactor.collect import Ports as CollectPorts
from services.compactor.erase import Eraser
from services.compactor.gauges import GAUGES
from services.compactor.retire import retire
from services.compactor.setbacks import Setbacks
from services.compactor.settings import CompactorSettings
from tael.cluster.api import KeyValue
from tael.cluster.damaged import DamagedKeys
from tael.cluster.lease import Lease, Member, bare_lease, compactor_key
from tael.cluster.membership import heartbeat
from tael.cluster.shard import SHARD_MAP_KEY, ShardAddress, ShardMap
from tael.errors import Rejected, Retryable
from tael.model.retention import Retention
from tael.model.time import NS_PER_SECOND
from tael.objects import ObjectStore, check_conditional_writes
from tael.runtime.failpoint import fail_at
from tael.runtime.observe import get_logger
from tael.runtime.retention import CurrentRetention
from tael.runtime.retry import Stopped, retry
from tael.runtime.service import Readiness, Stop
from tael.runtime.shard_gauges import ShardGauges
from tael.runtime.tasks import together
from tael.storage.api import BatchWriter
from tael.storage.collecting import CollectStore
from tael.storage.erase import ColdEraseStore, EraseStore
from tael.storage.partitions import SchemaStore
from tael.storage.payloads import PayloadReader
from tael.storage.rolling import RollStore
from tael.storage.rows import RowStore
from tael.wal.api import DeadLetters, WalState

log = get_logger("compactor")
_ERASE_EVERY_SECONDS = 2.0
_COLLECT_EVERY_SECONDS = 10.0
Held: TypeAlias = Sequence[tuple[ShardAddress, Lease]]
_EPOCH = Gauge(
    "tael_compactor_epoch", "Epoch of this process's compactor lease on the shard; absent when it holds none.", ["shard"], registry=REGISTRY
)


async def run(
    settings: CompactorSettings,
    stop: Stop,
    *,
    kv: KeyValue,
    objects: ObjectStore,
    schema: Callable[[ShardAddress], SchemaStore],
    rows: Callable[[ShardAddress], RowStore],
    rolls: Callable[[ShardAddress], RollStore],
    erases: Callable[[ShardAddress], EraseStore],
    collects: Callable[[ShardAddress], CollectStore],
    writers: Callable[[ShardAddress], BatchWriter],
    payloads: Callable[[Sequence[ShardAddress]], PayloadReader],
    letters: DeadLetters,
    cold_erases: Callable[[ShardAddress], ColdEraseStore],
    wal_state: Callable[[int], Awaitable[WalState]],
    wal_states: WalStates,
    readiness: Readiness,
) -> None:
    """Check the object store, then enforce retention on every held shard, at once and on the interval, and roll, until ``stop``."""
    retention = CurrentRetention(settings)
    try:
        await retry(partial(_check_object_store, objects), stop, _no_object_store)
    except Stopped:
        return
    readiness.set("object store")
    member = Member(node_id=settings.node_id, target="compactor", internal=str(settings.internal_addr), started_at=time.time())
    async with asyncio.TaskGroup() as group:
        group.create_task(heartbeat(kv, member, stop, settings.lease_ttl_seconds), name="heartbeat")
        cold = ColdTier(settings, kv, objects, rolls, cold_erases, wal_states)
        group.create_task(roll(settings, stop, kv, cold, retention), name="roll")
        eraser = Eraser(kv, erases, cold.erasing, wal_state, settings.payloads_relied_on_ns)
        group.create_task(erase(settings, stop, kv, eraser), name="erase")
        ports = CollectPorts(kv, collects, writers, payloads, cold.erasing, wal_state, letters)
        collector = Collector(ports, _times(settings), fail_at(settings.roll_failpoint))
        group.create_task(collect(settings, stop, kv, collector), name="collect")
        await enforce(settings, stop, kv, Stores(schema, rows, _setbacks(settings)), retention)


async def _rounds(settings: CompactorSettings, stop: Stop, kv: KeyValue, every_seconds: float) -> AsyncIterator[Held]:
    """The shards that this process holds, every ``every_seconds`` until ``stop``; a round whose leases cannot be read is skipped."""
    damaged = DamagedKeys()
    while not stop.is_set:
        try:
            held = await _held(kv, settings.node_id, damaged)
        except Retryable as error:
            log.warning("cannot read the leases; retrying", reason=str(error))
        else:
            yield held
        await stop.sleep(every_seconds)


def _often(settings: CompactorSettings) -> float:
    return min(1.0, settings.lease_ttl_seconds / 3)


async def erase(settings: CompactorSettings, stop: Stop, kv: KeyValue, eraser: Eraser) -> None:
    """Carry out deletions on every held shard, side by side, until ``stop``."""
    async for held in _rounds(settings, stop, kv, _ERASE_EVERY_SECONDS):
        await together((eraser.work(shard, lease) for shard, lease in held), name="erase")


async def collect(settings: CompactorSettings, stop: Stop, kv: KeyValue, collector: Collector) -> None:
    """Collect payloads on every held shard, side by side, until ``stop``."""
    damaged = DamagedKeys()
    async for held in _rounds(settings, stop, kv, _COLLECT_EVERY_SECONDS):
        try:
            shards = await _all_shards(kv, damaged)
        except Retryable as error:
            log.warning("cannot read the shard map; retrying", reason=str(error))
            continue
        await together((collector.work(shard, lease, shards) for shard, lease in held), name="collect")


def _setbacks(settings: CompactorSettings) -> Callable[[ShardAddress], Setbacks]:
    """The setbacks of retention by shard; repeated calls return the same object, so failures are remembered from round to round."""
    return cache(lambda shard: Setbacks(shard.index, settings.compact_interval_seconds))


def _times(settings: CompactorSettings) -> Times:
    grace_ns, every_ns = (int(seconds * NS_PER_SECOND) for seconds in (settings.payload_grace_seconds, settings.compact_interval_seconds))
    return Times(settings.payloads_relied_on_ns, grace_ns, every_ns)


async def roll(settings: CompactorSettings, stop: Stop, kv: KeyValue, cold: ColdTier, retention: CurrentRetention) -> None:
    """Roll on every held shard, side by side, until ``stop``."""
    async for held in _rounds(settings, stop, kv, _often(settings)):
        try:
            await cold.look()
        except Retryable as error:
            log.warning("cannot read the roll request; retrying", reason=str(error))
            continue
        await together((cold.work(shard, lease, retention.read(), stop) for shard, lease in held), name="roll")


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores and setbacks of a shard for retention."""

    schema: Callable[[ShardAddress], SchemaStore]
    rows: Callable[[ShardAddress], RowStore]
    setbacks: Callable[[ShardAddress], Setbacks]


async def enforce(settings: CompactorSettings, stop: Stop, kv: KeyValue, stores: Stores, retention: CurrentRetention) -> None:
    """Enforce retention on every held shard until ``stop``: at once, on the interval, and whenever the retention has changed."""
    # By epoch too, so that a shard that is granted again is served at once and not only after the interval.
    served: set[tuple[int, int]] = set()
    gauges = ShardGauges(GAUGES)
    # Due at once: what expired while no compactor ran need not wait for the first interval.
    due, wanted = time.monotonic(), retention.read()
    async for held in _rounds(settings, stop, kv, _often(settings)):
        if time.monotonic() >= due or wanted != retention.read():
            served.clear()
            wanted = retention.read()
            due = time.monotonic() + settings.compact_interval_seconds
        _show_epochs(held)
        gauges.keep({shard.index: lease.epoch for shard, lease in held})
        waiting = [(shard, lease) for shard, lease in held if (shard.index, lease.epoch) not in served]
        served |= await _serve(waiting, stores, wanted)


async def _serve(held: Held, stores: Stores, retention: Retention) -> set[tuple[int, int]]:
    """Retire on each shard concurrently and return (index, epoch) of those with nothing left to do. A failing shard does not hold up the
    others.
    """

    async def serve(shard: ShardAddress) -> bool:
        try:
            return await retire(stores.schema(shard), stores.rows(shard), retention, shard.index, setbacks=stores.setbacks(shard)) == 0
        except (Retryable, Rejected) as error:
            log.warning("retention failed; retrying", shard=shard.name, reason=str(error))
            return False

    done = await together((serve(shard) for shard, _ in held), name="retire")
    return {(shard.index, lease.epoch) for (shard, lease), ok in zip(held, done, strict=True) if ok}


def _show_epochs(held: Held) -> None:
    _EPOCH.clear()
    for shard, lease in held:
        _EPOCH.labels(str(shard.index)).set(lease.epoch)


async def _all_shards(kv: KeyValue, damaged: DamagedKeys) -> Sequence[ShardAddress]:
    stored = await kv.get(SHARD_MAP_KEY)
    shard_map = damaged.read(ShardMap, stored) if stored else None
    return shard_map.shards if shard_map else ()


async def _held(kv: KeyValue, node_id: str, damaged: DamagedKeys) -> Held:
    held: list[tuple[ShardAddress, Lease]] = []
    for shard in await _all_shards(kv, damaged):
        found = await kv.get(compactor_key(shard.index))
        if found is not None and (lease := bare_lease(found)).holder == node_id:
            held.append((shard, lease))
    return held


async def _check_object_store(objects: ObjectStore) -> None:
    await objects.ensure_bucket()
    if not await check_conditional_writes(objects):
        raise Rejected("this object store ignores conditional writes (If-None-Match), which the cold tier needs", where="TAEL_S3_URL")


def _no_object_store(error: Retryable, pause: float) -> None:
    log.warning("waiting for the object store", reason=str(error), retry_in_seconds=pause)
