"""Large values of spans and log records put apart as payloads, a reference in their place (tael.model.payload). Pure."""

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
"""Of a log record's body, in which lines are searched."""
_REFERENCE_BYTES: Final = 256
"""About what a reference takes; a value of no more stays."""
_HOUR_SECONDS: Final = 3600
_FORMS: Final[dict[str, Form]] = {"string_value": "string", "bytes_value": "bytes", "array_value": "array", "kvlist_value": "map"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """From how many bytes on a value stands apart: one of any attribute, and one that holds a prompt or a completion."""

    value_bytes: int = 8 << 10
    content_bytes: int = 2 << 10

    @property
    def harmless_bytes(self) -> int:
        """An item of no more bytes holds no such value."""
        return min(self.value_bytes, self.content_bytes) - 1

    def stands_apart(self, key: str, size_bytes: int) -> bool:
        """Whether a value of this size does; what a column is read from never."""
        if size_bytes < self.content_bytes and size_bytes < self.value_bytes:
            return False
        least = self.content_bytes if genai.is_content(key) else self.value_bytes
        return size_bytes >= least and key not in genai.COLUMN_KEYS


class Extraction:
    """The payloads of one request, gathered item by item. What has no time of its own counts as of ``now_ns``."""

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
        """Whether nothing was put apart."""
        return not self._found

    def take(self, item: Any, size_bytes: int, room_bytes: int) -> bool:
        """Put apart what is large in a span or log record, which has ``size_bytes``; where these are more than ``room_bytes`` then also other
        values, the largest first.

        Says whether anything was. The item can be too large still: not all of it is values.
        """
        taken, harmless = False, self._sizes.harmless_bytes
        for pairs in _attributes(item):  # runs for every item of a few KiB, so what is common makes one call
            for pair in pairs:
                if pair.ByteSize() > harmless and self._sizes.stands_apart(pair.key, pair.value.ByteSize()):
                    taken |= self._put(pair.value, _hour_of(item, self._now_ns), PREVIEW_BYTES)
        # Measured again: what was put apart above may have been enough.
        if size_bytes > room_bytes and (excess := item.ByteSize() - room_bytes) > 0:
            taken |= self._shrink(item, excess)
        return taken

    def _shrink(self, item: Any, excess: int) -> bool:
        """Put apart the largest values that are left, until so many bytes are gone."""
        body = item.body if isinstance(item, LogRecord) else None
        values = [pair.value for pairs in _attributes(item) for pair in pairs]
        sized = ((value.ByteSize(), value) for value in (values if body is None else [*values, body]))
        taken, hour = False, _hour_of(item, self._now_ns)
        # The largest first, so that as few values as possible need a second read to be shown.
        for size, value in sorted(sized, key=_size, reverse=True):
            if excess <= 0 or size <= _REFERENCE_BYTES:
                break
            if _stands(value) or not self._put(value, hour, BODY_PREVIEW_BYTES if value is body else PREVIEW_BYTES):
                continue
            taken = True
            excess -= size - value.ByteSize()
        return taken

    def referred(self, request: bytes) -> Sequence[Payload]:
        """Those of the payloads that the items of ``request`` refer to, by hash."""
        # Looked for in the bytes, which are not parsed again; a text that only looks like a reference is
        # not among those that were put apart.
        hashes = hashes_in(request) & self._found.keys()
        return [Payload(sha256, self._found[sha256][0], tuple(sorted(self._found[sha256][1]))) for sha256 in sorted(hashes)]

    def _put(self, value: AnyValue, hour: int, preview_bytes: int) -> bool:
        """Put a reference in the place of a value, if it is one that has a form."""
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
    """The lists of attributes of an item, of its events and of its links."""
    yield item.attributes
    if isinstance(item, Span):
        yield from (event.attributes for event in item.events)
        yield from (link.attributes for link in item.links)


def _stands(value: AnyValue) -> bool:
    """Whether it is a reference already, with a preview that makes it look larger than it need be."""
    return value.WhichOneof("value") == "string_value" and parse_reference(value.string_value) is not None


def _beginning(value: AnyValue, size: int) -> bytes:
    """The texts in an array or a map, one after the other, at least so many bytes of them if there are."""
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
    """The start of the hour that ClickHouse stores the item in."""
    time_ns = item.start_time_unix_nano if isinstance(item, Span) else item.time_unix_nano or item.observed_time_unix_nano or now_ns
    seconds = signed_ns(time_ns) // NS_PER_SECOND
    # ClickHouse's DateTime is 32 bits and wraps: a payload must be found under the hour that its item is stored in.
    return (seconds - seconds % _HOUR_SECONDS) & 0xFFFFFFFF
