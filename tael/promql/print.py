"""Prints trees in Prometheus' format: on one line, or broken into lines of at most 100 characters."""

from __future__ import annotations

import re

from tael.model.series import METRIC_NAME, Matcher
from tael.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Duration,
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
from tael.syntax.literals import decimal, duration, quoted

LINE = 100
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def printed(expr: Expr) -> str:  # noqa: C901, PLR0911 - one line a kind of node
    """The canonical text; parsing it gives a tree equal to ``expr``."""
    match expr:
        case Number(value=value, duration=is_duration):
            return duration(round(value * 1000)) if is_duration else decimal(value)
        case String(value=value):
            return quoted(value)
        case VectorSelector():
            return f"{_bare(expr)}{_extended(expr)}{_times(expr)}"
        case MatrixSelector(selector=selector, range=window):
            return f"{_bare(selector)}[{_duration(window)}]{_extended(selector)}{_times(selector)}"
        case Subquery():
            return printed(expr.expr) + _suffix(expr)
        case Unary(op=op, expr=inner):
            return op + printed(inner)
        case Binary():
            return f"{printed(expr.left)} {_operator(expr)} {printed(expr.right)}"
        case Aggregate():
            parameter = "" if expr.param is None else f"{printed(expr.param)}, "
            return f"{_aggregator(expr)}({parameter}{printed(expr.expr)})"
        case Call(function=function, args=args):
            return f"{function}({', '.join(printed(arg) for arg in args)})"
        case Paren(expr=inner):
            return f"({printed(inner)})"
        case StepInvariant(expr=inner):
            return printed(inner)


def pretty(expr: Expr, level: int = 0) -> str:  # noqa: PLR0911 - one line a kind of node
    """The text with long expressions broken into indented lines."""
    indent, line = "  " * level, printed(expr)
    if isinstance(expr, Unary):
        return indent + expr.op + pretty(expr.expr, level).strip()
    if isinstance(expr, StepInvariant):
        return pretty(expr.expr, level)
    if len(line) <= LINE:
        return line if isinstance(expr, Subquery) else indent + line
    match expr:
        case Subquery():
            return pretty(expr.expr, level) + _suffix(expr)
        case Binary():
            return f"{pretty(expr.left, level + 1)}\n{indent}{_operator(expr)}\n{pretty(expr.right, level + 1)}"
        case Aggregate():
            parameter = "" if expr.param is None else f"{pretty(expr.param, level + 1)},\n"
            return f"{indent}{_aggregator(expr)}(\n{parameter}{pretty(expr.expr, level + 1)}\n{indent})"
        case Call(function=function, args=args) if args:
            lines = ",\n".join(pretty(arg, level + 1) for arg in args)
            return f"{indent}{function}(\n{lines}\n{indent})"
        case Paren():
            return f"{indent}(\n{pretty(expr.expr, level + 1)}\n{indent})"
        case _:
            return indent + line


def _bare(selector: VectorSelector) -> str:
    shown = sorted(_matcher(matcher) for matcher in selector.matchers if not _is_name(selector, matcher))
    if not shown and not selector.name:
        return "{}"
    return f"{selector.name}{{{','.join(shown)}}}" if shown else selector.name


def _is_name(selector: VectorSelector, matcher: Matcher) -> bool:
    return bool(selector.name) and matcher == Matcher(METRIC_NAME, "=", selector.name)


def _matcher(matcher: Matcher) -> str:
    return f"{_label(matcher.name)}{matcher.op}{quoted(matcher.value)}"


def _label(name: str) -> str:
    return name if _LABEL.fullmatch(name) else quoted(name)


def _labels(names: tuple[str, ...]) -> str:
    return f"({', '.join(map(_label, names))})"


def _extended(selector: VectorSelector) -> str:
    if selector.anchored:
        return " anchored"
    return " smoothed" if selector.smoothed else ""


def _times(node: VectorSelector | Subquery) -> str:
    at = ""
    if node.at is not None:
        at = f" @ {node.at / 1000:.3f}" if isinstance(node.at, int) else f" @ {node.at}()"
    return f"{at} offset {_duration(node.offset)}" if node.offset != 0 else at


def _suffix(node: Subquery) -> str:
    step = "" if node.step is None else _duration(node.step)
    return f"[{_duration(node.range)}:{step}]{_times(node)}"


def _duration(value: Milliseconds) -> str:
    return duration(value) if isinstance(value, int) else _calculation(value)


def _calculation(value: Duration | Number | None) -> str:
    if value is None:
        return ""
    if isinstance(value, Number):
        return printed(value)
    left, right = _calculation(value.left), _calculation(value.right)
    if value.op in ("step", "range"):
        text = f"{value.op}()"
    elif value.op in ("max_of", "min_of"):
        text = f"{value.op}({left}, {right})"
    elif value.left is None:
        text = f"-{right}" if value.op == "-" else right
    else:
        text = f"{left} {value.op} {right}"
    return f"({text})" if value.wrapped else text


def _operator(expr: Binary) -> str:
    return expr.op + (" bool" if expr.return_bool else "") + _matching(expr.matching)


def _matching(matching: Matching | None) -> str:
    if matching is None:
        return ""
    text, grouped = "", matching.card in ("many-to-one", "one-to-many")
    if matching.labels or matching.on or grouped:
        text += f" {'on' if matching.on else 'ignoring'} {_labels(matching.labels)}"
    if grouped:
        text += f" group_{'left' if matching.card == 'many-to-one' else 'right'} {_labels(matching.include)}"
    return text + _filled(matching)


def _filled(matching: Matching) -> str:
    left, right = matching.fill_left, matching.fill_right
    if left is not None and right is not None and decimal(left) == decimal(right):
        return f" fill ({decimal(left)})"
    sides = (("left", left), ("right", right))
    return "".join(f" fill_{side} ({decimal(value)})" for side, value in sides if value is not None)


def _aggregator(expr: Aggregate) -> str:
    if expr.without:
        return f"{expr.op} without {_labels(expr.grouping)} "
    return f"{expr.op} by {_labels(expr.grouping)} " if expr.grouping else expr.op
