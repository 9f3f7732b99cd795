"""One NATS connection a process: reconnects for ever, says so in the log, and closes when the process leaves.

What is published while the connection is down must not pile up unseen, so callers ask ``require_connected`` first.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import nats
from nats import errors as nats_errors
from nats.aio.client import Client
from nats.js import errors as js_errors

from tael.errors import Unavailable
from tael.runtime.observe import get_logger
from tael.runtime.settings import NatsSettings

log = get_logger("nats")
_RECONNECT_SECONDS = 0.25
REQUEST_SECONDS = 5.0


@contextlib.asynccontextmanager
async def connection(settings: NatsSettings, name: str) -> AsyncIterator[Client]:
    """A connection that exists while the block runs; waits for the server for as long as it takes."""
    shown = urlsplit(settings.nats_url).hostname

    async def disconnected() -> None:
        log.warning("disconnected from NATS", server=shown)

    async def reconnected() -> None:
        log.info("connected to NATS again", server=shown)

    async def failed(error: Exception) -> None:
        log.debug("NATS", error=str(error))

    client = await nats.connect(
        settings.nats_url,
        name=name,
        max_reconnect_attempts=-1,
        reconnect_time_wait=_RECONNECT_SECONDS,
        connect_timeout=2,
        ping_interval=5,
        max_outstanding_pings=2,
        disconnected_cb=disconnected,
        reconnected_cb=reconnected,
        error_cb=failed,
    )
    try:
        yield client
    finally:
        with contextlib.suppress(nats_errors.Error, OSError, TimeoutError):
            await client.close()


def require_connected(client: Client) -> None:
    """Raise Unavailable while there is no connection: nats-py would hold what is published and send it later."""
    if not client.is_connected:
        raise Unavailable("NATS cannot be reached", retry_after_seconds=1)


@contextlib.contextmanager
def reachable(what: str) -> Iterator[None]:
    """Turn the client's own errors for a server that does not answer into Unavailable."""
    try:
        yield
    except (nats_errors.TimeoutError, TimeoutError) as error:
        raise Unavailable(f"{what}: NATS did not answer in time") from error
    except (nats_errors.NoRespondersError, js_errors.NoStreamResponseError, js_errors.ServiceUnavailableError) as error:
        raise Unavailable(f"{what}: JetStream is not there yet") from error
    except (nats_errors.ConnectionClosedError, nats_errors.StaleConnectionError, nats_errors.OutboundBufferLimitError, OSError) as error:
        raise Unavailable(f"{what}: the connection to NATS is lost") from error
