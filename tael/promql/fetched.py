"""The data of an evaluation: the samples of its selectors, and the grids that shards have evaluated.

``needs`` decides what to fetch, the engine fetches it, ``evaluate`` reads it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tael.model.series import Grid, Rollups, Samples
from tael.promql.ast import Call, VectorSelector
from tael.vectors.values import Steps


@dataclass(frozen=True, slots=True)
class Fetched:
    """All data that one expression reads.

    ``samples`` has every selector of the prepared expression whose value is not in ``grids``, with all samples that any of its uses needs;
    more do no harm, because the evaluator goes by their times. Nodes compare without their position, so equal selectors share one entry.

    ``grids`` has what shards evaluated, by the node (a selector for its lookback, or the call of a function over ``selector[range]``) and
    the steps at which the evaluator reads it: the query's own; only the first one below a step-invariant node; a subquery's own below it.
    Offsets and ``@`` are in the grid's times, not in these. A selector inside ``timestamp(…)`` needs its samples.

    ``info`` has, for each call of ``info``, the samples of the series that may enrich its first argument: those that match the second
    argument, or ``target_info`` where that names no metric, over the first argument's steps and their lookback.
    """

    samples: Mapping[VectorSelector, Samples]
    grids: Mapping[tuple[VectorSelector | Call, Steps], Grid] = field(default_factory=dict)
    info: Mapping[Call, Samples] = field(default_factory=dict)

    def rollups(self) -> list[tuple[Rollups, int]]:
        """The rollups that were read: at most one exact and one approximate, each with the offset of a selector that read it."""
        furthest: dict[bool, tuple[Rollups, int]] = {}
        read: list[tuple[VectorSelector | Call, Rollups | None]] = [(node, grid.rollups) for (node, _), grid in self.grids.items()]
        read += [(node, samples.rollups) for node, samples in self.samples.items()]
        read += [(node, samples.rollups) for node, samples in self.info.items()]
        for node, rollups in read:
            # Of each kind the one that reaches furthest: everything newer than its time comes from samples.
            if rollups is not None and (rollups.exact not in furthest or rollups.until_ms > furthest[rollups.exact][0].until_ms):
                furthest[rollups.exact] = (rollups, node.pos.start)
        return list(furthest.values())
