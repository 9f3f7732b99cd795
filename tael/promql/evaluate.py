"""Evaluate a prepared expression over fetched data: numpy over series and steps, every step at once. Pure: no time, no I/O, no state.

Each node gives a scalar, a text or a vector at each of its steps. Subqueries and step-invariant parts evaluate what is below them at steps of
their own. Selectors go by absolute times, so the data may hold more than is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tael.errors import Rejected, TooLarge
from tael.model.series import TOO_MANY_SAMPLES, Bools, Floats, Longs, Samples
from tael.promql import calls
from tael.promql.ast import (
    SETS,
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
    walk,
)
from tael.promql.fetched import Fetched
from tael.promql.times import first_step, milliseconds, moved, subquery_steps
from tael.vectors import binary, selectors, vectors
from tael.vectors.aggregation import choose as aggregate_k
from tael.vectors.aggregation import groups
from tael.vectors.aggregation import reduce as aggregate
from tael.vectors.annotations import Annotations
from tael.vectors.binary import Operator
from tael.vectors.histograms import resets as histogram_resets
from tael.vectors.matching import Rule
from tael.vectors.ranges import call as range_call
from tael.vectors.ranges import extended as range_extended
from tael.vectors.selectors import Ranges
from tael.vectors.values import Matrix, Scalar, Steps, Text, Value, Vector


@dataclass(frozen=True, slots=True)
class Settings:
    """``lookback_ms`` is how old a sample may be; ``subquery_step_ms`` a subquery's step where it names none.

    ``max_samples`` bounds the samples that are read and, on its own, what is held of values, series by steps; a native histogram counts by its
    buckets. ``check`` is called at every node and raises when the query is to end: cancelled, or out of time. ``delayed_names`` keeps a metric's name until the end of the query where a function drops it, so that
    label functions can still read it; without, it is dropped at once.
    """

    lookback_ms: int = 300_000
    subquery_step_ms: int = 60_000
    max_samples: int = 50_000_000
    delayed_names: bool = True
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A value, and what is to be said with it. A vector holds no series without a sample."""

    value: Value
    notes: Annotations


def evaluate(expr: Expr, steps: Steps, fetched: Fetched, settings: Settings, query: str = "") -> Evaluated:
    """The value of ``expr`` at ``steps``. ``query`` is its text, which the places of annotations are counted in.

    Raises Rejected, in Prometheus' words, where the data does not allow the operation (two series of the same labels, a factor out of its
    range), and TooLarge when ``max_samples`` does not do.
    """
    run = Evaluation(fetched, settings, steps, Annotations(query))
    run.bounded(sum(samples.room for samples in fetched.samples.values()))
    with np.errstate(all="ignore"):
        inner = unwrapped(expr)
        if isinstance(inner, MatrixSelector | Subquery):
            value: Value = run.matrix(inner, steps)
        else:
            value = run.value(expr, steps)
        if isinstance(value, Vector):
            value = vectors.without_empty(vectors.names_dropped(value))
    return Evaluated(value, run.notes)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One run: what each node may read."""

    fetched: Fetched
    settings: Settings
    query_steps: Steps
    notes: Annotations
    held: int = 0
    """Samples of the values that wait for this one: the left sides of the operators above."""

    def value(self, node: Expr, steps: Steps) -> Value:
        """The value of any node but a range."""
        self.settings.check()
        value = self._value(node, steps)
        if isinstance(value, Vector):
            self.bounded(value.room)
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
                return repeated(self.value(inner, first_step(steps)), steps.count)
            case VectorSelector():
                return self._selector(node, steps)
            case Unary(op=op, expr=inner):
                return self._unary(op, self.value(inner, steps))
            case Binary():
                return self._binary(node, steps)
            case Aggregate():
                return self._aggregate(node, steps)
            case Call():
                return calls.call(self, node, steps)
            case _:
                raise Rejected("a range vector stands where an instant vector must")

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
        """Refuse to hold more samples than the query may."""
        if samples + self.held > self.settings.max_samples:
            raise TooLarge(TOO_MANY_SAMPLES)

    def holding(self, value: Value) -> Evaluation:
        """The same while ``value`` is kept."""
        return replace(self, held=self.held + value.room) if isinstance(value, Vector) else self

    def samples(self, selector: VectorSelector) -> Samples:
        """What was fetched for a selector."""
        return self.fetched.samples[selector]

    def with_resets_told(self, node: Expr) -> Evaluation:
        """The same, but histograms below ``node`` say themselves where counters were reset, so that sums of them can warn."""
        native = {of: own for of in _selectors(node) if (own := self.fetched.samples.get(of)) is not None and own.histogram is not None}
        if not native:
            return self
        told = {of: histogram_resets.hinted(own, resets=True) for of, own in native.items()}
        return replace(self, fetched=replace(self.fetched, samples={**self.fetched.samples, **told}))

    def grid(self, node: VectorSelector | Call, steps: Steps) -> Vector | None:
        """What a shard evaluated in place of ``node``, None when it is to be evaluated here."""
        grid = self.fetched.grids.get((node, steps))
        if grid is None:
            return None
        vector = selectors.of_grid(grid)
        if isinstance(node, Call) and node.function not in range_call.KEEP_NAME:
            vector = replace(vector, drop_name=np.ones(len(vector.labels), np.bool_))
        return repeated_vector(vector, steps.count)

    def _selector(self, node: VectorSelector, steps: Steps) -> Vector:
        grid = self.grid(node, steps)
        if grid is not None:
            return grid
        if not node.smoothed:
            return repeated_vector(self._newest(self.samples(node), moved(node, steps))[0], steps.count)
        lookback = self.settings.lookback_ms
        ends = _later(moved(node, steps), lookback)
        windows = selectors.ranges(self.samples(node), ends, steps.times_ms, 2 * lookback)
        _without_histograms(windows)
        values, present = range_extended.smoothed_instant(windows.floats, lookback)
        return repeated_vector(Vector(windows.samples.labels, values, present), steps.count)

    def selected(self, node: VectorSelector, steps: Steps) -> tuple[Vector, Floats]:
        """What a selector gives, and its samples' own times in milliseconds."""
        return self._timed(self.samples(node), moved(node, steps), steps)

    def infos(self, node: Call, steps: Steps) -> tuple[Vector, Floats]:
        """The info series that a call of ``info`` may take labels from, and their samples' times, at its first argument's time."""
        selector = next(iter(_selectors(node.args[0])), None)
        at = steps if selector is None else moved(selector, steps)
        return self._timed(self.fetched.info[node], at, steps)

    def _timed(self, samples: Samples, at: Steps, steps: Steps) -> tuple[Vector, Floats]:
        vector, positions = self._newest(samples, at)
        times = selectors.times_of(samples, positions)
        return repeated_vector(vector, steps.count), np.broadcast_to(times, (len(vector.labels), steps.count))

    def _newest(self, samples: Samples, at: Steps) -> tuple[Vector, Longs]:
        return selectors.instant(samples, at, self.settings.lookback_ms)

    def ranges(self, node: MatrixSelector | Subquery, steps: Steps) -> Ranges:
        """The windows of a range at each step."""
        if isinstance(node, MatrixSelector):
            ends = moved(node.selector, steps)
            found = selectors.ranges(self.samples(node.selector), ends, steps.times_ms, milliseconds(node.range))
        else:
            ends = moved(node, steps)
            samples, drop = self._subquery(node, steps)
            found = selectors.ranges(samples, ends, steps.times_ms, milliseconds(node.range), drop)
        self.bounded(found.floats.lo.size)
        return found if ends.count == steps.count else found.repeated(steps.count)

    def extended(self, name: str, node: MatrixSelector, steps: Steps) -> Vector:
        """A function over an anchored or smoothed range."""
        smoothed = node.selector.smoothed
        word, allowed = ("smoothed", range_extended.SMOOTHED) if smoothed else ("anchored", range_extended.ANCHORED)
        if name not in allowed:
            raise Rejected(f"{word} modifier can only be used with: {', '.join(allowed)} - not with {name}")
        lookback = self.settings.lookback_ms
        ends = moved(node.selector, steps)
        wide = milliseconds(node.range) + lookback * (2 if smoothed else 1)
        windows = selectors.ranges(self.samples(node.selector), _later(ends, lookback if smoothed else 0), steps.times_ms, wide)
        result = range_call.extended(name, windows, self.notes, node.pos.start, smoothed=smoothed, lookback_ms=lookback)
        return repeated_vector(result, steps.count)

    def _subquery(self, node: Subquery, steps: Steps) -> tuple[Samples, Bools | None]:
        """The samples that a subquery stands for over all of its windows, and whose names are to be dropped."""
        inner = subquery_steps(node, steps, self.settings.subquery_step_ms)
        if inner.start_ms > inner.end_ms:
            return Samples([], np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros(0)), None
        value = self.value(node.expr, inner)
        vector = vectors.without_empty(value if isinstance(value, Vector) else calls.of_scalar(value))
        return selectors.samples_of(vector, inner), vector.drop_name

    def matrix(self, node: MatrixSelector | Subquery, steps: Steps) -> Matrix:
        """A range as an instant query's answer."""
        selector = node.selector if isinstance(node, MatrixSelector) else node
        ends = moved(selector, steps)
        if isinstance(node, Subquery):
            return Matrix(selectors.within(self._subquery(node, steps)[0], ends.start_ms - milliseconds(node.range), ends.start_ms))
        return Matrix(selectors.within(self.samples(node.selector), ends.start_ms - milliseconds(node.range), ends.start_ms))

    def _unary(self, op: str, value: Value) -> Value:
        if op == "+" or isinstance(value, Text | Matrix):
            return value
        return Scalar(-value.values) if isinstance(value, Scalar) else binary.negated(value)

    def _binary(self, node: Binary, steps: Steps) -> Value:
        left = self.value(node.left, steps)
        right = self.holding(left).value(node.right, steps)
        op = Operator(node.op, node.return_bool, node.pos.start)
        match left, right:
            case Scalar(), Scalar():
                return binary.scalars(op, left, right)
            case Vector(), Scalar():
                return binary.vector_scalar(op, left, right, self.notes, swapped=False)
            case Scalar(), Vector():
                return binary.vector_scalar(op, right, left, self.notes, swapped=True)
            case Vector(), Vector():
                rule = _rule(node.matching or Matching())
                if node.op in SETS:
                    return binary.sets(node.op, left, right, rule)
                return binary.between(op, left, right, rule, self.notes)
        raise Rejected(f"binary operator {node.op} does not take these types")

    def _aggregate(self, node: Aggregate, steps: Steps) -> Vector:
        vector = vectors.without_empty(self.vector(node.expr, steps))
        if node.op == "count_values":
            label = unwrapped(node.param) if node.param is not None else None
            assert isinstance(label, String)
            return aggregate.count_values(vector, label.value, node.grouping, without=node.without)
        place = unwrapped(node.expr).pos.start
        by = groups.group(vector.labels, node.grouping, without=node.without)
        if node.param is None:
            return aggregate.aggregate(node.op, vector, by, self.notes, place)
        parameter, asked = self.scalar(node.param, steps), unwrapped(node.param).pos.start
        if node.op == "quantile":
            return aggregate.quantile(vector, by, parameter, self.notes, (asked, place))
        return aggregate_k.choose(node.op, vector, by, parameter, self.notes, (asked, node.pos.start))


def repeated(value: Value, count: int) -> Value:
    """A value of one step as one of ``count`` equal ones."""
    if isinstance(value, Scalar):
        return Scalar(np.broadcast_to(value.values, count))
    return repeated_vector(value, count) if isinstance(value, Vector) else value


def repeated_vector(vector: Vector, count: int) -> Vector:
    """The same for a vector; one that has these steps already is returned as it is."""
    shape = (len(vector.labels), count)
    if vector.values.shape == shape:
        return vector
    cells = None if vector.cells is None else np.broadcast_to(vector.cells, shape)
    return replace(vector, values=np.broadcast_to(vector.values, shape), present=np.broadcast_to(vector.present, shape), cells=cells)


def _later(steps: Steps, by_ms: int) -> Steps:
    return Steps(steps.start_ms + by_ms, steps.end_ms + by_ms, steps.step_ms)


def _without_histograms(ranges: Ranges) -> None:
    if ranges.native is not None and ranges.native.any():
        raise Rejected("smoothed and anchored modifiers do not work with native histograms")


def _selectors(node: Expr) -> list[VectorSelector]:
    return [below for below in walk(node) if isinstance(below, VectorSelector)]


def _rule(matching: Matching) -> Rule:
    """``fill_left`` stands for the many side, also with ``group_right``, where that is the right one: as Prometheus has it."""
    group = {"many-to-one": "left", "one-to-many": "right"}.get(matching.card, "")
    fills = (matching.fill_left, matching.fill_right)
    left, right = reversed(fills) if group == "right" else fills
    return Rule(matching.on, matching.labels, group, matching.include, left, right)
