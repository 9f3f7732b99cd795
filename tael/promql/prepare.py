"""Prepares a parsed expression for one query: durations and ``@`` become milliseconds, step-invariant parts are marked."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from tael.errors import Rejected
from tael.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    Milliseconds,
    Number,
    Paren,
    StepInvariant,
    String,
    Subquery,
    Unary,
    VectorSelector,
    children,
)
from tael.promql.durations import calculated
from tael.promql.functions import FUNCTIONS
from tael.syntax.position import place
from tael.vectors.values import Steps


def prepare(query: str, expr: Expr, steps: Steps) -> Expr:
    """``expr``, the tree of ``query``, prepared for ``steps``. Raises Rejected where a duration has no value at these steps."""
    resolved = _Resolve(query, steps).visit(expr)
    return _marked(resolved)


class _Resolve:
    def __init__(self, query: str, steps: Steps) -> None:
        self._query = query
        self._steps = steps

    def visit(self, expr: Expr) -> Expr:
        match expr:
            case VectorSelector():
                offset = self._duration(expr.offset, expr, negative=True)
                return replace(expr, offset=offset, at=self._at(expr.at))
            case MatrixSelector(selector=selector):
                inner = self.visit(selector)
                assert isinstance(inner, VectorSelector)
                return replace(expr, selector=inner, range=self._duration(expr.range, expr))
            case Subquery():
                return replace(
                    expr,
                    expr=self.visit(expr.expr),
                    range=self._duration(expr.range, expr),
                    step=None if expr.step is None else self._duration(expr.step, expr),
                    offset=self._duration(expr.offset, expr, negative=True),
                    at=self._at(expr.at),
                )
            case _:
                return rebuilt(expr, [self.visit(child) for child in children(expr)])

    def _at(self, at: int | Literal["start", "end"] | None) -> int | None:
        if at == "start":
            return self._steps.start_ms
        return self._steps.end_ms if at == "end" else at

    def _duration(self, duration: Milliseconds, expr: Expr, *, negative: bool = False) -> int:
        steps = self._steps
        try:
            return calculated(duration, step_ms=steps.step_ms, range_ms=steps.end_ms - steps.start_ms, negative=negative)
        except ValueError as problem:
            at = expr.pos.start if isinstance(duration, int) else duration.pos.start
            raise Rejected(f"{place(self._query, at)}: {problem}") from None


def rebuilt(expr: Expr, below: list[Expr]) -> Expr:
    """The same node with new children, in the order of ``ast.children``."""
    match expr:
        case Aggregate():
            return replace(expr, expr=below[0], param=below[1] if len(below) > 1 else None)
        case Binary():
            return replace(expr, left=below[0], right=below[1])
        case Call():
            return replace(expr, args=tuple(below))
        case Unary() | Paren() | StepInvariant() | Subquery():
            return replace(expr, expr=below[0])
        case MatrixSelector() if isinstance(below[0], VectorSelector):
            return replace(expr, selector=below[0])
        case _:
            return expr


def _marked(expr: Expr) -> Expr:
    invariant, marked = _mark(expr)
    return _wrapped(marked) if invariant else marked


def _mark(expr: Expr) -> tuple[bool, Expr]:
    """Whether ``expr`` has the same value at every step, and ``expr``; where it has not, with its step-invariant parts marked."""
    match expr:
        case VectorSelector():
            return expr.at is not None, expr
        case MatrixSelector(selector=selector):
            return selector.at is not None, expr
        case Number() | String():
            return True, expr
        case Subquery():
            # Only its own ``@`` makes a subquery invariant: everything below is evaluated at the subquery's steps.
            invariant, inner = _mark(expr.expr)
            below = _wrapped(inner) if invariant else inner
            return expr.at is not None, replace(expr, expr=below)
        case _:
            return _mark_children(expr)


def _mark_children(expr: Expr) -> tuple[bool, Expr]:
    found = [_mark(child) for child in children(expr)]
    by_step = isinstance(expr, Call) and FUNCTIONS[expr.function].by_step
    # A call without arguments, such as pi(), is invariant too, unless it depends on the step like time().
    if all(invariant for invariant, _ in found) and not by_step:
        return True, rebuilt(expr, [child for _, child in found])
    return False, rebuilt(expr, [_wrapped(child) if invariant else child for invariant, child in found])


def _wrapped(expr: Expr) -> Expr:
    """``expr`` marked as step-invariant, unless it is trivial to evaluate or a range, which a call expects unmarked."""
    inner = expr
    while isinstance(inner, Paren):
        inner = inner.expr
    if isinstance(inner, Number | String | MatrixSelector | Subquery | StepInvariant):
        return expr
    return StepInvariant(expr)
