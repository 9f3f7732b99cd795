"""The coordinator: one leads, the others stand by.

The leader creates the streams, publishes the shard map, migrates each shard's schema, and grants the writer and compactor leases to live
members. Any later leader can repeat each of these steps. assign.py decides which member gets which lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import REGISTRY, Gauge

from services.coordinator.assign import assign
from services.coordinator.migrate import Migrations
from services.coordinator.settings import CoordinatorSettings
from services.coordinator.sizes import watch_sizes
from tael.cluster.api import KeyValue, Versioned
from tael.cluster.damaged import DamagedKeys
from tael.cluster.leadership import Leadership
from tael.cluster.lease import MEMBER_PREFIX, Lease, Member, bare_lease, compactor_key, first_lease, writer_key
from tael.cluster.membership import Liveness, heartbeat
from tael.cluster.shard import SHARD_MAP_KEY, ShardAddress, ShardMap, next_shard_map
from tael.errors import BadSettings, Conflict, Fenced, Retryable, Unavailable
from tael.model.lanes import aside_of
from tael.runtime.observe import get_logger
from tael.runtime.retry import Stopped, retry
from tael.runtime.service import Readiness, Stop, background
from tael.storage.partitions import SchemaStore

log = get_logger("coordinator")
_SYNC_CHECK_SECONDS = 30.0
# Ten minutes at the default TTL: a dead member is listed as such for a while before it is removed.
_FORGET_AFTER_TTLS = 120
_LEADING = Gauge("tael_coordinator_epoch", "Epoch of this process's leadership; 0 when it is not the leader.", registry=REGISTRY)
_LAZY_SYNC = Gauge("tael_nats_lazy_sync", "1 when NATS acknowledges writes before they are fsynced.", registry=REGISTRY)


class Streams(Protocol):
    """The streams, as the coordinator uses them. Every method raises Unavailable when NATS cannot be reached."""

    async def ensure(self, shard_count: int) -> None:
        """Create the streams that are missing."""
        ...

    async def dead_letters(self) -> int:
        """The number of dead letters."""
        ...

    async def lazy_sync(self) -> str | None:
        """Why an acknowledged append may be lost on power failure, or None."""
        ...


@dataclass(frozen=True)
class Ports:
    """The ports of the coordinator."""

    kv: KeyValue
    ensure_bucket: Callable[[], Awaitable[None]]
    streams: Streams
    schema: Callable[[ShardAddress], SchemaStore]


async def run(settings: CoordinatorSettings, stop: Stop, ports: Ports, readiness: Readiness) -> None:
    """Stand by, lead when elected, and give the lease up at the end."""
    try:
        await retry(ports.ensure_bucket, stop, _no_bucket)
    except Stopped:
        return
    readiness.set("nats")
    # Ready until NATS refuses the streams: a standby never creates them, but must be ready all the same.
    readiness.set("streams")
    member = Member(node_id=settings.node_id, target="coordinator", internal=str(settings.internal_addr), started_at=time.time())
    leadership = Leadership(ports.kv, settings.node_id, settings.lease_ttl_seconds)
    async with asyncio.TaskGroup() as group:
        group.create_task(heartbeat(ports.kv, member, stop, settings.lease_ttl_seconds), name="heartbeat")
        group.create_task(_watch_sync(ports.streams, stop), name="watch-sync")
        await _campaign(settings, stop, ports, leadership, readiness)
    with contextlib.suppress(Unavailable, Conflict):
        await leadership.release()


async def _campaign(settings: CoordinatorSettings, stop: Stop, ports: Ports, leadership: Leadership, readiness: Readiness) -> None:
    term: asyncio.Task[None] | None = None
    try:
        while not stop.is_set:
            try:
                await leadership.step()
            except Fenced as fenced:
                log.warning("fenced: this coordinator is no longer the leader", reason=str(fenced))
            except Retryable as error:
                log.warning("cannot reach the leader's lease", reason=str(error))
            # Read from the leadership, not returned by step(): a failed step does not tell whether the lease is still valid.
            epoch = leadership.epoch
            _LEADING.set(epoch)
            if epoch and term is None:
                log.info("leading", epoch=epoch)
                term = asyncio.create_task(Term(settings, ports, leadership, epoch, readiness).run(stop), name=f"term-{epoch}")
            if term is not None and term.done():
                # The term ended with an error (BadSettings), which awaiting it raises, or because its epoch is over.
                ended, term = term, None
                await ended
            elif term is not None and not epoch:
                ended, term = term, None
                ended.cancel()
                # Awaited before the next step: two terms of one process must not grant leases concurrently.
                await asyncio.gather(ended, return_exceptions=True)
            await stop.sleep(settings.lease_ttl_seconds / 3)
    finally:
        if term is not None:
            term.cancel()
            await asyncio.gather(term, return_exceptions=True)


class Term:
    """The work of a leader under one epoch."""

    def __init__(self, settings: CoordinatorSettings, ports: Ports, leadership: Leadership, epoch: int, readiness: Readiness) -> None:
        self._settings = settings
        self._ports = ports
        self._leadership = leadership
        self._epoch = epoch
        self._readiness = readiness
        self._liveness = Liveness(settings.lease_ttl_seconds)
        self._damaged = DamagedKeys()
        self._migrations = Migrations(ports.kv, ports.schema)

    async def run(self, stop: Stop) -> None:
        """Reconcile until the drain or the end of the term. Raises BadSettings when the settings contradict the cluster's state."""
        pause = min(1.0, self._settings.lease_ttl_seconds / 3)
        async with background(watch_sizes(self._shards, self._ports.schema, self._ports.streams, stop)):
            await self._run(stop, pause)

    async def _shards(self) -> Sequence[ShardAddress]:
        found = await self._ports.kv.get(SHARD_MAP_KEY)
        known = self._damaged.read(ShardMap, found) if found else None
        return known.shards if known else ()

    async def _run(self, stop: Stop, pause: float) -> None:
        try:
            while not stop.is_set and self._leadership.epoch == self._epoch:
                try:
                    await self._reconcile()
                except (Retryable, Conflict) as error:
                    log.warning("reconciling failed; retrying", reason=str(error))
                    if isinstance(error, Retryable):
                        # Members could not renew while the store was unreachable, so their TTLs count anew from when it is back.
                        # After a Conflict they could: another leader wrote.
                        self._liveness = Liveness(self._settings.lease_ttl_seconds)
                await stop.sleep(pause)
        finally:
            self._readiness.set("streams")
            await self._migrations.close()

    async def _reconcile(self) -> None:
        # Writers rely on this order: their stream and schema exist before they are granted the lease.
        shard_map = await self._publish_shard_map()
        await self._ensure_streams(len(shard_map.shards))
        migrated = await self._migrations.step(shard_map)
        members = await self._live_members()
        writers = [m.node_id for m in members if m.target == "ingest"]
        await self._hand_out(writer_key, migrated, writers, self._writer_lease)
        # Assigned separately from the main WALs, so that each process gets its share of both kinds.
        await self._hand_out(writer_key, map(aside_of, migrated), writers, self._writer_lease)
        await self._hand_out(compactor_key, migrated, [m.node_id for m in members if m.target == "compactor"], bare_lease)

    async def _ensure_streams(self, shard_count: int) -> None:
        """Create the streams; while NATS refuses them, this process is not ready, and logs the reason once."""
        try:
            await self._ports.streams.ensure(shard_count)
        except Unavailable as error:
            if self._readiness.reasons.get("streams") != str(error):
                log.error("cannot create the WAL's streams", reason=str(error))  # noqa: TRY400  # the reason is the whole story
            self._readiness.set("streams", str(error))
            raise
        self._readiness.set("streams")

    async def _publish_shard_map(self) -> ShardMap:
        found = await self._ports.kv.get(SHARD_MAP_KEY)
        current = self._damaged.read(ShardMap, found) if found else None
        try:
            wanted = next_shard_map(current, self._settings.clickhouse_urls)
            if found and current is None:
                # The map is damaged. The key's revision is a version that no map has reached: each write of the key raises the
                # version by one at most, and the revision by at least one.
                wanted = wanted.model_copy(update={"version": found.revision})
        except ValueError as error:
            raise BadSettings([f"TAEL_CLICKHOUSE_URLS={','.join(self._settings.clickhouse_urls)!r} cannot be used: {error}"]) from error
        if found is None:
            # Both branches are compare-and-sets: a leader that was suspended must not replace its successor's map by an older one.
            await self._ports.kv.create(SHARD_MAP_KEY, wanted.encode())
        elif wanted != current:
            await self._ports.kv.update(SHARD_MAP_KEY, wanted.encode(), found.revision)
        else:
            return wanted
        log.info("shard map", version=wanted.version, shards=[shard.url for shard in wanted.shards])
        return wanted

    async def _live_members(self) -> list[Member]:
        """The members whose key changes; at the start of a term every member with a key counts as alive for one TTL."""
        found = await self._ports.kv.list(MEMBER_PREFIX)
        now = time.monotonic()
        self._liveness.observe({value.key: value.revision for value in found}, now)
        for value in found:
            # A process that was suspended for so long writes its key again when it resumes, so removing the key costs it one round at most.
            if (self._liveness.age_seconds(value.key, now) or 0.0) > self._settings.lease_ttl_seconds * _FORGET_AFTER_TTLS:
                await self._ports.kv.delete(value.key)
                self._damaged.forget(value.key)
                log.info("removed a stale member", member=value.key.removeprefix(MEMBER_PREFIX))
        members = [self._damaged.read(Member, value) for value in found if self._liveness.alive(value.key, now)]
        return [member for member in members if member is not None]

    def _writer_lease(self, found: Versioned) -> Lease | None:
        """A writer's lease; None for a damaged one, whose progress only a person can restore."""
        return self._damaged.read(Lease, found)

    async def _hand_out(
        self, key_of: Callable[[int], str], shards: Iterable[int], members: list[str], read: Callable[[Versioned], Lease | None]
    ) -> None:
        held = {shard: await self._ports.kv.get(key_of(shard)) for shard in sorted(shards)}
        known = {shard: read(found) if found else first_lease() for shard, found in held.items()}
        leases = {shard: lease for shard, lease in known.items() if lease is not None}
        for shard, member in assign({shard: lease.holder for shard, lease in leases.items()}, members).items():
            before, found = leases[shard], held[shard]
            # The compare-and-set below catches changes made after the read; this catches a read made after a newer leader took over.
            if before.granted_by > self._epoch:
                log.warning("lease left alone: granted by a newer leader", lease=key_of(shard), leader_epoch=before.granted_by)
                continue
            lease = before.grant(member, granted_by=self._epoch)
            # On a Conflict the writer has advanced its own lease since the read, as it does with each batch: the next round retries.
            with contextlib.suppress(Conflict):
                if found is None:
                    await self._ports.kv.create(key_of(shard), lease.encode())
                else:
                    await self._ports.kv.update(key_of(shard), lease.encode(), found.revision)
                log.info("granted", lease=key_of(shard), holder=member, epoch=lease.epoch, before=before.holder or None)


async def _watch_sync(streams: Streams, stop: Stop) -> None:
    logged = ""
    while not stop.is_set:
        try:
            warning = await streams.lazy_sync()
            _LAZY_SYNC.set(1 if warning else 0)
            warning = f"{warning}; until then an acknowledged request may be lost on power failure" if warning else ""
        except Retryable as error:
            warning = f"whether NATS fsyncs what it acknowledges could not be checked: {error}"
        if warning and warning != logged:
            log.warning(warning)
        logged = warning
        await stop.sleep(_SYNC_CHECK_SECONDS)


def _no_bucket(error: Retryable, pause: float) -> None:
    log.warning("cannot create the cluster's bucket; retrying", reason=str(error), retry_in_seconds=pause)
