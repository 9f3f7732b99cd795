"""Pretty-prints a tree: an expression of more than a hundred characters is broken into lines, indented by two spaces a level."""

from __future__ import annotations

from typing import Final

from tael.logql.ast import (
    Binary,
    Expr,
    LabelReplace,
    LogQuery,
    LogRange,
    RangeAggregation,
    VectorAggregation,
)
from tael.logql.print import (
    grouping_text,
    printed,
    printed_grouping,
    printed_operator,
    printed_query,
    printed_selector,
    printed_stage,
    printed_unwrap,
)
from tael.syntax.literals import decimal, duration, quoted

WIDTH: Final = 100


def pretty(expr: Expr, level: int = 0) -> str:  # noqa: PLR0911 - one line a kind of node
    """The expression with its lines indented by ``level``."""
    text = printed(expr)
    if len(text) <= WIDTH:
        return _indent(level) + text
    if isinstance(expr, LogQuery):
        return _query(expr, level)
    if isinstance(expr, RangeAggregation):
        return _range_aggregation(expr, level)
    if isinstance(expr, VectorAggregation):
        params = [] if expr.param is None else [f"{_indent(level + 1)}{expr.param}"]
        return _call(expr.op + printed_grouping(expr.grouping, ", "), [*params, pretty(expr.expr, level + 1)], level)
    if isinstance(expr, Binary):
        return f"{pretty(expr.left, level + 1)}\n{_indent(level)}{printed_operator(expr, ', ')}\n{pretty(expr.right, level + 1)}"
    if isinstance(expr, LabelReplace):
        texts = [_indent(level + 1) + quoted(text) for text in (expr.dst, expr.replacement, expr.src, expr.regex)]
        return _call("label_replace", [pretty(expr.expr, level + 1), *texts], level)
    return _indent(level) + text


def _indent(level: int) -> str:
    return "  " * level


def _call(name: str, arguments: list[str], level: int) -> str:
    return f"{_indent(level)}{name.rstrip()}(\n" + ",\n".join(arguments) + f"\n{_indent(level)})"


def _query(query: LogQuery, level: int) -> str:
    if len(printed_query(query)) <= WIDTH:
        return _indent(level) + printed_query(query)
    stages = [_indent(level + 1) + printed_stage(stage) for stage in query.stages]
    return "\n".join([_indent(level) + printed_selector(query.matchers), *stages])


def _range(span: LogRange, level: int) -> str:
    unwrap = "".join(f"\n{_indent(level + 1)}{part}" for part in printed_unwrap(span.unwrap)) if span.unwrap else ""
    offset = f" offset {duration(span.offset_ns // 1_000_000)}" if span.offset_ns else ""
    return f"{_query(span.query, level)}{unwrap} [{duration(span.range_ns // 1_000_000)}]{offset}"


def _range_aggregation(expr: RangeAggregation, level: int) -> str:
    params = [] if expr.param is None else [f"{_indent(level + 1)}{decimal(expr.param)}"]
    grouping = grouping_text(expr.grouping, ", ") if expr.grouping else ""
    return _call(expr.op, [*params, _range(expr.range, level + 1)], level) + grouping
