"""The port of traces of many spans, which are read a part at a time; and how the parts of several shards become one. Pure."""

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
"""Bytes of a span: the native API's JSON of it up to ``flags``, without the closing brace; OTLP's protobuf of it; the JSON of that, as protobuf has it
(ids in base64, names) or as OTLP has it (ids in hex, numbers); or Jaeger's JSON of it up to ``logs``. All without its origin.
"""


class Key(NamedTuple):
    """Where a span stands in its trace: its start as the tables hold it (ns, signed), then its id as a number, the first byte the highest."""

    start_ns: int
    number: int

    @classmethod
    def of(cls, span: Span) -> Key:
        """The key of a span."""
        return cls(signed_ns(span.start_ns), int.from_bytes(span.span_id, "big"))


BEGIN: Final = Key(-(1 << 63), 0)
"""Before every span."""


@dataclass(frozen=True, slots=True)
class Outline:
    """How many spans a trace has, each counted once, whether any is of an LLM call, and the keys at which it can be cut, in order from the first span on."""

    spans: int
    calls: bool
    bounds: Sequence[Key]


@dataclass(frozen=True, slots=True)
class Part:
    """The spans of a trace from a key on, up to another one (None: to the end), at most ``limit`` of them."""

    trace_id: bytes
    first: Key
    end: Key | None
    limit: int


@dataclass(frozen=True, slots=True)
class Origin:
    """What spans came under."""

    resource: Resource
    scope: Scope


@dataclass(frozen=True, slots=True)
class Slice:
    """The spans of a part in order of their keys, each once: ``bodies`` are bytes in the form that was asked for, or a Span where that has no expression.

    ``origins`` has the origin of span ``i`` under ``came_under[i]``. ``ranks`` tell which copy of a span is the most complete one; the highest is.
    """

    keys: Sequence[Key]
    bodies: Sequence[bytes | Span]
    came_under: Sequence[int]
    ranks: Sequence[tuple[int, ...]]
    origins: Mapping[int, Origin] = field(default_factory=dict)


class LongTraceReader(Protocol):
    """Reads traces of one shard, or of several composed as one, a part at a time. Raises as SpanReader.

    Every part is read as it is when it is asked for. A span of a trace MUST be in exactly one of the parts between the bounds of its outline, the most
    complete copy where it was sent more than once, whatever moves between the tiers meanwhile.
    """

    async def outline(self, tenant: str, trace_id: bytes, most: int, step: int) -> Answer[Outline]:
        """What a trace holds. A bound stands at every ``step``-th of its first ``most`` spans; MUST NOT take memory for more than keys."""
        ...

    async def read_spans(self, tenant: str, part: Part) -> Answer[list[Span]]:
        """The spans of a part, by start and then span id."""
        ...

    async def read_bytes(self, tenant: str, part: Part, form: Form, known: Collection[int] = ()) -> Answer[Slice]:
        """The same as bytes; ``origins`` are there for all of them but those ``known`` from other parts of the trace."""
        ...

    async def calls(self, tenant: str, trace_id: bytes) -> Answer[list[Span]]:
        """The spans of LLM calls, and those around them: ids, times and what is said of the call, and nothing else."""
        ...


def merge_outlines(outlines: Sequence[Outline]) -> Outline:
    """The outlines of several shards as one. A span whose copies are on two shards, because the map of shards grew between them, counts twice."""
    bounds = list(heapq.merge(*(one.bounds for one in outlines)))
    return Outline(sum(one.spans for one in outlines), any(one.calls for one in outlines), bounds)


def in_order(spans: Iterable[Span]) -> list[Span]:
    """Spans by their keys, each once."""
    return sorted(once_each(spans), key=Key.of)


def merge_slices(slices: Sequence[Slice], limit: int) -> Slice:
    """The spans of several slices as one, each once."""
    if len(slices) < 2:
        return slices[0] if slices else Slice([], [], [], [])
    rows = sorted(
        (key, tuple(-number for number in rank), place, index)
        for place, one in enumerate(slices)
        for index, (key, rank) in enumerate(zip(one.keys, one.ranks, strict=True))
    )
    kept = [row for row, before in zip(rows, [None, *rows], strict=False) if before is None or before[0] != row[0]][:limit]
    return Slice(
        [key for key, *_ in kept],
        [slices[place].bodies[index] for *_, place, index in kept],
        [slices[place].came_under[index] for *_, place, index in kept],
        [slices[place].ranks[index] for *_, place, index in kept],
        {number: origin for one in slices for number, origin in one.origins.items()},
    )
