"""The times at which operands are evaluated, decided in one place for ``needs`` and ``evaluate``."""

from __future__ import annotations

from typing import Literal

from tael.promql.ast import Milliseconds, Subquery, VectorSelector
from tael.vectors.values import Steps


def first_step(steps: Steps) -> Steps:
    """The steps of the operand of a step-invariant node: the first one alone."""
    return Steps(steps.start_ms, steps.start_ms, 0)


def moved(node: VectorSelector | Subquery, steps: Steps) -> Steps:
    """The times that a selector or a subquery reads at ``steps``: with ``@`` a single one, shifted by ``offset``."""
    if node.at is not None:
        at = milliseconds(node.at) - milliseconds(node.offset)
        return Steps(at, at, 0)
    offset = milliseconds(node.offset)
    return Steps(steps.start_ms - offset, steps.end_ms - offset, steps.step_ms)


def subquery_steps(node: Subquery, steps: Steps, default_step_ms: int) -> Steps:
    """The steps of a subquery's expression: every multiple of its step in ``(start - range, end]``, offset and ``@`` applied."""
    outer = moved(node, steps)
    interval = default_step_ms if node.step is None else milliseconds(node.step)
    begin = outer.start_ms - milliseconds(node.range)
    # On multiples of the step since the epoch, whenever the query begins, so that a shifted range sees the same inner samples. Always
    # after begin, because a range excludes its start.
    first = begin - begin % interval + interval
    return Steps(first, outer.end_ms, interval)


def milliseconds(duration: Milliseconds | Literal["start", "end"]) -> int:
    """A duration or a time of a prepared expression; the expression MUST be prepared."""
    assert isinstance(duration, int), "the expression is not prepared"
    return duration
