"""Collects the payloads that nothing refers to any more, on the shards that this process holds (docs/adr/0025).

A payload is kept in every hour in which something refers to it. The first look condemns payloads of an hour that nothing there refers to,
as a deletion does when it takes a payload's last reference. The second look comes when no receiver can still rely on the payloads of the
first, and deletes those that nothing refers to even now. When an item refers to a payload of another hour or shard, one that was posted by
hand, the item's hour gets a copy.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass, field, replace
from typing import Final

from prometheus_client import REGISTRY, Counter

from services.compactor.rewrite import ColdEraser
from services.compactor.setbacks import Setbacks
from services.compactor.written import behind_of, ends_of
from tael.cluster.api import KeyValue
from tael.cluster.lease import Lease
from tael.cluster.shard import ShardAddress
from tael.cold.files import day_of
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
"""Hours with payloads that are due, handled in one batch."""
_AT_ONCE: Final = 1_000
"""Payloads that one statement names."""
_STRAYS_AT_ONCE: Final = 10_000
"""Strays of a day that one look copies; the next look copies the rest."""
_TURN_SECONDS: Final = 60.0
"""How long one shard deletes before the others get their turn."""
_REPLICAS_NS: Final = 300 * NS_PER_SECOND
"""How long a replica may lag behind another."""
_ON_ITS_WAY_NS: Final = 60 * NS_PER_SECOND
"""The delay before another look at an hour that is moving between the tiers."""
_LETTERS_AT_ONCE: Final = 256
_BODY_BYTES: Final = PIECE_BYTES + (1 << 20)
"""The largest body with a payload: one piece of the payload, and the fields around it."""
_COLLECTED = Counter(
    "tael_compactor_collected_payloads", "Payloads of hours that nothing referred to any more.", ["shard"], registry=REGISTRY
)
_COPIED = Counter("tael_compactor_copied_payloads", "Payloads copied to hours that refer to them.", ["shard"], registry=REGISTRY)


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of the collector. ``reader`` reads payloads of all the given shards; ``cold`` holds a shard's cold tier while it is
    entered.
    """

    kv: KeyValue
    store: Callable[[ShardAddress], CollectStore]
    writer: Callable[[ShardAddress], BatchWriter]
    reader: Callable[[Sequence[ShardAddress]], PayloadReader]
    cold: Callable[[ShardAddress, Lease], AbstractAsyncContextManager[ColdEraser]]
    wal_state: Callable[[int], Awaitable[WalState]]
    letters: DeadLetters


@dataclass(frozen=True, slots=True)
class Times:
    """How long receivers rely on payloads that they sent, how long unreferenced payloads are kept, and the interval of looks;
    nanoseconds.
    """

    relied_ns: int
    grace_ns: int
    every_ns: int

    @property
    def kept_ns(self) -> int:
        """The time between the two looks."""
        return max(self.grace_ns, 2 * self.relied_ns)


@dataclass(frozen=True, slots=True)
class _Look:
    """A second look that waits until the WALs are written up to ``ends``. ``lettered`` are the payloads that dead letters referred to
    before.

    It begins at ``begins_ns``, some time after the writers got there, because a replica of the shard may lag behind.
    """

    at_ns: int
    ends: Mapping[str, int]
    lettered: frozenset[bytes]
    begins_ns: int


@dataclass
class _Shard:
    """The state of a shard under one epoch. Changes since ``since_ns`` are still to be looked at; ``unfound`` are the days with references
    to payloads that no shard had. ``asked`` is whether it was found out if the index knows everything (``_declare``).
    """

    epoch: int
    setbacks: Setbacks
    since_ns: int = 0
    looked_ns: int = 0
    unfound: set[int] = field(default_factory=set)
    second: _Look | None = None
    asked: bool = False


class Collector:
    """The payloads of all shards that this process holds."""

    def __init__(self, ports: Ports, times: Times, fail: FailPoint, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._ports = ports
        self._times = times
        self._fail = fail
        self._now_ns = now_ns
        self._shards: dict[int, _Shard] = {}

    async def work(self, shard: ShardAddress, lease: Lease, shards: Sequence[ShardAddress]) -> None:
        """Work for a while on a shard, one of ``shards``. Logs expected errors instead of raising them."""
        known = self._shards.get(shard.index)
        if known is None or known.epoch != lease.epoch:
            known = self._shards[shard.index] = _Shard(lease.epoch, Setbacks(shard.index, self._times.every_ns / NS_PER_SECOND))
        try:
            if not known.asked:
                await self._declare(shard, lease)
                known.asked = True
            if self._now_ns() - known.looked_ns >= self._times.every_ns:
                await self.look(shard, known, shards)
            await self.collect(shard, lease, known, shards)
        except Fenced as error:
            log.info("another compactor owns this shard's payloads now", shard=shard.name, reason=str(error))
        except (Retryable, Conflict, Rejected, Damaged) as error:
            log.warning("payloads could not be collected; retrying", shard=shard.name, reason=str(error))

    async def _declare(self, shard: ShardAddress, lease: Lease) -> None:
        """Declare the index whole if nothing is older than it: the tables were empty when it was there, and the cold tier after that.

        A shard that lost its disk has new tables and an old cold tier, whose items the index does not know.
        """
        store = self._ports.store(shard)
        # Asked before the cold tier: should the tables be lost in between, the new ones are others than those that were seen.
        seen_empty = await store.seen_empty()
        if seen_empty is not None:
            async with self._ports.cold(shard, lease) as cold:
                if cold.is_empty:
                    await store.declare_whole(seen_empty)

    async def look(self, shard: ShardAddress, known: _Shard, shards: Sequence[ShardAddress]) -> None:
        """The first look, at the days that changed since the last one: condemn payloads that nothing refers to, and copy strays."""
        store, now_ns = self._ports.store(shard), self._now_ns()
        # A payload comes before the item that refers to it, in the WAL and in the tables, so one that was just sent is left alone.
        sent_until_ns = now_ns - self._times.relied_ns
        for day_ns in sorted({*await store.changed_days(known.since_ns), *known.unfound}):
            work = Work("look", "payload_references", day_ns)
            if found := work not in known.setbacks.aside():
                with known.setbacks.of(work, f"payload_references of {day_ns // NS_PER_SECOND}"):
                    await store.condemn(day_ns, sent_until_ns, now_ns, now_ns + self._times.kept_ns)
                    found = await self._copy(shard, await store.strays(day_ns, _STRAYS_AT_ONCE), shards)
            (known.unfound.discard if found else known.unfound.add)(day_ns)
        await store.spare()
        # Not from now: payloads sent since ``sent_until_ns`` were too young to be condemned, and their part may never change again. Another
        # hour earlier, because the times of parts come from the server's clock.
        known.since_ns, known.looked_ns = sent_until_ns - HOUR_NS, now_ns

    async def _copy(self, shard: ShardAddress, strays: Sequence[Stray], shards: Sequence[ShardAddress]) -> bool:
        """Copy each stray to its hour; returns whether all of them were found."""
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
            # The token includes the time: the same payload may have been copied here before and been collected since.
            await self._ports.writer(shard).write(PAYLOADS, body.body, f"copied:{body.dedup_id}:{now_ns}")
        _COPIED.labels(str(shard.index)).inc()

    async def collect(self, shard: ShardAddress, lease: Lease, known: _Shard, shards: Sequence[ShardAddress]) -> None:
        """The second look: spare what something refers to by now, and delete what is due.

        Since the payloads became due no receiver relies on them, so every item that refers to one is in the WALs before the look begins.
        The look waits until these are written.
        """
        store = self._ports.store(shard)
        if known.second is None:
            if not await store.due(self._now_ns(), 1):
                return
            # Dead letters are read before the WALs' ends: one that is replayed in between was seen as a letter.
            lettered = await self._lettered()
            wals = [wal for one in shards for wal in (one.index, aside_of(one.index))]
            now_ns = self._now_ns()
            known.second = _Look(now_ns, await ends_of(self._ports.wal_state, wals), lettered, now_ns)
        if await behind_of(self._ports.kv, known.second.ends):
            known.second = replace(known.second, begins_ns=self._now_ns() + _REPLICAS_NS)
        if self._now_ns() < known.second.begins_ns:
            return
        second, known.second = known.second, None
        # After the wait and before the first deletion: by now the index has everything that could refer to what is due.
        await store.spare()
        until = time.monotonic() + _TURN_SECONDS
        while time.monotonic() < until and (hours := await store.due(second.at_ns, _HOURS_AT_ONCE)):
            for dues in _batches(hours, known.setbacks):
                await self._try(shard, lease, known, dues, second.lettered, shards)

    async def _try(
        self,
        shard: ShardAddress,
        lease: Lease,
        known: _Shard,
        dues: Sequence[Due],
        lettered: frozenset[bytes],
        shards: Sequence[ShardAddress],
    ) -> None:
        """Delete those of ``dues`` that nothing needs. A due that failed before comes alone, and is postponed while it is set aside."""
        works = [_work(due) for due in dues]
        if works[0] in known.setbacks.aside():
            pause_ns = int(known.setbacks.pause_seconds(works[0]) * NS_PER_SECOND)
            await self._ports.store(shard).postpone(dues[0], self._now_ns() + pause_ns)
            return
        with ExitStack() as stack:
            for work in works:
                stack.enter_context(known.setbacks.of(work, f"payloads of {work.tenant}, {work.start_ns // NS_PER_SECOND}"))
            # Every shard is asked, again for each batch: an index covers only its own shard, and an item on another may refer to a payload
            # here.
            unneeded = [await self._unneeded(shard, due, lettered, shards) for due in dues]
            await self._collect(shard, lease, [due for due in unneeded if due.hashes])

    async def _collect(self, shard: ShardAddress, lease: Lease, dues: Sequence[Due]) -> None:
        """Delete payloads of several hours of a day. Files are changed by one commit of the manifest for each thousand payloads
        of an hour.
        """
        store = self._ports.store(shard)
        left = {due: [replace(due, hashes=())] if await store.is_all(due) else [*due.parts(_AT_ONCE)] for due in dues}
        rows = 0
        while batch := [(due, parts.pop(0)) for due, parts in left.items() if parts]:
            # Hot rows first, then files, then the condemnation: a compactor that dies in between leaves the payload due, and the next one
            # deletes the rest.
            rows += sum([await store.delete(part) for _, part in batch])
            self._fail("deleted")
            async with self._ports.cold(shard, lease) as cold:
                waiting = await cold.collect([part.selection for _, part in batch])
            self._fail("collected")
            for due, part in batch:
                if due.hour_ns not in waiting:
                    await store.forget(part)
                    continue
                # The hour is on its way to the cold tier: neither its hot rows nor its files are final, so it is done again later.
                await store.postpone(due, self._now_ns() + _ON_ITS_WAY_NS)
                del left[due]
        count = sum(len(due.hashes) for due in left)
        _COLLECTED.labels(str(shard.index)).inc(count)
        if left:
            start = dues[0].hour_ns // NS_PER_SECOND
            log.info("collected payloads", shard=shard.name, start=start, hours=len(left), payloads=count, rows=rows)

    async def _unneeded(self, shard: ShardAddress, due: Due, lettered: frozenset[bytes], shards: Sequence[ShardAddress]) -> Due:
        """The part of ``due`` that nothing needs; the rest is postponed."""
        needed = set(lettered)
        for part in due.parts(_AT_ONCE):
            for one in shards:
                needed |= await self._ports.store(one).needed(due.tenant, part.hashes)
        if kept := tuple(sha256 for sha256 in due.hashes if sha256 in needed):
            await self._ports.store(shard).postpone(replace(due, hashes=kept), self._now_ns() + self._times.relied_ns)
        return replace(due, hashes=tuple(sha256 for sha256 in due.hashes if sha256 not in needed))

    async def _lettered(self) -> frozenset[bytes]:
        """The payloads that dead letters refer to: replaying a letter appends it again."""
        found: set[bytes] = set()
        after = 0
        while letters := await self._ports.letters.list(after, _LETTERS_AT_ONCE):
            for buried in letters:
                found |= hashes_in(buried.letter.body)
            after = letters[-1].letter_id
        return frozenset(found)


def _work(due: Due) -> Work:
    return Work("collect", "payloads", due.hour_ns, due.tenant)


def _batches(dues: Iterable[Due], setbacks: Setbacks) -> Sequence[Sequence[Due]]:
    """The dues of each tenant and day together, each hour once in a batch. A due that failed before is alone, so that it does not fail the
    others again.
    """
    batches: dict[object, list[Due]] = {}
    seen: dict[Work, int] = {}
    for due in dues:
        work = _work(due)
        place = due if setbacks.has_failed(work) else (due.tenant, day_of(due.hour_ns), seen.get(work, 0))
        batches.setdefault(place, []).append(due)
        seen[work] = seen.get(work, 0) + 1
    return list(batches.values())
