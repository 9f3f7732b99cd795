"""The evaluator over columns agrees with plain loops over windows and groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tael.model.series import STALE, Labels, Samples
from tael.promql.ast import Aggregate, Call, Expr, MatrixSelector, Number, VectorSelector
from tael.promql.evaluate import Settings, evaluate
from tael.promql.fetched import Fetched
from tael.vectors import sums, windows
from tael.vectors.ranges.functions import FUNCTIONS
from tael.vectors.values import Steps, Vector
from tests.support import promql_reference as plain

START = 1_700_000_000_000
SELECTOR = VectorSelector("m_total", ())
PLAIN = sorted(FUNCTIONS.keys() - {"quantile_over_time", "predict_linear", "double_exponential_smoothing"})
Series = dict[int, float]

values = st.one_of(
    st.integers(0, 1000).map(float),
    st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 6)),
    st.just(STALE),
)
series = st.dictionaries(st.integers(-200, 400).map(lambda t: START + t * 1000), values, max_size=25)
steps = st.builds(
    lambda start, step, count: Steps(START + start * 1000, START + (start + step * count) * 1000, step * 1000),
    *(st.integers(-50, 50), st.integers(1, 60), st.integers(0, 6)),
)
ranges = st.integers(1, 240).map(lambda seconds: seconds * 1000)


def samples_of(many: Sequence[Series]) -> Samples:
    labels: list[Labels] = [(("__name__", "m_total"), ("g", str(i % 3)), ("i", str(i))) for i in range(len(many))]
    ordered = [sorted(one.items()) for one in many]
    flat = [point for one in ordered for point in one]
    return Samples(
        labels,
        np.cumsum([0, *map(len, ordered)]),
        np.array([t for t, _ in flat], np.int64),
        np.array([value for _, value in flat], np.float64),
    )


def evaluated(expr: Expr, many: Sequence[Series], at: Steps) -> Vector:
    value = evaluate(expr, at, Fetched({SELECTOR: samples_of(many)}), Settings(), "").value
    assert isinstance(value, Vector)
    return value


def rows(vector: Vector) -> dict[str, list[float | None]]:
    names = [dict(labels).get("i", dict(labels).get("g", "")) for labels in vector.labels]
    return {
        name: [value if there else None for value, there in zip(row, present, strict=True)]
        for name, row, present in zip(names, vector.values.tolist(), vector.present.tolist(), strict=True)
    }


def inside(one: Series, begin: int, end: int) -> list[plain.Point]:
    return sorted((t, value) for t, value in one.items() if begin < t <= end and not math.isnan(value))


def close(ours: dict[str, list[float | None]], theirs: dict[str, list[float | None]], tolerance: float = 1e-9) -> None:
    theirs = {name: row for name, row in theirs.items() if any(value is not None for value in row)}
    assert ours.keys() == theirs.keys()
    for name, row in theirs.items():
        for mine, expected in zip(ours[name], row, strict=True):
            if expected is None or mine is None:
                assert mine is expected
            else:
                assert mine == pytest.approx(expected, rel=tolerance, abs=1e-9, nan_ok=True)


@given(st.sampled_from(PLAIN), st.lists(series, max_size=4), steps, ranges)
@settings(max_examples=400, deadline=None)
def test_functions_over_ranges(function: str, many: list[Series], at: Steps, window: int) -> None:
    """Evaluating each window by itself gives the same."""
    vector = evaluated(Call(function, (MatrixSelector(SELECTOR, window),)), many, at)
    close(
        rows(vector),
        {
            str(i): [plain.over_window(function, inside(one, t - window, t), t - window, t) for t in at.times_ms.tolist()]
            for i, one in enumerate(many)
        },
    )


@given(st.lists(series, max_size=3), steps, ranges, st.floats(-0.5, 1.5))
@settings(max_examples=100, deadline=None)
def test_quantiles_over_ranges(many: list[Series], at: Steps, window: int, q: float) -> None:
    """Sorting windows of the same size together changes nothing."""
    vector = evaluated(Call("quantile_over_time", (Number(q), MatrixSelector(SELECTOR, window))), many, at)
    close(
        rows(vector),
        {
            str(i): [
                plain.quantile([value for _, value in found], q) if (found := inside(one, t - window, t)) else None
                for t in at.times_ms.tolist()
            ]
            for i, one in enumerate(many)
        },
    )


@given(st.lists(series, max_size=3), steps, ranges, st.integers(-1000, 1000))
@settings(max_examples=100, deadline=None)
def test_predictions(many: list[Series], at: Steps, window: int, ahead: int) -> None:
    """The line through a window, extended by some seconds beyond the step."""
    vector = evaluated(Call("predict_linear", (MatrixSelector(SELECTOR, window), Number(ahead))), many, at)
    expected: dict[str, list[float | None]] = {}
    for i, one in enumerate(many):
        lines = [plain.slope_and_value(inside(one, t - window, t), t) for t in at.times_ms.tolist()]
        expected[str(i)] = [None if line is None else line[0] * ahead + line[1] for line in lines]
    close(rows(vector), expected, 1e-6)


@given(st.lists(series, max_size=3), steps, ranges, st.floats(0.01, 0.99), st.floats(0.01, 0.99))
@settings(max_examples=100, deadline=None)
def test_smoothing(many: list[Series], at: Steps, window: int, sf: float, tf: float) -> None:
    """Level and trend are carried from sample to sample."""
    expr = Call("double_exponential_smoothing", (MatrixSelector(SELECTOR, window), Number(sf), Number(tf)))
    close(
        rows(evaluated(expr, many, at)),
        {
            str(i): [plain.smoothed([value for _, value in inside(one, t - window, t)], sf, tf) for t in at.times_ms.tolist()]
            for i, one in enumerate(many)
        },
    )


def newest(one: Series, t: int) -> float | None:
    found = sorted((when, value) for when, value in one.items() if t - 300_000 < when <= t)
    return None if not found or math.isnan(found[-1][1]) else found[-1][1]


@given(st.lists(series, max_size=4), steps)
@settings(max_examples=200, deadline=None)
def test_lookback(many: list[Series], at: Steps) -> None:
    """The newest sample of the last five minutes, or none after a stale marker."""
    close(rows(evaluated(SELECTOR, many, at)), {str(i): [newest(one, t) for t in at.times_ms.tolist()] for i, one in enumerate(many)})


@given(st.sampled_from(["sum", "avg", "min", "max", "count", "group", "stdvar", "stddev"]), st.lists(series, max_size=9), steps)
@settings(max_examples=300, deadline=None)
def test_aggregations(op: str, many: list[Series], at: Steps) -> None:
    """Aggregating each group at each step by itself gives the same."""
    expected: dict[str, list[float | None]] = {}
    for group in range(3):
        members = many[group::3]
        expected[str(group)] = [
            plain.aggregated(op, [value for one in members if (value := newest(one, t)) is not None]) for t in at.times_ms.tolist()
        ]
    close(rows(evaluated(Aggregate(op, SELECTOR, grouping=("g",)), many, at)), expected)


@given(st.floats(-0.2, 1.2), st.lists(series, max_size=9), steps)
@settings(max_examples=100, deadline=None)
def test_quantiles_of_groups(q: float, many: list[Series], at: Steps) -> None:
    """Sorting groups of the same size together changes nothing."""
    expected: dict[str, list[float | None]] = {}
    for group in range(3):
        there = [[value for one in many[group::3] if (value := newest(one, t)) is not None] for t in at.times_ms.tolist()]
        expected[str(group)] = [plain.quantile(own, q) if own else None for own in there]
    close(rows(evaluated(Aggregate("quantile", SELECTOR, Number(q), ("g",)), many, at)), expected)


@given(st.sampled_from(["topk", "bottomk", "limitk"]), st.integers(-1, 5), st.lists(series, max_size=12), steps)
@settings(max_examples=200, deadline=None)
def test_choices(op: str, k: int, many: list[Series], at: Steps) -> None:
    """The values chosen of each group at each step are the first of a sort; any of several equal ones may be chosen."""
    found = evaluated(Aggregate(op, SELECTOR, Number(k), ("g",)), many, at)
    chosen = rows(found)
    for column, t in enumerate(at.times_ms.tolist()):
        for group in range(3):
            there = [value for one in many[group::3] if (value := newest(one, t)) is not None]
            wanted = there if op == "limitk" else sorted(there, reverse=op == "topk")
            own = [value for i, row in chosen.items() if int(i) % 3 == group and (value := row[column]) is not None]
            assert sorted(own) == sorted(wanted[: max(k, 0)])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e290, max_value=1e290), min_size=1, max_size=12))
@settings(max_examples=200, deadline=None)
def test_sums_keep_what_rounding_takes(numbers: list[float]) -> None:
    """Sums over time and over series are within 1e-12 of the exact one, relative to it or to the numbers, whatever their sizes."""
    exact = plain.exact_sum(numbers)
    slack = max(abs(exact) * 1e-12, max(map(abs, numbers)) * 1e-30)
    at = Steps(START, START, 0)
    over_time = [{START - 1000 * i: value for i, value in enumerate(numbers)}]
    over_series = [{START: value} for value in numbers]
    summed = evaluated(Call("sum_over_time", (MatrixSelector(SELECTOR, 60_000),)), over_time, at).values[0, 0]
    assert abs(summed - exact) <= slack
    assert abs(evaluated(Aggregate("sum", SELECTOR), over_series, at).values[0, 0] - exact) <= slack


anything = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from([0.0, 1.0, -1.0, 1e100, -1e100, 1.7e308, 0.1])


@given(st.lists(st.lists(anything, max_size=12), min_size=1, max_size=3), st.integers(1, 12))
@settings(max_examples=300, deadline=None)
def test_running_totals_are_never_trusted_too_far(many: list[list[float]], width: int) -> None:
    """Sums of heavily overlapping windows equal those of each window by itself, whatever values precede them."""
    known = samples_of([{START + 1000 * i: value for i, value in enumerate(row)} for row in many])
    at = Steps(START, START + 14_000, 1000)
    found = windows.windows(known.offsets, known.times_ms, known.values, at, at.times_ms, width * 1000)
    alone = windows.walk(found.lo, found.hi)
    with np.errstate(all="ignore"):
        expected = alone.back(sums.combined(*sums.walked(alone, known.values)))
        summed = sums.combined(*sums.over(found))
    np.testing.assert_allclose(summed, expected, rtol=1e-15, atol=0)
