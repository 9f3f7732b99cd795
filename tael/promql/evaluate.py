"""Evaluate a prepared expression over fetched data: numpy over series and steps, every step at once. Pure: no time, no I/O, no state.

Each node gives a scalar, a string or a vector at each of its steps. Subqueries and step-invariant parts evaluate their operands at their
own steps. Selectors go by absolute times, so the data may hold more than is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tael.errors import Rejected, TooLarge
from tael.model.series import TOO_MANY_SAMPLES, Bools, Floats, Matcher, Samples
from tael.promql.ast import (
    Aggregate,
    Binary,
    Call,
    Expr,
    Matching,
    MatrixSelector,
    Number,
    Paren,
    StepInvariant,
    String,
    Subquery,
    Unary,
    VectorSelector,
    unwrapped,
)
from tael.promql.fetched import Fetched
from tael.promql.functions import FUNCTIONS
from tael.promql.leaves import Leaves, check_modifiers
from tael.promql.times import first_step, milliseconds, moved, subquery_steps
from tael.vectors import binary, selectors, vectors
from tael.vectors.aggregation.apply import Grouping, Places, aggregate
from tael.vectors.annotations import Annotations, of_rollups
from tael.vectors.binary import Operator
from tael.vectors.matching import Rule
from tael.vectors.ranges import call as range_call
from tael.vectors.ranges.functions import RangeFunction
from tael.vectors.selectors import Ranges
from tael.vectors.values import Matrix, Scalar, Steps, Text, Value, Vector


@dataclass(frozen=True, slots=True)
class Settings:
    """``lookback_ms`` is how old a sample may be; ``subquery_step_ms`` the step of a subquery that names none.

    ``max_samples`` limits the samples that are read and, separately, the values that are held (series by steps; a native histogram counts
    by its buckets). ``check`` is called at every node and raises when the query was cancelled or timed out. With ``delayed_names`` a name
    that a function drops is kept until the end of the query, so that label functions can still read it; without, it is dropped at once.
    """

    lookback_ms: int = 300_000
    subquery_step_ms: int = 60_000
    max_samples: int = 50_000_000
    delayed_names: bool = True
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A value and its annotations. A vector holds no series without a sample."""

    value: Value
    notes: Annotations


def evaluate(expr: Expr, steps: Steps, fetched: Fetched, settings: Settings, query: str = "") -> Evaluated:
    """The value of ``expr`` at ``steps``. ``query`` is its text, to which the positions of annotations refer.

    Raises Rejected, with Prometheus' messages, where the data does not allow the operation (two series with the same labels, a factor out
    of range), and TooLarge beyond ``max_samples``.
    """
    run = Evaluation(Leaves(fetched, settings.lookback_ms), settings, steps, Annotations(query))
    # Fetched samples count before anything is computed from them: in Prometheus, loading them is what hits the limit.
    run.bounded(sum(samples.room for samples in fetched.samples.values()))
    # Division by zero and NaN are values in PromQL, not conditions to warn about.
    with np.errstate(all="ignore"):
        inner = unwrapped(expr)
        if isinstance(inner, MatrixSelector | Subquery):
            value: Value = run.matrix(inner, steps)
        else:
            value = run.value(expr, steps)
        if isinstance(value, Vector):
            value = vectors.without_empty(vectors.names_dropped(value))
    for rollups, at in fetched.rollups():
        run.notes.add(of_rollups(rollups), at)
    return Evaluated(value, run.notes)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One walk of the tree: leaves come from ``leaves``, operators and functions from ``tael.vectors``."""

    leaves: Leaves
    settings: Settings
    query_steps: Steps
    notes: Annotations
    held: int = 0
    """Samples held at the same time: the left operands of the operators above."""

    def value(self, node: Expr, steps: Steps) -> Value:
        """The value of any node that is not a range. Raises TooLarge beyond ``max_samples``."""
        self.settings.check()
        value = self._value(node, steps)
        if isinstance(value, Vector):
            self.bounded(value.room)
            # Dropping names may leave two series with the same labels: an error right here without delayed names, and only at the end with
            # them.
            return value if self.settings.delayed_names else vectors.names_dropped(value)
        return value

    def _value(self, node: Expr, steps: Steps) -> Value:  # noqa: PLR0911 - one line a kind of node
        match node:
            case Number(value=number):
                return Scalar(np.full(steps.count, number))
            case String(value=text):
                return Text(text)
            case Paren(expr=inner):
                return self.value(inner, steps)
            case StepInvariant(expr=inner):
                # Every step has the same value: computed once, then broadcast to all steps without a copy.
                return vectors.repeated_value(self.value(inner, first_step(steps)), steps.count)
            case VectorSelector():
                return self.leaves.selected(node, steps, self.bounded)
            case Unary(op=op, expr=inner):
                return binary.signed(op, self.value(inner, steps))
            case Binary():
                return self._binary(node, steps)
            case Aggregate():
                return self._aggregate(node, steps)
            case Call():
                return FUNCTIONS[node.function].apply(CallArguments(self, node, steps))
            case _:
                raise Rejected("expected an instant vector, got a range vector")

    def vector(self, node: Expr, steps: Steps) -> Vector:
        """The value of a node that gives a vector."""
        value = self.value(node, steps)
        assert isinstance(value, Vector)
        return value

    def scalar(self, node: Expr, steps: Steps) -> Floats:
        """The value of a node that gives a scalar."""
        value = self.value(node, steps)
        assert isinstance(value, Scalar)
        return value.values

    def bounded(self, samples: int) -> None:
        """Raise TooLarge when ``samples``, with those held, exceed ``max_samples``."""
        if samples + self.held > self.settings.max_samples:
            raise TooLarge(TOO_MANY_SAMPLES)

    def _binary(self, node: Binary, steps: Steps) -> Value:
        left = self.value(node.left, steps)
        # The left operand stays in memory while the right one is evaluated, so it counts against the limit there.
        waiting = replace(self, held=self.held + left.room) if isinstance(left, Vector) else self
        right = waiting.value(node.right, steps)
        op = Operator(node.op, node.return_bool, node.pos.start)
        return binary.operate(op, left, right, _rule(node.matching or Matching()), self.notes)

    def _aggregate(self, node: Aggregate, steps: Steps) -> Vector:
        vector = self.vector(node.expr, steps)
        by, at = Grouping(node.grouping, node.without), Places(node.pos.start, operand=unwrapped(node.expr).pos.start)
        if node.param is None:
            return aggregate(node.op, vector, by, None, self.notes, at, self.bounded)
        param = unwrapped(node.param)
        parameter = param.value if isinstance(param, String) else self.scalar(node.param, steps)
        return aggregate(node.op, vector, by, parameter, self.notes, replace(at, parameter=param.pos.start), self.bounded)

    def ranges(self, node: MatrixSelector | Subquery, steps: Steps) -> Ranges:
        """The windows of a range at each step."""
        if isinstance(node, MatrixSelector):
            found = self.leaves.ranges(node, steps, self.bounded)
        else:
            samples, drop = self._subquery(node, steps)
            ends = moved(node, steps)
            self.bounded(len(samples.labels) * ends.count)
            # Besides the moved times, the steps' own: predict_linear refers to the time of the step, whatever "@" and offset say.
            found = selectors.ranges(samples, ends, steps.times_ms, milliseconds(node.range), drop)
        # With "@" there is one window for all steps.
        return found if found.floats.lo.shape[1] == steps.count else found.repeated(steps.count)

    def _subquery(self, node: Subquery, steps: Steps) -> tuple[Samples, Bools | None]:
        """The samples of a subquery over all of its windows, and a mask of the series that drop their names."""
        inner = subquery_steps(node, steps, self.settings.subquery_step_ms)
        if inner.start_ms > inner.end_ms:
            return Samples([], np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0)), None
        value = self.value(node.expr, inner)
        assert isinstance(value, Vector | Scalar)
        # A series with no sample at any inner step would become an empty series in the result.
        vector = vectors.without_empty(value if isinstance(value, Vector) else vectors.of_scalar(value.values))
        return selectors.samples_of(vector, inner), vector.drop_name

    def matrix(self, node: MatrixSelector | Subquery, steps: Steps) -> Matrix:
        """A range as an instant query's answer."""
        if isinstance(node, MatrixSelector):
            return self.leaves.matrix(node, steps)
        end_ms = moved(node, steps).start_ms
        return Matrix(selectors.within(self._subquery(node, steps)[0], end_ms - milliseconds(node.range), end_ms))


@dataclass(frozen=True, slots=True)
class CallArguments:
    """Implements ``Arguments`` for one call, evaluated by ``run``."""

    run: Evaluation
    node: Call
    steps: Steps

    @property
    def query_steps(self) -> Steps:
        """See Arguments."""
        return self.run.query_steps

    @property
    def notes(self) -> Annotations:
        """See Arguments."""
        return self.run.notes

    @property
    def place(self) -> int:
        """See Arguments."""
        return self.node.pos.start

    def __len__(self) -> int:
        return len(self.node.args)

    def check(self) -> None:
        """See Arguments."""
        self.run.settings.check()

    def require_room(self, samples: int) -> None:
        """See Arguments."""
        self.run.bounded(samples)

    def at(self, index: int) -> int:
        """See Arguments."""
        return unwrapped(self.node.args[index]).pos.start

    def vector(self, index: int, *, hinting_resets: bool = False) -> Vector:
        """See Arguments."""
        node, run = self.node.args[index], self.run
        if hinting_resets:
            # Reset hints are costly to derive, so only for functions that read them.
            run = replace(run, leaves=run.leaves.hinting_resets(node))
        return run.vector(node, self.steps)

    def scalar(self, index: int) -> Floats:
        """See Arguments."""
        return self.run.scalar(self.node.args[index], self.steps)

    def text(self, index: int) -> str:
        """See Arguments."""
        argument = unwrapped(self.node.args[index])
        assert isinstance(argument, String)
        return argument.value

    def texts(self, begin: int) -> list[str]:
        """See Arguments."""
        return [self.text(index) for index in range(begin, len(self))]

    def timed(self, index: int) -> tuple[Vector, Floats]:
        """See Arguments."""
        argument = unwrapped(self.node.args[index])
        if isinstance(argument, VectorSelector) and not argument.smoothed:
            return self.run.leaves.timed(argument, self.steps, self.run.bounded)
        vector = self.vector(index)
        return vector, np.broadcast_to(self.steps.times_ms, vector.values.shape).astype(np.float64)

    def matchers(self, index: int) -> tuple[Matcher, ...]:
        """See Arguments."""
        argument = unwrapped(self.node.args[index])
        selector = argument.selector if isinstance(argument, MatrixSelector) else argument
        return selector.matchers if isinstance(selector, VectorSelector) else ()

    def infos(self) -> tuple[Vector, Floats]:
        """See Arguments."""
        return self.run.leaves.infos(self.node, self.steps, self.run.bounded)

    def over(self, function: RangeFunction) -> Vector:
        """See Arguments."""
        index, node = next((i, range_) for i in range(len(self)) if (range_ := self._range(i)) is not None)
        # Already evaluated by the shards (see needs); the samples were never fetched.
        if (grid := self.run.leaves.grid(self.node, self.steps)) is not None:
            if function.of_counters:
                range_call.note_counters(grid, self.notes, node.pos.start)
            return grid
        if isinstance(node, MatrixSelector) and (node.selector.anchored or node.selector.smoothed):
            return self.run.leaves.extended(function, node, self.steps, self.notes, self.run.bounded)
        numbers = [self.scalar(i) for i in range(len(self)) if i != index]
        place = self.at(0)
        return range_call.call(function, self.run.ranges(node, self.steps), numbers, self.notes, (place, place), self.check)

    def ranges(self, index: int) -> Ranges:
        """See Arguments."""
        node = self._range(index)
        assert node is not None
        if isinstance(node, MatrixSelector):
            check_modifiers(self.node.function, node)
        return self.run.ranges(node, self.steps)

    def _range(self, index: int) -> MatrixSelector | Subquery | None:
        argument = unwrapped(self.node.args[index])
        return argument if isinstance(argument, MatrixSelector | Subquery) else None


def _rule(matching: Matching) -> Rule:
    """The rule for ``vectors.matching``. As in Prometheus, ``fill_left`` belongs to the many side, which with ``group_right`` is the right
    one.
    """
    group = {"many-to-one": "left", "one-to-many": "right"}.get(matching.card, "")
    fills = (matching.fill_left, matching.fill_right)
    left, right = reversed(fills) if group == "right" else fills
    return Rule(matching.on, matching.labels, group, matching.include, left, right)
