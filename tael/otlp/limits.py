"""Limits one span, log record or metric: excess attributes are dropped or truncated, the item is kept, and the client is notified. Pure.

Only items large enough to exceed a limit are parsed, so that for a request without such items only the lengths of its items are examined.
Content of an LLM call - prompts, completions, tool calls, everything on its span - is exempt from the limit of values, and has sixteen
times the limit of attributes, as some dialects write every message as several attributes. Large values are extracted as payloads on the
same walk (tael.otlp.extract).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tael.otlp import genai
from tael.otlp.extract import Extraction
from tael.pb.envelope_pb2 import Envelope, Resourced, Scoped

# The size of an empty attribute on the wire: a tag and a length of 0.
_LEAST_PAIR_BYTES = 2
_CONTENT_FACTOR = 16
_LENGTHS_BYTES = 256
_MAX_COUNT = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class ItemLimits:
    """The maximum number of attributes of one owner (an item, an event, a resource, …), and the maximum sizes of a key and a value."""

    attributes: int = 1024
    key_bytes: int = 4 << 10
    value_bytes: int = 64 << 10

    @property
    def harmless_bytes(self) -> int:
        """An item of at most this size cannot exceed any limit."""
        return min(self.attributes * _LEAST_PAIR_BYTES, self.key_bytes, self.value_bytes)


def bound(request: bytes, item: type[Message], limits: ItemLimits, extraction: Extraction, max_bytes: int) -> tuple[bytes, tuple[str, ...]]:
    """The request with the limits applied and large values extracted, and a sentence for each kind of cut. The same bytes if nothing
    changes.

    ``item`` is the class of the request's items, ``max_bytes`` the maximum size of one item together with its resource and scope. A request
    that cannot be parsed is returned unchanged, for the strict parse to refuse.
    """
    harmless = limits.harmless_bytes
    looked_at = min(harmless, extraction.harmless_bytes)
    if len(request) <= looked_at:
        return request, ()
    try:
        envelope = Envelope.FromString(request)
        cuts: Counter[str] = Counter()
        for owner, field, kind in _frames(envelope):
            raw = getattr(owner, field)
            if len(raw) > harmless:
                setattr(owner, field, _bounded(raw, kind, limits, cuts))
        for resourced in envelope.resources:
            for scoped in resourced.scopes:
                room = max_bytes - _frame_bytes(resourced, scoped)
                for index, raw in enumerate(scoped.items):
                    if len(raw) > looked_at:
                        scoped.items[index] = _item(raw, item, limits, extraction, room, cuts)
    except DecodeError:
        return request, ()
    if not cuts and extraction.is_empty:
        return request, ()
    return envelope.SerializeToString(), tuple(f"{count} {what}" for what, count in cuts.items())


def _frames(envelope: Envelope) -> Iterator[tuple[Message, str, type[Message]]]:
    for resourced in envelope.resources:
        yield resourced, "resource", Resource
        for scoped in resourced.scopes:
            yield scoped, "scope", InstrumentationScope


def _bounded(raw: bytes, kind: type[Message], limits: ItemLimits, cuts: Counter[str]) -> bytes:
    message, before = kind.FromString(raw), cuts.total()
    _trim(message, limits, cuts)
    return raw if cuts.total() == before else message.SerializeToString()


def _frame_bytes(resourced: Resourced, scoped: Scoped) -> int:
    """The size of what is repeated for each item, with room for the lengths of the enclosing messages."""
    return len(resourced.resource) + len(resourced.schema_url) + len(scoped.scope) + len(scoped.schema_url) + _LENGTHS_BYTES


def _item(raw: bytes, kind: type[Message], limits: ItemLimits, extraction: Extraction, room: int, cuts: Counter[str]) -> bytes:
    message, before = kind.FromString(raw), cuts.total()
    if len(raw) > limits.harmless_bytes:
        _trim(message, limits, cuts)
    changed = extraction.take(message, len(raw), room) or cuts.total() > before
    return message.SerializeToString() if changed else raw


def _trim(owner: Any, limits: ItemLimits, cuts: Counter[str]) -> None:
    pair_fields, inner_fields = _shape(owner.DESCRIPTOR)
    # Events and log records of a call are recognised by their names, as their attributes may simply be called "role" and "content".
    of_llm = genai.is_marker(getattr(owner, "event_name", "") or getattr(owner, "name", ""))
    for name in pair_fields:
        dropped = _trim_pairs(getattr(owner, name), limits, cuts, of_llm=of_llm)
        if dropped and "dropped_attributes_count" in owner.DESCRIPTOR.fields_by_name:
            owner.dropped_attributes_count = min(owner.dropped_attributes_count + dropped, _MAX_COUNT)
    for name, repeated in inner_fields:
        for inner in getattr(owner, name) if repeated else (getattr(owner, name),) if owner.HasField(name) else ():
            if inner.ByteSize() > limits.harmless_bytes:
                _trim(inner, limits, cuts)


@cache
def _shape(descriptor: Descriptor) -> tuple[tuple[str, ...], tuple[tuple[str, bool], ...]]:
    """The fields of a message that hold attributes, and the fields with messages that may hold some."""
    messages = [field for field in descriptor.fields if field.message_type is not None]
    pairs = tuple(field.name for field in messages if field.message_type is KeyValue.DESCRIPTOR)
    others = (field for field in messages if field.message_type not in (KeyValue.DESCRIPTOR, AnyValue.DESCRIPTOR))
    return pairs, tuple((field.name, field.is_repeated) for field in others)


def _trim_pairs(pairs: Any, limits: ItemLimits, cuts: Counter[str], *, of_llm: bool) -> int:
    """Trim a list of attributes; return how many were dropped. All attributes beside one of an LLM call count as content of the call."""
    # Counted separately, so that a prompt of many attributes does not displace the others, nor they the prompt.
    left = {False: limits.attributes, True: limits.attributes * _CONTENT_FACTOR}
    kept: list[KeyValue] = []
    of_llm = of_llm or any(genai.is_marker(pair.key) for pair in pairs)
    for pair in pairs:
        content = of_llm or genai.is_kept_whole(pair.key)
        if not left[content]:
            cuts[f"attributes dropped, an item may have {limits.attributes} (TAEL_MAX_ATTRIBUTES)"] += 1
        elif len(pair.key.encode()) > limits.key_bytes:
            cuts[f"attributes dropped, a key may have {limits.key_bytes} bytes (TAEL_MAX_ATTRIBUTE_KEY_BYTES)"] += 1
        elif content or _trim_value(pair.value, limits.value_bytes, cuts):
            left[content] -= 1
            kept.append(pair)
    gone = len(pairs) - len(kept)
    if gone:
        # Copied before the list is cleared, which may invalidate the messages in it.
        copies = [KeyValue.FromString(pair.SerializeToString()) for pair in kept]
        del pairs[:]
        pairs.extend(copies)
    return gone


def _trim_value(value: AnyValue, limit_bytes: int, cuts: Counter[str]) -> bool:
    """Truncate a text or bytes to the limit; False for a value that cannot be truncated and must be dropped."""
    if value.ByteSize() <= limit_bytes:
        return True
    member = value.WhichOneof("value")
    if member == "string_value":
        encoded = value.string_value.encode()
        if len(encoded) > limit_bytes:
            value.string_value = encoded[:limit_bytes].decode(errors="ignore")
            cuts[f"attribute values cut to {limit_bytes} bytes (TAEL_MAX_ATTRIBUTE_VALUE_BYTES)"] += 1
        return True
    if member == "bytes_value":
        if len(value.bytes_value) > limit_bytes:
            value.bytes_value = value.bytes_value[:limit_bytes]
            cuts[f"attribute values cut to {limit_bytes} bytes (TAEL_MAX_ATTRIBUTE_VALUE_BYTES)"] += 1
        return True
    cuts[f"attributes dropped, an array or map may have {limit_bytes} bytes (TAEL_MAX_ATTRIBUTE_VALUE_BYTES)"] += 1
    return False
