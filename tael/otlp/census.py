"""Counts the messages of a request along its tags, before anything is parsed: a compressed kilobyte can hold a million empty ones.

A parser spends up to a hundred bytes and a microsecond on a message that is two bytes on the wire. Counted are the fields on the path to
the items, and those of messages larger than ``OPENED_ABOVE_BYTES``; a smaller message holds too little to matter. Counting stops at the
limit, so the limit bounds its time, not the request. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tael.errors import TooLarge
from tael.pb.envelope_pb2 import Envelope

MAX_REQUEST_MESSAGES = "TAEL_MAX_REQUEST_MESSAGES"
MOST_MESSAGES = 500_000
OPENED_ABOVE_BYTES = 2 << 10
# A small request may be dense, as 10,000 messages are cheap to parse.
_ALWAYS_ALLOWED = 10_000
_LEAST_BYTES_PER_FIELD = 16
_LEAST_BYTES_PER_VALUE, _VALUES_PER_MESSAGE = 3, 8
_ENVELOPE_LEVELS = 2
_MAX_VARINT_SHIFT = 63
_KIND, _LENGTH, _ONE_BYTE = 0x87, 2, 0x7F
"""The bits of a tag that show that it is a single byte of wire type 2. Fields above number 15 contain no messages here, and are skipped."""
_FIXED_BYTES = {1: 8, 5: 4}
_LOOK_EVERY, _MOST_NUMBER = 500, 15
# At about a microsecond each, so many block the event loop for a few milliseconds.
_FEW = 3_000


@dataclass(frozen=True, slots=True)
class Node:
    """A kind of message: its fields that contain messages, by tag, and the size above which the count descends into it."""

    opened_above: int = OPENED_ABOVE_BYTES
    fields: dict[int, Node] = field(default_factory=dict)


def allowed(size_bytes: int, most: int) -> int:
    """The maximum number of fields of a request of ``size_bytes``: ``most``, and one per 16 bytes, as real senders are never denser than
    that.
    """
    return min(most, _ALWAYS_ALLOWED + size_bytes // _LEAST_BYTES_PER_FIELD)


def require_few_values(values: int, size_bytes: int, most: int) -> None:
    """Raise TooLarge when a request in another format holds too many ``values`` (including numbers in lists) for its size."""
    limit = min(most * _VALUES_PER_MESSAGE, _ALWAYS_ALLOWED + size_bytes // _LEAST_BYTES_PER_VALUE)
    if values > limit:
        raise too_many("values", limit)


def too_many(what: str, limit: int) -> TooLarge:
    """The error for a request with more than ``limit`` of ``what``."""
    return TooLarge(f"the request holds more than {limit} {what}, the most for one of its size ({MAX_REQUEST_MESSAGES})", where="body")


def holds_few(request: bytes, root: Node, most: int) -> bool:
    """Whether a request has a few thousand fields at most, and no more than it may have. Takes a few milliseconds at most."""
    few = min(_FEW, allowed(len(request), most))
    return _count(request, root, few) <= few


def count_fields(request: bytes, root: Node, most: int) -> int:
    """The number of fields of a request. Raises TooLarge for more than ``allowed``.

    Of a malformed request, which the parser will refuse, it counts what it can.
    """
    limit = allowed(len(request), most)
    counted = _count(request, root, limit)
    if counted > limit:
        raise too_many("messages", limit)
    return counted


def _count(body: bytes, root: Node, limit: int) -> int:
    """The number of fields; some number above ``limit`` as soon as there are too many, or those of the outermost level are too dense."""
    counted, to_open, look_at = 0, [(0, len(body), root)], min(limit, _ALWAYS_ALLOWED)
    try:
        while to_open:
            at, end, node = to_open.pop()
            inside = node.fields.get
            while at < end:  # runs for every span, so the common case makes no calls
                counted += 1
                if counted > look_at:
                    if counted > limit or (node is root and counted > allowed(at, limit)):
                        return limit + 1
                    look_at = counted + _LOOK_EVERY
                tag = body[at]
                if tag & _KIND != _LENGTH:
                    at = _skip(body, at)
                    continue
                size, at = body[at + 1], at + 2
                # Two-byte lengths are decoded in place: most spans have one, and a call costs more than the branch.
                if size > _ONE_BYTE:
                    size, at = size & _ONE_BYTE | body[at] << 7, at + 1
                    if body[at - 1] > _ONE_BYTE:
                        size, at = _varint(body, at - 2)
                inner = inside(tag)
                # Queued rather than recursed into. The request's size bounds this list, as the schema bounds the depth.
                if inner is not None and size > inner.opened_above:
                    to_open.append((at, at + size, inner))
                at += size
    except IndexError:
        pass  # the body ends within a field, or is not protobuf
    return counted


def _skip(body: bytes, at: int) -> int:
    """The position after a field of any wire type; for a group, after its start or end tag."""
    tag, at = _varint(body, at)
    kind = tag & 7
    if kind == 0:
        return _varint(body, at)[1]
    if kind == _LENGTH:
        size, at = _varint(body, at)
        return at + size
    return at + _FIXED_BYTES.get(kind, 0)


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """The number at a position and the position after it. Raises IndexError for a varint that does not end."""
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > _MAX_VARINT_SHIFT:
            raise IndexError


def tree(kind: type[Message], envelope_levels: int = 0) -> Node:
    """The tree of messages that ``kind`` contains; those of the first ``envelope_levels`` are opened whatever their size."""
    return _node(kind.DESCRIPTOR, envelope_levels, {})


def _node(descriptor: Any, envelope_levels: int, known: dict[tuple[str, int], Node]) -> Node:
    key = (descriptor.full_name, envelope_levels)
    if key not in known:
        known[key] = Node(0 if envelope_levels else OPENED_ABOVE_BYTES)
        for inner in descriptor.fields:
            if inner.type == FieldDescriptor.TYPE_MESSAGE and inner.number <= _MOST_NUMBER:
                levels = envelope_levels - 1 if envelope_levels and inner.is_repeated else 0
                known[key].fields[inner.number << 3 | 2] = _node(inner.message_type, levels, known)
    return known[key]


def request_tree(request: type[Message]) -> Node:
    """The tree of an export request of any signal: its envelope is opened down to the items."""
    return tree(request, _ENVELOPE_LEVELS + 1)


ENVELOPE_TREE = request_tree(Envelope)
"""The tree of the envelope of any signal, for items whose content is counted in another way."""
