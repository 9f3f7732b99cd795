"""The log on JetStream: one stream a shard (docs/formats.md).

Progress is not kept here but in the writer's lease (docs/adr/0001), so readers use consumers that acknowledge nothing and can be
thrown away at any doubt.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from tael.errors import Overloaded, Unavailable
from tael.runtime.nats import REQUEST_SECONDS, reachable, require_connected
from tael.wal.api import DeadLetter, Entry, LogState

ITEMS_HEADER = "Tael-Items"
DUPLICATE_WINDOW_SECONDS = 120
_HEADER_ROOM_BYTES = 4096
_APPEND_SECONDS = 15.0
_FETCH = 128
_FULL_CODES = {10077, 10047, 10023, 10028}
"""Maximum messages or bytes exceeded, storage resources exceeded, insufficient resources (nats-server's server/errors.json)."""


def stream_name(cluster_id: str, shard: int) -> str:
    """The stream that holds a shard's log."""
    return f"{cluster_id}_wal_{shard}"


def dead_stream_name(cluster_id: str) -> str:
    """The stream that holds every shard's dead letters."""
    return f"{cluster_id}_dead"


class JetStreamAppender:
    """The WalAppender of every shard of a cluster; bounded by ``in_flight_bytes``."""

    def __init__(self, client: Client, cluster_id: str, *, in_flight_bytes: int = 64 << 20) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=REQUEST_SECONDS)
        self._cluster_id = cluster_id
        self._limit = in_flight_bytes
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
        deadline = time.monotonic() + _APPEND_SECONDS
        while True:
            require_connected(self._client)
            try:
                with reachable(f"appending to the log of shard {shard}"):
                    await self._send(shard, subject, body, headers)
            except Unavailable:
                if time.monotonic() + REQUEST_SECONDS > deadline or not self._client.is_connected:
                    raise
            else:
                return

    async def _send(self, shard: int, subject: str, body: bytes, headers: dict[str, str]) -> None:
        try:
            await self._js.publish(subject, body, headers=headers, timeout=REQUEST_SECONDS)
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
        self._subscription: JetStreamContext.PullSubscription | None = None
        self._next = 0

    async def read(self, after: int, *, max_items: int, max_bytes: int, wait_seconds: float) -> Sequence[Entry]:
        """See WalReader."""
        deadline = time.monotonic() + wait_seconds
        entries: list[Entry] = []
        items = size = 0
        while items < max_items and size < max_bytes and (left := deadline - time.monotonic()) > 0:
            last = entries[-1].sequence if entries else after
            room = max(1, min(_FETCH, (max_bytes - size) // max(1, size // max(1, len(entries))) if entries else 16))
            for entry in await self._fetch(last, room, left):
                entries.append(entry)
                items, size = items + entry.items, size + len(entry.body)
        return entries

    async def read_range(self, first: int, last: int) -> Sequence[Entry]:
        """See WalReader."""
        require_connected(self._client)
        entries: list[Entry] = []
        for sequence in range(first, last + 1):
            with reachable(f"reading entry {sequence} of shard {self._shard}"), contextlib.suppress(js_errors.NotFoundError):
                found = await self._js.get_msg(self._stream, seq=sequence)
                entries.append(_entry(sequence, found.subject or "", found.headers, found.data or b""))
        return entries

    async def trim(self, through: int) -> None:
        """See WalReader."""
        require_connected(self._client)
        with reachable(f"trimming the log of shard {self._shard}"):
            await self._js.purge_stream(self._stream, seq=through + 1)

    async def state(self) -> LogState:
        """See WalReader."""
        require_connected(self._client)
        with reachable(f"asking for the log of shard {self._shard}"):
            try:
                state = (await self._js.stream_info(self._stream)).state
            except js_errors.NotFoundError as error:
                raise Unavailable(f"the log of shard {self._shard} does not exist yet") from error
        return LogState(state.first_seq, state.last_seq, state.bytes)

    async def bury(self, letter: DeadLetter) -> None:
        """See WalReader."""
        require_connected(self._client)
        reason = " ".join(letter.reason.split())[:1000].encode("ascii", "replace").decode()
        headers = {
            "Nats-Msg-Id": f"{letter.shard}:{letter.sequence}:{hash_of(letter.body)}",
            ITEMS_HEADER: str(letter.items),
            "Tael-Sequence": str(letter.sequence),
            "Tael-Reason": reason,
        }
        with reachable("burying a dead letter"):
            try:
                await self._js.publish(
                    f"{self._cluster_id}.dead.{letter.shard}.{letter.signal}", letter.body, headers=headers, timeout=REQUEST_SECONDS
                )
            except js_errors.APIError as error:
                raise Unavailable(f"the dead-letter log refused an append: {error.description}", retry_after_seconds=5) from error

    async def _fetch(self, after: int, count: int, wait_seconds: float) -> list[Entry]:
        """Some of the entries that follow ``after``; the consumer is made anew when it does not stand there."""
        require_connected(self._client)
        if self._subscription is None or self._next != after + 1:
            await self._open(after)
        assert self._subscription is not None
        try:
            messages = await self._subscription.fetch(count, timeout=max(0.01, wait_seconds))
        except (nats_errors.TimeoutError, TimeoutError):
            await self._check_stall(after)
            return []
        except (nats_errors.Error, OSError) as error:
            await self._close()
            raise Unavailable(f"reading the log of shard {self._shard}: {error}") from error
        entries = [_entry(m.metadata.sequence.stream, m.subject, m.headers, m.data) for m in messages]
        if entries and entries[0].sequence != after + 1 and not await self._trimmed_through(entries[0].sequence - 1):
            await self._close()
            return []
        if entries:
            self._next = entries[-1].sequence + 1
        return entries

    async def _open(self, after: int) -> None:
        await self._close()
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=after + 1,
            ack_policy=AckPolicy.NONE,
            inactive_threshold=30,
            max_deliver=1,
            mem_storage=True,
            num_replicas=1,
        )
        with reachable(f"reading the log of shard {self._shard}"):
            try:
                self._subscription = await self._js.pull_subscribe(
                    f"{self._cluster_id}.wal.{self._shard}.*", stream=self._stream, config=config
                )
            except js_errors.NotFoundError as error:
                raise Unavailable(f"the log of shard {self._shard} does not exist yet") from error
        self._next = after + 1

    async def _check_stall(self, after: int) -> None:
        """Nothing came: a consumer that is quiet although there is more, or is gone, is thrown away."""
        if (await self.state()).last > after:
            await self._close()

    async def _trimmed_through(self, sequence: int) -> bool:
        return (await self.state()).first > sequence

    async def _close(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            with contextlib.suppress(nats_errors.Error, TimeoutError, OSError):
                await subscription.unsubscribe()


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
        return list(await asyncio.gather(*(one(shard) for shard in range(shard_count))))

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

    async def lazy_sync(self) -> str | None:
        """Why an acknowledged append may be lost on power failure, or None when each one is fsynced. Raises Unavailable."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session,
                session.get(f"{self._monitor_url}/jsz?config=true") as answer,
            ):
                found: dict[str, Any] = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(f"NATS' monitoring at {self._monitor_url} (TAEL_NATS_MONITOR_URL) cannot be read: {error}") from error
        config = found.get("config") or {}
        if config.get("sync_always"):
            return None
        seconds = config.get("sync_interval", 0) / 1e9
        return f"nats-server {found.get('server_id', '?')} runs with sync_interval {seconds:g}s: set jetstream {{ sync_interval: always }}"

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
                raise Unavailable(
                    f"NATS refuses stream {name} of {max_bytes} bytes (TAEL_WAL_MAX_BYTES): {error.description}", retry_after_seconds=5
                ) from error
