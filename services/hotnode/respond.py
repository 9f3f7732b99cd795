"""Streams a statement's result, with a ClickHouse server's headers.

The first ``buffer_size`` bytes are held back, so that a statement that fails early is answered with an error status, and a short result
with its final summary. If a statement fails later, the body ends with an exception block and the connection is closed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from services.hotnode import answer
from services.hotnode.call import Call
from services.hotnode.codec import Encoder, choose_encoding, response_encoder
from services.hotnode.engine import Stats
from services.hotnode.errors import StatementFailed
from services.hotnode.run import Job, Running
from services.hotnode.spool import Spool
from services.hotnode.statement import Other, Select

HELD_BYTES: Final = 2 << 20
"""What is held back of an answer as it comes: the default ``buffer_size``, and the piece that goes beyond it."""
_OFF_LOOP_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Node:
    """The node's properties that every answer contains."""

    name: str
    timezone: str
    version: str


@dataclass(slots=True)
class Exchange:
    """One request and its answer. ``call`` is None until the request is parsed."""

    request: web.Request
    node: Node
    call: Call | None = None
    output_format: str = "TabSeparated"
    began_ns: int = field(default_factory=time.monotonic_ns)

    def fail(self, error: StatementFailed) -> web.Response:
        """The answer to a statement that failed before anything was sent."""
        headers = {**self._headers(Stats()), "X-ClickHouse-Exception-Code": str(error.code), "Content-Type": "text/plain; charset=UTF-8"}
        return web.Response(status=error.status, body=f"{self._text(error)}\n".encode(errors="replace"), headers=headers)

    async def respond(self, job: Job, running: Running, held: Spool) -> web.StreamResponse:
        """Send the result of ``job``. Raises StatementFailed if it fails before anything was sent. ``held`` holds the bytes held back."""
        self.call = call = job.call
        self.output_format = call.default_format
        if isinstance(job.statement, Select | Other) and job.statement.output_format:
            self.output_format = job.statement.output_format
        encoding = choose_encoding(self.request.headers.get("Accept-Encoding", "")) if call.compress_out else ""
        encoder = response_encoder(encoding, level=call.zlib_level) if encoding else None
        while piece := await running.read():
            held.append(piece)
            # With wait_end_of_query everything is held back, in the spool, so that even a late failure has a status of its own.
            if held.size > call.buffer_bytes and not call.wait_for_end:
                return await self._stream(running, held, encoder, encoding, Stats())
        stats = await running.stats()
        # Complete but large: streamed from the spool rather than joined in memory.
        if held.size > call.buffer_bytes:
            return await self._stream(running, held, encoder, encoding, stats)
        whole = await _encode(encoder, b"".join(held.chunks()), last=True)
        return web.Response(body=whole, headers=self._result_headers(stats, encoding))

    async def _stream(self, running: Running, held: Spool, encoder: Encoder | None, encoding: str, stats: Stats) -> web.StreamResponse:
        tag = secrets.token_hex(8)
        response = web.StreamResponse(headers={**self._result_headers(stats, encoding), "X-ClickHouse-Exception-Tag": tag})
        response.enable_chunked_encoding()
        await response.prepare(self.request)
        for piece in held.chunks():
            await response.write(await _encode(encoder, piece))
        while piece := await running.read():
            await response.write(await _encode(encoder, piece))
        try:
            await running.stats()
            await response.write(await _encode(encoder, b"", last=True))
            await response.write_eof()
        except StatementFailed as error:
            await response.write(await _encode(encoder, answer.exception_block(tag, self._text(error)), last=True))
            # The connection ends without the last chunk, so a client that does not know exception blocks sees a truncated body.
            response.force_close()
            if self.request.transport is not None:
                self.request.transport.close()
        return response

    def _text(self, error: StatementFailed) -> str:
        return f"{error.text} (version {self.node.version} (chdb))"

    def _result_headers(self, stats: Stats, encoding: str) -> dict[str, str]:
        headers = {**self._headers(stats), "Content-Type": answer.media_type(self.output_format)}
        return {**headers, "Content-Encoding": encoding, "Vary": "Accept-Encoding"} if encoding else headers

    def _headers(self, stats: Stats) -> dict[str, str]:
        query_id = {"X-ClickHouse-Query-Id": self.call.query_id} if self.call is not None else {}
        return {
            **query_id,
            "X-ClickHouse-Server-Display-Name": self.node.name,
            "X-ClickHouse-Timezone": self.node.timezone,
            "X-ClickHouse-Format": self.output_format,
            "X-ClickHouse-Summary": answer.summary(stats, time.monotonic_ns() - self.began_ns),
        }


async def _encode(encoder: Encoder | None, piece: bytes, *, last: bool = False) -> bytes:
    """Compress small pieces here, larger ones in a thread."""
    if encoder is None:
        return piece
    if len(piece) < _OFF_LOOP_BYTES:
        return _finished(encoder, piece) if last else encoder.encode(piece)
    return await asyncio.to_thread(_finished if last else _encoded, encoder, piece)


def _encoded(encoder: Encoder, piece: bytes) -> bytes:
    return encoder.encode(piece)


def _finished(encoder: Encoder, piece: bytes) -> bytes:
    return encoder.encode(piece) + encoder.finish()
