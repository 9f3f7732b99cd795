"""What every HTTP receiver needs of a request: its tenant, and its body, read and decompressed within the process's limits."""

from __future__ import annotations

from aiohttp import web

from services.ingest.budget import Reservation
from services.ingest.pipeline import Pipeline
from services.ingest.receivers.settings import MAX_REQUEST_BYTES
from tael.auth import INGEST
from tael.metrics import snappy
from tael.model.tenant import TENANT_HEADER
from tael.otlp.inflate import ENCODINGS, too_large

_SNAPPY_INLINE_BYTES = 4 << 20


def tenant_of(request: web.Request, pipeline: Pipeline) -> str:
    """The tenant of a request. Raises Unauthenticated, Forbidden or Rejected. To be called before the body is read."""
    return pipeline.access.tenant(INGEST, request.headers.get("Authorization"), request.headers.get(TENANT_HEADER))


async def read_body(request: web.Request, pipeline: Pipeline, reservation: Reservation, limit_bytes: int) -> bytes:
    """The whole body, decompressed, with its bytes held in ``reservation``.

    Raises TooLarge beyond ``limit_bytes``, Overloaded when the byte budget is used up, Rejected for a broken encoding and
    HTTPUnsupportedMediaType for an unknown one.
    """
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ENCODINGS:
        raise web.HTTPUnsupportedMediaType(
            reason=f"unsupported Content-Encoding (accepted: {', '.join(name for name in ENCODINGS if name)})"
        )
    body = await read_as_sent(request, reservation, limit_bytes)
    return body if encoding in ("", "identity") else await pipeline.inflate(encoding, body, reservation)


async def read_snappy(request: web.Request, pipeline: Pipeline, reservation: Reservation, limit_bytes: int) -> bytes:
    """The whole body, decompressed from snappy's block format, with its bytes held in ``reservation``. Raises as ``read_body`` does."""
    packed = await read_as_sent(request, reservation, limit_bytes)
    size = snappy.unpacked_bytes(packed)
    # A snappy block begins with its uncompressed size, so a decompression bomb is refused before any of it is decompressed.
    if size > limit_bytes:
        raise too_large(limit_bytes, MAX_REQUEST_BYTES)
    await reservation.take(size)
    return await pipeline.compute(snappy.unpack, packed, small=size <= _SNAPPY_INLINE_BYTES)


async def read_as_sent(request: web.Request, reservation: Reservation, limit_bytes: int) -> bytes:
    """The whole body as it was sent, with its bytes held in ``reservation``.

    Raises TooLarge beyond ``limit_bytes`` and Overloaded when the byte budget is used up.
    """
    if (request.content_length or 0) > limit_bytes:
        raise too_large(limit_bytes, MAX_REQUEST_BYTES)
    chunks: list[bytes] = []
    received = 0
    async for chunk in request.content.iter_any():
        received += len(chunk)
        if received > limit_bytes:
            raise too_large(limit_bytes, MAX_REQUEST_BYTES)
        await reservation.take(len(chunk))
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
