"""The modifiers that may follow a PromQL expression: ``[range]``, ``[range:step]``, ``offset``, ``@``, ``anchored``, ``smoothed``. Pure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from tael.promql import durations
from tael.promql.ast import Duration, Expr, MatrixSelector, Number, Subquery, VectorSelector
from tael.promql.errors import ParseError
from tael.promql.features import Features
from tael.promql.tokens import Tokens
from tael.syntax.position import Pos


class Postfix:
    """Reads these modifiers from ``tokens``; those that ``features`` do not allow are refused."""

    def __init__(self, tokens: Tokens, features: Features) -> None:
        self._tokens = tokens
        self._features = features

    def with_modifiers(self, expr: Expr) -> Expr:
        """``expr`` with all modifiers that follow it. Raises ParseError."""
        while True:
            match self._tokens.peek().kind:
                case "[":
                    expr = self._ranged(expr)
                case "offset":
                    self._tokens.next()
                    offset = durations.offset(self._tokens)
                    self._allow_duration(offset)
                    expr = self._with_offset(expr, offset)
                case "@":
                    self._tokens.next()
                    expr = self._with_at(expr)
                case "anchored" | "smoothed" as kind:
                    self._tokens.next()
                    expr = self._extended(expr, kind)
                case _:
                    return expr

    def _ranged(self, expr: Expr) -> Expr:
        opened = self._tokens.next()
        window = self._allow_duration(
            durations.positive(self._tokens, "subquery or range selector", "number, duration, step(), or range()")
        )
        if self._tokens.peek().kind == ":":
            return self._subquery(expr, window)
        if self._tokens.peek().kind != "]":
            raise self._tokens.unexpected("subquery or range", '":" or "]"')
        closed = self._tokens.next()
        brackets = Pos(opened.pos.start, closed.pos.end)
        if not isinstance(expr, VectorSelector):
            raise self._error(brackets, "ranges only allowed for vector selectors")
        if expr.offset != 0:
            raise self._error(brackets, "no offset modifiers allowed before range")
        if expr.at is not None:
            raise self._error(brackets, "no @ modifiers allowed before range")
        return MatrixSelector(expr, durations.milliseconds(window), Pos(expr.pos.start, closed.pos.end))

    def _subquery(self, expr: Expr, window: Duration | Number) -> Expr:
        self._tokens.next()
        step = None
        if self._tokens.peek().kind != "]":
            step = self._allow_duration(durations.positive(self._tokens, "subquery selector", 'number, duration, step(), range(), or "]"'))
        if self._tokens.peek().kind != "]":
            raise self._tokens.unexpected("subquery selector", '"]"')
        end = self._tokens.next().pos.end
        every = None if step is None else durations.milliseconds(step)
        return Subquery(expr, durations.milliseconds(window), every, pos=Pos(expr.pos.start, end))

    def _allow_duration(self, duration: Duration | Number) -> Duration | Number:
        if isinstance(duration, Duration) and not self._features.duration_expressions:
            raise self._error(duration.pos, "experimental duration expression is not enabled")
        return duration

    def _with_offset(self, expr: Expr, offset: Duration | Number) -> Expr:
        if not isinstance(expr, VectorSelector | MatrixSelector | Subquery):
            wanted = "offset modifier must be preceded by an instant vector selector or range vector selector or a subquery"
            raise self._error(expr.pos, wanted)
        timed = expr.selector if isinstance(expr, MatrixSelector) else expr
        if timed.offset != 0:
            raise self._error(expr.pos, "offset may not be set multiple times")
        return self._timed(expr, replace(timed, offset=durations.milliseconds(offset)))

    def _with_at(self, expr: Expr) -> Expr:
        bound = self._tokens.peek().kind
        at: int | Literal["start", "end"]
        if bound in ("start", "end"):
            self._tokens.next()
            for parenthesis in "()":
                if self._tokens.peek().kind != parenthesis:
                    raise self._tokens.unexpected("@", "timestamp")
                self._tokens.next()
            at = "start" if bound == "start" else "end"
        elif bound in ("number", "duration", "+", "-"):
            at = self._instant(expr, self._tokens.signed_number("@", "timestamp"))
        else:
            raise self._tokens.unexpected("@", "timestamp")
        if not isinstance(expr, VectorSelector | MatrixSelector | Subquery):
            wanted = "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery"
            raise self._error(expr.pos, wanted)
        timed = expr.selector if isinstance(expr, MatrixSelector) else expr
        if timed.at is not None:
            raise self._error(expr.pos, "@ <timestamp> may not be set multiple times")
        return self._timed(expr, replace(timed, at=at))

    def _instant(self, expr: Expr, seconds: float) -> int:
        if not math.isfinite(seconds) or abs(seconds) >= float(1 << 63):
            shown = {math.inf: "+Inf", -math.inf: "-Inf"}.get(seconds, "NaN" if math.isnan(seconds) else f"{seconds:f}")
            raise self._error(expr.pos, f"timestamp out of bounds for @ modifier: {shown}")
        # Halves are rounded away from zero, as by Go's math.Round; Python's round() goes to the even neighbour.
        return math.floor(seconds * 1000 + 0.5) if seconds >= 0 else math.ceil(seconds * 1000 - 0.5)

    def _timed(self, expr: VectorSelector | MatrixSelector | Subquery, timed: VectorSelector | Subquery) -> Expr:
        pos = Pos(expr.pos.start, self._tokens.last_end)
        if isinstance(expr, MatrixSelector):
            assert isinstance(timed, VectorSelector)
            return replace(expr, selector=timed, pos=pos)
        return replace(timed, pos=pos)

    def _extended(self, expr: Expr, kind: str) -> Expr:
        if not self._features.extended_ranges:
            raise self._error(expr.pos, f"{kind} modifier is experimental and not enabled")
        if isinstance(expr, Subquery):
            raise self._error(expr.pos, f"{kind} modifier is not supported for subqueries")
        if not isinstance(expr, VectorSelector | MatrixSelector):
            raise self._error(expr.pos, f"{kind} modifier not implemented")
        selector = expr.selector if isinstance(expr, MatrixSelector) else expr
        selector = replace(selector, anchored=selector.anchored or kind == "anchored", smoothed=selector.smoothed or kind == "smoothed")
        if selector.anchored and selector.smoothed:
            raise self._error(expr.pos, "anchored and smoothed modifiers cannot be used together")
        return replace(expr, selector=selector) if isinstance(expr, MatrixSelector) else selector

    def _error(self, pos: Pos, problem: str) -> ParseError:
        return ParseError(self._tokens.query, pos, problem)
