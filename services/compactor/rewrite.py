"""Removes deleted rows from the files of one shard's cold tier by rewriting each hour's files without them.

The rewritten files of a day are committed together: each commit rewrites the manifest's index, which grows with the age of the tier.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Final, TypeVar

from prometheus_client import REGISTRY, Counter

from services.compactor.setbacks import Setbacks
from tael.cluster.manifests import ManifestOwner
from tael.cold import transitions
from tael.cold.files import DAY_HOURS, GATHERED, ROLLED, ROLLED_UP, ROLLUP_SECONDS, ColdFile, day_of
from tael.cold.manifest import MOVING, ROLLING
from tael.cold.plan import Work, rolls
from tael.errors import Damaged, Rejected, Retryable, TaelError, Unavailable, Unreadable
from tael.model.time import HOUR_NS, NS_PER_SECOND, TimeRange
from tael.objects import ObjectStore
from tael.runtime.failpoint import FailPoint
from tael.runtime.observe import get_logger
from tael.storage.erase import ColdEraseStore, Erasure, Kept, Selected, Selection
from tael.storage.rolling import Pace

T = TypeVar("T")
log = get_logger("compactor")
_TURN_SECONDS: Final = 20.0
"""How long files are rewritten before rolls get their turn."""
ROLL_FAILS: Final = "whose roll fails "
_OF_TRACES: Final = ("logs", "exemplars", "spans")
_MODULUS: Final = 1 << 64
_REWRITTEN = Counter(
    "tael_cold_rewritten_files", "Files rewritten without rows that were to be deleted.", ["shard", "table"], registry=REGISTRY
)


@dataclass(frozen=True, slots=True)
class Erased:
    """The number of rows removed, and whether others may be left for the next call, as always when files could not be read (their keys are
    in ``unread``) or hours have to arrive first (``waits`` names their tables and starts, and why their roll fails if it does).
    """

    rows: int
    left: bool
    unread: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """The unsettled files of an hour, or one settled file, with the rows of each to remove."""

    files: tuple[ColdFile, ...]
    selection: Selection
    out: Mapping[ColdFile, Selected]

    @property
    def hours(self) -> Collection[int]:
        return self.files[0].each_hour


class ColdEraser:
    """Deletes rows of one shard's cold files under one epoch of its lease, in the task that holds its ``owner``; made for one call or a few
    related ones.

    Any owner may repeat any method. Every method raises Retryable when something does not answer, and Fenced when another process owns the
    shard now. Files that cannot be read are skipped and named in ``unread``; the others are processed.
    """

    def __init__(
        self,
        owner: ManifestOwner,
        store: ColdEraseStore,
        objects: ObjectStore,
        pace: Pace,
        fail: FailPoint,
        setbacks: Setbacks | None = None,
    ) -> None:
        self._owner = owner
        self._store = store
        self._objects = objects
        self._pace = pace
        self._fail = fail
        self._setbacks = setbacks or Setbacks(owner.manifest.shard)
        self._unread: set[str] = set()
        self._skipped: set[Work] = set()
        self._failed: list[TaelError] = []
        self._waits: dict[tuple[str, int], None] = {}

    @property
    def unread(self) -> tuple[str, ...]:
        """Keys of files that could not be read, or that are set aside because they could not."""
        return tuple(sorted(self._unread))

    @property
    def is_empty(self) -> bool:
        """Whether the shard's cold tier has no file, and no hour is on its way there."""
        head = self._owner.manifest.head
        return not head.index and not head.open

    async def next_traces(self, what: Erasure, limit: int) -> Sequence[bytes]:
        """See EraseStore; searches the files."""
        files = await self._files("spans", what.tenant)
        return await self._reading(files, lambda readable: self._store.next_traces(what, readable, limit))

    async def later_traces(self, what: Erasure, traces: Sequence[bytes]) -> frozenset[bytes]:
        """Those of ``traces`` with spans in files that came after the request."""
        return await self._reading(await self._spans_of(what, traces), lambda readable: self._store.later_traces(what, traces, readable))

    async def later(self, what: Erasure) -> Kept | None:
        """What a tenant's rows in files need that came after the request, in hours that began before it; None if not all files
        can be read.
        """
        spans, logs = [
            [file for file in await self._files(table, what.tenant) if file.hour_ns <= what.before_ns] for table in ("spans", "logs")
        ]
        traces = await self._reading(spans, lambda readable: self._store.all_later_traces(what, readable))
        streams = await self._reading(logs, lambda readable: self._store.later_streams(what, readable))
        return None if self._unread else Kept(traces, streams)

    async def loose_items(self, what: Erasure) -> Sequence[bytes]:
        """See EraseStore; searches the files."""
        return await self._reading(await self._files("logs", what.tenant), lambda readable: self._store.loose_items(what, readable))

    async def collect(self, selections: Sequence[Selection]) -> Collection[int]:
        """Remove payloads from the files of several hours of a day, one selection for each hour. Returns the hours that have to wait
        because they are on their way to the cold tier.

        The payloads MUST have been deleted from the hot tier before.
        """
        hours = [one.hour_ns for one in selections if one.hour_ns is not None]
        manifest = await self._owner.load(("payloads",), TimeRange(min(hours), max(hours) + HOUR_NS))
        waiting = {hour_ns for hour_ns in hours if manifest.open_hour("payloads", hour_ns) is not None}
        places: list[_Place] = []
        for selection in selections:
            hour_ns, tenant = selection.hour_ns, selection.what.tenant
            if hour_ns is not None and hour_ns not in waiting:
                files = tuple(file for file in manifest.hour_files("payloads", hour_ns) if file.tenant == tenant)
                found = await self._store.select(selection, files)
                places += [_Place(files, selection, found)] if found else []
        await self._rewrite(places, math.inf)
        if self._failed:
            raise self._failed[0]
        return waiting

    async def erase(self, selection: Selection) -> Erased:
        """Rewrite the files that hold rows of the selection, for a while.

        The hot and rolling tables MUST have been searched before: rows move from there to here, so rows that neither search finds do not
        exist. Of hours on their way, those make something left whose rows are between two tables, or whose files cannot be rewritten yet.
        """
        until, rows = time.monotonic() + _TURN_SECONDS, 0
        self._waits = dict.fromkeys((hour.table, hour.hour_ns) for hour in self._owner.manifest.head.open if hour.state == MOVING)
        await self._delete_unfinished(selection)
        for table in self._tables(selection):
            if time.monotonic() >= until:
                break
            files = await (
                self._spans_of(selection.what, selection.traces)
                if table == "spans" and selection.traces
                else self._files(table, selection.what.tenant)
            )
            if not selection.traces:
                rows += await self._drop_settled([file for file in files if file.settled], selection)
                files = [file for file in files if not file.settled]
            found = await self._reading(files, lambda readable: self._store.select(selection, readable))
            for _, places in groupby(self._places(found, selection), lambda place: day_of(place.files[0].hour_ns)):
                if time.monotonic() < until:
                    rows += await self._rewrite([*places], until)
        if self._failed:
            raise self._failed[0]
        left = time.monotonic() >= until or bool(self._waits or self._unread)
        return Erased(rows, left, self.unread, tuple(self._named(*hour) for hour in self._waits))

    def _named(self, table: str, hour_ns: int) -> str:
        reason = self._setbacks.reason(rolls(table, hour_ns))
        hour = f"{table} of {datetime.fromtimestamp(hour_ns // NS_PER_SECOND, UTC):%Y-%m-%dT%H:%MZ}"
        return f"{hour}, {ROLL_FAILS}({reason})" if reason else hour

    async def _delete_unfinished(self, selection: Selection) -> None:
        """Delete the files of rolls that are not committed: they hold what the rolling table held then, and are written anew from what it
        holds now.
        """
        tables = self._tables(selection)
        for hour in self._owner.manifest.head.open:
            if hour.table in tables and hour.state == ROLLING:
                file = ColdFile(hour.table, selection.what.tenant, self._owner.manifest.shard, hour.hour_ns, 0, 0, 0, "", 0, 0)
                for generation in (hour.generation, *hour.abandoned):
                    for key in replace(file, generation=generation).keys:
                        await self._objects.delete(key)

    def _tables(self, selection: Selection) -> Collection[str]:
        if selection.traces:
            return _OF_TRACES
        # Payloads are not deleted here but condemned, and collected once nobody relies on them.
        return tuple(table for table in ROLLED if table != "payloads") if selection.what.kind == "tenant" else ("logs",)

    async def _files(self, table: str, tenant: str) -> list[ColdFile]:
        return (await self._owner.load((table,))).files(table, tenant)

    async def _spans_of(self, what: Erasure, traces: Sequence[bytes]) -> list[ColdFile]:
        hours = await self._store.hours_of(what, traces)
        return [file for file in await self._files("spans", what.tenant) if file.hour_ns in hours]

    async def _drop_settled(self, files: Sequence[ColdFile], selection: Selection) -> int:
        """Remove rollups and days as a whole when all data of a tenant is deleted: like everything that is kept by the
        hour, those that began by ``before_ns``.
        """
        out = {file for file in files if file.hour_ns <= selection.what.before_ns}
        unnamed = set().union(*[await self._unnamed(file) for file in out]) if out else set()
        change = transitions.retired(self._owner.manifest, out.__contains__, self._owner.epoch, time.time_ns(), unnamed=unnamed)
        if change is None:
            return 0
        await self._owner.commit(change)
        return sum(file.rows for file in out)

    async def _reading(self, files: Sequence[ColdFile], ask: Callable[[Sequence[ColdFile]], Awaitable[T]]) -> T:
        """The answer of ``ask`` for the files that can be read. The other files of an unreadable file's hour are skipped too, because an
        hour can only be rewritten as a whole.
        """
        left, aside = list(files), self._setbacks.aside()
        self._unread |= {file.key for file in files if _work(file) in aside}
        self._skipped |= aside
        while True:
            left = [file for file in left if _work(file) not in self._skipped]
            try:
                return await ask(left)
            except Unreadable as error:
                named = [file for file in left if error.alone and error.key.endswith(file.key)]
                if not named:
                    raise
                self._unread.add(named[0].key)
                self._skipped.add(_work(named[0]))
                # Raised again inside the block for the setbacks to count, and dropped: the other files are asked once more.
                with contextlib.suppress(Unreadable), self._setbacks.of(_work(named[0]), named[0].key):
                    raise

    def _places(self, found: Mapping[ColdFile, Selected], selection: Selection) -> list[_Place]:
        """Group the files to rewrite, in order of time. All files of an hour are rewritten together, so that of rows with the same key
        the same one still counts.
        """
        one_of = {file.hour_ns: file for file in found if not file.settled}
        merged = [
            tuple(file for file in self._owner.manifest.hour_files(one.table, hour_ns) if file.tenant == one.tenant and not file.settled)
            for hour_ns, one in one_of.items()
        ]
        groups = [*merged, *((file,) for file in found if file.settled)]
        places = [_Place(group, selection, {file: found[file] for file in group if file in found}) for group in groups]
        return sorted(places, key=lambda place: (place.files[0].hour_ns, place.files[0].resolution))

    async def _rewrite(self, places: Sequence[_Place], until: float) -> int:
        """Rewrite files of a day until ``until`` (monotonic seconds), commit them together, and return how many rows are gone. A place that
        fails is left out.
        """
        swaps: list[transitions.Swap] = []
        rows, unnamed = 0, set[str]()
        for place in places:
            table, first = place.files[0].table, place.files[0]
            # The generation of such an hour is already fixed: a file written now would have a later one than those still to come.
            if on_their_way := {(table, hour_ns): None for hour_ns in place.hours if self._owner.manifest.must_rest(table, hour_ns)}:
                self._waits |= on_their_way
                continue
            if swaps and time.monotonic() >= until:
                continue
            try:
                with self._setbacks.of(_work(first), first.key):
                    swap = await self._written(place)
                    unnamed |= await self._unnamed(first)
            except (Retryable, Rejected, Damaged) as error:
                self._failed.append(error)
                continue
            swaps.append(swap)
            rows += sum(one.rows for one in place.out.values())
        self._fail("rewritten")
        if swaps:
            await self._count(swaps, rows, unnamed)
        return rows

    async def _written(self, place: _Place) -> transitions.Swap:
        gone, left = sum(one.rows for one in place.out.values()), None
        if gone < sum(file.rows for file in place.files):
            left = await self._store.rewrite(place.selection, place.files, self._owner.manifest.revision + 1, self._pace)
            _check(place.files, place.out, left)
        return transitions.Swap(place.files, left)

    async def _count(self, swaps: Sequence[transitions.Swap], rows: int, unnamed: Collection[str]) -> None:
        manifest, first = self._owner.manifest, swaps[0].gone[0]
        orphans = set(unnamed) - {key for swap in swaps if swap.left for key in swap.left.keys}
        await self._owner.commit(transitions.rewritten(manifest, swaps, self._owner.epoch, time.time_ns(), unnamed=orphans))
        self._fail("forgotten")
        files = sum(len(swap.gone) for swap in swaps)
        _REWRITTEN.labels(str(manifest.shard), first.table).inc(files)
        log.info(
            "rewritten",
            shard=manifest.shard,
            table=first.table,
            start=first.hour_ns // 10**9,
            hours=len(swaps),
            tenant=first.tenant,
            rows=rows,
            files=files,
        )

    async def _unnamed(self, file: ColdFile) -> set[str]:
        """Keys of files of the same tenant and hours that the manifest does not name.

        A roll, merge or rollup that died before its commit left such files. They hold the same rows, and nothing else would ever delete
        them.
        """
        hours = file.each_hour
        named = {key for hour_ns in hours for one in self._owner.manifest.hour_files(file.table, hour_ns) for key in one.keys}
        day = replace(file, hour_ns=day_of(file.hour_ns), hours=DAY_HOURS)
        places = [*(replace(file, hour_ns=hour_ns, hours=1) for hour_ns in hours), *([day] if file.table in GATHERED else [])]
        written: set[str] = set()
        for place in places:
            for resolution in {0, ROLLUP_SECONDS} if file.table in ROLLED_UP else {0}:
                for key in replace(place, resolution=resolution).keys:
                    written.update(await self._objects.list(key.rpartition("-")[0] + "-"))
        return written - named


def _work(file: ColdFile) -> Work:
    return Work("delete", file.table, file.hour_ns, file.tenant)


def _check(files: Sequence[ColdFile], out: Mapping[ColdFile, Selected], left: ColdFile) -> None:
    """Raise Unavailable unless the new file holds exactly the rows of the old ones without the removed ones."""
    rows = sum(file.rows for file in files) - sum(one.rows for one in out.values())
    # Rows with the same key in several files become one, so the number of remaining rows is known only within bounds.
    if ROLLED[left.table].replaces and len(files) > 1:
        if not 0 < left.rows <= rows:
            raise Unavailable(f"{left.key} holds {left.rows} rows; 1 to {rows} were expected")
        return
    # A checksum is a sum over rows modulo 2^64, so the checksum of the remaining rows is a difference.
    kept = (sum(int(file.checksum, 16) for file in files) - sum(int(one.checksum, 16) for one in out.values())) % _MODULUS
    if (left.rows, int(left.checksum, 16)) != (rows, kept):
        raise Unavailable(f"{left.key} holds {left.rows} rows with checksum {left.checksum}, not {rows} with {kept:016X}")
