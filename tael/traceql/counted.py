"""Pipelines that keep the spans of traces by an aggregate over the spans that a filter finds in each, pure: a store can evaluate these
without reading the traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from tael.model import predicate as p
from tael.traceql.ast import NUMERIC, Aggregate, Field, Intrinsic, Pipeline, ScalarFilter, Select, Stage, Static
from tael.traceql.needs import span_predicate

_GROWING: Final = {"count": (">", ">="), "sum": (">", ">="), "max": (">", ">="), "min": ("<", "<=")}
"""The comparisons that hold of more spans if they hold of some of them; no duration is negative."""
_INT64: Final = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class Limit:
    """``count() > 2`` or ``avg(duration) > 1s``: the aggregate is of the durations in nanoseconds, or counts spans."""

    aggregate: str
    op: str
    value: float


@dataclass(frozen=True, slots=True)
class Counted:
    """The spans that are ``kept``, of the traces whose spans that are ``counted`` satisfy all limits; both predicates are exact where no
    compared attribute is a list.
    """

    counted: p.Predicate
    kept: p.Predicate
    limits: tuple[Limit, ...]

    @property
    def is_growing(self) -> bool:
        """Whether a trace of which some of the counted spans satisfy the limits satisfies them with all of them."""
        return all(limit.op in _GROWING.get(limit.aggregate, ()) for limit in self.limits)


def counted(pipeline: Pipeline) -> Counted | None:
    """A pipeline of filters, of which one or more compare an aggregate, in this form; None for every other one."""
    first = list(takewhile(lambda stage: not isinstance(stage, ScalarFilter), pipeline.stages))
    rest = list(takewhile(lambda stage: isinstance(stage, ScalarFilter | Select), pipeline.stages[len(first) :]))
    last = pipeline.stages[len(first) + len(rest) :]
    limits = [_limit(stage) for stage in rest if isinstance(stage, ScalarFilter)]
    found, kept = _exact(first), _exact([*first, *last])
    if not limits or found is None or kept is None or None in limits:
        return None
    return Counted(found, kept, tuple(limit for limit in limits if limit is not None))


def _exact(stages: Sequence[Stage]) -> p.Predicate | None:
    alone = span_predicate(Pipeline(tuple(stages)), lists=False)
    return alone.predicate if alone is not None and alone.exact else None


def _limit(stage: ScalarFilter) -> Limit | None:
    match stage:
        case ScalarFilter(
            op=op, left=Aggregate(op=call, expression=None | Field(Intrinsic.DURATION)), right=Static(type=kind, value=value)
        ):
            if kind in NUMERIC and (isinstance(value, float) or (isinstance(value, int) and value in _INT64)):
                return Limit(call, op, value)
    return None
