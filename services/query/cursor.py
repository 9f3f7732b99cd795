"""The opaque cursor of a list of spans, pure: where the page ended, in which range, and of which query.

Layout, base64url without padding: version 1 (u8), the query's digest (8 bytes), range start and end (i64, big
endian), the last span's start (u64), trace id (16 bytes), span id (8 bytes). The range is in it because ``last=15m`` would move between two pages.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Sequence

from tael.errors import Rejected
from tael.model.time import TimeRange
from tael.storage.api import Cursor

_LAYOUT = struct.Struct(">B8sqqQ16s8s")
_VERSION = 1
_ACCEPTED = "the cursor of the previous answer, as it was"


def query_digest(filters: Sequence[tuple[str, str]]) -> bytes:
    """Eight bytes that tell one set of filters from another; the order of the filters does not matter."""
    digest = hashlib.blake2b(digest_size=8)
    for key, value in sorted(filters):
        for text in (key, value):
            encoded = text.encode()
            digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.digest()


def encode_cursor(after: Cursor, time_range: TimeRange, digest: bytes) -> str:
    """Text for the next request's ``cursor``; safe in a URL."""
    packed = _LAYOUT.pack(_VERSION, digest, time_range.start_ns, time_range.end_ns, after.start_ns, after.trace_id, after.span_id)
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode_cursor(text: str, digest: bytes) -> tuple[Cursor, TimeRange]:
    """Where to go on and in which range. Raises Rejected for a cursor that is damaged or belongs to other filters."""
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        version, made_for, range_start, range_end, start, trace_id, span_id = _LAYOUT.unpack(packed)
    except (binascii.Error, ValueError, struct.error):
        raise Rejected("not a cursor", where="cursor", accepted=_ACCEPTED) from None
    if version != _VERSION:
        raise Rejected(f"a cursor of version {version}, which this server does not read", where="cursor", accepted=_ACCEPTED)
    if made_for != digest:
        raise Rejected("it belongs to a query with other filters", where="cursor", accepted="the same filters on every page")
    return Cursor(start, trace_id, span_id), TimeRange(range_start, range_end)
