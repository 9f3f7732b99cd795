"""Rolls hours of every held shard to the cold tier, one step after another on each, as far as the hot tier can spare resources.

Deletions change the same files, so rolls and deletions hold a shard's manifest while they work on it and never interleave.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from prometheus_client import REGISTRY, Gauge

from services.compactor.rewrite import ColdEraser
from services.compactor.roll import Roller
from services.compactor.setbacks import Setbacks
from services.compactor.settings import CompactorSettings
from tael.cluster.api import KeyValue
from tael.cluster.lag import Ages
from tael.cluster.lease import Lease, bare_lease, compactor_key, writer_key
from tael.cluster.manifests import ManifestOwner, Manifests
from tael.cluster.rolls import ROLL_KEY, RollRequest
from tael.cluster.shard import ShardAddress
from tael.cold.plan import Policy
from tael.errors import Conflict, Damaged, Fenced, Rejected, Retryable
from tael.model.lanes import aside_of
from tael.model.retention import Retention
from tael.model.time import DAY_NS, HOUR_NS, NS_PER_SECOND
from tael.objects import ObjectStore
from tael.runtime.failpoint import fail_at
from tael.runtime.observe import get_logger
from tael.runtime.service import Stop
from tael.storage.erase import ColdEraseStore
from tael.storage.rolling import Pace, RollStore
from tael.wal.api import WalState

log = get_logger("compactor")
WalStates = Callable[[int], Awaitable[Sequence[WalState | None]]]
_IDLE_SECONDS = 10.0
_FAILED_SECONDS = 5.0
_PAUSED_SECONDS = 1.0
_TURN_SECONDS = 20.0
"""How long one shard is worked on before the leases are read again."""
_MERGES_AT_ONCE = 32
_NOTHING = Policy(0, 0)
"""Begins no new hour; hours that were begun are finished."""
_ASKED_QUIET_NS = 15 * NS_PER_SECOND
"""Quiet time of hours that are rolled by hand. It must be longer than the time between two looks at the writers (see ``_unsettled``)."""
_PAUSED = Gauge("tael_cold_paused", "1 while nothing is rolled because the writer is behind.", ["shard"], registry=REGISTRY)
_EARLY = Gauge("tael_cold_early", "1 while hours are rolled early because the hot disk is low.", ["shard"], registry=REGISTRY)
GAUGES = (_PAUSED, _EARLY)


@dataclass(slots=True)
class _Shard:
    """The state of a shard under one epoch. ``due`` is when it is worked on next, ``kept_house`` when it was last merged and swept
    (monotonic seconds). ``asked`` is the roll by hand that was last served, ``intents`` the last sequence of each WAL's intent at the last
    look.
    """

    epoch: int
    setbacks: Setbacks
    roller: Roller | None = None
    due: float = 0.0
    kept_house: float = float("-inf")
    asked: int = 0
    ages: Ages | None = None
    paused: bool = False
    intents: dict[int, int] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class ColdTier:
    """The rolls of all shards that this process holds."""

    def __init__(
        self,
        settings: CompactorSettings,
        kv: KeyValue,
        objects: ObjectStore,
        store: Callable[[ShardAddress], RollStore],
        erases: Callable[[ShardAddress], ColdEraseStore],
        wal_states: WalStates,
    ) -> None:
        self._settings = settings
        self._kv = kv
        self._objects = objects
        self._store = store
        self._erases = erases
        self._wal_states = wal_states
        self._manifests = Manifests(kv, objects)
        self._shards: dict[int, _Shard] = {}
        self._pace = Pace(settings.roll_threads, settings.roll_memory_bytes)
        self._request = RollRequest()

    async def look(self) -> None:
        """Read the roll that was requested by hand. Raises Retryable."""
        found = await self._kv.get(ROLL_KEY)
        if found is not None:
            try:
                self._request = RollRequest.decode(found)
            except Damaged as error:
                log.warning("the roll request cannot be read", reason=str(error))

    async def work(self, address: ShardAddress, lease: Lease, retention: Retention, stop: Stop) -> None:
        """Roll for a while if the shard is due. Logs expected errors instead of raising them."""
        shard = self._state(address, lease)
        # A new request by hand is served at once, even if the shard is not due yet.
        if time.monotonic() < shard.due and shard.asked == self._request.before_ns:
            return
        shard.asked = self._request.before_ns
        try:
            async with self.hold(address, lease) as roller:
                await self._work(address, shard, roller, retention, stop)
        except Fenced as error:
            log.info("another compactor owns this shard's cold tier now", shard=address.name, reason=str(error))
        except (Retryable, Conflict, Rejected, Damaged) as error:
            log.warning("rolling failed; retrying", shard=address.name, reason=str(error))
        else:
            shard.due = time.monotonic() + (_PAUSED_SECONDS if shard.paused else _IDLE_SECONDS)
            return
        shard.due = time.monotonic() + _FAILED_SECONDS

    @asynccontextmanager
    async def hold(self, address: ShardAddress, lease: Lease) -> AsyncIterator[Roller]:
        """Hold the shard's manifest exclusively. Raises Fenced when it belongs to another process, Retryable when something does not
        answer.
        """
        shard = self._state(address, lease)
        async with shard.lock:
            try:
                if shard.roller is None:
                    roller = self._roller(address, shard, self._store(address))
                    await roller.take()
                    shard.roller = roller
                await shard.roller.confirm()
                yield shard.roller
            except BaseException:
                # Whether the last change took effect is not known: the next attempt reads the manifest anew.
                shard.roller = None
                raise

    @asynccontextmanager
    async def erasing(self, address: ShardAddress, lease: Lease) -> AsyncIterator[ColdEraser]:
        """Hold the shard's manifest as ``hold`` does, for deletions."""
        async with self.hold(address, lease) as roller:
            fail, setbacks = fail_at(self._settings.roll_failpoint), self._state(address, lease).setbacks
            yield ColdEraser(roller.owner, self._erases(address), self._objects, self._pace, fail, setbacks)

    def _state(self, address: ShardAddress, lease: Lease) -> _Shard:
        shard = self._shards.get(address.index)
        # Nothing remembered from another epoch is valid: in between, another compactor may have changed the manifest, and the writer may
        # differ.
        if shard is None or shard.epoch != lease.epoch:
            shard = self._shards[address.index] = _Shard(lease.epoch, Setbacks(address.index, self._settings.compact_interval_seconds))
        return shard

    async def _work(self, address: ShardAddress, shard: _Shard, roller: Roller, retention: Retention, stop: Stop) -> None:
        store = self._store(address)
        until = time.monotonic() + _TURN_SECONDS
        while time.monotonic() < until and not stop.is_set:
            low = await store.free_bytes() < self._settings.roll_free_bytes
            _EARLY.labels(str(address.index)).set(low)
            # Space is freed on a low disk even when the writer is behind: soon nothing could be written at all.
            shard.paused = not low and await self._pauses(address, shard)
            _PAUSED.labels(str(address.index)).set(shard.paused)
            policies = [_NOTHING] if await self._unsettled(address, shard) else self._policies(low=low)
            # One step at a time, with a new look at the disk and the writer before each: a step may take minutes.
            if shard.paused or not await _step(roller, policies):
                break
        if time.monotonic() - shard.kept_house >= self._settings.compact_interval_seconds and not stop.is_set:
            # After the steps: freeing the hot disk is urgent, this is not.
            await self._keep_house(roller, retention)
            # Work that is left over continues in the next turn; while the writer is behind, it waits for the next interval.
            if shard.paused or await self._roll_up(roller, until, stop):
                shard.kept_house = time.monotonic()

    async def _roll_up(self, roller: Roller, until: float, stop: Stop) -> bool:
        """Roll up hours past the raw window and gather their days; False when work is left at ``until`` (monotonic seconds)."""
        days = self._settings.metric_raw_days
        if not (days and self._settings.cold_tier):
            return True
        while not stop.is_set and await _settle(roller, time.time_ns() - int(days * DAY_NS)):
            if time.monotonic() > until:
                return False
        return True

    async def _keep_house(self, roller: Roller, retention: Retention) -> None:
        await roller.retire(retention)
        await roller.load()
        for _ in range(_MERGES_AT_ONCE):
            if not await roller.merge():
                break
        await roller.sweep()

    def _policies(self, *, low: bool) -> list[Policy]:
        """Which hours leave the hot tier: those that are old enough, or all that are over while the disk is low, and those requested by
        hand.
        """
        settings = self._settings
        if not settings.cold_tier:
            return [_NOTHING]
        # The quiet time applies even then: an hour that is still written to would leave a file for every move.
        window_ns = 0 if low else int(settings.hot_tier_hours * HOUR_NS)
        quiet_ns = int(settings.roll_quiet_seconds * NS_PER_SECOND)
        asked = [Policy(self._request.before_ns, min(quiet_ns, _ASKED_QUIET_NS))] if self._request.before_ns else []
        return [Policy(time.time_ns() - window_ns, quiet_ns), *asked]

    async def _pauses(self, address: ShardAddress, shard: _Shard) -> bool:
        """Whether the writer is so far behind that the shard's resources should be left to it."""
        state = (await self._wal_states(address.index + 1))[address.index]
        found = await self._kv.get(writer_key(address.index))
        if state is None or found is None:
            return False
        committed = Lease.decode(found).committed
        first_look = shard.ages is None
        shard.ages = shard.ages or Ages()
        behind = shard.ages.observe(state.last, committed, time.monotonic())
        # At the first look nobody knows how long the entries have waited, so any backlog counts as too long.
        return behind > self._settings.roll_max_lag_seconds or (first_look and state.last > committed)

    async def _unsettled(self, address: ShardAddress, shard: _Shard) -> bool:
        """Whether a writer may have died and its successor may have to repeat an insert.

        The rows may be there already. ClickHouse recognises their token only in the hot table: once they are moved away, the repeated
        insert would write them a second time. A working writer has another intent at the next look, and hours that it wrote to in between
        are not quiet.
        """
        waiting = False
        for wal in (address.index, aside_of(address.index)):
            found = await self._kv.get(writer_key(wal))
            intent = Lease.decode(found).intent if found else None
            now = intent.last if intent else 0
            waiting = waiting or (intent is not None and shard.intents.get(wal, now) == now)
            shard.intents[wal] = now
        return waiting

    def _roller(self, address: ShardAddress, shard: _Shard, store: RollStore) -> Roller:
        async def still_mine() -> None:
            found = await self._kv.get(compactor_key(address.index))
            lease = bare_lease(found) if found else None
            # The holder alone is not enough: the lease may have gone to another process, which moved hours, and come back.
            if lease is None or (lease.holder, lease.epoch) != (self._settings.node_id, shard.epoch):
                raise Fenced(f"the lease of shard {address.index} is not this process's any more")

        owner = ManifestOwner(self._kv, self._objects, self._manifests, address.index, shard.epoch)
        fail = fail_at(self._settings.roll_failpoint)
        return Roller(owner, store, self._objects, still_mine, self._pace, fail, setbacks=shard.setbacks)


async def _settle(roller: Roller, before_ns: int) -> bool:
    return await roller.roll_up(before_ns) or await roller.gather(before_ns)


async def _step(roller: Roller, policies: Sequence[Policy]) -> bool:
    for policy in policies:
        if await roller.step(policy):
            return True
    return False
