"""The log on JetStream: one stream a shard (docs/formats.md).

Progress is not kept here but in the writer's lease (docs/adr/0001), so readers need no consumer: they ask for what follows a sequence, many
entries at a time, by direct get. Direct gets may be answered by a replica that is behind, so a gap is held against the leader's word.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
import urllib.request
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from tael.errors import Overloaded, Unavailable
from tael.runtime.nats import REQUEST_SECONDS, answered, reachable, require_connected
from tael.runtime.tasks import together
from tael.wal.api import DeadLetter, Entry, LogState

ITEMS_HEADER, SEQUENCE_HEADER, REASON_HEADER = "Tael-Items", "Tael-Sequence", "Tael-Reason"
DUPLICATE_WINDOW_SECONDS = 120
_HEADER_ROOM_BYTES = 4096
_FETCH = 128
_FETCH_BYTES = 8 << 20
_POLL_SECONDS = 0.05
_DIRECT_ENDS = {"204", "404"}
"""End of batch, and nothing from that sequence on."""
_GONE_CODES = {10037, 10043}
"""No message found, no such sequence (the same)."""
_FULL_CODES = {10077, 10047, 10023, 10028}
"""Maximum messages or bytes exceeded, storage resources exceeded, insufficient resources (nats-server's server/errors.json)."""


def stream_name(cluster_id: str, shard: int) -> str:
    """The stream that holds a shard's log."""
    return f"{cluster_id}_wal_{shard}"


def dead_stream_name(cluster_id: str) -> str:
    """The stream that holds every shard's dead letters."""
    return f"{cluster_id}_dead"


class JetStreamAppender:
    """The WalAppender of every shard of a cluster; bounded by ``in_flight_bytes``, and giving up after ``patience_seconds``."""

    def __init__(self, client: Client, cluster_id: str, *, in_flight_bytes: int = 64 << 20, patience_seconds: float = 15.0) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=REQUEST_SECONDS)
        self._cluster_id = cluster_id
        self._limit = in_flight_bytes
        self._patience_seconds = patience_seconds
        self._attempt_seconds = min(REQUEST_SECONDS, patience_seconds / 3)
        self._in_flight = 0

    @property
    def max_body_bytes(self) -> int:
        """See WalAppender."""
        return int(self._client.max_payload) - _HEADER_ROOM_BYTES

    async def append(self, shard: int, signal: str, body: bytes, items: int, dedup_id: str) -> None:
        """See WalAppender."""
        if self._in_flight and self._in_flight + len(body) > self._limit:
            raise Overloaded("too many bytes wait for the log", retry_after_seconds=1)
        self._in_flight += len(body)
        try:
            await self._publish(shard, signal, body, {"Nats-Msg-Id": dedup_id, ITEMS_HEADER: str(items)})
        finally:
            self._in_flight -= len(body)

    async def _publish(self, shard: int, signal: str, body: bytes, headers: dict[str, str]) -> None:
        subject = f"{self._cluster_id}.wal.{shard}.{signal}"
        deadline = time.monotonic() + self._patience_seconds
        while True:
            require_connected(self._client)
            try:
                with reachable(f"appending to the log of shard {shard}"):
                    await self._send(shard, subject, body, headers)
            except Unavailable:
                if time.monotonic() + self._attempt_seconds > deadline or not self._client.is_connected:
                    raise
            else:
                return

    async def _send(self, shard: int, subject: str, body: bytes, headers: dict[str, str]) -> None:
        try:
            await answered(self._client, self._js.publish(subject, body, headers=headers, timeout=self._attempt_seconds))
        except js_errors.APIError as error:
            if error.err_code in _FULL_CODES:
                raise Overloaded(
                    f"the log of shard {shard} is full (TAEL_WAL_MAX_BYTES): {error.description}", retry_after_seconds=5
                ) from error
            raise Unavailable(f"the log of shard {shard} refused an append: {error.description}", retry_after_seconds=2) from error


class JetStreamReader:
    """The WalReader of one shard."""

    def __init__(self, client: Client, cluster_id: str, shard: int) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=REQUEST_SECONDS)
        self._cluster_id = cluster_id
        self._shard = shard
        self._stream = stream_name(cluster_id, shard)
        self._position = 0
        self._ahead: deque[Entry] = deque()

    async def read(self, after: int, *, max_items: int, max_bytes: int, wait_seconds: float) -> Sequence[Entry]:
        """See WalReader."""
        deadline = time.monotonic() + wait_seconds
        if after != self._position:
            self._position = after
            self._ahead.clear()
        entries: list[Entry] = []
        items = size = 0
        while True:
            while self._ahead and items < max_items and size < max_bytes:
                entry = self._ahead.popleft()
                self._position = entry.sequence
                entries.append(entry)
                items, size = items + entry.items, size + len(entry.body)
            if items >= max_items or size >= max_bytes:
                return entries
            self._ahead.extend(await self._contiguous(self._position + 1))
            if not self._ahead:
                left = deadline - time.monotonic()
                if left <= 0:
                    return entries
                await asyncio.sleep(min(left, _POLL_SECONDS))

    async def read_range(self, first: int, last: int) -> Sequence[Entry]:
        """See WalReader."""
        entries: list[Entry] = []
        start = first
        while start <= last and (found := await self._following(start, min(_FETCH, last - start + 1))):
            entries += (entry for entry in found if entry.sequence <= last)
            start = found[-1].sequence + 1
        state = await self.state()
        held = range(max(first, state.first), min(last, state.last) + 1)
        if [entry.sequence for entry in entries if entry.sequence >= state.first] != list(held):
            raise Unavailable(f"a replica of the log of shard {self._shard} is behind", retry_after_seconds=0.5)
        return entries

    async def trim(self, through: int) -> None:
        """See WalReader."""
        require_connected(self._client)
        with reachable(f"trimming the log of shard {self._shard}"):
            try:
                await answered(self._client, self._js.purge_stream(self._stream, seq=through + 1))
            except js_errors.APIError as error:
                raise Unavailable(
                    f"the log of shard {self._shard} cannot be trimmed: {error.description}", retry_after_seconds=5
                ) from error

    async def state(self) -> LogState:
        """See WalReader."""
        require_connected(self._client)
        with reachable(f"asking for the log of shard {self._shard}"):
            try:
                found = await answered(self._client, self._js.stream_info(self._stream))
            except js_errors.NotFoundError as error:
                raise Unavailable(f"the log of shard {self._shard} does not exist yet") from error
            except js_errors.APIError as error:
                raise Unavailable(f"the log of shard {self._shard} cannot be looked at: {error.description}") from error
        state = found.state
        return LogState(state.first_seq, state.last_seq, state.bytes, max(0, found.config.max_bytes or 0))

    async def bury(self, letter: DeadLetter) -> None:
        """See WalReader."""
        require_connected(self._client)
        reason = " ".join(letter.reason.split())[:1000].encode("ascii", "replace").decode()
        headers = {
            "Nats-Msg-Id": f"{letter.shard}:{letter.sequence}:{hash_of(letter.body)}",
            ITEMS_HEADER: str(letter.items),
            SEQUENCE_HEADER: str(letter.sequence),
            REASON_HEADER: reason,
        }
        with reachable("burying a dead letter"):
            try:
                await self._js.publish(
                    f"{self._cluster_id}.dead.{letter.shard}.{letter.signal}", letter.body, headers=headers, timeout=REQUEST_SECONDS
                )
            except js_errors.APIError as error:
                raise Unavailable(f"the dead-letter log refused an append: {error.description}", retry_after_seconds=5) from error

    async def _contiguous(self, first: int) -> list[Entry]:
        """Some of the entries from ``first`` on, up to the first gap; one before them all must have been trimmed."""
        entries = await self._following(first, _FETCH)
        if entries and entries[0].sequence != first and (await self.state()).first < entries[0].sequence:
            raise Unavailable(f"a replica of the log of shard {self._shard} is behind", retry_after_seconds=0.5)
        start = entries[0].sequence if entries else first
        return [entry for number, entry in enumerate(entries) if entry.sequence == start + number]

    async def _following(self, first: int, count: int) -> list[Entry]:
        """Up to ``count`` entries from ``first`` on, by one direct get: there is no consumer that could be lost or fall silent."""
        found = await direct_get(self._client, self._stream, first, count, f"the log of shard {self._shard}")
        return [_entry(int(m.headers["Nats-Sequence"]), m.headers["Nats-Subject"], m.headers, m.data) for m in found if m.headers]


async def direct_get(client: Client, stream: str, first: int, count: int, what: str) -> list[Msg]:
    """Up to ``count`` messages of a stream from sequence ``first`` on, with their place in the headers. Raises Unavailable."""
    require_connected(client)
    found: list[Msg] = []
    ended: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

    async def receive(message: Msg) -> None:
        if message.data:
            found.append(message)
        elif not ended.done():
            ended.set_result(message)

    inbox = client.new_inbox()
    request = json.dumps({"seq": first, "batch": count, "max_bytes": _FETCH_BYTES}).encode()
    with reachable(f"reading {what}"):
        subscription = await client.subscribe(inbox, cb=receive)
        try:
            await client.publish(f"$JS.API.DIRECT.GET.{stream}", request, reply=inbox)
            end = await answered(client, asyncio.wait_for(ended, REQUEST_SECONDS))
        finally:
            with contextlib.suppress(nats_errors.Error):
                await subscription.unsubscribe()
    status = (end.headers or {}).get("Status", "")
    if status not in _DIRECT_ENDS:
        raise Unavailable(f"{what} cannot be read yet (status {status})")
    return found


async def delete_message(client: Client, stream: str, sequence: int) -> None:
    """Remove one message of a stream; one that is gone already is no error. Raises Unavailable."""
    require_connected(client)
    with reachable(f"removing a message of {stream}"):
        try:
            await client.jetstream(timeout=REQUEST_SECONDS).delete_msg(stream, sequence)
        except js_errors.APIError as error:
            if error.err_code not in _GONE_CODES:
                raise Unavailable(f"{stream} refused to remove a message: {error.description}") from error


def hash_of(body: bytes) -> str:
    """A short digest that tells one dead letter of an entry from another."""
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def _entry(sequence: int, subject: str, headers: dict[str, str] | None, body: bytes) -> Entry:
    items = int((headers or {}).get(ITEMS_HEADER, "1"))
    return Entry(sequence, subject.rpartition(".")[2], items, body)


def log_states(client: Client, cluster_id: str) -> Callable[[int], Awaitable[list[LogState | None]]]:
    """A function that tells what the logs of the first ``n`` shards hold; None where it cannot be told."""

    async def one(shard: int) -> LogState | None:
        try:
            return await JetStreamReader(client, cluster_id, shard).state()
        except Unavailable:
            return None

    async def states(shard_count: int) -> list[LogState | None]:
        return await together((one(shard) for shard in range(shard_count)), name="look at a WAL")

    return states


class JetStreamStreams:
    """Makes the streams, and reads how they are kept; for the coordinator."""

    def __init__(self, client: Client, cluster_id: str, monitor_url: str, *, replicas: int, max_bytes: int) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=REQUEST_SECONDS)
        self._cluster_id = cluster_id
        self._monitor_url = monitor_url
        self._replicas = replicas
        self._max_bytes = max_bytes

    async def ensure(self, shard_count: int) -> None:
        """Make or adjust the stream of each shard and the dead-letter stream; repeating it changes nothing."""
        for shard in range(shard_count):
            await self._ensure(stream_name(self._cluster_id, shard), f"{self._cluster_id}.wal.{shard}.*", self._max_bytes)
        await self._ensure(dead_stream_name(self._cluster_id), f"{self._cluster_id}.dead.>", max(1 << 20, self._max_bytes // 8))

    async def dead_letters(self) -> int:
        """How many dead letters there are. Raises Unavailable."""
        require_connected(self._client)
        with reachable("counting dead letters"):
            try:
                return int((await answered(self._client, self._js.stream_info(dead_stream_name(self._cluster_id)))).state.messages)
            except js_errors.NotFoundError:
                return 0
            except js_errors.APIError as error:
                raise Unavailable(f"the dead letters cannot be counted: {error.description}") from error

    async def lazy_sync(self) -> str | None:
        """Why an acknowledged append may be lost on power failure, or None when each one is fsynced. Raises Unavailable."""
        try:
            found = await asyncio.to_thread(_read_json, f"{self._monitor_url}/varz")
        except (OSError, ValueError) as error:
            raise Unavailable(f"NATS' monitoring at {self._monitor_url} (TAEL_NATS_MONITOR_URL) cannot be read: {error}") from error
        config = (found.get("jetstream") or {}).get("config") or {}
        if config.get("sync_always"):
            return None
        seconds = config.get("sync_interval", 0) / 1e9
        return (
            f"nats-server {found.get('server_name', '?')} runs with sync_interval {seconds:g}s: set jetstream {{ sync_interval: always }}"
        )

    async def _ensure(self, name: str, subject: str, max_bytes: int) -> None:
        config = StreamConfig(
            name=name,
            subjects=[subject],
            retention=RetentionPolicy.LIMITS,
            discard=DiscardPolicy.NEW,
            storage=StorageType.FILE,
            max_bytes=max_bytes,
            num_replicas=self._replicas,
            duplicate_window=DUPLICATE_WINDOW_SECONDS,
            allow_direct=True,
        )
        require_connected(self._client)
        with reachable(f"making stream {name}"):
            try:
                present = (await self._js.stream_info(name)).config
            except js_errors.NotFoundError:
                present = None
            try:
                if present is None:
                    await self._js.add_stream(config)
                elif (present.max_bytes, present.num_replicas) != (max_bytes, self._replicas):
                    await self._js.update_stream(config)
            except js_errors.APIError as error:
                cure = (
                    "; free or add disk space, raise NATS' max_file, or lower TAEL_WAL_MAX_BYTES" if error.err_code in _FULL_CODES else ""
                )
                raise Unavailable(
                    f"NATS refuses stream {name} of {max_bytes} bytes (TAEL_WAL_MAX_BYTES): {error.description}{cure}",
                    retry_after_seconds=5,
                ) from error


def _read_json(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=3) as answer:  # noqa: S310  # the setting takes http and https only
        found: dict[str, Any] = json.load(answer)
        return found
