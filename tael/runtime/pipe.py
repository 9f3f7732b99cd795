"""A connection that another listener of this process answers: bytes to and fro, as fast as the slower side takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from prometheus_client import Counter

from tael.runtime.config import Address

HTTP2: Final = b"PRI * HTTP/2.0"
"""How a connection of HTTP/2 begins that both sides know to be one, as gRPC's do."""
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # compared with, not bound
_DIAL_SECONDS = 5.0


class Behind(Protocol):
    """A listener that connections are handed to."""

    @property
    def address(self) -> Address:
        """Where it listens."""
        ...

    async def end(self) -> None:
        """Finish what is going on over these connections; nobody comes any more. MUST be safe to call again."""
        ...


class Pipe(asyncio.Protocol):
    """The client's side. ``first`` is what has been read already; ``closed`` is called once, at the end."""

    def __init__(self, client: asyncio.Transport, first: bytes, closed: Callable[[Pipe], None], cuts: Counter) -> None:
        self._client = client
        self._first = first
        self._closed = closed
        self._cuts = cuts
        self._server: asyncio.Transport | None = None
        self._dialling: asyncio.Task[None] | None = None

    @property
    def waits_for_us(self) -> bool:
        """Not to be known from here: the one that is silent longest makes room for another."""
        return False

    def overdue(self, now: float) -> str:  # noqa: ARG002  # the listener behind ends what keeps it waiting
        """Never by itself."""
        return ""

    def cut(self, reason: str) -> None:
        """End the connection at once."""
        self._cuts.labels(reason).inc()
        self._client.abort()

    def dial(self, target: Address, loop: asyncio.AbstractEventLoop) -> None:
        """Connect to what answers; nothing more is read before that."""
        self._client.pause_reading()
        self._dialling = loop.create_task(self._dial(target, loop), name="pipe-dial")

    async def _dial(self, target: Address, loop: asyncio.AbstractEventLoop) -> None:
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                transport, _ = await loop.create_connection(
                    lambda: _Back(self._client), _LOOPBACK.get(target.host, target.host), target.port
                )
        # The time that is over is one as well: TimeoutError is an OSError.
        except OSError:
            self._client.abort()
            return
        self._server = transport
        # It went while we dialled, and its connection_lost knew of no server to close.
        if self._client.is_closing():
            transport.abort()
            return
        transport.write(self._first)
        self._first = b""
        self._client.resume_reading()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._server is not None:
            self._server.write(data)

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._server is not None:
            self._server.pause_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        if self._server is not None:
            self._server.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # however it ended
        """See asyncio.Protocol."""
        if self._dialling is not None:
            self._dialling.cancel()
        if self._server is not None:
            self._server.close()
        self._closed(self)


class _Back(asyncio.Protocol):
    """The side of what answers."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        self._client.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # however it ended
        self._client.close()
