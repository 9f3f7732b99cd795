"""Reads the dead letters of a cluster from their stream (docs/formats.md), and removes them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tael.runtime.nats import answered
from tael.wal.api import Buried, DeadLetter
from tael.wal.jetstream.direct import delete_message, direct_get, time_ns
from tael.wal.jetstream.names import ITEMS_HEADER, REASON_HEADER, SEQUENCE_HEADER, dead_stream_name

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

_WHAT = "the dead letters"


class JetStreamDeadLetters:
    """See DeadLetters."""

    def __init__(self, client: Client, cluster_id: str) -> None:
        self._client = client
        self._stream = dead_stream_name(cluster_id)

    async def list(self, after: int, limit: int) -> Sequence[Buried]:
        """See DeadLetters."""
        messages = await direct_get(self._client, self._stream, after + 1, limit, _WHAT)
        return [_buried(message) for message in messages]

    async def get(self, letter_id: int) -> Buried | None:
        """See DeadLetters."""
        messages = await direct_get(self._client, self._stream, letter_id, 1, _WHAT)
        found = _buried(messages[0]) if messages else None
        # A direct get answers with the first message at or after the sequence, which is another letter if this one was dropped.
        return found if found is not None and found.letter_id == letter_id else None

    async def drop(self, letter_id: int) -> None:
        """See DeadLetters."""
        await answered(self._client, delete_message(self._client, self._stream, letter_id))


def _buried(message: Msg) -> Buried:
    headers = message.headers or {}
    *_, shard, signal = headers["Nats-Subject"].split(".")
    letter = DeadLetter(
        int(shard), int(headers[SEQUENCE_HEADER]), signal, int(headers[ITEMS_HEADER]), headers.get(REASON_HEADER, ""), message.data
    )
    return Buried(int(headers["Nats-Sequence"]), time_ns(headers["Nats-Time-Stamp"]), letter)
