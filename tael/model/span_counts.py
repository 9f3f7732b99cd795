"""Counts of spans by group, end time and duration, from which span metrics (rates and latencies) are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from tael.model.series import Floats, Longs

Group: TypeAlias = "tuple[str, ...]"

CALL_BOUNDS: Final = tuple(0.002 * 2**power for power in range(14))
"""Upper bounds of the buckets of a span's duration in seconds; the last bucket has no bound. Tempo's defaults."""
EDGE_BOUNDS: Final = tuple(0.1 * 2**power for power in range(8))
"""Upper bounds of the buckets of a call between services, in seconds."""


@dataclass(frozen=True, slots=True)
class SpanCounts:
    """Row ``i`` says that ``calls[i]`` spans of ``groups[group[i]]`` ended in the slot of time that ends at ``until_ms[i]``.

    ``bucket`` is the position of the first bound that their durations do not exceed, ``seconds`` the sum of the durations. ``newest_ms`` is
    the end of the latest interval of 15 seconds in which one of them ended.
    """

    groups: Sequence[Group]
    group: Longs
    until_ms: Longs
    newest_ms: Longs
    bucket: Longs
    calls: Floats
    seconds: Floats


def joined(parts: Sequence[SpanCounts]) -> SpanCounts:
    """All rows of the parts, with equal groups merged in ``groups``; rows are not added up."""
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
