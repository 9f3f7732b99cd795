"""Functions evaluated where the samples are agree with the same expression evaluated over fetched samples."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.query.budget import Budget
from services.query.promql.fetch import fetch
from tael.model.series import STALE, GridFunction, Labels, Matcher
from tael.promql.ast import Call, Expr, MatrixSelector, Number, Unary, VectorSelector
from tael.promql.evaluate import Settings, evaluate
from tael.promql.needs import Needs, Options, needs
from tael.storage.api import SeriesReader
from tael.vectors.values import Steps, Value, Vector
from tests.support.hotnode import HotNode
from tests.support.series import StoredSeries
from tests.support.storage import HotTier, open_tier

T0 = 1_790_002_800_000
FUNCTIONS = get_args(GridFunction)
LOOKBACK = 20_000
TOLERANCE = {"deriv": 1e-6, "predict_linear": 1e-3}
"""A line through samples that are a millisecond apart is steep, and minutes away its last digits count."""

values = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0, 5.0, 5.0, -1.0, 100.0, 1e-3, 1e9, math.nan, math.inf, -math.inf, STALE]),
    st.floats(min_value=-1e6, max_value=1e6, allow_nan=False),
    st.integers(0, 20).map(float),
)
gaps = st.one_of(st.just(5_000), st.integers(1, 3), st.integers(4_000, 6_000), st.sampled_from([10_000, 20_000, 60_000]))


@st.composite
def series(draw: st.DrawFn) -> list[tuple[int, float]]:
    """Samples at growing times, some of them written twice with different values."""
    time_ms, found = T0 + draw(st.integers(-30_000, 30_000)), []
    rising, total = draw(st.booleans()), 0.0
    for gap in draw(st.lists(gaps, max_size=25)):
        time_ms += gap
        value = draw(values)
        total += abs(value) if rising and math.isfinite(value) else 0.0
        found.append((time_ms, total if rising else value))
    return found + [
        (found[index][0], draw(values)) for index in draw(st.lists(st.integers(0, max(0, len(found) - 1)), max_size=2)) if found
    ]


@dataclass(frozen=True)
class Times:
    """The times and ranges of an evaluation."""

    steps: Steps
    window_ms: int
    offset_ms: int
    argument: float


times = st.builds(
    lambda start, count, step, window, offset, argument: Times(
        Steps(T0 + start, T0 + start + (count - 1) * step, step if count > 1 else 0), window, offset, argument
    ),
    st.integers(-10_000, 60_000) | st.just(0),
    st.integers(1, 30),
    st.sampled_from([1, 250, 1_000, 5_000, 7_001, 30_000]),
    st.sampled_from([1, 1_000, 5_000, 10_000, 20_000, 33_333, 300_000]),
    st.sampled_from([0, 0, 1, 5_000, -7_000]),
    st.sampled_from([0.0, 600.0, -3.5]),
)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def tier(runner: asyncio.Runner, shared_hot_node: HotNode) -> Iterator[HotTier]:
    """One shard for all examples, each of which has a metric of its own."""
    opening = open_tier([shared_hot_node])
    yield runner.run(opening.__aenter__())
    runner.run(opening.__aexit__(None, None, None))


def expressions(metric: str, when: Times) -> dict[str, Expr]:
    """Every function that is pushed down, applied to the metric."""
    selector = VectorSelector(metric, (Matcher("__name__", "=", metric),), offset=when.offset_ms)
    over = MatrixSelector(selector, when.window_ms)
    number: Expr = Number(abs(when.argument)) if when.argument >= 0 else Unary("-", Number(abs(when.argument)))
    found: dict[str, Expr] = {
        name: Call(name, (over, number) if name == "predict_linear" else (over,)) for name in FUNCTIONS if name != "last"
    }
    return {"last": selector, **found}


Evaluated = dict[Labels, tuple[list[bool], list[float]]]


async def evaluated(reader: SeriesReader, exprs: dict[str, Expr], steps: Steps, *, push: bool) -> dict[str, Evaluated]:
    """The expressions' values by series, with or without the shard's help; everything is fetched at once."""
    wanted = Needs()
    for expr in exprs.values():
        of_one = needs(expr, steps, Options(lookback_ms=LOOKBACK, push=push, push_from_ms=0))
        wanted.grids |= of_one.grids
        for selector, selection in of_one.samples.items():
            wanted.select(selector, selection.start_ms, selection.end_ms)
    answer = await fetch(reader, "t1", wanted, Budget(1_000_000, 1_000))
    left_to_us = len(exprs) - len(answer.value.grids)
    assert left_to_us in (range(4) if push else (len(exprs),)), (
        "infinite means and rates without a number are all that a shard leaves to us"
    )
    return {name: _by_series(evaluate(expr, steps, answer.value, Settings(lookback_ms=LOOKBACK)).value) for name, expr in exprs.items()}


def _by_series(value: Value) -> Evaluated:
    assert isinstance(value, Vector)
    numbers = np.where(value.present, value.values, 0)
    return {labels: (value.present[row].tolist(), numbers[row].tolist()) for row, labels in enumerate(value.labels)}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(several=st.lists(series(), min_size=1, max_size=3), when=times)
def test_pushed_down_and_evaluated_here_agree(
    runner: asyncio.Runner, tier: HotTier, several: list[list[tuple[int, float]]], when: Times
) -> None:
    """For every function: gaps, resets, stale markers, NaN, infinities, one sample, duplicates, windows and steps of any size."""

    async def compare() -> None:
        store, metric = StoredSeries(tier), f"m_{secrets.token_hex(6)}"
        for index, samples in enumerate(several):
            store.add({"__name__": metric, "n": str(index)}, samples)
        await store.flush()
        exprs = expressions(metric, when)
        there, here = await asyncio.gather(*(evaluated(store.reader, exprs, when.steps, push=push) for push in (True, False)))
        for name in exprs:
            assert there[name].keys() == here[name].keys(), name
            for labels, (present, numbers) in here[name].items():
                assert there[name][labels][0] == present, name
                np.testing.assert_allclose(there[name][labels][1], numbers, rtol=TOLERANCE.get(name, 1e-9), atol=1e-12, err_msg=name)

    runner.run(compare())
