"""Whatever an expression is made of, the evaluator finds what ``needs`` had fetched, and gives the same with and without help from shards.

In memory: the shards' part is done by the evaluator itself, so that what differs here is which node is evaluated where and when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.query.promql.engine import EngineOptions, PromqlEngine, Query
from tael.errors import Rejected
from tael.model.series import Grid, GridRequest, Selection
from tael.promql.ast import Call, Expr, MatrixSelector, Number, Unary, VectorSelector
from tael.promql.evaluate import Evaluation, Settings
from tael.promql.fetched import Fetched
from tael.promql.leaves import Leaves
from tael.storage.api import Answer
from tael.vectors.annotations import Annotations
from tael.vectors.values import Matrix, Scalar, Steps, Text, Value
from tests.support.series import MemorySeries

STEPS = st.sampled_from([Steps(720_000, 720_000, 0), Steps(240_000, 1_320_000, 120_000), Steps(660_000, 1_140_000, 156_000)])


class _Pushing(MemorySeries):
    """See SeriesReader: evaluates every grid that is requested."""

    async def grid(self, tenant: str, request: GridRequest, max_series: int) -> Answer[Grid] | None:
        """See SeriesReader."""
        del max_series
        selector = VectorSelector("", tuple(request.matchers))
        expr: Expr = selector
        if request.function != "last":
            over = MatrixSelector(selector, request.window_ms)
            number: Expr = Number(abs(request.argument))
            ahead = number if request.argument >= 0 else Unary("-", number)
            expr = Call(request.function, (over, ahead) if request.function == "predict_linear" else (over,))
        steps = Steps(request.start_ms, request.end_ms, request.step_ms)
        selection = Selection(request.matchers, request.start_ms - request.window_ms, request.end_ms)
        samples = (await self.select(tenant, selection, 10_000)).value
        run = Evaluation(Leaves(Fetched({selector: samples}), request.window_ms), Settings(), steps, Annotations(""))
        with np.errstate(all="ignore"):
            vector = run.vector(expr, steps)
        rows = np.flatnonzero(vector.present.any(axis=1))
        return Answer(Grid([vector.labels[row] for row in rows.tolist()], vector.values[rows], vector.present[rows]))


MODIFIERS = st.sampled_from(["", "", " offset 4m", " offset -3m", " @ 540", " @ end()", " @ start() offset 1m"])
SELECTED = st.builds(lambda name, modifier: name + modifier, st.sampled_from(["a", 'b{x="1"}', '{__name__=~"a|b"}', "none"]), MODIFIERS)
RANGES = st.builds(
    lambda name, window, modifier: f"{name}[{window}s]{modifier}", st.sampled_from(["a", "b"]), st.sampled_from([120, 420, 732]), MODIFIERS
)
OVER_A_RANGE = st.sampled_from(
    ["rate", "irate", "delta", "sum_over_time", "max_over_time", "last_over_time", "changes", "absent_over_time", "stddev_over_time"]
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    subqueries = st.builds(lambda of, step, modifier: f"({of})[8m:{step}]{modifier}", inner, st.sampled_from(["", "84s"]), MODIFIERS)
    wrapped = st.sampled_from(
        [
            "abs({})",
            "timestamp({})",
            "-({})",
            "({})",
            "sum by (x) ({})",
            "max without (x) ({})",
            "timestamp(abs({}))",
            "absent({})",
            "vector(scalar({}))",
            "sort({})",
            'label_replace({}, "y", "$1", "x", "(.*)")',
            "({}) > 3.1415926535",
            "quantile(0.5, {}) + time()",
            "info({})",
            "clamp_max({}, scalar(a @ 360))",
        ]
    )
    return (
        st.builds(lambda form, of: form.format(of), wrapped, inner)
        | st.builds(lambda function, of: f"{function}({of})", OVER_A_RANGE, subqueries)
        | st.builds("({}) {} ({})".format, inner, st.sampled_from(["+", "and", "or", "unless", "/ on (x) group_left ()"]), inner)
    )


LEAVES = (
    SELECTED
    | st.builds(lambda selected: f"{selected} smoothed", st.sampled_from(["a", "b @ 600"]))
    | st.builds(lambda function, over: f"{function}({over})", OVER_A_RANGE, RANGES)
    | st.builds(lambda function: f"{function}(a[6m] anchored)", st.sampled_from(["rate", "changes"]))
)
PREDICTIONS = st.builds(
    lambda form, over: form.format(f"predict_linear({over}, -240)"), st.sampled_from(["{}", "-({})", "sum({}) + 1"]), RANGES
)
"""Their last digits differ with where a line begins, which a rate of them would make much of."""
QUERIES = st.recursive(LEAVES, _larger, max_leaves=4) | PREDICTIONS


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples."""
    with asyncio.Runner() as runner:
        yield runner


def store() -> _Pushing:
    """Two metrics of three series: one with gaps, one that begins late; and what ``info`` reads."""
    series = _Pushing()
    for number in range(3):
        series.add({"__name__": "a", "x": str(number)}, [(60_000 * i, float(i % 7 + number)) for i in range(25) if i % 6 != number])
        series.add({"__name__": "b", "x": str(number)}, [(60_000 * i + 8_400, float(i * number)) for i in range(4 * number, 25)])
    series.add({"__name__": "target_info", "job": "j", "instance": "i", "version": "1"}, [(0, 1.0), (1_080_000, 1.0)])
    return series


async def answer(query: str, steps: Steps, *, push: bool) -> object:
    """The value as plain data, or the error."""
    engine = PromqlEngine(store(), EngineOptions(subquery_step_ms=108_000, push=push))
    try:
        outcome = await engine.run("t1", Query(query, steps), engine.parse(query, instant=not steps.step_ms))
    except Rejected as problem:
        return str(problem)
    return plain(outcome.evaluated.value)


def plain(value: Value) -> object:
    """The samples that are present, by series."""
    match value:
        case Scalar(values=values):
            return [f"{round(number, 6) + 0.0:.9g}" for number in values.tolist()]
        case Text(value=text):
            return text
        case Matrix(samples=samples):
            return list(samples.labels), samples.values.tolist()
        case _:
            told = [[f"{round(number, 6) + 0.0:.9g}" for number in row] for row in np.where(value.present, value.values, 0).tolist()]
            return sorted(zip(value.labels, value.present.tolist(), told, strict=True))


@settings(max_examples=400, deadline=None)
@given(query=QUERIES, steps=STEPS)
def test_with_and_without_help_the_answer_is_the_same(runner: asyncio.Runner, query: str, steps: Steps) -> None:
    pushed, here = (runner.run(answer(query, steps, push=push)) for push in (True, False))
    assert pushed == here
