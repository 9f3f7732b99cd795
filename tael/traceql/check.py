"""Type checks of a query, before anything is read: an attribute may have any type, all other types are known."""

from __future__ import annotations

from typing import Final

from tael.errors import Rejected
from tael.model.patterns import compiled
from tael.traceql.ast import (
    NUMERIC,
    Aggregate,
    Attribute,
    Binary,
    Coalesce,
    Compare,
    Exists,
    Expression,
    Field,
    Filter,
    GroupBy,
    MetricsAggregate,
    Pipeline,
    Query,
    ScalarFilter,
    Scope,
    Select,
    SpansetOperation,
    Stage,
    Static,
    Type,
    Unary,
    intrinsic_type,
)
from tael.traceql.errors import TypeMismatch, Unsupported
from tael.traceql.text import show

MAX_GROUPS: Final = 5
"""Labels of a metrics query's series, Tempo's number."""
_ORDERED = frozenset({Type.STRING, *NUMERIC})
_ANY = frozenset(Type) - {Type.NIL}
_TYPES_OF = {
    **dict.fromkeys(("=", "!="), _ANY),
    **dict.fromkeys(("<", "<=", ">", ">="), _ORDERED),
    **dict.fromkeys(("=~", "!~"), frozenset({Type.STRING})),
    **dict.fromkeys(("+", "-", "*", "/", "%", "^"), NUMERIC),
    **dict.fromkeys(("&&", "||"), frozenset({Type.BOOL})),
}


def check(query: Query) -> None:
    """Raises TypeMismatch or Unsupported for a query that can never be answered."""
    _stage(query.pipeline)
    match query.metrics:
        case Compare():
            _compare(query.metrics)
            if query.second:
                raise Unsupported("compare() cannot be used with second stage functions", query.metrics)
        case MetricsAggregate():
            _metrics(query.metrics)


def type_of(expression: Expression) -> Type:
    """The type of an expression's value; ATTRIBUTE where it depends on the span."""
    match expression:
        case Static(type=found):
            return found
        case Attribute():
            return Type.ATTRIBUTE
        case Field(intrinsic=intrinsic):
            return intrinsic_type(intrinsic)
        case Unary(op="!") | Exists():
            return Type.BOOL
        case Unary(operand=operand):
            return type_of(operand)
        case Binary(op=op, left=left, right=right):
            return _arithmetic(type_of(left), type_of(right)) if op in "+-*/%^" else Type.BOOL


def _arithmetic(left: Type, right: Type) -> Type:
    if Type.ATTRIBUTE in (left, right):
        return Type.ATTRIBUTE
    return next((kind for kind in (Type.DURATION, Type.FLOAT) if kind in (left, right)), Type.INT)


def _stage(stage: Stage) -> None:
    match stage:
        case Filter():
            _filter(stage)
        case Pipeline(stages=stages):
            for inner in stages:
                _stage(inner)
        case SpansetOperation(left=left, right=right):
            _stage(left)
            _stage(right)
        case GroupBy():
            _group(stage)
        case ScalarFilter():
            _scalar_filter(stage)
        case Aggregate():
            _aggregate(stage)
        case Select() | Coalesce():
            pass


def _compare(compare: Compare) -> None:
    _stage(compare.selection)
    if compare.top <= 0:
        raise TypeMismatch("compare() top number of values must be integer greater than 0", compare)
    if (compare.start_ns or compare.end_ns) and not 0 < compare.start_ns < compare.end_ns:
        raise TypeMismatch("compare() end timestamp must be greater than start timestamp, and both greater than 0", compare)


def _metrics(metrics: MetricsAggregate) -> None:
    # These series have one label more than the groups: a bucket, a quantile, or the count that an average is made with.
    room = MAX_GROUPS - (metrics.op in ("quantile_over_time", "histogram_over_time", "avg_over_time"))
    if len(metrics.by) > room:
        raise Unsupported(f"metrics group by {len(metrics.by)} values", metrics)
    for quantile in metrics.quantiles:
        if not 0 <= quantile <= 1:
            raise TypeMismatch(f"quantile must be between 0 and 1: {quantile:g}", metrics)


def _filter(stage: Filter) -> None:
    _expression(stage.expression)
    if type_of(stage.expression) not in (Type.BOOL, Type.ATTRIBUTE):
        raise TypeMismatch(f"span filter field expressions must resolve to a boolean: {show(stage)}", stage)


def _group(stage: GroupBy) -> None:
    _expression(stage.expression)
    if not _reads_span(stage.expression):
        raise TypeMismatch(f"grouping field expressions must reference the span: {show(stage)}", stage)


def _scalar_filter(stage: ScalarFilter) -> None:
    if not isinstance(stage.left, Aggregate):
        raise Unsupported(f"the left side of {stage.op} must be one aggregate, such as count(): {show(stage)}", stage)
    if not isinstance(stage.right, Static):
        raise Unsupported(f"the right side of {stage.op} must be a literal: {show(stage)}", stage)
    _aggregate(stage.left)
    kind = type_of(stage.left.expression) if stage.left.expression else Type.INT
    _together(stage.op, kind, stage.right.type, stage)


def _aggregate(aggregate: Aggregate) -> None:
    if aggregate.expression is None:
        return
    _expression(aggregate.expression)
    if type_of(aggregate.expression) not in (*NUMERIC, Type.ATTRIBUTE):
        raise TypeMismatch(f"aggregate field expressions must resolve to a number type: {show(aggregate)}", aggregate)
    if not _reads_span(aggregate.expression):
        raise TypeMismatch(f"aggregate field expressions must reference the span: {show(aggregate)}", aggregate)


def _expression(expression: Expression) -> None:
    match expression:
        case Binary(op=op, left=left, right=right):
            _expression(left)
            _expression(right)
            _together(op, type_of(left), type_of(right), expression)
            if op in ("=~", "!~"):
                _regex(right, expression)
        case Unary(op=op, operand=operand):
            _expression(operand)
            if type_of(operand) not in ((Type.BOOL,) if op == "!" else NUMERIC) and type_of(operand) is not Type.ATTRIBUTE:
                raise TypeMismatch(f"illegal operation for the given type: {show(expression)}", expression)
        case Exists(operand=operand, wanted=wanted):
            _expression(operand)
            if not wanted and isinstance(operand, Field):
                raise TypeMismatch(f"{show(operand)} = nil is not valid because intrinsics cannot be nil", expression)
            if not wanted and operand == Attribute(Scope.RESOURCE, "service.name"):
                raise TypeMismatch(f"{show(operand)} = nil is not valid because resource.service.name cannot be nil", expression)


def _together(op: str, left: Type, right: Type, of: Expression | ScalarFilter) -> None:
    if Type.ATTRIBUTE not in (left, right) and left is not right and not {left, right} <= NUMERIC:
        raise TypeMismatch(f"binary operations must operate on the same type: {show(of)}", of)
    # An attribute passes with any operator: its type is known only for a particular span.
    if not {left, right} <= _TYPES_OF[op] | {Type.ATTRIBUTE}:
        raise TypeMismatch(f"illegal operation for the given types: {show(of)}", of)


def _regex(pattern: Expression, of: Expression) -> None:
    if not isinstance(pattern, Static) or not isinstance(pattern.value, str):
        raise TypeMismatch(f"a regular expression must be a string literal: {show(of)}", of)
    try:
        compiled(pattern.value)
    except Rejected as error:
        raise TypeMismatch(f"invalid regex: {show(pattern)}: {error}", of) from None


def _reads_span(expression: Expression) -> bool:
    match expression:
        case Static():
            return False
        case Unary(operand=operand) | Exists(operand=operand):
            return _reads_span(operand)
        case Binary(left=left, right=right):
            return _reads_span(left) or _reads_span(right)
        case _:
            return True
