"""How a request becomes the parts that the WAL takes; pure, one way a signal.

A request is parsed strictly and its items are checked. Traces and logs go to the WAL as the bytes that came, unless something is refused,
several shards share it, or it is larger than one append takes (tael.otlp.split).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from google.protobuf.message import Message

from tael.cluster.shard import Router
from tael.errors import Rejected, TooLarge
from tael.model.lanes import Near, aside_of, near
from tael.otlp.census import Node, count_fields, holds_few
from tael.otlp.extract import Extraction, Sizes
from tael.otlp.limits import ItemLimits, bound
from tael.otlp.repair import repair
from tael.otlp.scan import Kept, Refusals, Scan
from tael.otlp.split import Part, split


@dataclass(frozen=True, slots=True)
class Cut:
    """What a request is cut by: the shards, the bytes that one body takes, and the time of arrival."""

    router: Router
    max_bytes: int
    now_ns: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that was checked and cut. ``items`` counts all, refused ones too; ``appended`` is called once every part is durable.

    ``warnings`` are sentences for a client that nothing is refused to.
    """

    items: int
    refusals: Refusals
    parts: Sequence[Part]
    appended: Callable[[], None] = lambda: None
    warnings: Sequence[str] = ()


class Admission(Protocol):
    """One way for requests to become bodies of the WAL."""

    def is_light(self, request: bytes) -> bool:
        """Whether a request holds so little that it can be admitted beside everything else in the event loop."""
        ...

    def weigh(self, request: bytes) -> int:
        """About how many messages a request that is not light holds. Raises TooLarge when they are more than it may hold."""
        ...

    def admit(self, tenant: str, request: bytes, cut: Cut) -> Admitted:
        """Check a request and cut it. Raises Rejected when it is malformed. May be called in a thread, beside another call in the loop's.

        When the same request comes again, its parts MUST be the same or have the same identity.
        """
        ...


class Strict(Protocol):
    """An admission without a census of its own."""

    def admit(self, tenant: str, request: bytes, cut: Cut) -> Admitted:
        """See Admission."""
        ...


@dataclass(frozen=True, slots=True)
class Census:
    """Counts a request's messages: along ``large`` from ``large_bytes`` on, else along ``small``; more than ``most`` are too many."""

    small: Node
    large: Node
    most: int
    large_bytes: int = 1 << 20

    def holds_few(self, request: bytes) -> bool:
        """Whether it has a few thousand messages at the most, and not too many."""
        return holds_few(request, self._root(request), self.most)

    def count(self, request: bytes) -> int:
        """About how many messages it holds. Raises TooLarge when they are too many for its size."""
        return count_fields(request, self._root(request), self.most)

    def _root(self, request: bytes) -> Node:
        return self.small if len(request) < self.large_bytes else self.large


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Requests that go to the WAL byte for byte. ``scan`` checks them, ``kept`` gives a tenant's retention at a time, and ``routing_key`` is what an
    item is routed by, made from the item and its resource.
    """

    scan: Callable[[bytes, Kept, Near], Scan]
    routing_key: Callable[[bytes, bytes], bytes]
    kept: Callable[[str, int], Kept]
    near_hours: int

    def admit(self, tenant: str, request: bytes, cut: Cut) -> Admitted:
        """See Admission."""
        scan = self.scan(request, self.kept(tenant, cut.now_ns), near(cut.now_ns, self.near_hours))
        return Admitted(scan.items, scan.refusals, self._parts(request, scan, cut), warnings=scan.warnings)

    def _parts(self, request: bytes, scan: Scan, cut: Cut) -> Sequence[Part]:
        if scan.items == len(scan.refusals.positions):
            return ()
        if not scan.refusals.positions and cut.router.shard_count == 1 and len(request) <= cut.max_bytes:
            if not scan.far:
                return (Part(0, scan.items, request),)
            if len(scan.far) == scan.items:
                return (Part(aside_of(0), scan.items, request),)
        return split(
            request, lambda item, resource: cut.router.of(self.routing_key(item, resource)), cut.max_bytes, scan.refusals, scan.far
        )


@dataclass(frozen=True, slots=True)
class Tolerant:
    """An admission of OTLP requests behind the limits of single items, with a second chance for text that is not UTF-8 and for deep nesting.

    ``request`` and ``item`` are the classes of the signal's requests and items. Without ``limits`` nothing is cut and no payload is put apart;
    with them ``sizes`` decide which values become payloads. The client's answer names what was cut or replaced.
    """

    inner: Strict
    request: type[Message]
    item: type[Message]
    limits: ItemLimits | None
    census: Census
    sizes: Sizes = field(default_factory=Sizes)

    def is_light(self, request: bytes) -> bool:
        """See Admission."""
        return self.census.holds_few(request)

    def weigh(self, request: bytes) -> int:
        """See Admission."""
        return self.census.count(request)

    def admit(self, tenant: str, request: bytes, cut: Cut) -> Admitted:
        """See Admission."""
        extraction = Extraction(self.sizes, cut.now_ns)
        bounded, warnings = self._bound(request, extraction, cut)
        try:
            admitted = self.inner.admit(tenant, bounded, cut)
        # TooLarge is a Rejected that no repair cures.
        except TooLarge:
            raise
        except Rejected:
            # From the request as it came and not as it was bounded: what was cut is cut again, from what can be read.
            repaired = repair(self.request, self.item, request)
            if repaired is None:
                raise
            bounded, warnings = self._bound(repaired[0], extraction, cut)
            admitted = self.inner.admit(tenant, bounded, cut)
            warnings = (*repaired[1], *warnings)
        if not extraction.is_empty:
            admitted = replace(admitted, parts=[replace(part, payloads=extraction.referred(part.request)) for part in admitted.parts])
        return replace(admitted, warnings=(*admitted.warnings, *warnings)) if warnings else admitted

    def _bound(self, request: bytes, extraction: Extraction, cut: Cut) -> tuple[bytes, tuple[str, ...]]:
        return (request, ()) if self.limits is None else bound(request, self.item, self.limits, extraction, cut.max_bytes)
