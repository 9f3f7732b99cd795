"""Takes what somebody asked to be deleted out of the files of one shard's cold tier: each hour's are written anew without it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from prometheus_client import REGISTRY, Counter

from tael.cluster.manifests import ManifestOwner
from tael.cold import transitions
from tael.cold.files import DAY_HOURS, GATHERED, ROLLED, ROLLED_UP, ROLLUP_SECONDS, ColdFile, day_of
from tael.errors import Unavailable
from tael.model.time import HOUR_NS, TimeRange
from tael.objects import ObjectStore
from tael.runtime.failpoint import FailPoint
from tael.runtime.observe import get_logger
from tael.storage.erase import ColdEraseStore, Erasure, Selected, Selection
from tael.storage.rolling import Pace

log = get_logger("compactor")
_TURN_SECONDS: Final = 20.0
"""How long files are rewritten before the roll gets its turn."""
_OF_TRACES: Final = ("logs", "exemplars", "spans")
_MODULUS: Final = 1 << 64
_REWRITTEN = Counter(
    "tael_cold_rewritten_files", "Files rewritten without rows that were to be deleted.", ["shard", "table"], registry=REGISTRY
)


@dataclass(frozen=True, slots=True)
class Erased:
    """Rows that are in no file any more, and whether others are left for the next call."""

    rows: int
    left: bool


class ColdEraser:
    """One shard's cold files under one epoch of its lease, by the task that has its ``owner``.

    Every method can be repeated by any owner, and raises Retryable where something does not answer, Fenced where another process owns the shard now.
    """

    def __init__(self, owner: ManifestOwner, store: ColdEraseStore, objects: ObjectStore, pace: Pace, fail: FailPoint) -> None:
        self._owner = owner
        self._store = store
        self._objects = objects
        self._pace = pace
        self._fail = fail

    async def next_traces(self, what: Erasure, limit: int) -> Sequence[bytes]:
        """See EraseStore, of what is in files."""
        return await self._store.next_traces(what, await self._files("spans", what.tenant), limit)

    async def later_traces(self, what: Erasure, traces: Sequence[bytes]) -> frozenset[bytes]:
        """Those that go on after the request in files."""
        return await self._store.later_traces(what, traces, await self._spans_of(what, traces))

    async def loose_items(self, what: Erasure) -> Sequence[bytes]:
        """See EraseStore, of what is in files."""
        return await self._store.loose_items(what, await self._files("logs", what.tenant))

    async def collect(self, selection: Selection) -> Erased:
        """Rewrite the payloads of the selection's hour without those that it names; the hot tier MUST have been rid of them before."""
        hour_ns = selection.hour_ns
        assert hour_ns is not None
        manifest = await self._owner.load(("payloads",), TimeRange(hour_ns, hour_ns + HOUR_NS))
        if manifest.open_hour("payloads", hour_ns) is not None:
            return Erased(0, left=True)
        files = [file for file in manifest.hour_files("payloads", hour_ns) if file.tenant == selection.what.tenant]
        found = await self._store.select(selection, files)
        return Erased(await self._rewrite("payloads", hour_ns, selection, found) if found else 0, left=False)

    async def erase(self, selection: Selection) -> Erased:
        """Rewrite what holds rows of the selection, for a while.

        The hot tier MUST have been searched before: rows go from there to here, so that what is not found in either is nowhere. Hours that are
        on their way are waited for.
        """
        until, rows = time.monotonic() + _TURN_SECONDS, 0
        for table in self._tables(selection):
            files = await (
                self._spans_of(selection.what, selection.traces)
                if table == "spans" and selection.traces
                else self._files(table, selection.what.tenant)
            )
            if not selection.traces:
                rows += await self._drop_settled([file for file in files if file.settled], selection)
                files = [file for file in files if not file.settled]
            found = await self._store.select(selection, files)
            for hour_ns, settled in sorted({(file.hour_ns, file.settled) for file in found}):
                if time.monotonic() >= until:
                    return Erased(rows, left=True)
                own = [file for file in found if (file.hour_ns, file.settled) == (hour_ns, settled)]
                # An hour on its way has its generation already: a file made now would count as later than those still to come.
                if not any(self._owner.manifest.open_hour(table, one) for one in own[0].each_hour):
                    rows += await (
                        self._rewrite_day(own[0], selection, found) if settled else self._rewrite(table, hour_ns, selection, found)
                    )
        return Erased(rows, left=bool(self._owner.manifest.head.open))

    def _tables(self, selection: Selection) -> Collection[str]:
        if selection.traces:
            return _OF_TRACES
        # Payloads are condemned, and collected once nobody relies on them.
        return tuple(table for table in ROLLED if table != "payloads") if selection.what.kind == "tenant" else ("logs",)

    async def _files(self, table: str, tenant: str) -> list[ColdFile]:
        return (await self._owner.load((table,))).files(table, tenant)

    async def _spans_of(self, what: Erasure, traces: Sequence[bytes]) -> list[ColdFile]:
        hours = await self._store.hours_of(what, traces)
        return [file for file in await self._files("spans", what.tenant) if file.hour_ns in hours]

    async def _drop_settled(self, files: Sequence[ColdFile], selection: Selection) -> int:
        """A rollup or a day goes as a whole where all of a tenant does, as all that is kept by the hour."""
        out = {file for file in files if file.hour_ns <= selection.what.before_ns}
        unnamed = set().union(*[await self._unnamed(file) for file in out]) if out else set()
        change = transitions.retired(self._owner.manifest, out.__contains__, self._owner.epoch, time.time_ns(), unnamed=unnamed)
        if change is None:
            return 0
        await self._owner.commit(change)
        return sum(file.rows for file in out)

    async def _rewrite(self, table: str, hour_ns: int, selection: Selection, found: Mapping[ColdFile, Selected]) -> int:
        """All files of the tenant's hour become one, so that of rows with one key the same counts as before."""
        manifest, tenant = self._owner.manifest, selection.what.tenant
        files = [file for file in manifest.hour_files(table, hour_ns) if file.tenant == tenant and not file.settled]
        out = {file: found[file] for file in files if file in found}
        gone = sum(one.rows for one in out.values())
        left: list[ColdFile] = []
        if gone < sum(file.rows for file in files):
            left = [await self._store.rewrite(selection, files, manifest.revision + 1, self._pace)]
            _check(files, out, left[0])
        self._fail("rewritten")
        unnamed = await self._unnamed(files[0]) - {file.key for file in left}
        await self._owner.commit(
            transitions.merged(
                manifest, table, hour_ns, left, self._owner.epoch, time.time_ns(), emptied=() if left else (tenant,), unnamed=unnamed
            )
        )
        self._fail("forgotten")
        _REWRITTEN.labels(str(manifest.shard), table).inc(len(files))
        log.info("rewritten", shard=manifest.shard, table=table, start=hour_ns // 10**9, tenant=tenant, rows=gone, files=len(files))
        return gone

    async def _rewrite_day(self, file: ColdFile, selection: Selection, found: Mapping[ColdFile, Selected]) -> int:
        """One that holds a day, of which some is to go; late files of its hours stand for themselves."""
        manifest, gone, left = self._owner.manifest, found[file], None
        if gone.rows < file.rows:
            left = await self._store.rewrite(selection, [file], manifest.revision + 1, self._pace)
            _check([file], {file: gone}, left)
        self._fail("rewritten")
        unnamed = await self._unnamed(file) - ({left.key} if left else set())
        change = transitions.replaced(manifest, file, left, self._owner.epoch, time.time_ns(), unnamed=unnamed)
        await self._owner.commit(change)
        self._fail("forgotten")
        _REWRITTEN.labels(str(manifest.shard), file.table).inc()
        return gone.rows

    async def _unnamed(self, file: ColdFile) -> set[str]:
        """Keys of its tenant and hours that nothing names.

        What a roll, a merge or a rollup wrote that died before its commit holds the same rows, and nothing else would ever delete it.
        """
        hours = file.each_hour
        named = {one.key for hour_ns in hours for one in self._owner.manifest.hour_files(file.table, hour_ns)}
        day = replace(file, hour_ns=day_of(file.hour_ns), hours=DAY_HOURS)
        places = [*(replace(file, hour_ns=hour_ns, hours=1) for hour_ns in hours), *([day] if file.table in GATHERED else [])]
        written: set[str] = set()
        for place in places:
            for resolution in {0, ROLLUP_SECONDS} if file.table in ROLLED_UP else {0}:
                written.update(await self._objects.list(replace(place, resolution=resolution).key.rpartition("-")[0] + "-"))
        return written - named


def _check(files: Sequence[ColdFile], out: Mapping[ColdFile, Selected], left: ColdFile) -> None:
    """Raises Unavailable where the new file does not hold what the old ones did, less what was to go."""
    rows = sum(file.rows for file in files) - sum(one.rows for one in out.values())
    # Rows with one key in several files became one, so how many are left is known only within bounds.
    if ROLLED[left.table].replaces and len(files) > 1:
        if not 0 < left.rows <= rows:
            raise Unavailable(f"{left.key} holds {left.rows} rows; 1 to {rows} were expected")
        return
    # A checksum is a sum over rows modulo 2^64, so that of what is left is a difference.
    kept = (sum(int(file.checksum, 16) for file in files) - sum(int(one.checksum, 16) for one in out.values())) % _MODULUS
    if (left.rows, int(left.checksum, 16)) != (rows, kept):
        raise Unavailable(f"{left.key} holds {left.rows} rows with checksum {left.checksum}, not {rows} with {kept:016X}")
