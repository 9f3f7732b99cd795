"""Creates the streams of the WAL, and reads their state."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js import errors as js_errors
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from tael.errors import Unavailable
from tael.model.lanes import aside_of, wal_name
from tael.runtime.nats import REQUEST_SECONDS, answered, reachable, require_connected
from tael.runtime.tasks import together
from tael.runtime.tls import ClientTls
from tael.wal.api import WalState
from tael.wal.jetstream.direct import time_ns
from tael.wal.jetstream.names import (
    DUPLICATE_WINDOW_SECONDS,
    FULL_CODES,
    dead_stream_name,
    digest_stream_name,
    digest_subject,
    stream_name,
    subject_of,
)

# Digests of 16 bytes, kept for four minutes of entries: enough for 17,000 requests a second.
_DIGEST_BYTES = 64 << 20
# docs/adr/0013: there is seldom much data far from now, and a larger backfill is refused retryably.
_ASIDE_SHARE = 8


async def wal_state(client: Client, cluster_id: str, wal: int) -> WalState:
    """The state of a WAL, as reported by its stream's leader. Raises Unavailable."""
    return await stream_state(client, stream_name(cluster_id, wal), f"the WAL of shard {wal_name(wal)}")


async def stream_state(client: Client, stream: str, what: str) -> WalState:
    """The state of any stream, from its leader; ``what`` describes it in errors. Raises Unavailable."""
    require_connected(client)
    with reachable(f"asking for {what}"):
        # Not through the client's stream_info(), which omits the time of the last entry.
        answer = await answered(client, client.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=REQUEST_SECONDS))
    found: dict[str, Any] = json.loads(answer.data)
    if error := found.get("error"):
        if error.get("code") == 404:
            raise Unavailable(f"{what}: the stream does not exist yet")
        raise Unavailable(f"the state of {what} cannot be read: {error.get('description')}")
    state = found["state"]
    return WalState(
        state["first_seq"],
        state["last_seq"],
        state["bytes"],
        max(0, found["config"].get("max_bytes") or 0),
        # Truncated to microseconds, as in the marks that leases hold.
        time_ns(found["created"]) // 1000 * 1000,
        max(0, time_ns(state["last_ts"])),
    )


def wal_states(client: Client, cluster_id: str) -> Callable[[int], Awaitable[list[WalState | None]]]:
    """A function that returns the states of the first ``n`` shards' WALs, None for one that cannot be read."""

    async def one(shard: int) -> WalState | None:
        try:
            return await wal_state(client, cluster_id, shard)
        except Unavailable:
            return None

    async def states(shard_count: int) -> list[WalState | None]:
        return await together((one(shard) for shard in range(shard_count)), name="look at a WAL")

    return states


class JetStreamStreams:
    """Creates the streams, and checks how NATS stores them; for the coordinator."""

    def __init__(
        self,
        client: Client,
        cluster_id: str,
        monitor_urls: Sequence[str],
        *,
        replicas: int,
        max_bytes: int,
        tls: ClientTls | None = None,
    ) -> None:
        self._client = client
        self._js: JetStreamContext = client.jetstream(timeout=REQUEST_SECONDS)
        self._cluster_id = cluster_id
        self._monitor_urls = monitor_urls
        self._replicas = replicas
        self._max_bytes = max_bytes
        self._tls = tls

    async def ensure(self, shard_count: int) -> None:
        """Create or adjust the streams of each shard and the dead letters' stream; idempotent."""
        for shard in range(shard_count):
            await self._ensure_wal(shard, self._max_bytes)
            await self._ensure_wal(aside_of(shard), max(1 << 20, self._max_bytes // _ASIDE_SHARE))
        await self._ensure(dead_stream_name(self._cluster_id), f"{self._cluster_id}.dead.>", max(1 << 20, self._max_bytes // 8))

    async def _ensure_wal(self, wal: int, max_bytes: int) -> None:
        await self._ensure(stream_name(self._cluster_id, wal), subject_of(self._cluster_id, wal, "*"), max_bytes)
        await self._ensure(digest_stream_name(self._cluster_id, wal), digest_subject(self._cluster_id, wal), _DIGEST_BYTES)

    async def dead_letters(self) -> int:
        """The number of dead letters. Raises Unavailable."""
        require_connected(self._client)
        with reachable("counting dead letters"):
            try:
                return int((await answered(self._client, self._js.stream_info(dead_stream_name(self._cluster_id)))).state.messages)
            except js_errors.NotFoundError:
                return 0
            except js_errors.APIError as error:
                raise Unavailable(f"the dead letters cannot be counted: {error.description}") from error

    async def lazy_sync(self) -> str | None:
        """Why an acknowledged append may be lost on power failure, or None when every server fsyncs every append. Raises Unavailable."""
        for url in self._monitor_urls:
            try:
                found = await asyncio.to_thread(_read_json, f"{url}/varz", self._tls)
            # HTTPException is neither of the others: a server that does not speak HTTP, such as NATS' own port, raises it.
            except (OSError, ValueError, HTTPException) as error:
                # Without path and credentials, which may be secret.
                where = urlsplit(url).netloc.rpartition("@")[2]
                raise Unavailable(f"NATS' monitoring at {where} (TAEL_NATS_MONITOR_URL) cannot be read: {error}") from error
            config = (found.get("jetstream") or {}).get("config") or {}
            if not config.get("sync_always"):
                seconds, name = config.get("sync_interval", 0) / 1e9, found.get("server_name", "?")
                return f"nats-server {name} runs with sync_interval {seconds:g}s: set jetstream {{ sync_interval: always }}"
        return None

    async def _ensure(self, name: str, subject: str, max_bytes: int) -> None:
        config = StreamConfig(
            name=name,
            subjects=[subject],
            retention=RetentionPolicy.LIMITS,
            # A full WAL must refuse appends. DiscardPolicy.OLD would drop its first entries, which are acknowledged but not yet written.
            discard=DiscardPolicy.NEW,
            storage=StorageType.FILE,
            max_bytes=max_bytes,
            num_replicas=self._replicas,
            duplicate_window=DUPLICATE_WINDOW_SECONDS,
            # Unlike in the bucket of leases, stale reads are harmless: entries never change, and readers notice a replica that is behind.
            allow_direct=True,
        )
        require_connected(self._client)
        with reachable(f"creating stream {name}"):
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
                cure = "; free or add disk space, raise NATS' max_file, or lower TAEL_WAL_MAX_BYTES" if error.err_code in FULL_CODES else ""
                raise Unavailable(
                    f"NATS refuses stream {name} of {max_bytes} bytes (TAEL_WAL_MAX_BYTES): {error.description}{cure}",
                    retry_after_seconds=5,
                ) from error


def _read_json(url: str, tls: ClientTls | None) -> dict[str, Any]:
    context = tls.context if tls is not None else None
    with urllib.request.urlopen(url, timeout=3, context=context) as answer:  # noqa: S310  # the setting takes http and https only
        found: dict[str, Any] = json.load(answer)
        return found
