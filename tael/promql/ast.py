"""The nodes of a PromQL expression, in the language of Prometheus 3.

Nodes are frozen, and compare without their position in the text (``pos``). The parser makes all of them except ``StepInvariant``, which
``prepare`` adds; ``prepare`` also turns duration expressions, ``@ start()`` and ``@ end()`` into milliseconds. The evaluator sees only
prepared expressions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tael.model.series import Matcher
from tael.syntax.position import NOWHERE, Pos

ValueType: TypeAlias = Literal["scalar", "string", "vector", "matrix"]
Card: TypeAlias = Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]


@dataclass(frozen=True, slots=True)
class Number:
    """``1``, ``0x1F``, ``Inf``, or a duration as its seconds (``1h30m``; then ``duration`` is True)."""

    value: float
    duration: bool = False
    pos: Pos = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class String:
    """``"text"``, ``'text'`` or a raw string in backticks."""

    value: str
    pos: Pos = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration expression, calculated when the query's times are known: ``[5m * 2]``, ``offset -step()``, ``[max_of(1m, range() / 2)]``.

    ``op`` is one of ``+ - * / % ^ max_of min_of step range``; a sign has no ``left``, and ``step()`` and ``range()`` have neither side.
    """

    op: str
    left: Duration | Number | None = None
    right: Duration | Number | None = None
    wrapped: bool = False
    pos: Pos = field(default=NOWHERE, compare=False)


Milliseconds: TypeAlias = "int | Duration"
"""A duration in the text: milliseconds, or a duration expression. A prepared expression has only milliseconds."""


@dataclass(frozen=True, slots=True)
class VectorSelector:
    """``name{matchers} anchored offset 5m @ 1000``.

    ``matchers`` include the one on ``__name__`` for ``name``. ``at`` is milliseconds since the epoch, or ``start`` or ``end``
    until the expression is prepared.
    """

    name: str
    matchers: tuple[Matcher, ...]
    offset: Milliseconds = 0
    at: int | Literal["start", "end"] | None = None
    anchored: bool = False
    smoothed: bool = False
    pos: Pos = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class MatrixSelector:
    """``selector[range]``; the offset and ``@`` are the selector's."""

    selector: VectorSelector
    range: Milliseconds
    pos: Pos = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Subquery:
    """``expr[range:step]``; ``step`` is None where it is left out, which selects the engine's default."""

    expr: Expr
    range: Milliseconds
    step: Milliseconds | None = None
    offset: Milliseconds = 0
    at: int | Literal["start", "end"] | None = None
    pos: Pos = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Unary:
    """``-expr`` or ``+expr``."""

    op: Literal["+", "-"]
    expr: Expr
    pos: Pos = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Matching:
    """``on(labels)`` or ``ignoring(labels)``, ``group_left(include)``, ``fill_left(0)``; many-to-one is ``group_left``.

    Set operators are many-to-many. ``fill_left`` stands in for a sample that is missing on the left.
    """

    card: Card = "one-to-one"
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    """``left op right``; ``op`` is lower case. ``matching`` is None unless both sides are vectors."""

    op: str
    left: Expr
    right: Expr
    matching: Matching | None = None
    return_bool: bool = False
    pos: Pos = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Aggregate:
    """``op by (grouping) (param, expr)``; neither by nor without is ``by ()``. ``op`` is lower case."""

    op: str
    expr: Expr
    param: Expr | None = None
    grouping: tuple[str, ...] = ()
    without: bool = False
    pos: Pos = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """``function(args)``; ``functions.FUNCTIONS`` has its signature."""

    function: str
    args: tuple[Expr, ...]
    pos: Pos = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Paren:
    """``(expr)``."""

    expr: Expr
    pos: Pos = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class StepInvariant:
    """An expression with the same value at every step of the query (``metric @ 100``): it is evaluated only at the first step."""

    expr: Expr

    @property
    def pos(self) -> Pos:
        """The position of its expression."""
        return self.expr.pos


Expr: TypeAlias = Number | String | VectorSelector | MatrixSelector | Subquery | Unary | Binary | Aggregate | Call | Paren | StepInvariant


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly below, in the order in which they are evaluated."""
    match expr:
        case Aggregate(expr=inner, param=param):
            return (inner,) if param is None else (inner, param)
        case Binary(left=left, right=right):
            return (left, right)
        case Call(args=args):
            return args
        case MatrixSelector(selector=selector):
            return (selector,)
        case Subquery(expr=inner) | Unary(expr=inner) | Paren(expr=inner) | StepInvariant(expr=inner):
            return (inner,)
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """The expression and everything below it, parents first."""
    yield expr
    for child in children(expr):
        yield from walk(child)


def unwrapped(expr: Expr) -> Expr:
    """The expression inside parentheses and step-invariant marks."""
    while isinstance(expr, Paren | StepInvariant):
        expr = expr.expr
    return expr
