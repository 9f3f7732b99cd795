"""The digests of written records on JetStream: a small stream for each WAL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nats.js import errors as js_errors

from tael.errors import Unavailable
from tael.pb.wal_pb2 import WrittenDigests
from tael.runtime.nats import REQUEST_SECONDS, answered, reachable, require_connected
from tael.wal.jetstream.direct import direct_get
from tael.wal.jetstream.names import digest_stream_name, digest_subject
from tael.wal.jetstream.streams import stream_state

if TYPE_CHECKING:
    from nats.aio.client import Client

_FETCH = 256


class JetStreamDigests:
    """The DigestStore of one shard."""

    def __init__(self, client: Client, cluster_id: str, shard: int) -> None:
        self._client = client
        self._js = client.jetstream(timeout=REQUEST_SECONDS)
        self._stream = digest_stream_name(cluster_id, shard)
        self._subject = digest_subject(cluster_id, shard)
        self._what = f"the digests of shard {shard}"

    async def load(self) -> Sequence[WrittenDigests]:
        """See DigestStore."""
        found: list[WrittenDigests] = []
        # The leader says how far to read: a replica that is behind would end the load early, and resends would be stored twice.
        state = await stream_state(self._client, self._stream, self._what)
        start = max(1, state.first)
        while start <= state.last and (messages := await direct_get(self._client, self._stream, start, _FETCH, self._what)):
            found += (WrittenDigests.FromString(message.data) for message in messages)
            start = int((messages[-1].headers or {})["Nats-Sequence"]) + 1
        if start <= state.last:
            raise Unavailable(f"a replica of {self._what} is behind", retry_after_seconds=0.5)
        return found

    async def save(self, digests: WrittenDigests) -> int:
        """See DigestStore."""
        require_connected(self._client)
        with reachable(f"saving {self._what}"):
            try:
                publish = self._js.publish(self._subject, digests.SerializeToString(), timeout=REQUEST_SECONDS)
                return int((await answered(self._client, publish)).seq)
            except js_errors.APIError as error:
                raise Unavailable(f"{self._what} cannot be saved: {error.description}", retry_after_seconds=5) from error

    async def forget(self, through: int) -> None:
        """See DigestStore."""
        require_connected(self._client)
        with reachable(f"trimming {self._what}"):
            try:
                await answered(self._client, self._js.purge_stream(self._stream, seq=through + 1))
            except js_errors.APIError as error:
                raise Unavailable(f"{self._what} cannot be trimmed: {error.description}", retry_after_seconds=5) from error
