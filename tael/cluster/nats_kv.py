"""The KeyValue port on a JetStream bucket.

Reads go through the stream's leader (the bucket allows no direct gets), so a read is never older than a write that has returned.
A watch subscribes to the bucket's subjects, takes each message only as a hint, and reads; a slow poll makes up for hints that were lost
while the connection was down.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

from tael.cluster.api import Versioned
from tael.errors import Conflict, Unavailable
from tael.runtime.nats import REQUEST_SECONDS, answered, reachable, require_connected
from tael.runtime.tasks import together

# A fifth of the default lease TTL: a lost hint delays a grant by less than a dead holder does.
_POLL_SECONDS = 1.0
# Wrong last sequence, with and without the sequence in the error's text (nats-server's server/errors.json).
_WRONG_LAST_SEQUENCE = {10071, 10164}
_MARKER_TTL_SECONDS = 3600
"""How long the marker of a deleted key is kept; without a limit, every process that ever ran would leave one behind."""


class NatsKeyValue:
    """The KeyValue of one cluster."""

    def __init__(self, client: Client, cluster_id: str, *, replicas: int = 1) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=REQUEST_SECONDS)
        self._stream = f"KV_{cluster_id}_cluster"
        self._prefix = f"$KV.{cluster_id}_cluster."
        self._replicas = replicas

    async def ensure(self) -> None:
        """Create the bucket if it is missing; safe to call concurrently, as every process creates the same one."""
        config = StreamConfig(
            name=self._stream,
            subjects=[f"{self._prefix}>"],
            # One message per key: only the newest value is needed, and a history would grow by a message with each heartbeat.
            max_msgs_per_subject=1,
            discard=DiscardPolicy.NEW,
            storage=StorageType.FILE,
            num_replicas=self._replicas,
            allow_rollup_hdrs=True,
            # No single message may be removed: a removed lease would start again with epochs that were used before.
            deny_delete=True,
            # Any replica answers a direct get, even a stale one: a holder that read its old lease would believe that it still holds it.
            allow_direct=False,
            allow_msg_ttl=True,
        )
        require_connected(self._client)
        with reachable("creating the cluster's bucket"):
            try:
                await self._js.stream_info(self._stream)
            except js_errors.NotFoundError:
                await self._js.add_stream(config)

    async def get(self, key: str) -> Versioned | None:
        """See KeyValue."""
        require_connected(self._client)
        with reachable(f"reading {key}"):
            try:
                found = await answered(self._client, self._js.get_msg(self._stream, subject=self._prefix + key))
            except js_errors.NotFoundError:
                return None
        # The marker of a deletion, which is kept for _MARKER_TTL_SECONDS.
        if (found.headers or {}).get("KV-Operation"):
            return None
        return Versioned(key, found.data or b"", found.seq or 0)

    async def create(self, key: str, value: bytes) -> int:
        """See KeyValue. A key that was deleted can be created again."""
        try:
            return await self.update(key, value, 0)
        except Conflict:
            gone = await self._deleted_at(key)
            if gone is None:
                raise
            # A deleted key still has a marker with a sequence, so "expect 0" is refused; expecting the marker's sequence is just as exact.
            return await self.update(key, value, gone)

    async def update(self, key: str, value: bytes, revision: int) -> int:
        """See KeyValue."""
        return await self._publish(key, value, {"Nats-Expected-Last-Subject-Sequence": str(revision)})

    async def put(self, key: str, value: bytes) -> int:
        """See KeyValue."""
        return await self._publish(key, value, {})

    async def delete(self, key: str) -> None:
        """See KeyValue."""
        await self._publish(key, b"", {"KV-Operation": "DEL", "Nats-TTL": f"{_MARKER_TTL_SECONDS}s"})

    async def list(self, prefix: str) -> list[Versioned]:
        """See KeyValue."""
        require_connected(self._client)
        with reachable(f"listing {prefix}"):
            try:
                info = await answered(self._client, self._js.stream_info(self._stream, subjects_filter=f"{self._prefix}>"))
            except js_errors.NotFoundError as error:
                raise Unavailable("the cluster's bucket does not exist yet: the coordinator creates it") from error
        subjects = info.state.subjects or {}
        keys = sorted(s.removeprefix(self._prefix) for s in subjects if s.startswith(self._prefix + prefix))
        # Key by key from the leader, not through a consumer of last values, where a replica might deliver an older lease.
        found = await together((self.get(key) for key in keys), name="read a key")
        return [value for value in found if value is not None]

    async def watch(self, prefix: str) -> AsyncIterator[Versioned]:
        """See KeyValue."""
        hint = asyncio.Event()

        async def changed(_: Msg) -> None:
            hint.set()

        subscription: Subscription | None = None
        seen: dict[str, int] = {}
        try:
            while True:
                # Before the list, not after it: a change during the read sets the hint again, and another round follows.
                hint.clear()
                try:
                    if subscription is None:
                        subscription = await self._subscribe(changed)
                    present = await self.list(prefix)
                except Unavailable:
                    await _unsubscribe(subscription)
                    subscription = None
                else:
                    # Deletions are noticed as absence, so those that happened while the connection was down are reported too.
                    for key in seen.keys() - {value.key for value in present}:
                        # keys() - set is a new set, so popping from seen is safe here.
                        yield Versioned(key, b"", seen.pop(key))
                    for value in present:
                        if seen.get(value.key) != value.revision:
                            seen[value.key] = value.revision
                            yield value
                # Not wait_for(): in Python 3.11 it loses a cancellation that coincides with the hint, and the watch would never end.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_SECONDS):
                        await hint.wait()
        finally:
            await _unsubscribe(subscription)

    async def _subscribe(self, changed: Callable[[Msg], Awaitable[None]]) -> Subscription:
        require_connected(self._client)
        with reachable("watching the cluster's bucket"):
            return await self._client.subscribe(f"{self._prefix}>", cb=changed)

    async def _publish(self, key: str, value: bytes, headers: dict[str, str]) -> int:
        require_connected(self._client)
        with reachable(f"writing {key}"):
            try:
                publish = self._js.publish(self._prefix + key, value, headers=headers or None, timeout=REQUEST_SECONDS)
                ack = await answered(self._client, publish)
            except js_errors.APIError as error:
                if error.err_code in _WRONG_LAST_SEQUENCE:
                    raise Conflict(f"{key} has changed") from error
                raise Unavailable(f"writing {key}: {error.description}") from error
        return int(ack.seq)

    async def _deleted_at(self, key: str) -> int | None:
        """The sequence of a deleted key's marker, 0 for a key without any message, None for a key that exists."""
        require_connected(self._client)
        with reachable(f"reading {key}"):
            try:
                found = await answered(self._client, self._js.get_msg(self._stream, subject=self._prefix + key))
            except js_errors.NotFoundError:
                return 0
        return found.seq if (found.headers or {}).get("KV-Operation") else None


async def _unsubscribe(subscription: Subscription | None) -> None:
    if subscription is not None:
        with contextlib.suppress(nats_errors.Error, OSError):
            await subscription.unsubscribe()
