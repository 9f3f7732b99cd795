"""The live bus on NATS: plain subscriptions to the WAL's subjects, so that watching costs the appenders nothing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from nats import errors as nats_errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from tael.runtime.nats import reachable, require_connected
from tael.wal.api import LiveBody
from tael.wal.jetstream.names import ITEMS_HEADER, subject_of

# How far one watcher may fall behind. Beyond that the client drops messages, which LiveBus allows, and keeps reading: NATS disconnects a
# client that does not read, and the whole process shares this connection.
_PENDING_MESSAGES, _PENDING_BYTES = 4096, 32 << 20


class NatsLiveBus:
    """See LiveBus."""

    def __init__(self, client: Client, cluster_id: str) -> None:
        self._client = client
        self._cluster_id = cluster_id

    @contextlib.asynccontextmanager
    async def watch(self, signal: str) -> AsyncIterator[AsyncIterator[LiveBody]]:
        """See LiveBus."""
        require_connected(self._client)
        with reachable("watching the WAL"):
            subscription = await self._client.subscribe(
                subject_of(self._cluster_id, None, signal), pending_msgs_limit=_PENDING_MESSAGES, pending_bytes_limit=_PENDING_BYTES
            )
            # The server processes commands in order: when it answers the flush, the subscription is active.
            await self._client.flush()
        try:
            yield _bodies(subscription)
        finally:
            with contextlib.suppress(nats_errors.Error):
                await subscription.unsubscribe()


async def _bodies(subscription: Subscription) -> AsyncIterator[LiveBody]:
    async for message in subscription.messages:
        items = (message.headers or {}).get(ITEMS_HEADER, "1")
        yield LiveBody(int(items) if items.isdecimal() else 1, message.data)
