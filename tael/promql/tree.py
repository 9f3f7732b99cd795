"""Trees as JSON, in the form of ``parse_query`` of Prometheus' HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tael.model.series import Matcher
from tael.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Expr,
    Matching,
    MatrixSelector,
    Milliseconds,
    Number,
    Paren,
    StepInvariant,
    String,
    Subquery,
    Unary,
    VectorSelector,
)
from tael.promql.functions import FUNCTIONS
from tael.syntax.literals import decimal


def document(expr: Expr) -> dict[str, Any]:  # noqa: C901, PLR0911 - one branch a kind of node
    """The tree below ``expr`` as JSON; a duration expression is 0, as in Prometheus."""
    match expr:
        case Number(value=value):
            return {"type": "numberLiteral", "val": decimal(value)}
        case String(value=text):
            return {"type": "stringLiteral", "val": text}
        case VectorSelector():
            return {"type": "vectorSelector", **_selector(expr)}
        case MatrixSelector(selector=selector, range=window):
            return {"type": "matrixSelector", **_selector(selector), "range": _milliseconds(window)}
        case Subquery():
            step = 0 if expr.step is None else _milliseconds(expr.step)
            return {"type": "subquery", "expr": document(expr.expr), "range": _milliseconds(expr.range), "step": step, **_times(expr)}
        case Unary(op=op, expr=inner):
            return {"type": "unaryExpr", "op": op, "expr": document(inner)}
        case Binary():
            return _binary(expr)
        case Aggregate():
            return _aggregate(expr)
        case Call():
            return _call(expr)
        case Paren(expr=inner):
            return {"type": "parenExpr", "expr": document(inner)}
        case StepInvariant(expr=inner):
            return document(inner)


def _selector(selector: VectorSelector) -> dict[str, Any]:
    return {
        "name": selector.name,
        "matchers": _matchers(selector.matchers),
        **_times(selector),
        "anchored": selector.anchored,
        "smoothed": selector.smoothed,
    }


def _matchers(matchers: Sequence[Matcher]) -> list[dict[str, str]]:
    return [{"name": matcher.name, "value": matcher.value, "type": matcher.op} for matcher in matchers]


def _times(node: VectorSelector | Subquery) -> dict[str, Any]:
    bound = isinstance(node.at, str)
    return {"offset": _milliseconds(node.offset), "timestamp": None if bound else node.at, "startOrEnd": node.at if bound else None}


def _milliseconds(duration: Milliseconds) -> int:
    return duration if isinstance(duration, int) else 0


def _binary(expr: Binary) -> dict[str, Any]:
    return {
        "type": "binaryExpr",
        "op": expr.op,
        "lhs": document(expr.left),
        "rhs": document(expr.right),
        "matching": None if expr.matching is None else _matching(expr.matching),
        "bool": expr.return_bool,
    }


def _matching(matching: Matching) -> dict[str, Any]:
    return {
        "card": matching.card,
        "labels": list(matching.labels),
        "on": matching.on,
        "include": list(matching.include),
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    }


def _aggregate(expr: Aggregate) -> dict[str, Any]:
    return {
        "type": "aggregation",
        "op": expr.op,
        "expr": document(expr.expr),
        "param": None if expr.param is None else document(expr.param),
        "grouping": list(expr.grouping),
        "without": expr.without,
    }


def _call(expr: Call) -> dict[str, Any]:
    function = FUNCTIONS[expr.function]
    signature = {
        "name": function.name,
        "argTypes": list(function.arguments),
        "variadic": function.variadic,
        "returnType": function.returns,
    }
    return {"type": "call", "func": signature, "args": [document(arg) for arg in expr.args]}
