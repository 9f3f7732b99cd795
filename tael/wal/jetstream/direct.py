"""Reads messages of a stream by sequence or time: many from any replica, or one from the leader."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nats import errors as nats_errors
from nats.js import errors as js_errors

from tael.errors import Unavailable
from tael.runtime.nats import REQUEST_SECONDS, answered, reachable, require_connected
from tael.wal.jetstream.names import GONE_CODES

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

_FETCH_BYTES = 8 << 20
_DIRECT_ENDS = {"204", "404"}
"""The statuses "end of batch" and "no message from that sequence on"."""


async def direct_get(client: Client, stream: str, first: int, count: int, what: str) -> list[Msg]:
    """Up to ``count`` messages of a stream from sequence ``first`` on: fewer when they are large, but at least two if there are two. Their
    sequences are in the headers. Raises Unavailable.

    Any replica may answer, even one that is behind.
    """
    # Room for two messages of maximum size: each read starts with the last entry, and if that filled the answer, the reader would never
    # advance.
    most = max(_FETCH_BYTES, 2 * client.max_payload)
    return await _direct(client, stream, {"seq": first, "batch": count, "max_bytes": most}, what)


async def direct_get_since(client: Client, stream: str, since_ns: int, what: str) -> Msg | None:
    """The first message of a stream appended at ``since_ns`` or later, according to any replica. Raises Unavailable."""
    found = await _direct(client, stream, {"start_time": _rfc3339(since_ns), "batch": 1}, what)
    return found[0] if found else None


async def leader_get(client: Client, stream: str, sequence: int, what: str) -> tuple[int, bytes] | None:
    """Time (ns) and body of one message according to the stream's leader, or None when it does not exist. Raises Unavailable."""
    require_connected(client)
    with reachable(f"reading {what}"):
        request = json.dumps({"seq": sequence}).encode()
        answer = await answered(client, client.request(f"$JS.API.STREAM.MSG.GET.{stream}", request, timeout=REQUEST_SECONDS))
    found: dict[str, Any] = json.loads(answer.data)
    if error := found.get("error"):
        if error.get("err_code") in GONE_CODES:
            return None
        raise Unavailable(f"{what} cannot be read: {error.get('description')}")
    message = found["message"]
    return time_ns(message["time"]), base64.b64decode(message.get("data") or "")


async def delete_message(client: Client, stream: str, sequence: int) -> None:
    """Remove one message of a stream; it is no error if it is already gone. Raises Unavailable."""
    require_connected(client)
    with reachable(f"removing a message of {stream}"):
        try:
            await client.jetstream(timeout=REQUEST_SECONDS).delete_msg(stream, sequence)
        except js_errors.APIError as error:
            if error.err_code not in GONE_CODES:
                raise Unavailable(f"{stream} refused to remove a message: {error.description}") from error


def time_ns(instant: str) -> int:
    """An RFC 3339 time in UTC, with up to nine fractional digits, as nanoseconds since the epoch."""
    # timestamp() returns a float, which holds whole seconds exactly; nanoseconds since 1970 need 61 bits, more than its 53.
    whole, _, fraction = instant.removesuffix("Z").partition(".")
    return int(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(fraction.ljust(9, "0") or 0)


async def _direct(client: Client, stream: str, wanted: dict[str, Any], what: str) -> list[Msg]:
    require_connected(client)
    found: list[Msg] = []
    ended: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

    async def receive(message: Msg) -> None:
        # Stored messages are never empty: a message without data is the server's status, which ends the batch.
        if message.data:
            found.append(message)
        elif not ended.done():
            ended.set_result(message)

    inbox = client.new_inbox()
    with reachable(f"reading {what}"):
        subscription = await client.subscribe(inbox, cb=receive)
        try:
            await client.publish(f"$JS.API.DIRECT.GET.{stream}", json.dumps(wanted).encode(), reply=inbox)
            end = await answered(client, asyncio.wait_for(ended, REQUEST_SECONDS))
        finally:
            with contextlib.suppress(nats_errors.Error):
                await subscription.unsubscribe()
    status = (end.headers or {}).get("Status", "")
    if status not in _DIRECT_ENDS:
        raise Unavailable(f"{what} cannot be read yet (status {status})")
    return found


def _rfc3339(instant_ns: int) -> str:
    seconds, nanoseconds = divmod(instant_ns, 10**9)
    return f"{datetime.utcfromtimestamp(seconds).isoformat()}.{nanoseconds:09d}Z"  # noqa: DTZ004  # the suffix says UTC
