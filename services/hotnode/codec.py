"""HTTP content encodings as streams: a ``Decoder`` or ``Encoder`` takes pieces and returns the output available so far.

This module also chooses the encodings of a request and its answer: ``zstd``, ``lz4`` (frames), ``gzip`` and ``deflate``; brotli is not
supported.
"""

from __future__ import annotations

import zlib
from typing import Final, Protocol

import lz4.frame
import zstandard

from services.hotnode.errors import CANNOT_DECOMPRESS, UNKNOWN_COMPRESSION_METHOD, StatementFailed, failed

_PREFERENCE: Final = ("lz4", "gzip", "deflate", "zstd")


class Decoder(Protocol):
    """Compressed pieces in, plain bytes out. Raises StatementFailed for bytes that cannot be decompressed."""

    def decode(self, piece: bytes) -> bytes:
        """The plain bytes that this piece completes."""
        ...

    def finish(self) -> bytes:
        """The remaining bytes. Raises StatementFailed when the stream was cut short."""
        ...


class Encoder(Protocol):
    """Plain pieces in, compressed bytes out."""

    def encode(self, piece: bytes) -> bytes:
        """The compressed bytes available so far, perhaps none."""
        ...

    def finish(self) -> bytes:
        """The end of the stream."""
        ...


class _Inflate:
    """gzip with any number of members, or zlib."""

    def __init__(self, window_bits: int) -> None:
        self._window_bits = window_bits
        self._inner = zlib.decompressobj(window_bits)
        self._started = False

    def decode(self, piece: bytes) -> bytes:
        out: list[bytes] = []
        while piece:
            # A gzip file may have several members (RFC 1952, 2.2), each of which needs a decompressor of its own.
            if self._inner.eof:
                self._inner = zlib.decompressobj(self._window_bits)
            self._started = True
            try:
                out.append(self._inner.decompress(piece))
            except zlib.error as error:
                raise failed(CANNOT_DECOMPRESS, f"Cannot decompress the request: {error}") from error
            piece = self._inner.unused_data
        return b"".join(out)

    def finish(self) -> bytes:
        # An empty body is accepted, although it is not a gzip file: there is nothing to decompress.
        if self._started and not self._inner.eof:
            raise _cut()
        return b""


class _Frames:
    """lz4 or zstd frames, one after another."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._inner = self._new()
        self._started = False

    def _new(self) -> zstandard.ZstdDecompressionObj | lz4.frame.LZ4FrameDecompressor:
        return lz4.frame.LZ4FrameDecompressor() if self._encoding == "lz4" else zstandard.ZstdDecompressor().decompressobj()

    def decode(self, piece: bytes) -> bytes:
        out: list[bytes] = []
        while piece:
            if self._inner.eof:
                self._inner = self._new()
            self._started = True
            try:
                out.append(self._inner.decompress(piece))
            except (RuntimeError, zstandard.ZstdError) as error:
                raise failed(CANNOT_DECOMPRESS, f"Cannot decompress the request: {error}") from error
            piece = (self._inner.unused_data or b"") if self._inner.eof else b""
        return b"".join(out)

    def finish(self) -> bytes:
        if self._started and not self._inner.eof:
            raise _cut()
        return b""


class _Deflate:
    def __init__(self, level: int, window_bits: int) -> None:
        self._inner = zlib.compressobj(level, zlib.DEFLATED, window_bits)

    def encode(self, piece: bytes) -> bytes:
        return self._inner.compress(piece)

    def finish(self) -> bytes:
        return self._inner.flush()


class _Zstd:
    def __init__(self, level: int) -> None:
        self._inner = zstandard.ZstdCompressor(level=level).compressobj()

    def encode(self, piece: bytes) -> bytes:
        return self._inner.compress(piece)

    def finish(self) -> bytes:
        return self._inner.flush()


class _Lz4:
    def __init__(self) -> None:
        self._inner = lz4.frame.LZ4FrameCompressor()
        self._begun = False

    def encode(self, piece: bytes) -> bytes:
        head = b"" if self._begun else bytes(self._inner.begin())
        self._begun = True
        return head + bytes(self._inner.compress(piece))

    def finish(self) -> bytes:
        return self.encode(b"") + bytes(self._inner.flush())


def request_decoders(content_encoding: str) -> list[Decoder]:
    """The decoders of a request's encodings, outermost first. Raises StatementFailed for an unknown encoding."""
    chain: list[Decoder] = []
    # For zlib, 15 means its own format with the largest window, which HTTP calls deflate (RFC 9110, 8.4.1.2); 16 more means gzip's.
    for name in reversed([part.strip().lower() for part in content_encoding.split(",") if part.strip()]):
        if name in ("gzip", "x-gzip"):
            chain.append(_Inflate(31))
        elif name == "deflate":
            chain.append(_Inflate(15))
        elif name in ("lz4", "zstd"):
            chain.append(_Frames(name))
        elif name != "identity":
            raise failed(UNKNOWN_COMPRESSION_METHOD, f"Unknown compression method '{name}' (known: gzip, deflate, lz4, zstd)")
    return chain


def choose_encoding(accept_encoding: str) -> str:
    """The encoding of an answer, by ClickHouse's order of preference; empty for none."""
    accepted = {part.split(";")[0].strip().lower() for part in accept_encoding.split(",")}
    return next((name for name in _PREFERENCE if name in accepted), "")


def response_encoder(encoding: str, *, level: int) -> Encoder:
    """The encoder of an answer in one of the encodings that ``choose_encoding`` returns."""
    if encoding == "gzip":
        return _Deflate(level, 31)
    if encoding == "deflate":
        return _Deflate(level, 15)
    if encoding == "zstd":
        return _Zstd(level)
    return _Lz4()


def _cut() -> StatementFailed:
    return failed(CANNOT_DECOMPRESS, "Cannot decompress the request: the stream was cut")
