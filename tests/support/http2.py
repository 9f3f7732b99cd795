"""An HTTP/2 connection frame by frame, for tests of what gRPC's own clients hide.

Source: RFC 9113. It only knows the frames that maintain a connection: SETTINGS, PING and GOAWAY.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
ACK: Final = 1
ENHANCE_YOUR_CALM = 11


@dataclass
class Frames:
    """One connection, with the received frames in order; ``closed`` is set when the server has closed it."""

    writer: asyncio.StreamWriter
    acknowledged: int = 0
    goaways: list[int] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def ping(self) -> None:
        """Send a PING."""
        self.writer.write(_frame(PING, 0, bytes(8)))
        await self.writer.drain()

    async def until_acknowledged(self, pings: int) -> None:
        """Return when the given number of PINGs has been answered, or GOAWAY was received."""
        async with self.heard:
            await self.heard.wait_for(lambda: self.acknowledged >= pings or self.goaways or self.closed.is_set())

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Read frames until the connection ends."""
        try:
            while True:
                size, kind, flags = struct.unpack(">I", b"\0" + await reader.readexactly(3))[0], *(await reader.readexactly(2))
                await reader.readexactly(4)
                payload = await reader.readexactly(size)
                async with self.heard:
                    self._took(kind, flags, payload)
                    self.heard.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.set()
            async with self.heard:
                self.heard.notify_all()

    def _took(self, kind: int, flags: int, payload: bytes) -> None:
        if kind == GOAWAY:
            self.goaways.append(struct.unpack(">I", payload[4:8])[0])
        elif kind == PING and flags & ACK:
            self.acknowledged += 1
        elif kind == PING:
            self.writer.write(_frame(PING, ACK, payload))
        elif kind == SETTINGS and not flags & ACK:
            self.writer.write(_frame(SETTINGS, ACK, b""))


@asynccontextmanager
async def frames(address: str) -> AsyncIterator[Frames]:
    """A connection to ``host:port`` after the exchange of prefaces."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(PREFACE + _frame(SETTINGS, 0, b""))
    connection = Frames(writer)
    reading = asyncio.create_task(connection.read(reader), name="frames")
    try:
        yield connection
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        writer.close()


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + bytes(4) + payload
