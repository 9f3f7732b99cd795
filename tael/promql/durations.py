"""Durations in brackets and after ``offset``: literals and duration expressions (``5m * 2``, ``-step()``, ``max_of(1m, range())``)."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

from tael.promql.ast import Duration, Milliseconds, Number
from tael.promql.errors import ParseError
from tael.promql.tokens import Tokens
from tael.syntax.literals import MAX_MS
from tael.syntax.position import Pos

_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 3}
_OF_POWER = 3
_EXTREMES = {"max_of": "max_of", "max": "max_of", "min_of": "min_of", "min": "min_of"}


def milliseconds(duration: Duration | Number) -> Milliseconds:
    """A literal as milliseconds; an expression is returned unchanged."""
    return _rounded(duration.value) if isinstance(duration, Number) else duration


def positive(tokens: Tokens, context: str, expected: str) -> Duration | Number:
    """Parse a range or a step. Raises ParseError; a literal must be greater than 0."""
    duration = _expression(tokens, 1, context, expected)
    if isinstance(duration, Number) and duration.value <= 0:
        raise ParseError(tokens.query, duration.pos, "duration must be greater than 0")
    return duration


def offset(tokens: Tokens) -> Duration | Number:
    """Parse the term after ``offset``: only one term, because ``offset 5m * 2`` means twice the value of five minutes ago."""
    return _term(tokens, "offset", "number, duration, step(), or range()")


def calculated(duration: Milliseconds, *, step_ms: int, range_ms: int, negative: bool) -> int:
    """A duration expression in milliseconds. Raises ValueError where it has no value, or is not above 0 and not ``negative``."""
    if isinstance(duration, int):
        return duration
    seconds = _seconds(duration, step_ms / 1000, range_ms / 1000)
    if not negative and not seconds > 0:
        raise ValueError("duration must be greater than 0")
    if not math.isfinite(seconds) or abs(seconds) > MAX_MS / 1000:
        raise ValueError("duration is out of range")
    return _rounded(seconds)


def _rounded(seconds: float) -> int:
    # Truncated as in Go, except for products that only miss a whole number by rounding: 1.001 s is 1000.9999999999999 ms.
    return int(seconds * 1000) if abs(seconds * 1000 - round(seconds * 1000)) > 1e-6 else round(seconds * 1000)


def _expression(tokens: Tokens, least: int, context: str, expected: str) -> Duration | Number:
    left = _term(tokens, context, expected)
    while (level := _PRECEDENCE.get(tokens.peek().kind, 0)) >= least:
        op = tokens.next()
        # A power binds to the right, everything else to the left.
        right = _expression(tokens, level if op.kind == "^" else level + 1, context, expected)
        if op.kind in "/%" and isinstance(right, Number) and right.value == 0:
            raise ParseError(tokens.query, op.pos, "division by zero" if op.kind == "/" else "modulo by zero")
        left = Duration(op.kind, left, right, pos=Pos(left.pos.start, right.pos.end))
    return left


def _term(tokens: Tokens, context: str, expected: str) -> Duration | Number:
    token = tokens.peek()
    if token.kind in ("+", "-"):
        tokens.next()
        # As in expressions, a sign binds less tightly than a power.
        inner = _term(tokens, context, expected) if context == "offset" else _expression(tokens, _OF_POWER, context, expected)
        return _signed(tokens, token.kind, inner, Pos(token.pos.start, inner.pos.end))
    if token.kind in ("number", "duration"):
        return _literal(tokens, tokens.number())
    if token.kind in ("step", "range"):
        tokens.next()
        tokens.expect("(")
        return Duration(token.kind, pos=Pos(token.pos.start, tokens.expect(")").pos.end))
    if token.text.lower() in _EXTREMES:
        return _extreme(tokens, context, expected)
    if token.kind == "(":
        tokens.next()
        inner = _expression(tokens, 1, "", "")
        pos = Pos(token.pos.start, tokens.expect(")").pos.end)
        if isinstance(inner, Number):
            return Duration("+", None, inner, wrapped=True, pos=pos)
        return Duration(inner.op, inner.left, inner.right, wrapped=True, pos=pos)
    raise tokens.unexpected(context, expected)


def _extreme(tokens: Tokens, context: str, expected: str) -> Duration:
    name = tokens.next()
    tokens.expect("(")
    left = _expression(tokens, 1, context, expected)
    tokens.expect(",")
    right = _expression(tokens, 1, context, expected)
    return Duration(_EXTREMES[name.text.lower()], left, right, pos=Pos(name.pos.start, tokens.expect(")").pos.end))


def _literal(tokens: Tokens, literal: Number) -> Number:
    if not abs(literal.value) * 1000 <= MAX_MS:
        raise ParseError(tokens.query, literal.pos, "duration out of range")
    return literal


def _signed(tokens: Tokens, sign: str, inner: Duration | Number, pos: Pos) -> Duration | Number:
    if isinstance(inner, Number):
        return _literal(tokens, Number(-inner.value if sign == "-" else inner.value, inner.duration, pos))
    return Duration("-", None, inner, pos=pos) if sign == "-" else inner


def _seconds(duration: Duration | Number | None, step: float, span: float) -> float:
    if duration is None:
        return 0.0
    if isinstance(duration, Number):
        return duration.value
    if duration.op in ("step", "range"):
        return step if duration.op == "step" else span
    left, right = _seconds(duration.left, step, span), _seconds(duration.right, step, span)
    return _OPERATIONS[duration.op](left, right)


def _quotient(left: float, right: float) -> float:
    if right == 0:
        raise ValueError("division by zero")
    return left / right


def _remainder(left: float, right: float) -> float:
    if right == 0:
        raise ValueError("modulo by zero")
    return math.fmod(left, right)


def _power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except (ValueError, OverflowError):
        return math.nan


_OPERATIONS: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _quotient,
    "%": _remainder,
    "^": _power,
    "max_of": max,
    "min_of": min,
}
