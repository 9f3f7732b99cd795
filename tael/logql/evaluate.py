"""Evaluate a metric query whose range aggregations are known: series by steps, all steps at once.

Unlike in PromQL, division by zero gives NaN, and series have no metric name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from tael.errors import Rejected
from tael.logql.ast import (
    Binary,
    Expr,
    Grouping,
    LabelReplace,
    Matching,
    Metric,
    Number,
    RangeAggregation,
    VectorAggregation,
    children,
)
from tael.logql.ast import Vector as Constant
from tael.logql.errors import MatchingError
from tael.logql.samples import Leaf, require_room
from tael.model.series import Labels
from tael.vectors import vectors
from tael.vectors.aggregation import choose, groups, reduce
from tael.vectors.annotations import Annotations
from tael.vectors.binary import Operator, operate
from tael.vectors.labels import label_replace, sort_by_value
from tael.vectors.matching import Rule
from tael.vectors.values import Scalar, Steps, Vector

Value: TypeAlias = Scalar | Vector

COMPARISONS: Final = ("==", "!=", ">", ">=", "<", "<=")
ADDED_AT_ONCE: Final = ("bytes_over_time", "bytes_rate", "sum_over_time", "rate", "count_over_time")
"""Range functions whose sum over several series equals the function over all their lines together."""


def leaves(expr: Expr) -> Iterator[Leaf]:
    """The range aggregations of an expression, with the grouping of the sum directly around them."""
    if isinstance(expr, RangeAggregation):
        yield Leaf(expr)
    elif isinstance(expr, VectorAggregation) and isinstance(expr.expr, RangeAggregation):
        yield leaf_of(expr)
    else:
        for child in children(expr):
            yield from leaves(child)


def leaf_of(expr: VectorAggregation) -> Leaf:
    """The leaf of an aggregation over a range aggregation; a sum is done while lines are read where the result is the same."""
    assert isinstance(expr.expr, RangeAggregation)
    # Summing while lines are read makes one series a group instead of one a stream, and the limit of series counts these.
    once = expr.op == "sum" and expr.expr.op in ADDED_AT_ONCE and expr.expr.grouping is None
    return Leaf(expr.expr, (expr.grouping or Grouping()) if once else None)


def evaluate(
    expr: Metric, steps: Steps, found: Mapping[Leaf, Vector], check: Callable[[], None] = lambda: None, most: int = 10_000_000
) -> Value:
    """The value of ``expr`` at ``steps``; ``found`` holds every leaf's. ``check`` is called at each node and raises to end the query.

    Raises MatchingError where series do not match, TooLarge where more than ``most`` values are held besides the leaves, and Rejected for
    anything else that the data does not allow.
    """
    with np.errstate(all="ignore"):
        value = _Evaluation(steps, found, check, most).value(expr)
    return vectors.without_empty(value) if isinstance(value, Vector) else value


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """One walk of the tree. ``held`` are the values of the left operands of the operators above."""

    steps: Steps
    found: Mapping[Leaf, Vector]
    check: Callable[[], None]
    most: int
    held: int = 0

    def value(self, expr: Metric) -> Value:
        """The value of a node. Raises TooLarge beyond ``most``."""
        self.check()
        value = self._value(expr)
        require_room(self.held + value.values.size, self.most)
        return value

    def _value(self, expr: Metric) -> Value:
        match expr:
            case Number(value=value):
                return Scalar(np.full(self.steps.count, value))
            case Constant(value=value):
                return vectors.of_scalar(np.full(self.steps.count, value))
            case RangeAggregation():
                return self.found[Leaf(expr)]
            case VectorAggregation(expr=inner):
                below = self.found[leaf_of(expr)] if isinstance(inner, RangeAggregation) else self.value(inner)
                return _aggregated(expr, _vector(below))
            case Binary(left=left, right=right):
                first = self.value(left)
                second = replace(self, held=self.held + first.values.size).value(right)
                return _operated(expr, first, second)
            case LabelReplace(expr=inner):
                vector = _vector(self.value(inner))
                # Loki lists series with equal labels separately, which the answer to an instant query can represent.
                return label_replace(vector, expr.dst, expr.replacement, expr.src, expr.regex, distinct=vector.values.shape[1] > 1)


def _named(series: Sequence[Labels]) -> list[Labels]:
    """The labels without those that are empty, which a range aggregation keeps, but matching and ``without`` do not."""
    return [labels if all(value for _, value in labels) else tuple(pair for pair in labels if pair[1]) for labels in series]


def _vector(value: Value) -> Vector:
    return vectors.of_scalar(value.values) if isinstance(value, Scalar) else value


def _aggregated(expr: VectorAggregation, vector: Vector) -> Vector:
    if expr.op in ("sort", "sort_desc"):
        return sort_by_value(vector, descending=expr.op == "sort_desc") if vector.values.shape[1] == 1 else vector
    grouping = expr.grouping or Grouping()
    places = groups.group(_named(vector.labels) if grouping.without else vector.labels, grouping.labels, without=grouping.without)
    if expr.param is None:
        return reduce.aggregate(expr.op, vector, places, Annotations(), 0)
    op = "bottomk" if expr.op == "bottomk" else "topk"
    wanted = np.full(vector.values.shape[1], float(expr.param))
    return choose.choose(op, vector, places, wanted, Annotations(), (0, 0)) if vector.labels else vector


def _operated(expr: Binary, left: Value, right: Value) -> Value:
    # PromQL's quotient by zero is infinite; with a NaN divisor it is NaN, as in Loki.
    if expr.op == "/":
        right = replace(right, values=np.where(right.values == 0, np.nan, right.values))
    if isinstance(left, Vector) and isinstance(right, Vector):
        left, right = replace(left, labels=_named(left.labels)), replace(right, labels=_named(right.labels))
    try:
        if expr.op in COMPARISONS and not expr.return_bool:
            # Also series that the comparison leaves out must pair off.
            operate(Operator(expr.op, True, 0), left, right, _rule(expr.matching), Annotations())
        value = operate(Operator(expr.op, expr.return_bool, 0), left, right, _rule(expr.matching), Annotations())
    except Rejected as problem:
        raise MatchingError(str(problem)) from None
    assert isinstance(value, Scalar | Vector)
    return value


def _rule(matching: Matching) -> Rule:
    side = {"one-to-one": "", "many-to-one": "left", "one-to-many": "right"}[matching.card]
    return Rule(matching.on, matching.labels, side, matching.include)
