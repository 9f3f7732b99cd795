"""A span as Datadog's tracers describe it, in any version of the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class DatadogSpan:
    """One span. Ids are unsigned 64-bit numbers, 0 if absent; ``start`` and ``duration`` are in ns, unchecked.

    ``meta`` holds text (numbers and booleans that a sloppy tracer puts there are kept as such), ``metrics`` numbers, ``meta_struct``
    encoded msgpack. ``links`` and ``events`` are maps whose contents have not been checked.
    """

    service: str = ""
    name: str = ""
    resource: str = ""
    type: str = ""
    trace_id: int = 0
    span_id: int = 0
    parent_id: int = 0
    start: int = 0
    duration: int = 0
    error: int = 0
    meta: Mapping[str, str | bool | int | float] = field(default_factory=dict)
    metrics: Mapping[str, int | float] = field(default_factory=dict)
    meta_struct: Mapping[str, bytes] = field(default_factory=dict)
    links: Sequence[Any] = ()
    events: Sequence[Any] = ()
