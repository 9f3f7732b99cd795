"""Spans counted by what they have in common, when they ended, and how long they took: what rates and latencies are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from tael.model.series import Floats, Longs

Group: TypeAlias = "tuple[str, ...]"

CALL_BOUNDS: Final = tuple(0.002 * 2**power for power in range(14))
"""Upper bounds of the buckets of a span's duration, seconds; the bucket after the last has none. Tempo's defaults."""
EDGE_BOUNDS: Final = tuple(0.1 * 2**power for power in range(8))
"""The same for a call between services."""


@dataclass(frozen=True, slots=True)
class SpanCounts:
    """Row ``i`` says that ``calls[i]`` spans of ``groups[group[i]]`` ended by ``until_ms[i]`` (and after the slot before it).

    ``bucket`` is the position of the first bound that their durations do not exceed, ``seconds`` the sum of these. ``newest_ms`` is the end of the
    last 15 seconds that one of them ended in.
    """

    groups: Sequence[Group]
    group: Longs
    until_ms: Longs
    newest_ms: Longs
    bucket: Longs
    calls: Floats
    seconds: Floats


def joined(parts: Sequence[SpanCounts]) -> SpanCounts:
    """All rows, each group once."""
    if len(parts) == 1:
        return parts[0]
    groups: dict[Group, int] = {}
    places = [np.array([groups.setdefault(group, len(groups)) for group in part.groups], np.int64) for part in parts]
    return SpanCounts(
        tuple(groups),
        np.concatenate([place[part.group] for place, part in zip(places, parts, strict=True)]),
        np.concatenate([part.until_ms for part in parts]),
        np.concatenate([part.newest_ms for part in parts]),
        np.concatenate([part.bucket for part in parts]),
        np.concatenate([part.calls for part in parts]),
        np.concatenate([part.seconds for part in parts]),
    )
