"""Extracts large values of spans and log records as payloads, and puts references in their place (tael.model.payload). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tael.model.payload import Form, Payload, Reference, hashes_in, parse_reference
from tael.model.time import NS_PER_SECOND, signed_ns
from tael.otlp import genai

PREVIEW_BYTES: Final = 128
BODY_PREVIEW_BYTES: Final = 64 << 10
"""The preview of a log record's body; it is long, as searches of lines look into it."""
_REFERENCE_BYTES: Final = 256
"""The approximate size of a reference; a value of that size or less is not extracted."""
_HOUR_SECONDS: Final = 3600
_FORMS: Final[dict[str, Form]] = {"string_value": "string", "bytes_value": "bytes", "array_value": "array", "kvlist_value": "map"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes from which a value becomes a payload: for any attribute, and for one that holds a prompt or a completion."""

    value_bytes: int = 8 << 10
    content_bytes: int = 2 << 10

    @property
    def harmless_bytes(self) -> int:
        """An item of at most this size cannot contain such a value."""
        return min(self.value_bytes, self.content_bytes) - 1

    def stands_apart(self, key: str, size_bytes: int) -> bool:
        """Whether a value of this size becomes a payload; a value that a column is read from never does."""
        if size_bytes < self.content_bytes and size_bytes < self.value_bytes:
            return False
        least = self.content_bytes if genai.is_content(key) else self.value_bytes
        return size_bytes >= least and key not in genai.COLUMN_KEYS


class Extraction:
    """Collects the payloads of one request, item by item. Items without a time count as of ``now_ns``."""

    def __init__(self, sizes: Sizes, now_ns: int) -> None:
        self._sizes = sizes
        self._now_ns = now_ns
        self._found: dict[bytes, tuple[bytes, set[int]]] = {}

    @property
    def harmless_bytes(self) -> int:
        """See Sizes."""
        return self._sizes.harmless_bytes

    @property
    def is_empty(self) -> bool:
        """Whether nothing was extracted."""
        return not self._found

    def take(self, item: Any, size_bytes: int, room_bytes: int) -> bool:
        """Extract the large values of a span or log record of ``size_bytes``; if it exceeds ``room_bytes``, extract more values, largest
        first.

        Returns whether anything was extracted. The item may still be too large, as not all of it consists of values.
        """
        taken, harmless = False, self._sizes.harmless_bytes
        for pairs in _attributes(item):  # runs for every item of a few KiB, so the common case makes one call
            for pair in pairs:
                if pair.ByteSize() > harmless and self._sizes.stands_apart(pair.key, pair.value.ByteSize()):
                    taken |= self._put(pair.value, _hour_of(item, self._now_ns), PREVIEW_BYTES)
        # Measured again, as what was extracted above may have been enough.
        if size_bytes > room_bytes and (excess := item.ByteSize() - room_bytes) > 0:
            taken |= self._shrink(item, excess)
        return taken

    def _shrink(self, item: Any, excess: int) -> bool:
        """Extract the largest remaining values until the item is ``excess`` bytes smaller."""
        body = item.body if isinstance(item, LogRecord) else None
        values = [pair.value for pairs in _attributes(item) for pair in pairs]
        sized = ((value.ByteSize(), value) for value in (values if body is None else [*values, body]))
        taken, hour = False, _hour_of(item, self._now_ns)
        # Largest first, so that as few values as possible need a second read to be shown.
        for size, value in sorted(sized, key=_size, reverse=True):
            if excess <= 0 or size <= _REFERENCE_BYTES:
                break
            if _is_reference(value) or not self._put(value, hour, BODY_PREVIEW_BYTES if value is body else PREVIEW_BYTES):
                continue
            taken = True
            excess -= size - value.ByteSize()
        return taken

    def referred(self, request: bytes) -> Sequence[Payload]:
        """The payloads that the items of ``request`` refer to, ordered by hash."""
        # The encoded bytes are searched rather than parsed again. A text that merely looks like a reference has the hash of no
        # extracted payload.
        hashes = hashes_in(request) & self._found.keys()
        return [Payload(sha256, self._found[sha256][0], tuple(sorted(self._found[sha256][1]))) for sha256 in sorted(hashes)]

    def _put(self, value: AnyValue, hour: int, preview_bytes: int) -> bool:
        """Replace a value by a reference, if it is a text, bytes, an array or a map. Returns whether it was."""
        member = value.WhichOneof("value") or ""
        if member not in _FORMS:
            return False
        held = getattr(value, member)
        content: bytes = held.encode() if isinstance(held, str) else held if isinstance(held, bytes) else held.SerializeToString()
        begins = content if isinstance(held, str) else _beginning(value, preview_bytes)
        preview = begins[:preview_bytes].decode(errors="ignore")
        sha256 = hashlib.sha256(content).digest()
        self._found.setdefault(sha256, (content, set()))[1].add(hour)
        value.string_value = str(Reference(sha256, len(content), _FORMS[member], preview))
        return True


def _size(sized: tuple[int, AnyValue]) -> int:
    return sized[0]


def _attributes(item: Any) -> Iterator[Any]:
    """The attribute lists of an item, its events and its links."""
    yield item.attributes
    if isinstance(item, Span):
        yield from (event.attributes for event in item.events)
        yield from (link.attributes for link in item.links)


def _is_reference(value: AnyValue) -> bool:
    """Whether the value is already a reference, which its preview can make as large as a value worth extracting."""
    return value.WhichOneof("value") == "string_value" and parse_reference(value.string_value) is not None


def _beginning(value: AnyValue, size: int) -> bytes:
    """The texts in an array or map, joined, up to at least ``size`` bytes if there are so many."""
    found = b""
    for text in _texts(value):
        found += text[:size].encode() + b" "
        if len(found) >= size:
            break
    return found


def _texts(value: AnyValue) -> Iterator[str]:
    member = value.WhichOneof("value")
    if member == "string_value":
        yield value.string_value
    elif member == "array_value":
        for inner in value.array_value.values:
            yield from _texts(inner)
    elif member == "kvlist_value":
        for pair in value.kvlist_value.values:
            yield from _texts(pair.value)


def _hour_of(item: Any, now_ns: int) -> int:
    """The start of the hour under which ClickHouse stores the item, in seconds."""
    time_ns = item.start_time_unix_nano if isinstance(item, Span) else item.time_unix_nano or item.observed_time_unix_nano or now_ns
    seconds = signed_ns(time_ns) // NS_PER_SECOND
    # ClickHouse's DateTime has 32 bits and wraps around; a payload must be stored under the same hour as its item.
    return (seconds - seconds % _HOUR_SECONDS) & 0xFFFFFFFF
