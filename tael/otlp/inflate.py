"""Decompression that stops at a limit, however much a hostile body would decompress to (OTLP specification: limits apply after
decompression).
"""

from __future__ import annotations

import zlib

import zstandard

from tael.errors import Rejected, TooLarge

GZIP, ZSTD = "gzip", "zstd"
ENCODINGS = ("", "identity", GZIP, ZSTD)
_STEP_BYTES = 1 << 20
_FEED_BYTES = 64 << 10
_MAX_MEMBERS = 1024
# The default limit of zstd's own decoder (ZSTD_WINDOWLOG_LIMIT_DEFAULT): the window is allocated before any output.
_MAX_WINDOW_BYTES = 1 << 27
_ZSTD_FEED_BYTES = 128  # a block of 128 KiB may be 4 bytes long, and zstandard always decompresses all of its input


def too_large(limit_bytes: int, variable: str) -> TooLarge:
    """The error for a body over ``limit_bytes``, which ``variable`` sets."""
    return TooLarge(f"the request has more than {limit_bytes} bytes after decompression, the limit that {variable} sets", where="body")


def inflate(encoding: str, body: bytes, limit_bytes: int, variable: str) -> bytes:
    """Decompress a body whose content encoding is one of ``ENCODINGS``, holding at most ``limit_bytes`` plus one step.

    Raises TooLarge beyond the limit, and Rejected for a body that is not valid in its encoding.
    """
    if encoding == GZIP:
        return _gunzip(body, limit_bytes, variable)
    if encoding == ZSTD:
        return _unzstd(body, limit_bytes, variable)
    if len(body) > limit_bytes:
        raise too_large(limit_bytes, variable)
    return body


def _gunzip(body: bytes, limit_bytes: int, variable: str) -> bytes:
    """Feeds members in pieces: zlib returns a copy of the input after a member's end, which would be quadratic for many members."""
    chunks: list[bytes] = []
    total, at, members = 0, 0, 0
    while at < len(body):
        members += 1
        _require_few(members, "gzip members")
        member = zlib.decompressobj(wbits=31)
        rest = b""
        while not member.eof:
            if not rest:
                rest = body[at : at + _FEED_BYTES]
                at += len(rest)
            try:
                # One byte beyond the limit is enough to notice, and never 0, which zlib takes for no limit.
                chunk = member.decompress(rest, min(_STEP_BYTES, limit_bytes - total + 1))
            except zlib.error as error:
                raise Rejected("the body is not valid gzip", where="body") from error
            ended = not rest and not chunk
            rest = member.unconsumed_tail
            total += len(chunk)
            if total > limit_bytes:
                raise too_large(limit_bytes, variable)
            if ended and not member.eof:
                raise Rejected("the gzip body ends early", where="body")
            if chunk:
                chunks.append(chunk)
        # The input after the member's end is read again, as the next member.
        at -= len(member.unused_data)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _require_few(count: int, what: str) -> None:
    if count > _MAX_MEMBERS:
        raise Rejected(f"the body has more than {_MAX_MEMBERS} {what}", where="body", accepted=f"at most {_MAX_MEMBERS}")


def _unzstd(body: bytes, limit_bytes: int, variable: str) -> bytes:
    chunks: list[bytes] = []
    total, at, frames = 0, 0, 0
    while at < len(body):
        frames += 1
        _require_few(frames, "zstd frames")
        frame = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).decompressobj()
        while not frame.eof:
            if at >= len(body):
                raise Rejected("the zstd body ends early", where="body")
            try:
                chunk = frame.decompress(body[at : at + _ZSTD_FEED_BYTES])
            except zstandard.ZstdError as error:
                raise Rejected("the body is not valid zstd", where="body") from error
            at = min(at + _ZSTD_FEED_BYTES, len(body)) - len(frame.unused_data)
            total += len(chunk)
            if total > limit_bytes:
                raise too_large(limit_bytes, variable)
            chunks.append(chunk)
    return b"".join(chunks)
