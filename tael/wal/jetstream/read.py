"""The writer's side of the WAL on JetStream.

A reader uses no JetStream consumer, which could be lost or fall silent: it asks for the entries after a sequence, many at a time, by direct
get. Each answer begins with the last entry read, the anchor, so that a WAL that lost its tail and reuses sequences is noticed before
anything is taken from it. Any replica may answer a direct get, even one that is behind, so an apparent loss is checked with the leader.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nats.js import errors as js_errors

from tael.errors import Diverged, Unavailable
from tael.model.lanes import wal_name
from tael.model.mark import Mark
from tael.runtime.nats import REQUEST_SECONDS, answered, reachable, require_connected
from tael.wal.api import DeadLetter, Entry, WalState, digest_of
from tael.wal.jetstream.direct import direct_get, direct_get_since, leader_get, time_ns
from tael.wal.jetstream.names import ITEMS_HEADER, REASON_HEADER, SEQUENCE_HEADER, stream_name
from tael.wal.jetstream.streams import wal_state
from tael.wal.tail import Gone, Tail, lost_between

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

# An answer also ends at _FETCH_BYTES, which joined appends reach first.
_FETCH = 128
# A poll reads the anchor again, up to a megabyte, so a long wait has few of them; the last one is at its end, whenever the others were.
_POLL_SECONDS, _LONG_POLL_SECONDS, _POLLS = 0.05, 0.2, 5
# After so long without an entry, poll this slowly: polls are most of what an idle suite costs.
_IDLE_AFTER_SECONDS, _IDLE_POLL_SECONDS = 5.0, 0.25
_LOOK_EVERY_SECONDS = 2.0


class JetStreamReader:
    """The WalReader of one shard."""

    def __init__(self, client: Client, cluster_id: str, shard: int, tail: Tail | None = None) -> None:
        self._client = client
        self._cluster_id = cluster_id
        self._shard = shard
        self._stream = stream_name(cluster_id, shard)
        self._what = f"the WAL of shard {wal_name(shard)}"
        self._created_ns = 0
        self._returned = 0
        self._fetched = Mark()
        self._ahead: deque[Entry] = deque()
        self._quiet = False
        self._connection, self._looked_at = -1, 0.0
        self._came_at = self._asked_at = 0.0
        self._reported_last = self._seen_last = 0
        self._tail = tail or Tail()
        self._lost = 0

    async def read(self, after: Mark, *, max_items: int, max_bytes: int, wait_seconds: float) -> Sequence[Entry]:
        """See WalReader."""
        deadline = time.monotonic() + wait_seconds
        # Continue where the last call ended; from any other place the entries fetched ahead are of no use.
        if after.sequence != self._returned or not self._created_ns:
            await self._start_behind(after)
        pause = min(max(_POLL_SECONDS, wait_seconds / _POLLS), _LONG_POLL_SECONDS)
        entries: list[Entry] = []
        while not self._take(entries, max_items, max_bytes):
            left = deadline - time.monotonic()
            try:
                await self._fetch()
            except (Unavailable, Diverged):
                if entries:  # return them first: the WAL may not hold them any more
                    break
                raise
            # An answer that left entries out is followed by the next one at once.
            if self._ahead and self._reported_last > self._fetched.sequence:
                continue
            if left <= 0:
                self._take(entries, max_items, max_bytes)
                break
            await asyncio.sleep(min(left, pause))
        return entries

    def _take(self, entries: list[Entry], max_items: int, max_bytes: int) -> bool:
        """Move fetched entries to ``entries`` until these have one of the sizes; returns whether they have."""
        items, size = sum(entry.items for entry in entries), sum(len(entry.body) for entry in entries)
        while self._ahead and items < max_items and size < max_bytes:
            entry = self._ahead.popleft()
            entries.append(entry)
            items, size = items + entry.items, size + len(entry.body)
            self._returned = entry.sequence
        return items >= max_items or size >= max_bytes

    async def read_range(self, first: int, last: Mark) -> Sequence[Entry]:
        """See WalReader."""
        entries: list[Entry] = []
        start, end = first, last.sequence
        while start <= end and (found := await self._following(start, min(_FETCH, end - start + 1))):
            entries += (entry for entry in found if entry.sequence <= end)
            start = found[-1].sequence + 1
        # Checked with the leader after the entries were read: what it holds of the range must all have been read.
        state = await self.state()
        held = range(max(first, state.first), min(end, state.last) + 1)
        if [entry.sequence for entry in entries if entry.sequence >= state.first] != list(held):
            raise Unavailable(f"a replica of {self._what} is behind", retry_after_seconds=0.5)
        return [entry for entry in entries if not last.digest or entry.appended_at_ns <= last.appended_at_ns]

    def mark(self, entry: Entry) -> Mark:
        """See WalReader."""
        return entry.mark(self._created_ns)

    async def resume(self, mark: Mark) -> Mark:
        """See WalReader."""
        state = await self.state()
        if state.created_ns != mark.stream_created_ns:
            # A stream created later holds nothing that was read before: everything in it must be written.
            place = Mark(max(0, state.first - 1), stream_created_ns=state.created_ns)
        else:
            place = await self._last_before(mark, state)
        # The WAL's last known end comes from this reader's direct gets and from acknowledgements to receivers in this process.
        last = max([self._seen_last, *(gone.last for gone in self._tail.take_gone())])
        self._lost += lost_between([Gone(place.sequence + 1, last)], mark.sequence)
        self._seen_last = place.sequence
        await self._start_behind(place)
        return place

    def take_lost(self) -> int:
        """See WalReader."""
        lost, self._lost = self._lost, 0
        return lost

    async def trim(self, through: int) -> None:
        """See WalReader."""
        require_connected(self._client)
        with reachable(f"trimming {self._what}"):
            try:
                js = self._client.jetstream(timeout=REQUEST_SECONDS)
                await answered(self._client, js.purge_stream(self._stream, seq=through + 1))
            except js_errors.APIError as error:
                raise Unavailable(f"{self._what} cannot be trimmed: {error.description}", retry_after_seconds=5) from error

    async def state(self) -> WalState:
        """See WalReader."""
        return await wal_state(self._client, self._cluster_id, self._shard)

    async def bury(self, letter: DeadLetter) -> None:
        """See WalReader."""
        require_connected(self._client)
        # Headers are ASCII and end at a line break: any other character, or a line break, in the reason would make the letter unreadable.
        reason = " ".join(letter.reason.split())[:1000].encode("ascii", "replace").decode()
        headers = {
            # The id includes the content: a repeated batch buries the same letters, and pieces of one entry are letters of their own.
            "Nats-Msg-Id": f"{letter.shard}:{letter.sequence}:{digest_of(letter.body)}",
            ITEMS_HEADER: str(letter.items),
            SEQUENCE_HEADER: str(letter.sequence),
            REASON_HEADER: reason,
        }
        subject = f"{self._cluster_id}.dead.{letter.shard}.{letter.signal}"
        with reachable("storing a dead letter"):
            try:
                await self._client.jetstream().publish(subject, letter.body, headers=headers, timeout=REQUEST_SECONDS)
            except js_errors.APIError as error:
                raise Unavailable(f"the dead letters' stream refused an append: {error.description}", retry_after_seconds=5) from error

    async def _start_behind(self, place: Mark) -> None:
        """Read from here on, whatever was read before."""
        self._created_ns = place.stream_created_ns or (await self.state()).created_ns
        self._returned, self._fetched = place.sequence, place
        self._seen_last = max(self._seen_last, place.sequence)
        self._ahead.clear()
        self._quiet = False
        self._came_at = time.monotonic()

    def _is_due(self) -> bool:
        """Whether to poll now: an idle WAL is polled slowly, unless a receiver of this process has appended to it."""
        now = time.monotonic()
        if now - self._came_at <= _IDLE_AFTER_SECONDS or now - self._asked_at >= _IDLE_POLL_SECONDS:
            return True
        return self._tail.last > self._fetched.sequence

    async def _fetch(self) -> None:
        """Append to ``_ahead`` the entries after the last one fetched. Raises Diverged when the WAL does not hold that one unchanged."""
        if not self._is_due():
            return
        self._asked_at = time.monotonic()
        if self._connection != self._client.stats["reconnects"] or time.monotonic() - self._looked_at > _LOOK_EVERY_SECONDS:
            await self._look()
            self._count_gone()
        # While the WAL is quiet, ask for the next sequence only: the anchor may be large, and would be sent with each poll.
        if self._quiet and not await self._following(self._fetched.sequence + 1, 1):
            return
        anchor = self._fetched
        # The anchor is read again: the same bytes under the same sequence show that this is still the WAL that was read.
        # It takes one place of the answer, hence the + 1.
        found = await self._following(max(1, anchor.sequence), _FETCH + 1)
        if anchor.digest and not (found and found[0].mark(self._created_ns) == anchor):
            await self._hold_against_leader(anchor)
        # Nothing after a gap is taken until the leader has shown whether the gap is a loss or a replica that is behind.
        fresh = _contiguous([entry for entry in found if entry.sequence > anchor.sequence])
        self._quiet = not fresh
        if fresh:
            await self._count_gap(anchor, fresh[0].sequence)
            self._count_gone()
            self._ahead.extend(fresh)
            self._came_at = self._asked_at
            self._fetched = self.mark(fresh[-1])
            self._seen_last = max(self._seen_last, self._reported_last)
            self._tail.reaches(self._reported_last)

    async def _look(self) -> None:
        """Ask the leader whether this is still the same WAL, and ends no earlier than before. Raises Diverged if not."""
        connection = self._client.stats["reconnects"]
        known, turns = self._tail.last, self._tail.turns
        state = await self.state()
        self._tail.ends(state.last, known=known, turns=turns)
        if state.created_ns != self._created_ns or state.last < self._fetched.sequence:
            raise Diverged(self._difference(state))
        # As many entries may have been appended as were lost. The sequences then agree, and as nothing follows the last entry,
        # no read would compare the anchor: its time stamp shows the loss.
        last = self._fetched
        if last.digest and state.first <= state.last == last.sequence and state.last_appended_at_ns != last.appended_at_ns:
            raise Diverged(f"entry {state.last} of {self._what} is not the entry that was read before")
        self._connection, self._looked_at = connection, time.monotonic()

    async def _hold_against_leader(self, anchor: Mark) -> None:
        """Return if the anchor was trimmed. Raises Diverged if the leader has another entry in its place, Unavailable if only a replica is
        behind.
        """
        state = await self.state()
        if state.created_ns != self._created_ns or state.last < anchor.sequence:
            raise Diverged(self._difference(state))
        # Only committed entries are trimmed, from the front: the anchor is gone because it was written.
        if anchor.sequence < state.first:
            return
        kept = await leader_get(self._client, self._stream, anchor.sequence, self._what)
        if kept is None or (kept[0], digest_of(kept[1])) != (anchor.appended_at_ns, anchor.digest):
            raise Diverged(f"entry {anchor.sequence} of {self._what} is not the entry that was read before")
        raise Unavailable(f"a replica of {self._what} is behind", retry_after_seconds=0.5)

    def _difference(self, state: WalState) -> str:
        if state.created_ns != self._created_ns:
            return f"{self._what} was recreated"
        return f"{self._what} ends at {state.last}, and entry {self._fetched.sequence} was read from it"

    async def _count_gap(self, anchor: Mark, first: int) -> None:
        """Count the entries missing between the anchor and ``first`` as lost, if the leader does not have them either."""
        missing = first - anchor.sequence - 1
        if not missing:
            return
        if (await self.state()).first < first and await leader_get(self._client, self._stream, anchor.sequence + 1, self._what):
            raise Unavailable(f"a replica of {self._what} is behind", retry_after_seconds=0.5)
        if anchor.digest:
            self._lost += missing

    def _count_gone(self) -> None:
        """Count the entries that the WAL lost after the last one fetched; the earlier ones were read, so they are not lost."""
        if gone := self._tail.take_gone():
            self._lost += lost_between(gone, self._fetched.sequence)
            self._seen_last = self._fetched.sequence

    async def _last_before(self, mark: Mark, state: WalState) -> Mark:
        """The last entry appended no later than the mark, confirmed by the leader; without one, the place before the first entry."""
        later = await direct_get_since(self._client, self._stream, mark.appended_at_ns + 1, self._what)
        sequence = _entry(later).sequence - 1 if later else state.last
        before = await leader_get(self._client, self._stream, sequence, self._what) if sequence >= state.first else None
        if before is None:
            return Mark(sequence, stream_created_ns=state.created_ns)
        if before[0] > mark.appended_at_ns:
            raise Unavailable(f"a replica of {self._what} is behind", retry_after_seconds=0.5)
        return Mark(sequence, before[0], digest_of(before[1]), state.created_ns)

    async def _following(self, first: int, count: int) -> list[Entry]:
        found = await direct_get(self._client, self._stream, first, count, self._what)
        if found and (headers := found[-1].headers):
            self._reported_last = int(headers["Nats-Sequence"]) + int(headers["Nats-Num-Pending"])
        return [_entry(message) for message in found]


def _contiguous(entries: list[Entry]) -> list[Entry]:
    """The entries up to the first gap."""
    # After a gap every sequence exceeds its position, so no later entry passes.
    return [entry for number, entry in enumerate(entries) if entry.sequence == entries[0].sequence + number]


def _entry(message: Msg) -> Entry:
    headers = message.headers or {}
    signal = headers["Nats-Subject"].rpartition(".")[2]
    items = int(headers.get(ITEMS_HEADER, "1"))
    return Entry(int(headers["Nats-Sequence"]), signal, items, message.data, time_ns(headers["Nats-Time-Stamp"]))
