"""The data of an evaluation: the samples of its selectors, and the grids that shards have evaluated.

``needs`` says what to fetch, the engine fetches it, ``evaluate`` reads it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tael.model.series import Grid, Rollups, Samples
from tael.promql.ast import Call, VectorSelector
from tael.vectors.values import Steps


@dataclass(frozen=True, slots=True)
class Fetched:
    """Everything that one expression reads.

    ``samples`` has every selector of the prepared expression whose value is not in ``grids``, with all samples that any of its uses needs;
    more do no harm, because the evaluator goes by their times. Nodes are equal wherever they stand, so one selector is one entry.

    ``grids`` has what shards evaluated, by the node (a selector for its lookback, or the call of a function over ``selector[range]``) and the
    steps at which the evaluator comes to it: the query's own; the first one alone below a step-invariant node; a subquery's own below it.
    Offsets and ``@`` are in the grid's times, not in these. A selector that stands in ``timestamp(…)`` needs its samples.

    ``info`` has, for each call of ``info``, the samples of the series that may enrich its argument: those that match the matchers of its second
    argument, or ``target_info`` where that names no metric, over the first argument's steps and their lookback.
    """

    samples: Mapping[VectorSelector, Samples]
    grids: Mapping[tuple[VectorSelector | Call, Steps], Grid] = field(default_factory=dict)
    info: Mapping[Call, Samples] = field(default_factory=dict)

    def rollups(self) -> list[tuple[Rollups, int]]:
        """Of which times rollups were read, for all that they answer exactly and for all else, each with the place of a cause in the query."""
        furthest: dict[bool, tuple[Rollups, int]] = {}
        read: list[tuple[VectorSelector | Call, Rollups | None]] = [(node, grid.rollups) for (node, _), grid in self.grids.items()]
        read += [(node, samples.rollups) for node, samples in self.samples.items()]
        read += [(node, samples.rollups) for node, samples in self.info.items()]
        for node, rollups in read:
            # One info of each kind, of the rollups that reach furthest: what is newer than that time is all made of samples.
            if rollups is not None and (rollups.exact not in furthest or rollups.until_ms > furthest[rollups.exact][0].until_ms):
                furthest[rollups.exact] = (rollups, node.pos.start)
        return list(furthest.values())
