"""The record of a PromQL function, and the arguments passed to its implementation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tael.model.series import Floats, Matcher
from tael.promql.ast import ValueType
from tael.vectors.annotations import Annotations
from tael.vectors.ranges.functions import RangeFunction
from tael.vectors.selectors import Ranges
from tael.vectors.values import Steps, Value, Vector


class Arguments(Protocol):
    """The arguments of one call, each evaluated on access, at the steps of the call."""

    @property
    def steps(self) -> Steps:
        """The steps that the call is evaluated at."""
        ...

    @property
    def query_steps(self) -> Steps:
        """The steps of the whole query, which differ from ``steps`` below a subquery."""
        ...

    @property
    def notes(self) -> Annotations:
        """The annotations of the query, to which the function may add."""
        ...

    @property
    def place(self) -> int:
        """The offset of the call in the query's text."""
        ...

    def __len__(self) -> int:
        """How many arguments there are."""
        ...

    def check(self) -> None:
        """MUST be called regularly during long work; raises when the query was cancelled or timed out."""
        ...

    def require_room(self, samples: int) -> None:
        """MUST be called with the samples of a result that may have more of them than the arguments, before it is built; raises
        TooLarge.
        """
        ...

    def at(self, index: int) -> int:
        """The offset of an argument in the query's text, inside any parentheses."""
        ...

    def vector(self, index: int, *, hinting_resets: bool = False) -> Vector:
        """An instant vector; with ``hinting_resets`` its histograms have a hint where a counter was reset."""
        ...

    def scalar(self, index: int) -> Floats:
        """One number a step."""
        ...

    def text(self, index: int) -> str:
        """The value of a string literal."""
        ...

    def texts(self, begin: int) -> list[str]:
        """The values of the string literals from ``begin`` on."""
        ...

    def timed(self, index: int) -> tuple[Vector, Floats]:
        """An instant vector and the times of its samples in milliseconds: the samples' own for a selector, the steps for any other
        expression.
        """
        ...

    def matchers(self, index: int) -> Sequence[Matcher]:
        """The matchers of a selector, none for any other expression."""
        ...

    def over(self, function: RangeFunction) -> Vector:
        """Evaluate a range function over the argument that is a range, with the other arguments as numbers."""
        ...

    def ranges(self, index: int) -> Ranges:
        """A range's windows. Raises Rejected for an anchored or smoothed range."""
        ...

    def infos(self) -> tuple[Vector, Floats]:
        """The series that ``info`` takes labels from, and their samples' times in milliseconds."""
        ...


Apply: TypeAlias = Callable[[Arguments], Value]


@dataclass(frozen=True, slots=True)
class Function:
    """One function.

    ``variadic`` is how often the last argument may occur: 0 means exactly once, ``n`` up to ``n`` times or not at all, -1 any number of
    times. An experimental function parses only where the setting allows it. ``by_step`` says that its value depends on the step even if its
    arguments do not. ``over`` is the range function of ``tael.vectors`` behind it.
    """

    name: str
    arguments: tuple[ValueType, ...]
    returns: ValueType
    apply: Apply
    variadic: int = 0
    experimental: bool = False
    by_step: bool = False
    over: RangeFunction | None = None
