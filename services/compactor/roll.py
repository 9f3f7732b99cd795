"""Carries out a shard's roll, one step after another (docs/adr/0014). tael/cold/plan.py decides the next step."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime

from prometheus_client import REGISTRY, Counter, Gauge

from services.compactor.setbacks import Setbacks
from tael.cluster.manifests import ManifestOwner
from tael.cold import plan, transitions
from tael.cold.files import ROLLED, ColdFile, day_of, overlap
from tael.cold.manifest import OpenHour, Trash
from tael.cold.pages import decode_trash
from tael.cold.plan import Partition, Policy, Work
from tael.errors import Damaged, NotFound, Unavailable
from tael.model.retention import Retention
from tael.model.time import DAY_NS, HOUR_NS, NS_PER_SECOND, TimeRange
from tael.objects import ObjectStore
from tael.runtime.failpoint import FailPoint
from tael.runtime.observe import get_logger
from tael.storage.rolling import Pace, RollStore

log = get_logger("compactor")
GRACE_NS = HOUR_NS
"""How long files that the manifest no longer names are kept: longer than any query that read an older manifest."""
_ROWS = Counter("tael_cold_rolled_rows", "Rows written to the cold tier.", ["shard", "table"], registry=REGISTRY)
_BYTES = Counter("tael_cold_rolled_bytes", "Bytes of the files that rolls wrote.", ["shard", "table"], registry=REGISTRY)
_SECONDS = Counter("tael_cold_roll_seconds", "Seconds spent writing and checking files.", ["shard", "table"], registry=REGISTRY)
_MERGED = Counter("tael_cold_merged_files", "Files merged into larger ones.", ["shard", "table"], registry=REGISTRY)
_ROLLED_UP = Counter("tael_cold_rolled_up_samples", "Samples and histograms replaced by 5-minute rollups.", ["shard"], registry=REGISTRY)
_RETIRED = Counter("tael_cold_retired_files", "Files removed because their retention had passed.", ["shard", "table"], registry=REGISTRY)
_WAITING = Gauge("tael_cold_waiting_hours", "Hours of tables waiting to leave the hot tier.", ["shard"], registry=REGISTRY)
_WAITING_BYTES = Gauge("tael_cold_waiting_bytes", "Bytes of the hours waiting to leave the hot tier.", ["shard"], registry=REGISTRY)
GAUGES = (_WAITING, _WAITING_BYTES)
_MISMATCHES = Counter(
    "tael_cold_mismatches", "Files whose contents did not match their source; they are written again.", ["shard"], registry=REGISTRY
)


class Roller:
    """One shard's cold tier under one epoch of its lease. Used by one task; call ``take`` first, and again after any failure.

    Work that fails again and again is set aside (``setbacks``), and the rest goes on. ``still_mine`` raises Fenced unless the lease is
    still this epoch's. It is called directly before rows are moved or dropped, because ClickHouse itself does not know about leases. Every
    method raises Retryable when something does not answer, and Fenced when another process owns the shard now.
    """

    def __init__(
        self,
        owner: ManifestOwner,
        store: RollStore,
        objects: ObjectStore,
        still_mine: Callable[[], Awaitable[None]],
        pace: Pace,
        fail: FailPoint,
        *,
        setbacks: Setbacks | None = None,
        grace_ns: int = GRACE_NS,
    ) -> None:
        self._owner = owner
        self._store = store
        self._objects = objects
        self._still_mine = still_mine
        self._pace = pace
        self._fail = fail
        self._setbacks = setbacks or Setbacks(owner.manifest.shard)
        self._grace_ns = grace_ns

    @property
    def owner(self) -> ManifestOwner:
        """The owner of the manifest, for other changes by the same task."""
        return self._owner

    async def take(self) -> None:
        """Make the shard's manifest this epoch's."""
        await self._owner.take()

    async def confirm(self) -> None:
        """Raise Fenced if another process has changed the manifest since, or if it is gone."""
        await self._owner.confirm()

    async def step(self, policy: Policy) -> bool:
        """Do the next step of the roll; False when there is none."""
        now_ns = time.time_ns()
        partitions = await self._store.partitions()
        waiting = plan.waiting(partitions.hot, policy, now_ns)
        _WAITING.labels(self._shard).set(len(waiting))
        _WAITING_BYTES.labels(self._shard).set(sum(one.bytes for one in waiting))
        step = plan.next_step(self._owner.manifest, partitions, policy, now_ns, self._setbacks.aside())
        if step is None:
            return False
        work = plan.work_of(step)
        with self._setbacks.of(work, _hour(work)):
            await self._do(step)
        return True

    async def _do(self, step: plan.Step) -> None:
        match step:
            case plan.Begin(partition):
                await self._begin(partition)
            case plan.Adopt(Partition(table=table, hour_ns=hour_ns)):
                log.warning(
                    "the rolling table holds rows of an hour that is not on its way; taking the hour over",
                    table=table,
                    start=hour_ns // 10**9,
                )
                await self._commit(transitions.adopted(self._owner.manifest, table, hour_ns, self._owner.epoch))
            case plan.Move(hour):
                await self._move(hour)
            case plan.Untangle(hour):
                await self._untangle(hour)
            case plan.RecordMoved(hour):
                await self._record(transitions.moved, hour)
            case plan.RecordUnmoved(hour):
                await self._record(transitions.unmoved, hour)
            case plan.Export(hour):
                await self._export(hour)
            case plan.Drop(hour):
                await self._drop(hour)
            case plan.RecordDropped(hour):
                await self._record(transitions.dropped, hour)

    async def _begin(self, partition: Partition) -> None:
        await self._commit(transitions.begin_move(self._owner.manifest, partition.table, partition.hour_ns, self._owner.epoch))
        self._fail("moving")
        hour = self._owner.manifest.open_hour(partition.table, partition.hour_ns)
        assert hour is not None
        await self._move(hour)

    async def _move(self, hour: OpenHour) -> None:
        # Readers of this hour wait from the commit before until the commit after, so nothing else is done in between.
        await self._still_mine()
        await self._store.move(hour)
        self._fail("moved")
        await self._record(transitions.moved, hour)
        self._fail("rolling")

    async def _untangle(self, hour: OpenHour) -> None:
        await self._still_mine()
        if not await self._store.untangle(hour):
            await self._record(transitions.moved, hour)

    async def _export(self, hour: OpenHour) -> None:
        started = time.monotonic()
        files = [await self._write(file) for file in await self._store.contents(hour, self._owner.manifest.shard)]
        self._fail("exported")
        # The commit rewrites the day's page as a whole, so the files that it already lists must be loaded.
        await self._load(hour.table, hour.hour_ns)
        change = transitions.committed(self._owner.manifest, hour.table, hour.hour_ns, files, self._owner.epoch, time.time_ns())
        await self._commit(change)
        self._fail("committed")
        rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
        _ROWS.labels(self._shard, hour.table).inc(rows)
        _BYTES.labels(self._shard, hour.table).inc(size)
        _SECONDS.labels(self._shard, hour.table).inc(time.monotonic() - started)
        log.info("rolled", shard=self._shard, table=hour.table, start=hour.hour_ns // 10**9, rows=rows, bytes=size, files=len(files))
        await self._drop(hour)

    async def _write(self, file: ColdFile) -> ColdFile:
        written = await self._store.export(file, self._pace)
        self._check(file, written)
        return written

    def _check(self, wanted: ColdFile, written: ColdFile) -> None:
        if (written.tenant, written.rows, written.checksum) != (wanted.tenant, wanted.rows, wanted.checksum):
            _MISMATCHES.labels(self._shard).inc()
            raise Unavailable(
                f"{wanted.key} holds {written.rows} rows with checksum {written.checksum}, not {wanted.rows} with {wanted.checksum}"
            )

    async def _drop(self, hour: OpenHour) -> None:
        # The files count already, but a later owner may have moved new rows into the same rolling partition.
        await self._still_mine()
        await self._store.drop(hour)
        self._fail("dropped")
        await self._record(transitions.dropped, hour)

    async def merge(self) -> bool:
        """Merge the generations of one hour; False when there is none to merge among the pages that are loaded."""
        hours = plan.hours_to_merge(self._owner.manifest, self._setbacks.aside())
        if not hours:
            return False
        work = Work("merge", *hours[0])
        with self._setbacks.of(work, _hour(work)):
            await self._merge(*hours[0])
        return True

    async def _merge(self, table: str, hour_ns: int) -> None:
        by_tenant: dict[str, list[ColdFile]] = {}
        for file in self._owner.manifest.hour_files(table, hour_ns):
            if not file.settled:
                by_tenant.setdefault(file.tenant, []).append(file)
        # The revision that this commit will make. If another owner makes that revision first, no manifest ever names our files.
        generation = self._owner.manifest.revision + 1
        several = [files for files in by_tenant.values() if len(files) > 1]
        merged = [await self._merge_files(files, generation) for files in several]
        self._fail("merged")
        await self._commit(transitions.merged(self._owner.manifest, table, hour_ns, merged, self._owner.epoch, time.time_ns()))
        self._fail("replaced")
        _MERGED.labels(self._shard, table).inc(sum(map(len, several)))

    async def _merge_files(self, files: Sequence[ColdFile], generation: int) -> ColdFile:
        merged = await self._store.merge(files, generation, self._pace)
        self._check_merged(files, merged)
        return merged

    def _check_merged(self, files: Sequence[ColdFile], merged: ColdFile) -> None:
        rows = sum(file.rows for file in files)
        # Rows with the same key become one where the files overlap. Each file has a key once, so no fewer rows remain than the largest has.
        may_shrink = ROLLED[merged.table].replaces and overlap(files) and max(file.rows for file in files) <= merged.rows <= rows
        if merged.rows != rows and not may_shrink:
            _MISMATCHES.labels(self._shard).inc()
            raise Unavailable(f"{merged.key} holds {merged.rows} rows, not the {rows} of {len(files)} files")

    async def roll_up(self, before_ns: int) -> bool:
        """Replace one file of samples or histograms that ended by ``before_ns`` with its rollup; False when the loaded pages have none."""
        raw = plan.next_to_roll_up(self._owner.manifest, before_ns, self._setbacks.aside())
        if raw is None:
            return False
        with self._setbacks.of(plan.rolls_up(raw), raw.key):
            await self._roll_up(raw)
        return True

    async def _roll_up(self, raw: ColdFile) -> None:
        rollup, samples = await self._store.roll_up(raw, self._owner.manifest.revision + 1, self._pace)
        # Every sample of the hour is in exactly one bucket, so a smaller sum means that rows were lost.
        if (rollup.tenant, samples) != (raw.tenant, raw.rows):
            _MISMATCHES.labels(self._shard).inc()
            raise Unavailable(f"{rollup.key} was made of {samples} samples, not the {raw.rows} of {raw.key}")
        self._fail("rolled up")
        await self._commit(transitions.rolled_up(self._owner.manifest, raw, rollup, self._owner.epoch, time.time_ns()))
        self._fail("replaced")
        _ROLLED_UP.labels(self._shard).inc(samples)
        log.info(
            "rolled up",
            shard=self._shard,
            table=raw.table,
            start=raw.hour_ns // 10**9,
            samples=samples,
            rows=rollup.rows,
            bytes=rollup.bytes,
        )

    async def gather(self, before_ns: int) -> bool:
        """Replace the files of one tenant's day that ended by ``before_ns`` with a single file; False when the loaded pages have no such
        day.
        """
        several = plan.next_to_gather(self._owner.manifest, before_ns, self._setbacks.aside())
        if not several:
            return False
        with self._setbacks.of(plan.gathers(several[0]), _hour(plan.gathers(several[0]))):
            await self._gather(several)
        return True

    async def _gather(self, several: Sequence[ColdFile]) -> None:
        whole = await self._store.gather(several, self._owner.manifest.revision + 1, self._pace)
        self._check_merged(several, whole)
        self._fail("merged")
        await self._commit(transitions.gathered(self._owner.manifest, several, whole, self._owner.epoch, time.time_ns()))
        self._fail("replaced")
        _MERGED.labels(self._shard, whole.table).inc(len(several))
        log.info("gathered", shard=self._shard, table=whole.table, start=whole.hour_ns // 10**9, files=len(several), rows=whole.rows)

    async def retire(self, retention: Retention) -> int:
        """Remove from the manifest the files that are wholly past their tenant's retention; returns how many."""
        now_ns = time.time_ns()
        # A day's page is needed as soon as the first hour of the day may be past anybody's retention.
        await self._load_pages(
            (table, day)
            for table, day in (await self._owner.load(())).days()
            if not retention.past(ROLLED[table].signal, day + HOUR_NS, now_ns).is_nobody
        )

        def gone(file: ColdFile) -> bool:
            return retention.past(ROLLED[file.table].signal, file.end_ns, now_ns).holds(file.tenant)

        out = [file for page in self._owner.manifest.pages.values() for file in page if gone(file)]
        change = transitions.retired(self._owner.manifest, gone, self._owner.epoch, now_ns)
        if change is not None:
            await self._commit(change)
            for file in out:
                _RETIRED.labels(self._shard, file.table).inc()
            log.info("retired", shard=self._shard, files=len(out))
        return len(out)

    async def sweep(self) -> int:
        """Delete objects that were unnamed for the grace period and superseded copies of heads; returns how many objects."""
        count = 0
        for trash in plan.to_sweep(self._owner.manifest, self._grace_ns, time.time_ns(), self._setbacks.aside()):
            with self._setbacks.of(plan.sweeps(trash), trash.key):
                count += await self._sweep(trash)
        return count + await self._owner.tidy()

    async def _sweep(self, trash: Trash) -> int:
        try:
            keys = decode_trash(trash.key, await self._objects.get(trash.key))
        # An earlier sweep died after its last deletion and before its commit, which is all that is left to do.
        except NotFound:
            keys = []
        # The list is deleted last: while it exists, a sweep that died is repeated in full.
        for key in (*keys, trash.key):
            await self._objects.delete(key)
        await self._commit(transitions.swept(self._owner.manifest, trash, self._owner.epoch))
        return len(keys) + 1

    async def load(self) -> None:
        """Load every page that can be read, for ``merge`` to choose among."""
        try:
            await self._owner.load()
        except Damaged:
            await self._load_pages((await self._owner.load(())).days())

    async def _load_pages(self, days: Iterable[tuple[str, int]]) -> None:
        """Load the pages one after another; one that cannot be read affects only its own day."""
        aside = self._setbacks.aside()
        for table, day in days:
            if (work := Work("read", table, day)) not in aside:
                with contextlib.suppress(Damaged), self._setbacks.of(work, self._owner.manifest.index[table, day]):
                    await self._load(table, day)

    async def _record(self, transition: Callable[..., transitions.Change], hour: OpenHour) -> None:
        await self._commit(transition(self._owner.manifest, hour.table, hour.hour_ns, self._owner.epoch))

    async def _commit(self, change: transitions.Change) -> None:
        await self._owner.commit(change)

    async def _load(self, table: str, time_ns: int) -> None:
        day = day_of(time_ns)
        await self._owner.load((table,), TimeRange(day, day + DAY_NS))

    @property
    def _shard(self) -> str:
        return str(self._owner.manifest.shard)


def _hour(work: Work) -> str:
    return f"{work.table} {datetime.fromtimestamp(work.start_ns // NS_PER_SECOND, UTC):%Y-%m-%dT%H:%MZ}{f' of {work.tenant}' if work.tenant else ''}"
