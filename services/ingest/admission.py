"""Turns a request into parts that can be appended to the WAL. Pure; one Admission for each signal.

A request is parsed strictly and its items are checked. Traces and logs go to the WAL byte for byte as received, unless an item is refused,
the items belong to several shards, or the request is larger than one append takes (tael.otlp.split).
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
    """What decides how a request is cut: the router, the size limit of one body, and the time of arrival."""

    router: Router
    max_bytes: int
    now_ns: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request after checking and cutting. ``items`` counts all items, including refused ones; ``appended`` is called once every part is
    durable.

    ``warnings`` are sentences for the client about items that were accepted.
    """

    items: int
    refusals: Refusals
    parts: Sequence[Part]
    appended: Callable[[], None] = lambda: None
    warnings: Sequence[str] = ()


class Admission(Protocol):
    """Checks and cuts the requests of one signal and format."""

    def is_light(self, request: bytes) -> bool:
        """Whether a request is small enough to be admitted in the event loop without delaying other requests."""
        ...

    def weigh(self, request: bytes) -> int:
        """The approximate number of messages in a request that is not light. Raises TooLarge above the limit."""
        ...

    def admit(self, tenant: str, request: bytes, cut: Cut) -> Admitted:
        """Check a request and cut it. Raises Rejected when it is malformed. May run in a thread while another call runs in the event loop.

        When the same request is sent again, its parts MUST be the same or have the same identity.
        """
        ...


class Strict(Protocol):
    """The part of an Admission that checks and cuts; its user counts messages."""

    def admit(self, tenant: str, request: bytes, cut: Cut) -> Admitted:
        """See Admission."""
        ...


@dataclass(frozen=True, slots=True)
class Census:
    """Counts a request's messages, at most ``most`` of them: along the tree ``large`` from ``large_bytes`` on, else along ``small``."""

    small: Node
    large: Node
    most: int
    large_bytes: int = 1 << 20

    def holds_few(self, request: bytes) -> bool:
        """Whether the request has a few thousand messages at most and does not exceed the limit."""
        return holds_few(request, self._root(request), self.most)

    def count(self, request: bytes) -> int:
        """The approximate number of messages. Raises TooLarge when there are too many for the request's size."""
        return count_fields(request, self._root(request), self.most)

    def _root(self, request: bytes) -> Node:
        return self.small if len(request) < self.large_bytes else self.large


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Admits requests that go to the WAL byte for byte. ``scan`` checks them, ``kept`` returns a tenant's retention at a given time, and
    ``routing_key`` derives an item's routing key from the item and its resource.
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
            # One shard, nothing refused: the received bytes are the part, which saves encoding them again.
            if not scan.far:
                return (Part(0, scan.items, request),)
            if len(scan.far) == scan.items:
                return (Part(aside_of(0), scan.items, request),)
        return split(
            request, lambda item, resource: cut.router.shard_of(self.routing_key(item, resource)), cut.max_bytes, scan.refusals, scan.far
        )


@dataclass(frozen=True, slots=True)
class Tolerant:
    """Applies item limits to OTLP requests before ``inner`` admits them, and repairs invalid UTF-8 and deep nesting where ``inner``
    refuses.

    ``request`` and ``item`` are the classes of the signal's requests and items. Without ``limits`` nothing is truncated and no payload is
    extracted; with them ``sizes`` decide which values become payloads. The client's answer names what was truncated or replaced.
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
        # TooLarge is a Rejected too, but no repair can help.
        except TooLarge:
            raise
        except Rejected:
            # Repair the request as received, not as bounded: limits are then applied anew, to text that can be parsed.
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
