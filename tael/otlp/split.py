"""An export request cut into the bodies that the log takes: refused items left out, one shard a body, none over a size.

Works on the envelope (proto/envelope.proto), whose items are opaque bytes. Every part repeats the resource and the scope of its items and
whatever else their envelopes hold, fields unknown to this program too. The cut depends on nothing but the arguments, so that a request sent
again is cut the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass

from tael.model.lanes import aside_of
from tael.model.payload import Payload
from tael.otlp.scan import Refusals
from tael.pb.envelope_pb2 import Envelope, Resourced, Scoped

_FRAME_BYTES = 6  # a field's tag and the longest length prefix that a request can need


@dataclass(frozen=True, slots=True)
class Part:
    """A request of its own: ``items`` of them for one WAL (tael.model.lanes), a shard's own or the one aside.

    ``identity`` is what a part that comes again is known by, where that is not all of its bytes. ``payloads`` are what its items refer to, and must be
    in the WAL before it.
    """

    shard: int
    items: int
    request: bytes
    identity: bytes | None = None
    payloads: Sequence[Payload] = ()


@dataclass(frozen=True, slots=True)
class _Opened:
    """An envelope taken apart: ``base`` without resources, and each scope's items with the resource and scope emptied of theirs."""

    base: Envelope
    scopes: list[tuple[Resourced, Scoped, list[bytes]]]


def split(
    request: bytes, shard_of: Callable[[bytes, bytes], int], max_bytes: int, refusals: Refusals, aside: Container[int] = ()
) -> list[Part]:
    """Cut ``request`` into parts of at most ``max_bytes`` encoded bytes, by the shard of each item, which it and its resource decide.

    Items at the positions that ``refusals`` holds are left out, and an item that no part can hold is added to them. Those at the positions
    ``aside`` go to their shard's other WAL.
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
    """For each WAL that gets any: its envelope and the count of its items."""
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
    """Pieces of one shard's envelope, filled in order; every item fits alone."""
    piece, size = _Growing(opened.base), opened.base.ByteSize()
    for resourced, scoped, items in opened.scopes:
        frames = _frame_bytes(resourced) + _frame_bytes(scoped)
        size += frames
        start = 0
        for i, item in enumerate(items):
            size += len(item) + _FRAME_BYTES
            # Frames are counted again for each scope, though a repeated resource is written once: the estimate is never too small.
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
        """Add items of one scope, which is repeated for them."""
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
