"""Collects the payloads that nothing refers to any more, on the shards that this process holds (docs/adr/0025).

A payload is wanted in every hour of which something refers to it. The first look condemns those of an hour that nothing there refers to, as a deletion
does with those that it took the last reference from; the second look, when no receiver can rely on what was there at the first, deletes
those that still nothing refers to. What refers to a payload of another hour or shard, one that was posted by hand, gets a copy of its own.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Final

from prometheus_client import REGISTRY, Counter

from services.compactor.rewrite import ColdEraser
from services.compactor.setbacks import Setbacks
from services.compactor.written import behind_of, ends_of
from tael.cluster.api import KeyValue
from tael.cluster.lease import Lease
from tael.cluster.shard import ShardAddress
from tael.cold.plan import Work
from tael.errors import Conflict, Damaged, Fenced, Rejected, Retryable
from tael.model.lanes import aside_of
from tael.model.payload import hashes_in
from tael.model.signals import PAYLOADS
from tael.model.time import HOUR_NS, NS_PER_SECOND
from tael.runtime.failpoint import FailPoint
from tael.runtime.observe import get_logger
from tael.storage.api import BatchWriter
from tael.storage.collecting import CollectStore, Due, Stray
from tael.storage.payloads import PayloadReader
from tael.wal.api import DeadLetters, WalState
from tael.wal.payloads import PIECE_BYTES, Wanted, bodies

log = get_logger("compactor")
_HOURS_AT_ONCE: Final = 32
_AT_ONCE: Final = 1_000
"""Payloads that one statement names."""
_STRAYS_AT_ONCE: Final = 10_000
_TURN_SECONDS: Final = 60.0
_REPLICAS_NS: Final = 300 * NS_PER_SECOND
_ON_ITS_WAY_NS: Final = 60 * NS_PER_SECOND
_LETTERS_AT_ONCE: Final = 256
_BODY_BYTES: Final = PIECE_BYTES + (1 << 20)
_COLLECTED = Counter(
    "tael_compactor_collected_payloads", "Payloads of hours that nothing referred to any more.", ["shard"], registry=REGISTRY
)
_COPIED = Counter("tael_compactor_copied_payloads", "Payloads copied to hours that refer to them.", ["shard"], registry=REGISTRY)


@dataclass(frozen=True, slots=True)
class Ports:
    """What the collector works through. ``reader`` reads the payloads of all of these shards, ``cold`` holds a shard's cold tier."""

    kv: KeyValue
    store: Callable[[ShardAddress], CollectStore]
    writer: Callable[[ShardAddress], BatchWriter]
    reader: Callable[[Sequence[ShardAddress]], PayloadReader]
    cold: Callable[[ShardAddress, Lease], AbstractAsyncContextManager[ColdEraser]]
    wal_state: Callable[[int], Awaitable[WalState]]
    letters: DeadLetters


@dataclass(frozen=True, slots=True)
class Times:
    """How long receivers rely on what they sent, how long what nothing refers to is kept, and how often it is looked for; nanoseconds."""

    relied_ns: int
    grace_ns: int
    every_ns: int

    @property
    def kept_ns(self) -> int:
        """From the first look to the second."""
        return max(self.grace_ns, 2 * self.relied_ns)


@dataclass(frozen=True, slots=True)
class _Look:
    """A second look is done when everything up to ``ends`` is in the hot tier; dead letters had ``lettered`` references before that.

    It begins at ``begins_ns``, some time behind the writers: a replica of the shard may not have yet what others have.
    """

    at_ns: int
    ends: Mapping[str, int]
    lettered: frozenset[bytes]
    begins_ns: int


@dataclass
class _Shard:
    """What is known of a shard under one epoch: since when changes are looked at, and the days with references to what was not found."""

    epoch: int
    setbacks: Setbacks
    since_ns: int = 0
    looked_ns: int = 0
    unfound: set[int] = field(default_factory=set)
    second: _Look | None = None


class Collector:
    """The payloads of all shards that this process holds."""

    def __init__(self, ports: Ports, times: Times, fail: FailPoint, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._ports = ports
        self._times = times
        self._fail = fail
        self._now_ns = now_ns
        self._shards: dict[int, _Shard] = {}

    async def work(self, shard: ShardAddress, lease: Lease, shards: Sequence[ShardAddress]) -> None:
        """Look for a while at a shard, one of ``shards``; raises nothing but what is a bug."""
        known = self._shards.get(shard.index)
        if known is None or known.epoch != lease.epoch:
            known = self._shards[shard.index] = _Shard(lease.epoch, Setbacks(shard.index, self._times.every_ns / NS_PER_SECOND))
        try:
            if self._now_ns() - known.looked_ns >= self._times.every_ns:
                await self.look(shard, known, shards)
            await self.collect(shard, lease, known, shards)
        except Fenced as error:
            log.info("this shard's payloads are somebody else's now", shard=shard.name, reason=str(error))
        except (Retryable, Conflict, Rejected, Damaged) as error:
            log.warning("payloads could not be collected; retrying", shard=shard.name, reason=str(error))

    async def look(self, shard: ShardAddress, known: _Shard, shards: Sequence[ShardAddress]) -> None:
        """The first look, at the days that changed since the last one: condemn what nothing refers to, and copy what is referred to elsewhere."""
        store, now_ns = self._ports.store(shard), self._now_ns()
        # A payload that was just sent is before what refers to it, in the WAL as in the tables.
        sent_until_ns = now_ns - self._times.relied_ns
        for day_ns in sorted({*await store.changed_days(known.since_ns), *known.unfound}):
            work = Work("look", "payload_references", day_ns)
            if found := work not in known.setbacks.aside():
                with known.setbacks.of(work, f"payload_references of {day_ns // NS_PER_SECOND}"):
                    await store.condemn(day_ns, sent_until_ns, now_ns, now_ns + self._times.kept_ns)
                    found = await self._copy(shard, await store.strays(day_ns, _STRAYS_AT_ONCE), shards)
            (known.unfound.discard if found else known.unfound.add)(day_ns)
        await store.spare()
        known.since_ns, known.looked_ns = sent_until_ns - HOUR_NS, now_ns

    async def _copy(self, shard: ShardAddress, strays: Sequence[Stray], shards: Sequence[ShardAddress]) -> bool:
        """Give each hour what it refers to; whether all of it was found."""
        found = len(strays) < _STRAYS_AT_ONCE
        for stray in strays:
            answer = await self._ports.reader(shards).get_payloads(stray.tenant, [stray.sha256])
            content = answer.value.get(stray.sha256)
            if content is None:
                found = False
            else:
                await self._write(shard, stray.tenant, Wanted(stray.hour_ns // NS_PER_SECOND, stray.sha256, content))
        return found

    async def _write(self, shard: ShardAddress, tenant: str, wanted: Wanted) -> None:
        now_ns = self._now_ns()
        for body in bodies(tenant, shard.index, [wanted], now_ns, _BODY_BYTES):
            # The time is a part of the token: the same may have been here before, and have been collected.
            await self._ports.writer(shard).write(PAYLOADS, body.body, f"copied:{body.dedup_id}:{now_ns}")
        _COPIED.labels(str(shard.index)).inc()

    async def collect(self, shard: ShardAddress, lease: Lease, known: _Shard, shards: Sequence[ShardAddress]) -> None:
        """The second look: spare what something refers to by now, and delete what is due.

        What may refer to it was appended before the look began, for nobody relies on it since: it is waited for until all of that is written.
        """
        store = self._ports.store(shard)
        if known.second is None:
            if not await store.due(self._now_ns(), 1):
                return
            lettered = await self._lettered()
            wals = [wal for one in shards for wal in (one.index, aside_of(one.index))]
            now_ns = self._now_ns()
            known.second = _Look(now_ns, await ends_of(self._ports.wal_state, wals), lettered, now_ns)
        if await behind_of(self._ports.kv, known.second.ends):
            known.second = replace(known.second, begins_ns=self._now_ns() + _REPLICAS_NS)
        if self._now_ns() < known.second.begins_ns:
            return
        second, known.second = known.second, None
        await store.spare()
        until = time.monotonic() + _TURN_SECONDS
        while time.monotonic() < until and (hours := await store.due(second.at_ns, _HOURS_AT_ONCE)):
            for due in hours:
                work = Work("collect", "payloads", due.hour_ns, due.tenant)
                if work in known.setbacks.aside():
                    await store.postpone(due, self._now_ns() + int(known.setbacks.pause_seconds(work) * NS_PER_SECOND))
                    continue
                with known.setbacks.of(work, f"payloads of {due.tenant}, {due.hour_ns // NS_PER_SECOND}"):
                    await self._collect(shard, lease, due, second.lettered, shards)

    async def _collect(
        self, shard: ShardAddress, lease: Lease, due: Due, lettered: frozenset[bytes], shards: Sequence[ShardAddress]
    ) -> None:
        store, later_ns = self._ports.store(shard), self._now_ns() + self._times.relied_ns
        needed = set(lettered)
        for part in due.parts(_AT_ONCE):
            for one in shards:
                needed |= await self._ports.store(one).needed(due.tenant, part.hashes)
        if kept := tuple(sha256 for sha256 in due.hashes if sha256 in needed):
            await store.postpone(replace(due, hashes=kept), later_ns)
        due = replace(due, hashes=tuple(sha256 for sha256 in due.hashes if sha256 not in needed))
        if not due.hashes:
            return
        parts = [replace(due, hashes=())] if await store.is_all(due) else due.parts(_AT_ONCE)
        rows = 0
        for part in parts:
            rows += await store.delete(part)
            self._fail("deleted")
            async with self._ports.cold(shard, lease) as cold:
                erased = await cold.collect(part.selection)
            if erased.left:
                # The hour is on its way to the cold tier.
                await store.postpone(due, self._now_ns() + _ON_ITS_WAY_NS)
                return
            rows += erased.rows
            self._fail("collected")
            await store.forget(part)
        _COLLECTED.labels(str(shard.index)).inc(len(due.hashes))
        log.info("collected payloads", shard=shard.name, start=due.hour_ns // NS_PER_SECOND, payloads=len(due.hashes), rows=rows)

    async def _lettered(self) -> frozenset[bytes]:
        """What dead letters refer to: who replays one appends it again."""
        found: set[bytes] = set()
        after = 0
        while letters := await self._ports.letters.list(after, _LETTERS_AT_ONCE):
            for buried in letters:
                found |= hashes_in(buried.letter.body)
            after = letters[-1].letter_id
        return frozenset(found)
