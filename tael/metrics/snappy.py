"""Snappy's block format, with which remote write is compressed. Its header gives the uncompressed size in advance."""

from __future__ import annotations

import cramjam

from tael.errors import Rejected


def unpacked_bytes(body: bytes) -> int:
    """The uncompressed size that a block declares. Raises Rejected for an invalid header."""
    try:
        return int(cramjam.snappy.decompress_raw_len(body))
    except cramjam.DecompressionError as error:
        raise _not_snappy() from error


def unpack(body: bytes) -> bytes:
    """The decompressed block; needs no more memory than ``unpacked_bytes``. Raises Rejected for an invalid block."""
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise _not_snappy() from error


def _not_snappy() -> Rejected:
    return Rejected("the body is not a valid snappy block", where="body", accepted="snappy's block format, not its framing format")
