"""The receivers' side of the WAL on JetStream.

Waiting appends are joined: while an entry is in flight, further appends for the same shard and signal are gathered into the next entry
(docs/adr/0011). An append that finds nothing in flight is sent at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import deque
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import PubAck

from tael.errors import Overloaded, Retryable, Unavailable
from tael.model.lanes import wal_name
from tael.runtime.nats import REQUEST_SECONDS, answered, reachable, require_connected
from tael.wal.jetstream.names import FULL_CODES, ITEMS_HEADER, subject_of
from tael.wal.jetstream.streams import wal_state
from tael.wal.tail import Tails

# NATS counts a message's headers as payload (max_payload).
_HEADER_ROOM_BYTES = 4096
# Large enough for all waiting appends to share an fsync, small enough that none waits for a long entry of others.
_JOIN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    """One append that waits for its entry's acknowledgement."""

    body: bytes
    items: int
    dedup_id: str
    done: asyncio.Future[None]

    def answer(self, error: Exception | None) -> None:
        """Wake the waiting append, unless it gave up. Each gets an error object of its own: a shared one would gather all their tracebacks,
        which hold the requests.
        """
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        elif isinstance(error, Retryable):
            self.done.set_exception(type(error)(error.reason, retry_after_seconds=error.retry_after_seconds))
        else:
            self.done.set_exception(error)


@dataclass(slots=True)
class _Queue:
    """The appends of one shard and signal: those waiting, the task that sends them, and the last acknowledged sequence.

    ``connection`` is the client's number of reconnects at the last check of the WAL's end.
    """

    shard: int
    signal: str
    waiting: deque[_Waiting] = field(default_factory=deque)
    sending: asyncio.Task[None] | None = None
    acknowledged: int = 0
    connection: int = 0

    def take(self) -> list[_Waiting]:
        """Remove the appends of the next entry: in order, as many as fit, without those that have given up waiting."""
        taken: list[_Waiting] = []
        size = 0
        while self.waiting and (not taken or size + len(self.waiting[0].body) <= _JOIN_BYTES):
            append = self.waiting.popleft()
            if not append.done.done():
                taken.append(append)
                size += len(append.body)
        return taken


class JetStreamAppender:
    """The WalAppender of every shard of a cluster; holds at most ``in_flight_bytes``, and gives up after ``patience_seconds``."""

    def __init__(
        self,
        client: Client,
        cluster_id: str,
        *,
        in_flight_bytes: int = 64 << 20,
        patience_seconds: float = 15.0,
        tails: Tails | None = None,
    ) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=REQUEST_SECONDS)
        self._cluster_id = cluster_id
        self._limit = in_flight_bytes
        self._patience_seconds = patience_seconds
        # Three attempts fit into the patience, so that an attempt lost with a failing stream leader is not the last.
        self._attempt_seconds = min(REQUEST_SECONDS, patience_seconds / 3)
        self._in_flight = 0
        self._queues: dict[tuple[int, str], _Queue] = {}
        self._tails = tails or Tails()

    @property
    def max_body_bytes(self) -> int:
        """See WalAppender."""
        return int(self._client.max_payload) - _HEADER_ROOM_BYTES

    def turns(self, shard: int) -> int:
        """See WalAppender."""
        return self._tails.tail(shard).turns

    async def append(self, shard: int, signal: str, body: bytes, items: int, dedup_id: str) -> None:
        """See WalAppender."""
        # A body larger than the bound passes when nothing else is in flight; otherwise it could never be stored.
        if self._in_flight and self._in_flight + len(body) > self._limit:
            raise Overloaded("too many bytes are waiting for the WAL", retry_after_seconds=1)
        require_connected(self._client)
        queue = self._queues.setdefault((shard, signal), _Queue(shard, signal))
        append = _Waiting(body, items, dedup_id, asyncio.get_running_loop().create_future())
        self._in_flight += len(body)
        # There is no await between here and the start of the sender, so a sender that is about to end cannot miss this append.
        queue.waiting.append(append)
        if queue.sending is None:
            queue.sending = asyncio.create_task(self._send_all(queue), name=f"append-{shard}-{signal}")
        try:
            async with asyncio.timeout(self._patience_seconds):
                # A timeout cancels the future, and take() skips it: a body whose client got an error must not be sent later.
                await append.done
        except TimeoutError as error:
            raise Unavailable(f"appending to the WAL of shard {shard}: NATS did not answer in time") from error
        finally:
            self._in_flight -= len(body)

    async def _send_all(self, queue: _Queue) -> None:
        """Send entries until no append waits, and answer each append."""
        try:
            while entry := queue.take():
                failure: Exception | None = None
                try:
                    await self._publish(queue, entry)
                except Exception as error:  # noqa: BLE001  # any error is passed on to the waiting appends
                    failure = error
                for append in entry:
                    append.answer(failure)
        finally:
            queue.sending = None
            for append in queue.waiting:  # not empty only when this task was cancelled or failed
                append.done.cancel()
            queue.waiting.clear()

    async def _publish(self, queue: _Queue, entry: list[_Waiting]) -> None:
        """Publish one entry; repeat it under the same id while NATS does not answer in time."""
        body = entry[0].body if len(entry) == 1 else b"".join(append.body for append in entry)
        # Body and id stay the same in every attempt: a publish whose PubAck was lost is recognised as a duplicate.
        headers = {"Nats-Msg-Id": _entry_id(entry), ITEMS_HEADER: str(sum(append.items for append in entry))}
        deadline = time.monotonic() + self._patience_seconds
        while True:
            require_connected(self._client)
            try:
                with reachable(f"appending to the WAL of shard {wal_name(queue.shard)}"):
                    await self._look_after_reconnect(queue)
                    acknowledged = await self._send(queue, body, headers)
            except Unavailable:
                # Without a connection there is no point in retrying before the client has reconnected: the callers learn of it at once.
                if time.monotonic() + self._attempt_seconds > deadline or not self._client.is_connected:
                    raise
            else:
                # A duplicate is acknowledged with its original sequence, which may be lower than those acknowledged since.
                if not acknowledged.duplicate:
                    self._tails.tail(queue.shard).appended(acknowledged.seq, queue.acknowledged)
                    queue.acknowledged = acknowledged.seq
                return

    async def _look_after_reconnect(self, queue: _Queue) -> None:
        """After a reconnect, ask where the WAL ends before appending to it: a restarted server may have lost acknowledged entries."""
        connection = self._client.stats["reconnects"]
        if connection == queue.connection:
            return
        tail = self._tails.tail(queue.shard)
        # Read before the request: appends that are acknowledged while it travels must not look like a loss.
        known, turns = tail.last, tail.turns
        if known:
            tail.ends((await wal_state(self._client, self._cluster_id, queue.shard)).last, known=known, turns=turns)
        queue.connection = connection
        # The first append after a loss has a lower sequence than the last acknowledged one; without this it would look like a second loss.
        queue.acknowledged = min(queue.acknowledged, tail.last)

    async def _send(self, queue: _Queue, body: bytes, headers: dict[str, str]) -> PubAck:
        subject = subject_of(self._cluster_id, queue.shard, queue.signal)
        try:
            return await answered(self._client, self._js.publish(subject, body, headers=headers, timeout=self._attempt_seconds))
        except js_errors.APIError as error:
            if error.err_code in FULL_CODES:
                raise Overloaded(
                    f"the WAL of shard {wal_name(queue.shard)} is full (TAEL_WAL_MAX_BYTES): {error.description}", retry_after_seconds=5
                ) from error
            raise Unavailable(
                f"the WAL of shard {wal_name(queue.shard)} refused an append: {error.description}", retry_after_seconds=2
            ) from error


def _entry_id(entry: list[_Waiting]) -> str:
    """The id by which NATS recognises a repeated entry: the append's own, or a digest of the ids of all its appends."""
    if len(entry) == 1:
        return entry[0].dedup_id
    return hashlib.sha256("\0".join(append.dedup_id for append in entry).encode()).hexdigest()[:40]
