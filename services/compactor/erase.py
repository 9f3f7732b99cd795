"""Carries out deletions on the shards that this process holds: a few traces at a time, until a look finds nothing more to delete."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Final

from prometheus_client import REGISTRY, Counter, Gauge

from services.compactor.rewrite import ColdEraser, Erased
from services.compactor.written import behind_of, ends_of
from tael.cluster.api import KeyValue
from tael.cluster.deletions import Deletion, Deletions, Progress
from tael.cluster.lease import Lease
from tael.cluster.shard import ShardAddress
from tael.errors import Conflict, Damaged, Fenced, Rejected, Retryable
from tael.model.lanes import aside_of
from tael.model.time import NS_PER_SECOND
from tael.runtime.observe import get_logger
from tael.storage.erase import Cause, EraseStore, Erasure, Selection
from tael.wal.api import WalState

log = get_logger("compactor")
_TRACES_AT_ONCE: Final = 1_000
_ROUNDS: Final = 8
"""Batches of traces before other deletions, and other shards, get their turn."""
_FAILED: Final = "it failed and is tried again: "
_UNREAD: Final = "files that cannot be read: "
_ON_THEIR_WAY: Final = "hours that are on their way to the cold tier: "
_MORE: Final = "more of it, which is being deleted"
_NAMED: Final = 3
_WAITS_SECONDS: Final = 10.0
"""The delay after a look that found nothing while entries or hours are still on their way."""
_DUE_SECONDS: Final = 60.0
"""The delay while payloads are still to be collected, or files cannot be read."""
_FORGET_SECONDS: Final = 3600.0
"""The interval at which deletions that were done long ago are forgotten."""
_ROWS = Counter("tael_compactor_erased_rows", "Rows removed by deletion requests.", ["shard"], registry=REGISTRY)
_OPEN = Gauge("tael_compactor_open_deletions", "Deletions not yet finished on the shard.", ["shard"], registry=REGISTRY)
GAUGES: Final = (_OPEN,)


class Eraser:
    """The deletions of all shards. ``wal_state`` reads the state of a WAL; ``cold`` holds a shard's cold tier while it is entered;
    ``relied_ns`` is how long a receiver relies on having sent a payload.
    """

    def __init__(
        self,
        kv: KeyValue,
        store: Callable[[ShardAddress], EraseStore],
        cold: Callable[[ShardAddress, Lease], AbstractAsyncContextManager[ColdEraser]],
        wal_state: Callable[[int], Awaitable[WalState]],
        relied_ns: int,
        *,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._kv = kv
        self._deletions = Deletions(kv)
        self._store = store
        self._wal_state = wal_state
        self._cold = cold
        self._due_ns = 2 * relied_ns
        self._now_ns = now_ns
        self._done: set[tuple[str, int]] = set()
        self._due: dict[tuple[str, int], float] = {}
        self._forget_at = 0.0

    async def work(self, shard: ShardAddress, lease: Lease) -> None:
        """Continue every open deletion of a shard, each for a while. Logs expected errors instead of raising them."""
        try:
            # Deletions are listed once for all shards, and every cluster has a shard 0: one holder is enough to forget them.
            if shard.index == 0 and time.monotonic() >= self._forget_at:
                await self._deletions.forget(time.time_ns())
                self._forget_at = time.monotonic() + _FORGET_SECONDS
            # A shard added after the request holds nothing that came before it.
            waiting = await self._deletions.list(lambda one: shard.index < one.shards and (one.id, shard.index) not in self._done)
            left = 0
            for deletion in waiting:
                progress = await self._deletions.progress_of(deletion, shard.index)
                if progress.state != "done" and time.monotonic() >= self._due.get((deletion.id, shard.index), 0.0):
                    progress = await self._try(deletion, shard, lease, progress)
                if progress.state == "done":
                    self._done.add((deletion.id, shard.index))
                else:
                    left += 1
            _OPEN.labels(str(shard.index)).set(left)
        except Fenced as error:
            log.info("another compactor owns this shard's deletions now", shard=shard.name, reason=str(error))
        except (Retryable, Conflict, Rejected, Damaged) as error:
            log.warning("deletions failed; retrying", shard=shard.name, reason=str(error))

    async def _try(self, deletion: Deletion, shard: ShardAddress, lease: Lease, progress: Progress) -> Progress:
        """``_advance``; a deletion that fails records the reason and waits, and the others go on."""
        try:
            return await self._advance(deletion, shard, lease, progress)
        except (Retryable, Rejected, Damaged) as error:
            self._due[deletion.id, shard.index] = time.monotonic() + _WAITS_SECONDS
            log.warning("a deletion failed; retrying", shard=shard.name, id=deletion.id, reason=str(error))
            # Read again: the deletion may have recorded progress before it failed.
            progress = await self._deletions.progress_of(deletion, shard.index)
            return await self._record(deletion, shard, progress.model_copy(update={"state": "running", "reason": f"{_FAILED}{error}"}))

    async def _advance(self, deletion: Deletion, shard: ShardAddress, lease: Lease, progress: Progress) -> Progress:
        """The shard's progress after some more of the work."""
        if not progress.until:
            # Items that arrived before the request may still be in the WALs, so the WALs' ends are recorded before the first look.
            until = await ends_of(self._wal_state, (shard.index, aside_of(shard.index)))
            progress = await self._record(deletion, shard, progress.model_copy(update={"state": "running", "until": until}))
        before, reason = progress.rows, ""
        if not progress.gone:
            behind = await behind_of(self._kv, progress.until)
            progress, waits = await self._erase(deletion, shard, lease, progress)
            reason = behind or ("a look that finds nothing more" if progress.rows > before else waits)
            progress = progress.model_copy(update={"gone": not reason})
        found = progress.rows - before
        reason = reason or await self._condemned(deletion, shard)
        after = progress.model_copy(update={"reason": reason, "state": "running" if reason else "done"})
        _ROWS.labels(str(shard.index)).inc(found)
        # A look that found something is followed by the next at once: there is probably more.
        if reason and not found:
            seldom = progress.gone or reason.startswith(_UNREAD)
            self._due[deletion.id, shard.index] = time.monotonic() + (_DUE_SECONDS if seldom else _WAITS_SECONDS)
        if after != progress:
            after = await self._record(deletion, shard, after)
        if after.state == "done":
            log.info("deletion done", shard=shard.name, id=deletion.id, tenant=deletion.tenant, kind=deletion.kind, rows=after.rows)
        return after

    async def _erase(self, deletion: Deletion, shard: ShardAddress, lease: Lease, progress: Progress) -> tuple[Progress, str]:
        """The progress, and what the deletion waits for: "" when the last look saw everything and left nothing.

        Places are searched in the order in which rows move: hot, rolling, cold. A search of the cold tier holds it, so that no file written
        from earlier rows is committed after the search.
        """
        what = Erasure(deletion.tenant, deletion.kind, deletion.value, deletion.requested_ns)
        store, now_ns = self._store(shard), self._now_ns()
        cause = Cause(deletion.id, now_ns, now_ns + self._due_ns)
        for _ in range(_ROUNDS):
            traces: Sequence[bytes] = [bytes.fromhex(one) for one in progress.traces]
            unread: tuple[str, ...] = ()
            if not traces:
                traces, unread = await self._next(what, shard, lease)
            if not progress.traces and traces:
                # Recorded before any of their rows is deleted: the spans by which the traces were found may be the first to go.
                named = [trace_id.hex() for trace_id in traces]
                progress = await self._record(deletion, shard, progress.model_copy(update={"traces": named}))
            if not traces and what.kind != "tenant":
                # Log records in no trace are found by their contents, so the payloads that they refer to are condemned before they are
                # deleted.
                await store.condemn(what, await store.loose_items(what), cause)
            rows = await (store.erase_traces(what, traces) if traces else self._erase_rest(what, shard, lease))
            async with self._cold(shard, lease) as cold:
                if not traces and what.kind != "tenant":
                    await store.condemn(what, await cold.loose_items(what), cause)
                erased = await cold.erase(Selection(what, tuple(traces)))
                later = await cold.later_traces(what, traces) if traces and not erased.left else ()
            ended = [trace_id for trace_id in traces if trace_id not in later]
            # After the cold files: hours_of reads this index to find a trace's hours, and a rewrite that continues later needs it again.
            if ended and not erased.left:
                rows += await store.erase_index(what, ended)
            if not erased.left:
                await store.condemn(what, traces, cause)
            update = {"rows": progress.rows + rows + erased.rows} | ({} if erased.left else {"traces": ()})
            progress = progress.model_copy(update=update)
            if traces:
                progress = await self._record(deletion, shard, progress)
            # A deletion of one trace gets the same trace each time, so only a look that finds nothing ends it.
            if erased.left or not traces or (what.kind == "trace" and rows + erased.rows == 0):
                return progress, _waits_for(erased, unread)
        return progress, _MORE

    async def _erase_rest(self, what: Erasure, shard: ShardAddress, lease: Lease) -> int:
        store = self._store(shard)
        if what.kind != "tenant":
            return await store.erase_rest(what)
        # Held meanwhile: rows that came after the request must not roll between the search of the cold tier and that of the hot one.
        async with self._cold(shard, lease) as cold:
            return await store.erase_rest(what, await cold.later(what))

    async def _condemned(self, deletion: Deletion, shard: ShardAddress) -> str:
        left = await self._store(shard).condemned(deletion.id)
        if not left.count:
            return ""
        due = datetime.fromtimestamp(left.due_ns // NS_PER_SECOND, UTC)
        return f"{left.count} payloads that it referred to: those that nothing else refers to go after {due:%Y-%m-%dT%H:%M:%SZ}"

    async def _next(self, what: Erasure, shard: ShardAddress, lease: Lease) -> tuple[Sequence[bytes], tuple[str, ...]]:
        """Some traces to delete, and the files that could not be searched for them."""
        if what.kind == "trace":
            return [bytes.fromhex(what.value)], ()
        found = await self._store(shard).next_traces(what, _TRACES_AT_ONCE)
        if found or what.kind == "tenant":
            return found, ()
        async with self._cold(shard, lease) as cold:
            return await cold.next_traces(what, _TRACES_AT_ONCE), cold.unread

    async def _record(self, deletion: Deletion, shard: ShardAddress, progress: Progress) -> Progress:
        written = progress.model_copy(update={"at_ns": time.time_ns()})
        await self._deletions.record(deletion, shard.index, written)
        return written


def _waits_for(erased: Erased, unread: Collection[str]) -> str:
    if keys := {*unread, *erased.unread}:
        return f"{_UNREAD}{_few(keys)}"
    if erased.waits:
        return f"{_ON_THEIR_WAY}{_few(erased.waits)}"
    return _MORE if erased.left else ""


def _few(named: Collection[str]) -> str:
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f"{', '.join(sorted(named)[:_NAMED])}{more}"
