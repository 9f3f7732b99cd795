"""Parts of the evaluator that scripts do not reach: grids, limits, cancellation, dropped names, and small rules by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tael.errors import Rejected, TooLarge, Unavailable
from tael.model.patterns import compiled
from tael.model.series import TOO_MANY_SAMPLES, Grid, Labels, Samples
from tael.promql.ast import Aggregate, Binary, Call, Expr, Matching, MatrixSelector, Number, StepInvariant, VectorSelector
from tael.promql.evaluate import Settings, evaluate
from tael.promql.fetched import Fetched
from tael.syntax.literals import quoted
from tael.syntax.position import Pos
from tael.vectors import elementwise as function_math
from tael.vectors import labels as function_labels
from tael.vectors import sums, windows
from tael.vectors.aggregation import groups
from tael.vectors.aggregation.choose import hashed
from tael.vectors.annotations import Annotations, Repairs, number
from tael.vectors.values import Matrix, Scalar, Steps, Vector

M = VectorSelector("m", ())
STEPS = Steps(0, 60_000, 30_000)


def samples(*series: tuple[Labels, Sequence[tuple[int, float]]]) -> Samples:
    points = [point for _, own in series for point in own]
    return Samples(
        [labels for labels, _ in series],
        np.cumsum([0, *(len(own) for _, own in series)]),
        np.array([t for t, _ in points], np.int64),
        np.array([value for _, value in points], np.float64),
    )


ONE = samples(((("__name__", "m"), ("k", "1")), [(0, 1.0), (30_000, 2.0), (60_000, 4.0)]))


def test_a_grid_replaces_its_node_at_its_steps() -> None:
    call = Call("rate", (MatrixSelector(M, 60_000),), pos=Pos(0, 0))
    grid = Grid([(("__name__", "m"),)], np.array([[1.0, 2.0, 3.0]]), np.array([[True, False, True]]))
    found = evaluate(Aggregate("sum", call), STEPS, Fetched({}, {(call, STEPS): grid}), Settings(), "").value
    assert isinstance(found, Vector)
    assert found.values[found.present].tolist() == [1.0, 3.0]


def test_a_counter_function_of_a_grid_is_noted_like_any_other() -> None:
    call = Call("rate", (MatrixSelector(M, 60_000, Pos(5, 8)),))
    grid = Grid([(("__name__", "m"),)], np.ones((1, 3)), np.ones((1, 3), np.bool_))
    evaluated = evaluate(call, STEPS, Fetched({}, {(call, STEPS): grid}), Settings(), "rate(m[1m])")
    assert [info.rpartition(" ")[2] for info in evaluated.notes.infos] == ["(1:6)"]
    assert isinstance(evaluated.value, Vector)
    assert evaluated.value.labels == [()]


def test_a_grid_below_a_step_invariant_node_is_for_the_first_step() -> None:
    fixed = VectorSelector("m", (), at=0)
    grid = Grid([(("__name__", "m"),)], np.array([[7.0]]), np.array([[True]]))
    fetched = Fetched({}, {(fixed, Steps(0, 0, 0)): grid})
    found = evaluate(StepInvariant(fixed), STEPS, fetched, Settings(), "").value
    assert isinstance(found, Vector)
    assert found.values.tolist() == [[7.0, 7.0, 7.0]]


def test_a_range_is_an_answer_of_its_own() -> None:
    found = evaluate(MatrixSelector(M, 40_000), Steps(60_000, 60_000, 0), Fetched({M: ONE}), Settings(), "").value
    assert isinstance(found, Matrix)
    assert found.samples.times_ms.tolist() == [30_000, 60_000]


@pytest.mark.parametrize("most", [2, 3])
def test_excessive_queries_are_refused_with_prometheus_messages(most: int) -> None:
    expr: Expr = M if most == 2 else Call("vector", (Number(1),))
    steps = STEPS if most == 2 else Steps(0, 3, 1)
    with pytest.raises(TooLarge, match=TOO_MANY_SAMPLES):
        evaluate(expr, steps, Fetched({M: ONE}), Settings(max_samples=most), "")


def test_a_query_ends_where_its_owner_says() -> None:
    def stop() -> None:
        raise Unavailable("query timed out in expression evaluation")

    with pytest.raises(Unavailable, match="timed out"):
        evaluate(M, STEPS, Fetched({M: ONE}), Settings(check=stop), "")


def test_names_can_be_dropped_at_once() -> None:
    expr = Aggregate("sum", Call("abs", (M,)), grouping=("__name__",))
    kept = evaluate(Call("label_join", (expr, *map(_text, ("x", "", "__name__")))), STEPS, Fetched({M: ONE}), Settings(), "").value
    dropped = evaluate(expr, STEPS, Fetched({M: ONE}), Settings(delayed_names=False), "").value
    assert isinstance(kept, Vector)
    assert isinstance(dropped, Vector)
    assert kept.labels == [(("x", "m"),)]
    assert dropped.labels == [()]


def _text(value: str) -> Expr:
    from tael.promql.ast import String

    return String(value)


def test_grouping_labels_must_tell_results_apart() -> None:
    many = samples(((("a", "1"), ("k", "1")), [(0, 1.0)]), ((("a", "1"), ("b", "2"), ("k", "1")), [(0, 1.0)]))
    one = VectorSelector("one", ())
    other = samples(((("b", "2"), ("k", "1")), [(0, 1.0)]))
    expr = Binary("+", M, one, Matching("many-to-one", True, ("k",), ("b",)))
    with pytest.raises(Rejected, match="grouping labels must ensure unique matches"):
        evaluate(expr, STEPS, Fetched({M: many, one: other}), Settings(), "")


def test_scalars_have_a_value_at_every_step() -> None:
    found = evaluate(Binary("*", Call("time", ()), Number(2)), STEPS, Fetched({}), Settings(), "").value
    assert isinstance(found, Scalar)
    assert found.values.tolist() == [0.0, 60.0, 120.0]


def test_annotations_of_one_text_are_one_and_tell_line_and_column() -> None:
    notes = Annotations("sum(\n  rate(x[5m])\n)")
    notes.add("PromQL info: a", 4)
    notes.add("PromQL info: a", 7)
    notes.add("PromQL warning: b", 0)
    assert notes.infos == ["PromQL info: a (2:3)"]
    assert notes.warnings == ["PromQL warning: b (1:1)"]


def test_repairs_of_one_metric_and_place_are_one_annotation() -> None:
    notes = Annotations("x")
    notes.repaired("m", 0, Repairs(2, 2, 0.5, 1, 1_000, 1_000))
    notes.repaired("m", 0, Repairs(1, 4, 3, 1, 2_500, 2_500))
    (info,) = notes.infos
    assert "from buckets 1 to 4, with a max diff of 3, over 2 samples from 1970-01-01T00:00:01Z to 1970-01-01T00:00:02.5Z (1:1)" in info


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5"), (1.0, "1"), (-1.0, "-1"), (1e-5, "1e-05"), (123456.0, "123456"), (1e6, "1e+06"), (1234567.5, "1.2345675e+06"),
        (1e300, "1e+300"), (float("nan"), "NaN"), (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (0.0, "0"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_go_writes_them(value: float, text: str) -> None:
    assert number(value) == text


def test_quotes_are_escaped() -> None:
    assert quoted('a"b\\c\n') == '"a\\"b\\\\c\\n"'


def test_label_sets_hash_as_in_prometheus() -> None:
    """Over its own encoding of strings; a value of 255 bytes or more has a length of three bytes."""
    assert hashed(()) == 0xEF46DB3751D8E999
    assert hashed((("a", "x" * 300),)) != hashed((("a", "x" * 299),))


@pytest.mark.parametrize(
    ("a", "b", "before"),
    [("a9", "a10", True), ("a10", "a9", False), ("a", "a1", True), ("2b", "2a", False), ("", "x", True), ("x", "x", False)],
)
def test_natural_order(a: str, b: str, before: bool) -> None:
    assert function_labels.naturally_before(a, b) is before


@given(st.integers(-2_000_000_000, 4_000_000_000))
def test_the_calendar_is_utcs(seconds: int) -> None:
    then = datetime.fromtimestamp(seconds, UTC)
    month_end = (then.replace(day=28).toordinal() + 4, then)
    expected = {
        "minute": then.minute, "hour": then.hour, "day_of_week": then.isoweekday() % 7, "day_of_month": then.day,
        "day_of_year": then.timetuple().tm_yday, "month": then.month, "year": then.year,
        "days_in_month": then.day + sum(1 for ahead in range(1, 32) if _month(month_end[1], ahead) == then.month),
    }  # fmt: skip
    assert {name: function_math.calendar(name, np.array([float(seconds)]))[0] for name in expected} == expected


def _month(then: datetime, days: int) -> int:
    return datetime.fromordinal(then.toordinal() + days).month


times = st.lists(st.integers(-1000, 1000), unique=True, max_size=20).map(sorted)


@given(st.lists(times, max_size=5), st.integers(-50, 50), st.integers(1, 100), st.integers(0, 8))
def test_positions_are_those_of_a_search(series: list[list[int]], start: int, step: int, more: int) -> None:
    steps = Steps(start, start + step * more, step)
    offsets = np.cumsum([0, *map(len, series)])
    flat = np.array([t for own in series for t in own], np.int64)
    found = windows.until(offsets, flat, steps)
    for row, own in enumerate(series):
        assert (found[row] - offsets[row]).tolist() == np.searchsorted(own, steps.times_ms, side="right").tolist()


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-1e9, 1e9)), min_size=1, max_size=40))
def test_groups_add_up_in_pairs(members: list[tuple[int, float]]) -> None:
    by = groups.group([(("g", str(g)),) for g, _ in members], ("g",), without=False)
    values = np.array([[value] for _, value in members])
    found = sums.combined(*groups.add_up(values, np.ones(values.shape, np.bool_), by))[:, 0]
    for labels, total in zip(by.labels, found.tolist(), strict=True):
        own = [value for g, value in members if str(g) == labels[0][1]]
        assert total == pytest.approx(sum(own), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("api|web", "web", True), ("api", "api2", False), ("(?i)API", "api", True), ("a(?i)b|c", "C", True), ("x((?i)y)z", "xYZ", False),
        (r"\Qa.b\E+", "a.bbb", True), ("[[:digit:]]+", "42", True), (r"a\z", "a", True), ("a$", "a\n", False), (".", "\n", True),
        ("(?P<n>a)", "a", True), ("[]a]", "]", True), (r"\pL+", "äö", True), (r"\x{41}", "A", True),
    ],
)  # fmt: skip
def test_patterns_are_re2s(pattern: str, text: str, matches: bool) -> None:
    assert (compiled(pattern).fullmatch(text) is not None) is matches


@pytest.mark.parametrize("pattern", ["(", "a(?=b)", r"(a)\1", "[", "*"])
def test_regular_expressions_beyond_re2_are_refused(pattern: str) -> None:
    with pytest.raises(Rejected, match="error parsing regexp"):
        compiled(pattern)
