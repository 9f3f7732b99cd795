"""Checks of a tree beyond the grammar. They raise ParseError without a position, as Loki does for these errors."""

from __future__ import annotations

from tael.errors import Rejected
from tael.logql.ast import (
    Binary,
    Expr,
    Grouping,
    LabelReplace,
    LogQuery,
    LogRange,
    Metric,
    Number,
    RangeAggregation,
    VectorAggregation,
    children,
    ranges,
)
from tael.logql.errors import ParseError
from tael.logql.pipeline import compiled_stages
from tael.logql.quantities import go_float
from tael.logql.stages.label_filter import condition
from tael.model.patterns import compiled
from tael.model.series import Matcher

WITH_GROUPING = [
    "avg_over_time",
    "stddev_over_time",
    "stdvar_over_time",
    "quantile_over_time",
    "max_over_time",
    "min_over_time",
    "first_over_time",
    "last_over_time",
]
WITH_UNWRAP = [*WITH_GROUPING, "sum_over_time", "rate", "rate_counter", "absent_over_time"]
WITHOUT_UNWRAP = ["bytes_over_time", "bytes_rate", "count_over_time", "rate", "absent_over_time"]
WITH_PARAMETER = ("topk", "bottomk", "approx_topk")

_EVERYTHING = (
    "queries require at least one regexp or equality matcher that does not have an empty-compatible value. "
    'For instance, app=~".*" does not meet this requirement, but app=~".+" will'
)


def checked(expr: Expr) -> None:
    """Raise ParseError when a selector may select every stream, or a stage or regular expression is invalid."""
    if isinstance(expr, LogQuery):
        _checked_log(expr)
        return
    if isinstance(expr, LabelReplace):
        _checked_regex(expr.regex)
    if isinstance(expr, VectorAggregation | LabelReplace) and _is_number(expr.expr):
        raise ParseError(f"{getattr(expr, 'op', 'label_replace')}() is of series, not of a number: vector(1) is a series")
    for aggregation in ranges(expr) if isinstance(expr, RangeAggregation) else ():
        _checked_log(aggregation.range.query)
        if aggregation.range.unwrap:
            compiled_stages((), aggregation.range.unwrap.filters)
    for child in children(expr):
        checked(child)


def checked_range(op: str, span: LogRange, grouping: Grouping | None, param: str | None) -> RangeAggregation:
    """A range aggregation of these parts. Raises ParseError where they do not fit together."""
    if param is not None and op != "quantile_over_time":
        raise ParseError(f"parameter {param} not supported for operation {op}")
    if param is None and op == "quantile_over_time":
        raise ParseError(f"parameter required for operation {op}")
    if grouping is not None and op not in WITH_GROUPING:
        raise ParseError(f"grouping not allowed for {op} aggregation")
    if span.unwrap is not None and op not in WITH_UNWRAP:
        raise ParseError(f"invalid aggregation {op} with unwrap")
    if span.unwrap is None and op not in WITHOUT_UNWRAP:
        raise ParseError(f"invalid aggregation {op} without unwrap")
    return RangeAggregation(op, span, grouping, go_float(param) if param is not None else None)


def checked_aggregation(op: str, expr: Metric, grouping: Grouping | None, param: str | None) -> VectorAggregation:
    """A vector aggregation of these parts. Raises ParseError where they do not fit together."""
    if op not in WITH_PARAMETER:
        if param is not None:
            raise ParseError(f"unsupported parameter for operation {op}({param},")
        if op in ("sort", "sort_desc") and grouping is not None and grouping.labels:
            raise ParseError("sort and sort_desc don't allow grouping")
        return VectorAggregation(op, expr, grouping)
    if param is None:
        raise ParseError(f"parameter required for operation {op}")
    if not param.isdigit():
        raise ParseError(f"invalid parameter {op}({param},")
    if int(param) <= 0:
        raise ParseError(f"invalid parameter (must be greater than 0) {op}({param}")
    if op == "approx_topk" and grouping is not None:
        raise ParseError(f"grouping not allowed for {op} aggregation")
    return VectorAggregation(op, expr, grouping, int(param))


def _is_number(expr: Metric) -> bool:
    """Whether it is a number at each step, and no series."""
    return isinstance(expr, Number) or (isinstance(expr, Binary) and _is_number(expr.left) and _is_number(expr.right))


def _checked_log(query: LogQuery) -> None:
    if not any(_selective(matcher) for matcher in query.matchers):
        raise ParseError(_EVERYTHING)
    compiled_stages(query.stages)


def _selective(matcher: Matcher) -> bool:
    """Whether a stream must have the label to match."""
    return not condition(matcher)("")


def _checked_regex(regex: str) -> None:
    try:
        compiled(regex)
    except Rejected as problem:
        raise ParseError(str(problem)) from None
