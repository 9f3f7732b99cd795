"""Server-sent events as text (HTML Standard, "Server-sent events"), pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from services.query.live.logs import LiveRecord
from services.query.live.spans import LiveSpan

T = TypeVar("T", LiveRecord, LiveSpan)

RETRY_MS = 2000
PREAMBLE = f"retry: {RETRY_MS}\n: watching\n\n".encode()
"""The start of a stream: the reconnection time, and a comment that lets the client see the stream begin."""
HEARTBEAT = b":\n\n"
"""A comment, which clients skip: it keeps proxies from closing a silent stream, and reveals clients that are gone."""


def items_event(items: Sequence[bytes]) -> bytes:
    """One message: a JSON array of items that are already encoded."""
    return b"data: [" + b",".join(items) + b"]\n\n"


def named_event(name: str, value: Mapping[str, object]) -> bytes:
    """A message with an event type."""
    return b"event: " + name.encode() + b"\ndata: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


@dataclass(frozen=True, slots=True)
class Events(Generic[T]):
    """Implements ``Framing`` as server-sent events of arrays; ``json_of`` renders an item."""

    json_of: Callable[[T], bytes]
    heartbeat: ClassVar[bytes] = HEARTBEAT

    def items(self, items: Sequence[T]) -> bytes:
        """See Framing."""
        return items_event([self.json_of(item) for item in items])

    def dropped(self, count: int) -> bytes:
        """See Framing."""
        return named_event("dropped", {"count": count})

    def ended(self, reason: str) -> bytes:
        """See Framing."""
        return named_event("end", {"reason": reason})
