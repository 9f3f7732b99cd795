"""An export request cut into the bodies that the log takes: refused items left out, one shard a body, none over a size.

Works on the envelope (proto/envelope.proto), whose items are opaque bytes. Every part repeats the resource and the scope of its items and
whatever else their envelopes hold, fields unknown to this program too. The cut depends on nothing but the arguments, so that a request sent
again is cut the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tael.otlp.scan import Refusals
from tael.pb.envelope_pb2 import Envelope, Resourced, Scoped

_FRAME_BYTES = 6  # a field's tag and the longest length prefix that a request can need


@dataclass(frozen=True, slots=True)
class Part:
    """A request of its own: ``items`` of them for one shard."""

    shard: int
    items: int
    request: bytes


class _Builder:
    """Grows one shard's part, and closes it when the next item would take it over the limit."""

    def __init__(self, shard: int, base: Envelope, max_bytes: int) -> None:
        self._shard, self._base, self._max_bytes = shard, base, max_bytes
        self._base_bytes = base.ByteSize()
        self._open()

    def _open(self) -> None:
        self._envelope = Envelope()
        self._envelope.CopyFrom(self._base)
        self._resourced: Resourced | None = None
        self._scoped: Scoped | None = None
        self._frame: tuple[object, object] = (None, None)
        self._bytes, self._items = self._base_bytes, 0

    def add(self, item: bytes, frames: _Frames) -> Part | None:
        """Take an item in; return the part that had to be closed for it."""
        closed = None
        if self._items and self._bytes + self._cost(item, frames) > self._max_bytes:
            closed = self.close()
        self._bytes += self._cost(item, frames)
        if self._frame[0] is not frames.resource:
            self._resourced = self._envelope.resources.add()
            self._resourced.CopyFrom(frames.resource)
        assert self._resourced is not None
        if self._frame != (frames.resource, frames.scope):
            self._scoped = self._resourced.scopes.add()
            self._scoped.CopyFrom(frames.scope)
        assert self._scoped is not None
        self._frame = (frames.resource, frames.scope)
        self._scoped.items.append(item)
        self._items += 1
        return closed

    def _cost(self, item: bytes, frames: _Frames) -> int:
        cost = len(item) + _FRAME_BYTES
        if self._frame[1] is not frames.scope:
            cost += frames.scope_bytes
        if self._frame[0] is not frames.resource:
            cost += frames.resource_bytes
        return cost

    def close(self) -> Part:
        """What was taken in since the last close."""
        part = Part(self._shard, self._items, self._envelope.SerializeToString())
        self._open()
        return part

    @property
    def items(self) -> int:
        return self._items


class _Frames:
    """The resource and scope of the items at hand, emptied of items; told apart by identity."""

    def __init__(self, resource: Resourced, resource_bytes: int, scope: Scoped) -> None:
        self.resource, self.resource_bytes = resource, resource_bytes
        self.scope, self.scope_bytes = scope, scope.ByteSize() + _FRAME_BYTES


def split(request: bytes, shard_of: Callable[[bytes], int], max_bytes: int, refusals: Refusals) -> list[Part]:
    """Cut ``request`` into parts of at most ``max_bytes`` encoded bytes, by the shard of each item.

    Items at the positions that ``refusals`` holds are left out, and an item that no part can hold is added to them.
    """
    base, items = _opened(request)
    builders: dict[int, _Builder] = {}
    parts: list[Part] = []
    base_bytes = base.ByteSize()
    for position, (frames, item) in enumerate(items):
        if position in refusals.positions:
            continue
        alone = base_bytes + frames.resource_bytes + frames.scope_bytes + len(item) + _FRAME_BYTES
        if alone > max_bytes:
            refusals.add(
                position, f"larger than {max_bytes} bytes with its resource and scope, the most that the log takes", f"item {position}"
            )
            continue
        shard = shard_of(item)
        builder = builders.get(shard)
        if builder is None:
            builder = builders[shard] = _Builder(shard, base, max_bytes)
        closed = builder.add(item, frames)
        if closed is not None:
            parts.append(closed)
    parts.extend(builder.close() for builder in builders.values() if builder.items)
    return parts


def _opened(request: bytes) -> tuple[Envelope, Iterator[tuple[_Frames, bytes]]]:
    """The request without its resources, and its items with their frames, in order."""
    envelope = Envelope.FromString(request)
    resources = list(envelope.resources)
    del envelope.resources[:]
    return envelope, _items(resources)


def _items(resources: list[Resourced]) -> Iterator[tuple[_Frames, bytes]]:
    for resourced in resources:
        scopes = list(resourced.scopes)
        del resourced.scopes[:]
        resource_bytes = resourced.ByteSize() + _FRAME_BYTES
        for scoped in scopes:
            items = list(scoped.items)
            del scoped.items[:]
            frames = _Frames(resourced, resource_bytes, scoped)
            for item in items:
                yield frames, item
