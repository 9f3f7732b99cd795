"""``aggregate``: one entry point for all aggregations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tael.model.series import Floats
from tael.vectors import vectors
from tael.vectors.aggregation import choose, groups, reduce
from tael.vectors.annotations import Annotations
from tael.vectors.values import Vector


@dataclass(frozen=True, slots=True)
class Grouping:
    """``by (labels)``, or ``without (labels)``; no labels means one group."""

    labels: tuple[str, ...] = ()
    without: bool = False


@dataclass(frozen=True, slots=True)
class Places:
    """Offsets in the query of an aggregation, its parameter and the aggregated expression: what annotations point at."""

    aggregation: int = 0
    parameter: int = 0
    operand: int = 0


def aggregate(
    op: str,
    vector: Vector,
    by: Grouping,
    parameter: Floats | str | None,
    notes: Annotations,
    at: Places,
    require_room: Callable[[int], None],
) -> Vector:
    """``op`` over the groups of ``vector``.

    ``parameter`` is a number a step for topk, bottomk, quantile, limitk and limit_ratio, the label's name for count_values, and None for
    all others. ``require_room`` gets the size of a result that may exceed the operand's, before it is built, and raises where that is too
    large. Raises Rejected for a parameter that the aggregation does not take.
    """
    vector = vectors.without_empty(vector)
    if isinstance(parameter, str):
        return reduce.count_values(vector, parameter, by.labels, require_room, without=by.without)
    found = groups.group(vector.labels, by.labels, without=by.without)
    if parameter is None:
        return reduce.aggregate(op, vector, found, notes, at.operand)
    if op == "quantile":
        return reduce.quantile(vector, found, parameter, notes, (at.parameter, at.operand))
    return choose.choose(op, vector, found, parameter, notes, (at.parameter, at.aggregation))
