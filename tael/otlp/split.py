"""Cuts an export request into parts for the WAL: without refused items, each for one shard, none above a size.

It works on the envelope (proto/envelope.proto), whose items are opaque bytes. Every part repeats the resource and scope of its items and
everything else in their envelopes, including unknown fields. The cuts depend only on the arguments, so that a resent request is cut the
same way.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

from tael.model.lanes import aside_of
from tael.model.payload import Payload
from tael.otlp.scan import Refusals
from tael.pb.envelope_pb2 import Envelope, Resourced, Scoped

_FRAME_BYTES = 6  # the size of a field's tag and of the longest length that a request can need


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a request, with ``items`` items, for one WAL (tael.model.lanes): the shard's main WAL or its second one.

    ``identity`` is what a resent part is recognised by, if that is not all of its bytes. ``payloads`` are those that its items refer to;
    they must be in the WAL before it.
    """

    shard: int
    items: int
    request: bytes
    identity: bytes | None = None
    payloads: Sequence[Payload] = ()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A disassembled envelope: ``base`` without resources, and each scope's items with their resource and scope, emptied."""

    base: Envelope
    scopes: list[tuple[Resourced, Scoped, list[bytes]]]


def split(
    request: bytes, shard_of: Callable[[bytes, bytes], int], max_bytes: int, refusals: Refusals, aside: Container[int] = ()
) -> list[Part]:
    """Cut ``request`` into parts of at most ``max_bytes``, by the shard of each item, which ``shard_of`` derives from the item and its
    resource.

    Items at the positions in ``refusals`` are left out, and an item that fits into no part is added to them. Items at the positions in
    ``aside`` go to their shard's second WAL.
    """
    opened = _open(Envelope.FromString(request))
    if len(request) > max_bytes:
        _refuse_too_large(opened, max_bytes, refusals)
    parts: list[Part] = []
    for shard, (envelope, items) in _by_wal(opened, shard_of, refusals.positions, aside).items():
        whole = envelope.SerializeToString()
        if len(whole) <= max_bytes:
            parts.append(Part(shard, items, whole))
        else:
            parts.extend(Part(shard, n, piece.SerializeToString()) for piece, n in _by_size(_open(envelope), max_bytes))
    return parts


def _open(envelope: Envelope) -> _Opened:
    scopes: list[tuple[Resourced, Scoped, list[bytes]]] = []
    resources = list(envelope.resources)
    del envelope.resources[:]
    for resourced in resources:
        inner = list(resourced.scopes)
        del resourced.scopes[:]
        for scoped in inner:
            items = list(scoped.items)
            del scoped.items[:]
            scopes.append((resourced, scoped, items))
    return _Opened(envelope, scopes)


def _refuse_too_large(opened: _Opened, max_bytes: int, refusals: Refusals) -> None:
    position = 0
    for resourced, scoped, items in opened.scopes:
        room = max_bytes - opened.base.ByteSize() - _frame_bytes(resourced) - _frame_bytes(scoped)
        for item in items:
            if len(item) + _FRAME_BYTES > room and position not in refusals.positions:
                reason = f"larger than the {max_bytes} bytes that one entry of the WAL takes"
                refusals.add(position, reason, f"item {position} with {len(item)} bytes")
            position += 1


def _frame_bytes(frame: Resourced | Scoped) -> int:
    return int(frame.ByteSize()) + _FRAME_BYTES


def _by_wal(
    opened: _Opened, shard_of: Callable[[bytes, bytes], int], refused: Container[int], aside: Container[int]
) -> dict[int, tuple[Envelope, int]]:
    """The envelope and the number of items for each WAL that gets any."""
    growing: dict[int, _Growing] = {}
    position = 0
    for resourced, scoped, items in opened.scopes:
        groups: dict[int, list[bytes]] = {}
        for item in items:
            if position not in refused:
                shard = shard_of(item, resourced.resource)
                groups.setdefault(aside_of(shard) if position in aside else shard, []).append(item)
            position += 1
        for shard, group in groups.items():
            if shard not in growing:
                growing[shard] = _Growing(opened.base)
            growing[shard].extend(resourced, scoped, group)
    return {shard: (grown.envelope, grown.items) for shard, grown in sorted(growing.items())}


def _by_size(opened: _Opened, max_bytes: int) -> Iterator[tuple[Envelope, int]]:
    """Pieces of one shard's envelope, filled in order; every single item is known to fit."""
    piece, size = _Growing(opened.base), opened.base.ByteSize()
    for resourced, scoped, items in opened.scopes:
        frames = _frame_bytes(resourced) + _frame_bytes(scoped)
        size += frames
        start = 0
        for i, item in enumerate(items):
            size += len(item) + _FRAME_BYTES
            # A resource is counted for each of its scopes, though it is written once per piece: the estimate is never too small.
            if size > max_bytes and (piece.items or i > start):
                piece.extend(resourced, scoped, items[start:i])
                yield piece.envelope, piece.items
                piece, start = _Growing(opened.base), i
                size = opened.base.ByteSize() + frames + len(item) + _FRAME_BYTES
        piece.extend(resourced, scoped, items[start:])
    yield piece.envelope, piece.items


class _Growing:
    """An envelope under construction, which repeats a resource only when it changes."""

    def __init__(self, base: Envelope) -> None:
        self.envelope = Envelope()
        self.envelope.CopyFrom(base)
        self.items = 0
        self._frame: Resourced | None = None
        self._resourced = Resourced()

    def extend(self, resourced: Resourced, scoped: Scoped, items: list[bytes]) -> None:
        """Add items of one scope, together with a copy of the scope."""
        if not items:
            return
        if self._frame is not resourced:
            self._frame = resourced
            self._resourced = self.envelope.resources.add()
            self._resourced.CopyFrom(resourced)
        scope = self._resourced.scopes.add()
        scope.CopyFrom(scoped)
        scope.items.extend(items)
        self.items += len(items)
