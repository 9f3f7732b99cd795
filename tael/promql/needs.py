"""What data an expression needs, pure: which samples of which times, and which functions the shards can evaluate themselves.

``fetch`` reads the data, ``evaluate`` finds it in ``Fetched``. A shard evaluates a selector's lookback and the functions that it is
known to evaluate as Prometheus does; everything else needs samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias, cast, get_args

from tael.model.series import METRIC_NAME, TARGET_INFO, GridFunction, GridRequest, Matcher, Selection
from tael.promql.ast import (
    Call,
    Expr,
    MatrixSelector,
    Number,
    Paren,
    StepInvariant,
    Subquery,
    Unary,
    VectorSelector,
    children,
    unwrapped,
    walk,
)
from tael.promql.times import first_step, milliseconds, moved, subquery_steps
from tael.vectors.values import Steps

GridNode: TypeAlias = "tuple[VectorSelector | Call, Steps]"
"""A selector or a call, and the steps at which the evaluator reads it."""

PUSHED = frozenset(get_args(GridFunction)) - {"last"}
"""The functions over a range that shards evaluate."""
INFO_METRICS = ".+_info"
"""The metrics that ``info`` takes labels from where a query only excludes some; where it names none, only ``target_info``."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the engine. ``push`` allows shards to evaluate functions, ``push_from_ms`` is the shortest step at which they do.

    At shorter steps a grid is as large as the samples, and it is faster to read and evaluate these.
    """

    lookback_ms: int = 300_000
    default_step_ms: int = 60_000
    push: bool = True
    push_from_ms: int = 60_000

    def pushes(self, steps: Steps) -> bool:
        """Whether shards evaluate nodes at ``steps``."""
        return self.push and (steps.count == 1 or steps.step_ms >= self.push_from_ms)


@dataclass(slots=True)
class Needs:
    """What to fetch: samples by selector, grids by node and steps, and info series by call (see Fetched)."""

    samples: dict[VectorSelector, Selection] = field(default_factory=dict)
    grids: dict[GridNode, GridRequest] = field(default_factory=dict)
    info: dict[Call, Selection] = field(default_factory=dict)

    def select(self, selector: VectorSelector, start_ms: int, end_ms: int) -> None:
        """Also read the selector's samples of ``(start_ms, end_ms]``."""
        # One range a selector, widened to cover all its uses: evaluation goes by absolute times, so extra samples do no harm.
        self.samples[selector] = _widened(self.samples.get(selector), Selection(selector.matchers, start_ms, end_ms))

    def without_grid(self, node: GridNode) -> tuple[VectorSelector, Selection]:
        """Replace a grid by its samples; returns the selector, and the samples that all of its uses need."""
        request = self.grids.pop(node)
        selector = selector_of(node[0])
        self.select(selector, request.start_ms - request.window_ms, request.end_ms)
        return selector, self.samples[selector]


def needs(expr: Expr, steps: Steps, options: Options) -> Needs:
    """Everything that the prepared expression reads when it is evaluated at ``steps``."""
    found = Needs()
    _Walk(found, options).visit(expr, steps)
    return found


def selector_of(node: VectorSelector | Call) -> VectorSelector:
    """The selector that a grid's node reads."""
    if isinstance(node, VectorSelector):
        return node
    matrix = unwrapped(node.args[0])
    assert isinstance(matrix, MatrixSelector)
    return matrix.selector


def pushed(call: Call) -> tuple[GridFunction, MatrixSelector, float] | None:
    """How a shard evaluates the call: the function, the range and the function's argument; None where it cannot."""
    if call.function not in PUSHED or not call.args:
        return None
    matrix = unwrapped(call.args[0])
    if not isinstance(matrix, MatrixSelector) or matrix.selector.anchored or matrix.selector.smoothed:
        return None
    argument = _constant(call.args[1]) if len(call.args) > 1 else 0.0
    return None if argument is None else (cast("GridFunction", call.function), matrix, argument)


def _constant(expr: Expr) -> float | None:
    """The value of a number, signs included; None for anything else."""
    match unwrapped(expr):
        case Number(value=value):
            return value
        case Unary(op=op, expr=inner):
            inside = _constant(inner)
            return inside if inside is None or op == "+" else -inside
        case _:
            return None


@dataclass(frozen=True, slots=True)
class _Walk:
    """Walks an expression with the steps of each node."""

    found: Needs
    options: Options

    def visit(self, expr: Expr, steps: Steps) -> None:
        match expr:
            case VectorSelector():
                self._instant(expr, steps)
            case MatrixSelector(selector=selector, range=window):
                self._range(selector, steps, milliseconds(window))
            case Subquery(expr=inner):
                below = subquery_steps(expr, steps, self.options.default_step_ms)
                if below.start_ms <= below.end_ms:
                    self.visit(inner, below)
            case StepInvariant(expr=inner):
                self.visit(inner, first_step(steps))
            case Call():
                self._call(expr, steps)
            case _:
                for child in children(expr):
                    self.visit(child, steps)

    def _call(self, call: Call, steps: Steps) -> None:
        if call.function == "timestamp" and isinstance(selector := unwrapped(call.args[0]), VectorSelector):
            self._samples(selector, steps)
        elif call.function == "info":
            self._info(call, steps)
            self.visit(call.args[0], steps)
        elif not self._push_call(call, steps):
            for child in call.args:
                self.visit(child, steps)

    def _push_call(self, call: Call, steps: Steps) -> bool:
        plan = pushed(call) if self.options.pushes(steps) else None
        if plan is None or _marked_invariant(call.args[0]):
            return False
        function, matrix, argument = plan
        at = moved(matrix.selector, steps)
        ahead = 0.0
        if function == "predict_linear":
            # A prediction is for the time of the step, wherever the window is; with "@", one window gives another value at each step.
            if at.count != steps.count:
                return False
            ahead = argument + (steps.start_ms - at.start_ms) / 1000
        self._grid(call, steps, function, matrix.selector.matchers, at, milliseconds(matrix.range), ahead)
        return True

    def _instant(self, selector: VectorSelector, steps: Steps) -> None:
        if selector.anchored or selector.smoothed:
            self._range(selector, steps, self.options.lookback_ms)
            return
        if not self.options.pushes(steps):
            self._samples(selector, steps)
            return
        self._grid(selector, steps, "last", selector.matchers, moved(selector, steps), self.options.lookback_ms)

    def _grid(
        self,
        node: VectorSelector | Call,
        steps: Steps,
        function: GridFunction,
        matchers: tuple[Matcher, ...],
        at: Steps,
        window_ms: int,
        argument: float = 0.0,
    ) -> None:
        self.found.grids[node, steps] = GridRequest(matchers, function, at.start_ms, at.end_ms, at.step_ms, window_ms, argument)

    def _samples(self, selector: VectorSelector, steps: Steps) -> None:
        at = moved(selector, steps)
        behind = self.options.lookback_ms if selector.smoothed else 0
        self.found.select(selector, at.start_ms - self.options.lookback_ms, at.end_ms + behind)

    def _range(self, selector: VectorSelector, steps: Steps, window_ms: int) -> None:
        """An anchored window also needs the sample before it, a smoothed one the samples before and after it."""
        at = moved(selector, steps)
        before = self.options.lookback_ms if selector.anchored or selector.smoothed else 0
        behind = self.options.lookback_ms if selector.smoothed else 0
        self.found.select(selector, at.start_ms - window_ms - before, at.end_ms + behind)

    def _info(self, call: Call, steps: Steps) -> None:
        matchers: tuple[Matcher, ...] = ()
        if len(call.args) > 1:
            chosen = unwrapped(call.args[1])
            assert isinstance(chosen, VectorSelector)
            matchers = chosen.matchers
        names = [matcher.op for matcher in matchers if matcher.name == METRIC_NAME]
        if not names:
            matchers = (Matcher(METRIC_NAME, "=", TARGET_INFO), *matchers)
        elif not {"=", "=~"} & set(names):
            matchers = (Matcher(METRIC_NAME, "=~", INFO_METRICS), *matchers)
        # Info series are read at the time of the argument's first selector; this range covers the times of all of them.
        times = [steps, *(moved(node, steps) for node in walk(call.args[0]) if isinstance(node, VectorSelector))]
        start, end = min(at.start_ms for at in times), max(at.end_ms for at in times)
        selection = Selection(matchers, start - self.options.lookback_ms, end)
        self.found.info[call] = _widened(self.found.info.get(call), selection)


def _marked_invariant(expr: Expr) -> bool:
    """Whether the argument of an unmarked call is itself marked step-invariant."""
    while isinstance(expr, Paren | StepInvariant):
        if isinstance(expr, StepInvariant):
            return True
        expr = expr.expr
    return False


def _widened(known: Selection | None, more: Selection) -> Selection:
    if known is None:
        return more
    return replace(known, start_ms=min(known.start_ms, more.start_ms), end_ms=max(known.end_ms, more.end_ms))
