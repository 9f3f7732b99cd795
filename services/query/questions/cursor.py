"""The opaque cursor of a list of spans or log records, pure: where the page ended, its range, and a digest of its query.

Layout, base64url without padding: version 1 (u8), the query's digest (8 bytes), range start and end (i64, big endian), then the last item:
a span's start (u64), trace id (16 bytes) and span id (8 bytes), or a record's time (u64) and serial (u64). The range is included because
``last=15m`` would move between two pages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Sequence
from typing import Any

from tael.errors import Rejected
from tael.model.time import TimeRange
from tael.storage.api import Cursor, LogCursor

_HEAD, _SPAN, _RECORD = struct.Struct(">B8sqq"), struct.Struct(">Q16s8s"), struct.Struct(">QQ")
_VERSION = 1
_ACCEPTED = "the cursor of the previous answer, unchanged"


def query_digest(filters: Sequence[tuple[str, str]]) -> bytes:
    """An eight-byte digest of a set of filters; their order does not matter."""
    digest = hashlib.blake2b(digest_size=8)
    for key, value in sorted(filters):
        for text in (key, value):
            # Length-prefixed: "ab" and "c" must not have the digest of "a" and "bc".
            encoded = text.encode()
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.digest()


def encode_cursor(after: Cursor, time_range: TimeRange, digest: bytes) -> str:
    """Text for the next request's ``cursor``; safe in a URL."""
    return _encode(_SPAN.pack(after.start_ns, after.trace_id, after.span_id), time_range, digest)


def decode_cursor(text: str, digest: bytes) -> tuple[Cursor, TimeRange]:
    """The position to continue after, and the range. Raises Rejected for a cursor that is damaged or belongs to other filters."""
    position, time_range = _decode(text, digest, _SPAN)
    return Cursor(*position), time_range


def encode_log_cursor(after: LogCursor, time_range: TimeRange, digest: bytes) -> str:
    """The same for log records."""
    return _encode(_RECORD.pack(after.timestamp_ns, after.serial), time_range, digest)


def decode_log_cursor(text: str, digest: bytes) -> tuple[LogCursor, TimeRange]:
    """The same for log records."""
    position, time_range = _decode(text, digest, _RECORD)
    return LogCursor(*position), time_range


def _encode(position: bytes, time_range: TimeRange, digest: bytes) -> str:
    packed = _HEAD.pack(_VERSION, digest, time_range.start_ns, time_range.end_ns) + position
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def _decode(text: str, digest: bytes, layout: struct.Struct) -> tuple[tuple[Any, ...], TimeRange]:
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        version, made_for, range_start, range_end = _HEAD.unpack(packed[: _HEAD.size])
        position = layout.unpack(packed[_HEAD.size :])
    except (binascii.Error, ValueError, struct.error):
        raise Rejected("not a cursor", where="cursor", accepted=_ACCEPTED) from None
    if version != _VERSION:
        raise Rejected(f"cursor version {version} is not supported", where="cursor", accepted=_ACCEPTED)
    if made_for != digest:
        raise Rejected("the cursor belongs to a query with different filters", where="cursor", accepted="the same filters on every page")
    return position, TimeRange(range_start, range_end)
