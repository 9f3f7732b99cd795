"""The process's NATS connection: it reconnects for ever, logs that it does, and closes when the process ends.

Messages must not pile up in the client while the connection is down or stalled, so callers call ``require_connected`` first.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from nats import errors as nats_errors
from nats.aio.client import Client, Srv
from nats.js import errors as js_errors

from tael.errors import Unavailable
from tael.runtime.nats_keys import Keys, keys_from
from tael.runtime.observe import get_logger
from tael.runtime.settings import NatsSettings
from tael.runtime.tasks import cancelled
from tael.runtime.tls import ClientTls

log = get_logger("nats")
T = TypeVar("T")
_RECONNECT_SECONDS = 0.25
_FIRST_WAIT_SECONDS = 5.0
# More than appends may have in flight (64 MiB), so only a server that reads nothing at all makes the buffer grow so large.
_UNSENT_MAX_BYTES = 96 << 20
# The client reports a lost connection to its callbacks, but not to waiting calls, which therefore have to poll.
_NOTICE_SECONDS = 0.1
_PROBE_SECONDS, _PROBES = 1.0, 3
REQUEST_SECONDS = 5.0


class _Client(Client):
    """Works around two faults of nats-py.

    It treats ``tls://`` as optional: if the server's INFO offers no TLS, it continues and sends the password in the clear. And it leaks the
    connection to a server that accepted it and then sent nothing (a frozen one) when it tries the next server.
    """

    only_tls = False

    def authenticating(self, keys: Keys | None) -> dict[str, Any]:
        """The arguments of ``connect`` that authenticate with these keys."""
        self._public_nkey = keys.public if keys is not None else None
        return keys.arguments() if keys is not None else {}

    async def _connect_to_server(self, s: Srv) -> None:  # named as inherited
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]
        await super()._connect_to_server(s)

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:  # as inherited
        if initial_connection and self.only_tls and not info.get("tls_required"):
            raise nats_errors.Error("the server offers no TLS, which the tls:// of TAEL_NATS_URL demands")
        await super()._process_info(info, initial_connection)


@contextlib.asynccontextmanager
async def connection(settings: NatsSettings, name: str) -> AsyncIterator[Client]:
    """A connection for the duration of the block.

    The block starts as soon as the server answers, or after a few seconds without an answer; until there is one, every call raises
    Unavailable.
    """
    client = _Client()
    client.only_tls = any(url.startswith("tls:") for url in settings.nats_urls)
    up = asyncio.Event()
    keep = _keep(client, settings.nats_urls, name, up, ClientTls(settings), keys_from(settings))
    keeping = asyncio.create_task(keep, name="nats-connection")
    watching = asyncio.create_task(_leave_sick_servers(client), name="nats-watch")
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_WAIT_SECONDS):
                await up.wait()
        yield client
    finally:
        await cancelled(watching, keeping)
        up.clear()
        with contextlib.suppress(nats_errors.Error, OSError, TimeoutError):
            await client.close()


async def _leave_sick_servers(client: Client) -> None:
    """Reconnect to another server of the cluster when the current one has had no JetStream for a while: a server that is cut off from the
    others keeps its client connections and refuses everything.
    """
    failures = 0
    while True:
        await asyncio.sleep(_PROBE_SECONDS)
        # With a single server there is no other to connect to: a reconnect would only add to its load.
        if not client.is_connected or len(client.servers) < 2:
            failures = 0
            continue
        failures = 0 if await _has_jetstream(client) else failures + 1
        if failures >= _PROBES:
            log.warning("reconnecting: JetStream of this NATS server does not respond", server=shown_server(client))
            failures = 0
            with contextlib.suppress(nats_errors.Error, OSError):
                await client.force_reconnect()


async def _has_jetstream(client: Client) -> bool:
    try:
        answer = await client.request("$JS.API.INFO", b"", timeout=_PROBE_SECONDS)
    except (nats_errors.Error, TimeoutError, OSError):
        return False
    return "error" not in json.loads(answer.data)


def shown_server(client: Client) -> str:
    """Host and port of the current server, without credentials; "none" without a connection."""
    url = client.connected_url
    return url.netloc.rpartition("@")[2] if url else "none"


async def _keep(
    client: _Client, urls: Sequence[str], name: str, up: asyncio.Event, tls: ClientTls, keys: Callable[[], Keys | None]
) -> None:
    """Connect, and connect again if the client gives up: it closes for good on errors such as a changed password."""
    shown = ",".join(urlsplit(url).hostname or "" for url in urls)
    logged = ""
    closed = asyncio.Event()

    async def disconnected() -> None:
        tls.refresh()
        if up.is_set() and not closed.is_set():
            log.warning("disconnected from NATS", server=shown)

    async def reconnected() -> None:
        nonlocal logged
        logged = ""
        log.info("connected to NATS again", server=shown)

    async def has_closed() -> None:
        closed.set()

    async def failed(error: Exception) -> None:
        nonlocal logged
        reason = str(error) or type(error).__name__
        if reason != logged and not client.is_connected:
            log.warning("waiting for NATS", server=shown, reason=reason)
            logged = reason
        tls.refresh()

    while True:
        closed.clear()
        tls.refresh()
        await client.connect(
            list(urls),
            name=name,
            tls=tls.context,  # only used if the server offers TLS
            **client.authenticating(keys()),
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_SECONDS,  # type: ignore[arg-type]  # annotated int, only ever slept on
            connect_timeout=2,
            # A frozen server, which keeps its connections open, is given up after ten to fifteen seconds.
            ping_interval=5,
            max_outstanding_pings=2,
            # Buffer nothing while the connection is down, and never block a publish in the client when the server stalls.
            pending_size=0,
            disconnected_cb=disconnected,
            reconnected_cb=reconnected,
            closed_cb=has_closed,
            error_cb=failed,
        )
        up.set()
        log.debug("connected to NATS", server=shown)
        await closed.wait()
        log.error("NATS connection closed permanently; opening a new one", server=shown, reason=str(client.last_error))
        await asyncio.sleep(1)


def require_connected(client: Client) -> None:
    """Raise Unavailable while there is no connection, or the server does not read what was already sent."""
    if not client.is_connected:
        raise Unavailable("cannot reach NATS", retry_after_seconds=1)
    if client.pending_data_size > _UNSENT_MAX_BYTES:
        raise Unavailable("NATS is not accepting more data at the moment", retry_after_seconds=2)


async def answered(client: Client, call: Awaitable[T]) -> T:
    """The result of a call that waits for an answer. Raises Unavailable soon after the connection is lost, when none can come any more."""
    waiting = asyncio.ensure_future(call)
    try:
        while not waiting.done():
            await asyncio.wait({waiting}, timeout=_NOTICE_SECONDS)
            if not waiting.done() and not client.is_connected:
                raise Unavailable("lost the connection to NATS while waiting for its answer")
        return waiting.result()
    finally:
        # The call has a timeout of its own, but that may be seconds away, and its answer cannot come any more.
        waiting.cancel()


@contextlib.contextmanager
def reachable(what: str) -> Iterator[None]:
    """Turn the client's errors for a server that does not answer into Unavailable; ``what`` says what was attempted."""
    try:
        yield
    except (nats_errors.TimeoutError, TimeoutError) as error:
        raise Unavailable(f"{what}: NATS did not answer in time") from error
    except (nats_errors.NoRespondersError, js_errors.NoStreamResponseError, js_errors.ServiceUnavailableError) as error:
        raise Unavailable(f"{what}: JetStream is not available yet") from error
    except (nats_errors.ConnectionClosedError, nats_errors.StaleConnectionError, nats_errors.OutboundBufferLimitError, OSError) as error:
        raise Unavailable(f"{what}: lost the connection to NATS") from error
