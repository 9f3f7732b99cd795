"""The receivers' side of the WAL on JetStream."""

from __future__ import annotations

import time

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js import errors as js_errors

from tael.errors import Overloaded, Unavailable
from tael.runtime.nats import REQUEST_SECONDS, answered, reachable, require_connected
from tael.wal.jetstream.names import FULL_CODES, ITEMS_HEADER, subject_of

_HEADER_ROOM_BYTES = 4096


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
            raise Overloaded("too many bytes wait for the WAL", retry_after_seconds=1)
        self._in_flight += len(body)
        try:
            await self._publish(shard, signal, body, {"Nats-Msg-Id": dedup_id, ITEMS_HEADER: str(items)})
        finally:
            self._in_flight -= len(body)

    async def _publish(self, shard: int, signal: str, body: bytes, headers: dict[str, str]) -> None:
        subject = subject_of(self._cluster_id, shard, signal)
        deadline = time.monotonic() + self._patience_seconds
        while True:
            require_connected(self._client)
            try:
                with reachable(f"appending to the WAL of shard {shard}"):
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
            if error.err_code in FULL_CODES:
                raise Overloaded(
                    f"the WAL of shard {shard} is full (TAEL_WAL_MAX_BYTES): {error.description}", retry_after_seconds=5
                ) from error
            raise Unavailable(f"the WAL of shard {shard} refused an append: {error.description}", retry_after_seconds=2) from error
