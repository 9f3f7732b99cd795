"""Answers that are sent piece by piece, as they are produced."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, Literal

from aiohttp import web

from services.query.api.compress import takes_gzip
from services.query.questions.long_traces import LongTrace
from tael.model.json_text import to_bytes
from tael.model.span import Span
from tael.otlp.assemble import resource_spans_json
from tael.runtime.observe import get_logger
from tael.storage.long_traces import Slice

log = get_logger("query")


async def stream(request: web.Request, pieces: AsyncGenerator[bytes], content_type: str, *, status: int = 200) -> web.StreamResponse:
    """Send the pieces as one body. A failure before the second piece is raised; a later one aborts the connection, so that no client takes
    a partial body for a complete one.

    A client that goes away ends ``pieces``.
    """
    response = web.StreamResponse(status=status, headers={"Content-Type": content_type, "Vary": "Accept-Encoding"})
    if takes_gzip(request.headers.get("Accept-Encoding", "")):
        response.enable_compression(web.ContentCoding.gzip)
    async with contextlib.aclosing(pieces):
        # The first piece is known in advance; only the second requires a read, and may still fail with a proper status.
        first = await anext(pieces) + await anext(pieces, b"")
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            await response.write(first)
            async for piece in pieces:
                await response.write(piece)
        except ConnectionError:
            raise
        except Exception as error:
            log.warning("answer aborted", path=request.path, reason=str(error) or type(error).__name__)
            # Aborted and not closed: a chunked body that ends properly would look complete.
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError("answer aborted") from error
    await response.write_eof()
    return response


async def elements(trace: LongTrace, items: Callable[[Sequence[Span]], Sequence[Any]]) -> AsyncGenerator[bytes]:
    """``items`` of each block of a trace as the elements of one JSON array, encoded in a thread."""
    comma = b""
    async with contextlib.aclosing(trace.blocks()) as blocks:
        async for spans in blocks:
            if spans:
                yield comma + (await asyncio.to_thread(lambda made: to_bytes(items(made)), spans))[1:-1]
                comma = b","


async def encoded_groups(
    trace: LongTrace, form: Literal["proto_json", "otlp_json"], to_dict: Callable[[Span], Mapping[str, Any]]
) -> AsyncGenerator[bytes]:
    """``ResourceSpans`` of each block in protobuf's JSON, as the elements of one array; ``to_dict`` converts spans that are not yet
    encoded.
    """

    def groups(block: Slice) -> bytes:
        origins = [block.origins[number] for number in block.origin_ids]
        bodies = (body if isinstance(body, bytes) else to_bytes(to_dict(body)) for body in block.bodies)
        return b",".join(resource_spans_json((body, one.resource, one.scope) for body, one in zip(bodies, origins, strict=True)))

    comma = b""
    async with contextlib.aclosing(trace.encoded(form)) as blocks:
        async for block in blocks:
            if block.keys:
                yield comma + await asyncio.to_thread(groups, block)
                comma = b","
