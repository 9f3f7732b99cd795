"""Snappy's block format, which remote write is compressed with; its header tells the size before anything is unpacked."""

from __future__ import annotations

import cramjam

from tael.errors import Rejected


def unpacked_bytes(body: bytes) -> int:
    """The size that a block says it unpacks to. Raises Rejected when it has no such header."""
    try:
        return int(cramjam.snappy.decompress_raw_len(body))
    except cramjam.DecompressionError as error:
        raise _not_snappy() from error


def unpack(body: bytes) -> bytes:
    """The content of a block; holds no more than ``unpacked_bytes`` beside it. Raises Rejected for a broken one."""
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise _not_snappy() from error


def _not_snappy() -> Rejected:
    return Rejected("the body is not a valid snappy block", where="body", accepted="snappy's block format, not its framing format")
