"""Server-sent events as text (HTML Standard, "Server-sent events"), pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

RETRY_MS = 2000
PREAMBLE = f"retry: {RETRY_MS}\n: watching\n\n".encode()
"""What a stream begins with: how soon to come back when it breaks, and that it has begun."""
HEARTBEAT = b":\n\n"
"""A comment, which clients skip; it keeps proxies from closing a quiet stream, and tells a gone client."""


def items_event(items: Sequence[bytes]) -> bytes:
    """One message: an array of items that are JSON already."""
    return b"data: [" + b",".join(items) + b"]\n\n"


def named_event(name: str, value: Mapping[str, object]) -> bytes:
    """A message of its own type."""
    return b"event: " + name.encode() + b"\ndata: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"
