"""The parser of LogQL: gives a tree whose stages can all be run, or raises ParseError with the position and what was expected."""

from __future__ import annotations

from typing import cast

from tael.logql.arithmetic import COMPARISONS, calculated
from tael.logql.ast import (
    Binary,
    Card,
    Conversion,
    Expr,
    Grouping,
    LabelReplace,
    LogQuery,
    LogRange,
    Matching,
    Metric,
    Number,
    RangeAggregation,
    Unwrap,
    Vector,
    VectorAggregation,
)
from tael.logql.check import checked, checked_aggregation, checked_range
from tael.logql.errors import ParseError
from tael.logql.lexer import CONVERSIONS, RANGE_OPS, VECTOR_OPS
from tael.logql.parse_filters import label_filter
from tael.logql.parse_log import pipeline, selector
from tael.logql.quantities import go_float
from tael.logql.tokens import Tokens
from tael.model.series import Matcher

_PRECEDENCE = {"or": 1, "and": 2, "unless": 2, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "^": 6} | dict.fromkeys(COMPARISONS, 3)
_SETS = ("and", "or", "unless")
_RANGE_KINDS = {name.upper(): name for name in RANGE_OPS}
_VECTOR_KINDS = {name.upper(): name for name in VECTOR_OPS}


def parse(query: str) -> Expr:
    """The tree of ``query``. Raises ParseError."""
    expr = parse_unchecked(query)
    checked(expr)
    return expr


def parse_unchecked(query: str) -> Expr:
    """The tree of ``query`` without checks: selectors may select everything, and stages may be invalid. Raises ParseError."""
    tokens = Tokens(query)
    expr = _expression(tokens, 1)
    if tokens.peek() != "$end":
        tokens.take("|")
        raise tokens.unexpected()
    return expr


def parse_log(query: str) -> LogQuery:
    """A query for lines. Raises ParseError, also for a metric query."""
    expr = parse(query)
    if not isinstance(expr, LogQuery):
        raise ParseError("only log selector is supported")
    return expr


def parse_matchers(query: str) -> tuple[Matcher, ...]:
    """A lone selector, which may be ``{}`` or match everything. Raises ParseError."""
    expr = parse_unchecked(query)
    if not isinstance(expr, LogQuery) or expr.stages:
        raise ParseError("only label matchers are supported")
    return expr.matchers


def parse_selector(query: str) -> tuple[Matcher, ...]:
    """A selector alone, of streams that must have some label. Raises ParseError."""
    checked(LogQuery(matchers := parse_matchers(query)))
    return matchers


def _expression(tokens: Tokens, least: int) -> Expr:
    tokens.deeper()
    left = _term(tokens)
    while (level := _PRECEDENCE.get(tokens.peek(), 0)) >= least:
        op = tokens.next().kind
        return_bool = tokens.take("bool")
        matching = _matching(tokens)
        right = _expression(tokens, level if op == "^" else level + 1)
        left = _binary(op, left, right, matching, return_bool=return_bool)
    tokens.depth -= 1
    return left


def _binary(op: str, left: Expr, right: Expr, matching: Matching, *, return_bool: bool) -> Metric:
    for side, expr in (("left", left), ("right", right)):
        if isinstance(expr, LogQuery):
            raise ParseError(f"unexpected type for {side} leg of binary operation ({op}): a log query, where a metric query is expected")
        if op in _SETS and isinstance(expr, Number):
            raise ParseError(f"unexpected literal for {side} leg of logical/set binary operation ({op}): {expr.value:f}")
    if isinstance(left, Number) and isinstance(right, Number):
        return Number(calculated(op, left.value, right.value))
    return Binary(op, cast("Metric", left), cast("Metric", right), matching, return_bool)


def _matching(tokens: Tokens) -> Matching:
    if tokens.peek() not in ("on", "ignoring"):
        return Matching()
    on = tokens.next().kind == "on"
    labels = tokens.names()
    card: Card = "one-to-one"
    include: tuple[str, ...] = ()
    if tokens.peek() in ("group_left", "group_right"):
        card = "many-to-one" if tokens.next().kind == "group_left" else "one-to-many"
        include = tokens.names() if _labels_follow(tokens) else ()
    return Matching(card, on, labels, include)


def _labels_follow(tokens: Tokens) -> bool:
    """Whether the parenthesis after ``group_left`` holds labels, and is not the operation's right side."""
    return tokens.peek() == "(" and (tokens.peek(1) == ")" or (tokens.peek(1) == "IDENTIFIER" and tokens.peek(2) in (",", ")")))


def _term(tokens: Tokens) -> Expr:  # noqa: PLR0911 - one line a kind of term
    kind = tokens.peek()
    if kind == "{":
        return LogQuery(selector(tokens), pipeline(tokens))
    if kind == "(":
        return _parenthesis(tokens)
    if kind in ("NUMBER", "+", "-"):
        return Number(_number(tokens))
    if kind in _RANGE_KINDS:
        return _range_aggregation(tokens)
    if kind in _VECTOR_KINDS:
        return _vector_aggregation(tokens)
    if kind == "VECTOR":
        return _vector(tokens)
    if kind == "label_replace":
        return _label_replace(tokens)
    raise tokens.unexpected()


def _parenthesis(tokens: Tokens) -> Expr:
    tokens.next()
    inner = _expression(tokens, 1)
    tokens.expect(")")
    return inner


def _number(tokens: Tokens) -> float:
    sign = tokens.next().kind if tokens.peek() in ("+", "-") else ""
    value = _float(tokens.expect("NUMBER").text)
    return -value if sign == "-" else value


def _float(text: str) -> float:
    try:
        return go_float(text.replace("_", ""))
    except ValueError as problem:
        raise ParseError(f"unable to parse literal as a float: {problem}") from None


def _metric(tokens: Tokens) -> Metric:
    expr = _expression(tokens, 1)
    if isinstance(expr, LogQuery):
        raise tokens.unexpected()
    return expr


def _vector(tokens: Tokens) -> Vector:
    tokens.next()
    tokens.expect("(")
    value = _float(tokens.expect("NUMBER").text)
    tokens.expect(")")
    return Vector(value)


def _label_replace(tokens: Tokens) -> LabelReplace:
    tokens.next()
    tokens.expect("(")
    expr = _metric(tokens)
    texts = []
    for _ in range(4):
        tokens.expect(",")
        texts.append(tokens.text())
    tokens.expect(")")
    dst, replacement, src, regex = texts
    return LabelReplace(expr, dst, replacement, src, regex)


def _grouping(tokens: Tokens) -> Grouping | None:
    if tokens.peek() not in ("by", "without"):
        return None
    without = tokens.next().kind == "without"
    return Grouping(tokens.names(), without)


def _vector_aggregation(tokens: Tokens) -> VectorAggregation:
    op = _VECTOR_KINDS[tokens.next().kind]
    grouping = _grouping(tokens)
    tokens.expect("(")
    param = None
    if tokens.peek() == "NUMBER" and tokens.peek(1) == ",":
        param = tokens.next().text
        tokens.next()
    expr = _metric(tokens)
    tokens.expect(")")
    grouping = grouping or _grouping(tokens)
    return checked_aggregation(op, expr, grouping, param)


def _range_aggregation(tokens: Tokens) -> RangeAggregation:
    op = _RANGE_KINDS[tokens.next().kind]
    tokens.expect("(")
    param = None
    if tokens.peek() == "NUMBER":
        param = tokens.next().text
        tokens.expect(",")
    span = _log_range(tokens)
    tokens.expect(")")
    return checked_range(op, span, _grouping(tokens), param)


def _log_range(tokens: Tokens) -> LogRange:
    """``selector stages | unwrap [range] offset``; the range may also come before the stages, and all of it may be in parentheses."""
    tokens.deeper()
    if tokens.take("("):
        span = _in_parentheses(tokens)
    else:
        matchers = selector(tokens)
        span = _ranged(tokens, LogQuery(matchers, pipeline(tokens)), _unwrap(tokens))
    tokens.depth -= 1
    return span


def _in_parentheses(tokens: Tokens) -> LogRange:
    if tokens.peek() == "(":
        span = _log_range(tokens)
        tokens.expect(")")
        return span
    query = LogQuery(selector(tokens), pipeline(tokens))
    unwrap = _unwrap(tokens)
    if tokens.peek() == "RANGE":
        span = _ranged(tokens, query, unwrap)
        tokens.expect(")")
        return span
    tokens.expect(")")
    return _ranged(tokens, query, unwrap)


def _ranged(tokens: Tokens, query: LogQuery, unwrap: Unwrap | None) -> LogRange:
    range_ns = int(tokens.expect("RANGE").value)
    offset_ns = int(tokens.expect("DURATION").value) if tokens.take("offset") else 0
    if not query.stages and unwrap is None:
        query = LogQuery(query.matchers, pipeline(tokens))
        unwrap = _unwrap(tokens)
    return LogRange(query, range_ns, offset_ns, unwrap)


def _unwrap(tokens: Tokens) -> Unwrap | None:
    if tokens.peek() != "|" or tokens.peek(1) != "unwrap":
        return None
    tokens.next()
    tokens.next()
    conversion: str = ""
    if tokens.peek() in {name.upper() for name in CONVERSIONS}:
        conversion = tokens.next().kind.lower()
        tokens.expect("(")
        label = tokens.expect("IDENTIFIER").text
        tokens.expect(")")
    else:
        label = tokens.expect("IDENTIFIER", *(name.upper() for name in CONVERSIONS)).text
    filters = []
    while tokens.take("|"):
        filters.append(label_filter(tokens))
    return Unwrap(label, cast("Conversion", conversion), tuple(filters))
