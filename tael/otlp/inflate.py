"""Decompression that stops at a limit, whatever a hostile body would unpack to (OTLP specification: limits hold after decompression)."""

from __future__ import annotations

import io
import zlib

import zstandard

from tael.errors import Rejected, TooLarge

GZIP, ZSTD = "gzip", "zstd"
ENCODINGS = ("", "identity", GZIP, ZSTD)
_STEP_BYTES = 1 << 20
_MAX_WINDOW_BYTES = 1 << 27


def too_large(limit_bytes: int, variable: str) -> TooLarge:
    """The refusal of a body over ``limit_bytes``, which ``variable`` sets."""
    return TooLarge(f"the request has more than {limit_bytes} bytes after decompression, the limit that {variable} sets", where="body")


def inflate(encoding: str, body: bytes, limit_bytes: int, variable: str) -> bytes:
    """Undo a content encoding of ``ENCODINGS``, holding at most ``limit_bytes`` and a step.

    Raises TooLarge beyond the limit and Rejected for a body that is not what it claims to be.
    """
    if encoding == GZIP:
        return _gunzip(body, limit_bytes, variable)
    if encoding == ZSTD:
        return _unzstd(body, limit_bytes, variable)
    if len(body) > limit_bytes:
        raise too_large(limit_bytes, variable)
    return body


def _gunzip(body: bytes, limit_bytes: int, variable: str) -> bytes:
    chunks: list[bytes] = []
    total, rest = 0, body
    while rest:
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            try:
                chunk = member.decompress(rest, min(_STEP_BYTES, limit_bytes - total + 1))
            except zlib.error as error:
                raise Rejected("the body is not valid gzip", where="body") from error
            rest = member.unconsumed_tail
            total += len(chunk)
            if total > limit_bytes:
                raise too_large(limit_bytes, variable)
            if not chunk and not rest and not member.eof:
                raise Rejected("the gzip body ends early", where="body")
            chunks.append(chunk)
        rest = member.unused_data
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _unzstd(body: bytes, limit_bytes: int, variable: str) -> bytes:
    chunks: list[bytes] = []
    total = 0
    reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(io.BytesIO(body), read_across_frames=True)
    try:
        while chunk := reader.read(min(_STEP_BYTES, limit_bytes - total + 1)):
            total += len(chunk)
            if total > limit_bytes:
                raise too_large(limit_bytes, variable)
            chunks.append(chunk)
    except zstandard.ZstdError as error:
        raise Rejected("the body is not valid zstd", where="body") from error
    return b"".join(chunks)
