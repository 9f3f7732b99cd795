"""The port for long traces, which are read a part at a time, and the merging of several shards' parts. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

from tael.model.span import Resource, Scope, Span
from tael.model.time import signed_ns
from tael.storage.api import Answer
from tael.storage.merge import once_each

Form: TypeAlias = Literal["json", "otlp", "proto_json", "otlp_json", "jaeger"]
"""The encoding of a span, in all cases without its origin.

``json`` is the native API's JSON up to ``flags``, without the closing brace; ``otlp`` is OTLP's protobuf; ``proto_json`` is protobuf's JSON
of it (ids in base64, enums as names) and ``otlp_json`` OTLP's (ids in hex, enums as numbers); ``jaeger`` is Jaeger's JSON up to ``logs``.
"""


class Key(NamedTuple):
    """A span's position in its trace: its start as stored (ns, signed), then its id as a big-endian number."""

    start_ns: int
    number: int

    @classmethod
    def of(cls, span: Span) -> Key:
        """The key of a span."""
        return cls(signed_ns(span.start_ns), int.from_bytes(span.span_id, "big"))


BEGIN: Final = Key(-(1 << 63), 0)
"""The key before that of any span."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The number of distinct spans of a trace, whether any belongs to an LLM call, and the keys at which the trace can be cut, ascending
    from its first span.
    """

    spans: int
    calls: bool
    bounds: Sequence[Key]


@dataclass(frozen=True, slots=True)
class Part:
    """At most ``limit`` spans of a trace, from key ``first`` up to but not including ``end`` (None: to the end of the trace)."""

    trace_id: bytes
    first: Key
    end: Key | None
    limit: int


@dataclass(frozen=True, slots=True)
class Origin:
    """The resource and scope under which spans arrived."""

    resource: Resource
    scope: Scope


@dataclass(frozen=True, slots=True)
class Slice:
    """The spans of a part in order of their keys, each once. ``bodies`` are bytes in the requested form, or a Span that the shard cannot
    put into it.

    ``origins[origin_ids[i]]`` is the origin of span ``i``. Of two copies of a span the one with the higher rank is the more complete.
    """

    keys: Sequence[Key]
    bodies: Sequence[bytes | Span]
    origin_ids: Sequence[int]
    ranks: Sequence[tuple[int, ...]]
    origins: Mapping[int, Origin] = field(default_factory=dict)


class LongTraceReader(Protocol):
    """Reads traces of one shard, or of several composed as one, a part at a time. Raises the errors of SpanReader.

    Every part is read as it is at the time of its call. Each span of a trace MUST be in exactly one of the parts between the bounds of its
    outline, as its most complete copy if it was sent more than once, even if hours move between the tiers meanwhile.
    """

    async def outline(self, tenant: str, trace_id: bytes, most: int, step: int) -> Answer[Outline]:
        """The outline of a trace, with a bound at every ``step``-th of its first ``most`` spans. MUST NOT hold more than keys in memory."""
        ...

    async def read_spans(self, tenant: str, part: Part) -> Answer[list[Span]]:
        """The spans of a part, by start and then span id."""
        ...

    async def read_bytes(self, tenant: str, part: Part, form: Form, known: Collection[int] = ()) -> Answer[Slice]:
        """The same as bytes. ``origins`` leaves out those that the caller has from other parts (``known``)."""
        ...

    async def calls(self, tenant: str, trace_id: bytes) -> Answer[list[Span]]:
        """The spans of LLM calls and their ancestors, with only ids, times and the attributes of the call."""
        ...


def merge_outlines(outlines: Sequence[Outline]) -> Outline:
    """The outlines of several shards as one. A span with copies on two shards, because the shard map grew between them, is
    counted twice.
    """
    bounds = list(heapq.merge(*(one.bounds for one in outlines)))
    return Outline(sum(one.spans for one in outlines), any(one.calls for one in outlines), bounds)


def in_order(spans: Iterable[Span]) -> list[Span]:
    """The spans in order of their keys, each once."""
    return sorted(once_each(spans), key=Key.of)


def merge_slices(slices: Sequence[Slice], limit: int) -> Slice:
    """The first ``limit`` spans of several slices in order of their keys, each once."""
    if len(slices) < 2:
        return slices[0] if slices else Slice([], [], [], [])
    # Ranks are negated so that, of copies with the same key, the most complete one comes first and is the one that is kept.
    rows = sorted(
        (key, tuple(-number for number in rank), place, index)
        for place, one in enumerate(slices)
        for index, (key, rank) in enumerate(zip(one.keys, one.ranks, strict=True))
    )
    kept = [row for row, before in zip(rows, [None, *rows], strict=False) if before is None or before[0] != row[0]][:limit]
    return Slice(
        [key for key, *_ in kept],
        [slices[place].bodies[index] for *_, place, index in kept],
        [slices[place].origin_ids[index] for *_, place, index in kept],
        [slices[place].ranks[index] for *_, place, index in kept],
        {number: origin for one in slices for number, origin in one.origins.items()},
    )
