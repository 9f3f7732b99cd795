"""Which samples and grids are read for an expression."""

from __future__ import annotations

import pytest

from tael.model.series import GridRequest, Matcher, Selection
from tael.promql.ast import Aggregate, Binary, Call, Expr, MatrixSelector, Number, Paren, StepInvariant, Subquery, Unary, VectorSelector
from tael.promql.needs import Needs, Options, needs
from tael.promql.times import first_step, subquery_steps
from tael.vectors.values import Steps

MINUTE = 60_000
STEPS = Steps(100 * MINUTE, 110 * MINUTE, MINUTE)
NAME = (Matcher("__name__", "=", "up"),)
UP = VectorSelector("up", NAME)


def selector(**modifiers: object) -> VectorSelector:
    return VectorSelector("up", NAME, **modifiers)  # type: ignore[arg-type]  # fields of VectorSelector


def over(of: VectorSelector, window: int = 5 * MINUTE) -> MatrixSelector:
    return MatrixSelector(of, window)


def read(expr: Expr, *, push: bool = True) -> Needs:
    return needs(expr, STEPS, Options(push=push))


def test_an_instant_selector_is_the_last_value_of_its_lookback() -> None:
    """As a grid, or as samples if nothing is pushed down."""
    assert read(UP).grids == {(UP, STEPS): GridRequest(NAME, "last", STEPS.start_ms, STEPS.end_ms, MINUTE, 5 * MINUTE)}
    assert read(UP, push=False).samples == {UP: Selection(NAME, 95 * MINUTE, 110 * MINUTE)}


def test_steps_that_are_as_short_as_scrapes_read_samples() -> None:
    """A grid would be as large; a single step is a grid nevertheless."""
    short, once = Steps(0, 10 * MINUTE, 15_000), Steps(MINUTE, MINUTE, 0)
    rate = Call("rate", (over(UP),))
    for expr in (UP, rate):
        assert not needs(expr, short, Options()).grids
        assert needs(expr, short, Options()).samples == {UP: Selection(NAME, -5 * MINUTE, 10 * MINUTE)}
        assert list(needs(expr, short, Options(push_from_ms=15_000)).grids) == [(expr, short)]
        assert list(needs(expr, once, Options()).grids) == [(expr, once)]


@pytest.mark.parametrize("function", ["rate", "increase", "avg_over_time", "deriv", "changes"])
def test_a_function_over_a_selector_is_a_grid(function: str) -> None:
    """Wherever it occurs; its offset only moves the grid's times."""
    call = Call(function, (Paren(over(selector(offset=7))),))
    wanted = GridRequest(NAME, function, STEPS.start_ms - 7, STEPS.end_ms - 7, MINUTE, 5 * MINUTE)  # type: ignore[arg-type]
    found = read(Aggregate("sum", Binary("+", call, Number(1))))
    assert found.grids == {(call, STEPS): wanted}
    assert not found.samples


def test_other_functions_read_samples() -> None:
    """So do timestamps, anchored and smoothed ranges, plain ranges, and predictions by a variable."""
    window = Selection(NAME, 95 * MINUTE, 110 * MINUTE)
    for expr in (Call("quantile_over_time", (Number(0.5), over(UP))), Call("timestamp", (Paren(UP),)), over(UP)):
        assert read(expr).samples == {UP: window}
        assert not read(expr).grids
    assert read(Call("predict_linear", (over(UP), Call("time", ())))).samples == {UP: window}
    anchored, smoothed = selector(anchored=True), selector(smoothed=True)
    assert read(Call("rate", (over(anchored),))).samples == {anchored: Selection(NAME, 90 * MINUTE, 110 * MINUTE)}
    assert read(Call("rate", (over(smoothed),))).samples == {smoothed: Selection(NAME, 90 * MINUTE, 115 * MINUTE)}
    assert read(smoothed).samples == {smoothed: Selection(NAME, 90 * MINUTE, 115 * MINUTE)}


def test_a_prediction_by_a_constant_is_a_grid() -> None:
    """Its sign may be an operator, and it counts from the step, without the offset."""
    for of, argument in ((UP, -60), (selector(offset=5_000), -55)):
        [request] = read(_prediction(of)).grids.values()
        assert (request.function, request.argument) == ("predict_linear", argument)


def test_predictions_for_several_steps_from_one_window_need_its_samples() -> None:
    fixed = selector(at=STEPS.start_ms + 1_000)
    assert read(_prediction(fixed)).samples.keys() == {fixed}
    [request] = needs(_prediction(fixed), first_step(STEPS), Options()).grids.values()
    assert request.argument == -61


def _prediction(of: VectorSelector) -> Call:
    return Call("predict_linear", (over(of), Unary("-", Number(60))))


def test_step_invariant_selectors_are_read_once() -> None:
    """At the first step, for the time that it names."""
    fixed = selector(at=5 * MINUTE, offset=MINUTE)
    assert read(StepInvariant(fixed)).grids == {
        (fixed, first_step(STEPS)): GridRequest(NAME, "last", 4 * MINUTE, 4 * MINUTE, 0, 5 * MINUTE)
    }
    call = Call("predict_linear", (StepInvariant(over(fixed)), Call("time", ())))
    assert read(call).samples == {fixed: Selection(NAME, -MINUTE, 4 * MINUTE)}


def test_a_subquery_is_read_at_its_own_steps() -> None:
    """Nested ones too; a subquery without a step in its range reads nothing."""
    rate = Call("rate", (over(UP),))
    inner = Subquery(rate, 10 * MINUTE, 2 * MINUTE, offset=30_000)
    outer = Subquery(Call("max_over_time", (inner,)), 20 * MINUTE)
    [((node, at), request)] = read(Call("min_over_time", (outer,))).grids.items()
    assert node == rate
    assert at == subquery_steps(inner, subquery_steps(outer, STEPS, MINUTE), MINUTE)
    assert (at.start_ms, at.end_ms, at.step_ms) == (72 * MINUTE, 110 * MINUTE - 30_000, 2 * MINUTE)
    assert (request.start_ms, request.end_ms) == (at.start_ms, at.end_ms)
    assert needs(Subquery(UP, 10, 1000), Steps(500, 500, 0), Options()) == Needs()


@pytest.mark.parametrize(
    ("end", "length", "step", "first"), [(100, 30, 10, 80), (105, 30, 10, 80), (5, 30, 10, -20), (30, 30, 10, 10), (-5, 10, 10, -10)]
)
def test_subqueries_step_at_multiples_inside_their_range(end: int, length: int, step: int, first: int) -> None:
    """The start of the range is excluded."""
    assert subquery_steps(Subquery(UP, length, step), Steps(end, end, 0), MINUTE) == Steps(first, end, step)


def test_uses_of_one_selector_are_read_together() -> None:
    """From the earliest to the latest time that any use needs."""
    expr = Binary("+", Call("quantile_over_time", (Number(1), over(UP, 30 * MINUTE))), Call("timestamp", (UP,)))
    assert read(expr).samples == {UP: Selection(NAME, 70 * MINUTE, 110 * MINUTE)}


def test_a_grid_that_no_shard_gives_is_read_as_samples() -> None:
    """Together with other reads of its selector."""
    rate = Call("rate", (over(UP),))
    found = read(Binary("+", rate, Call("timestamp", (UP,))))
    assert found.without_grid((rate, STEPS)) == (UP, Selection(NAME, 95 * MINUTE, 110 * MINUTE))
    assert not found.grids


def test_info_reads_the_series_that_its_second_argument_matches() -> None:
    """``target_info`` if it names none, at the time of the first argument too."""
    late = selector(offset=MINUTE)
    plain = Call("info", (late,))
    assert read(plain).info == {plain: Selection((Matcher("__name__", "=", "target_info"),), 94 * MINUTE, 110 * MINUTE)}
    named = VectorSelector("", (Matcher("__name__", "=~", ".+_info"), Matcher("k", "=", "v")))
    assert read(Call("info", (UP, named))).info == {Call("info", (UP, named)): Selection(named.matchers, 95 * MINUTE, 110 * MINUTE)}
