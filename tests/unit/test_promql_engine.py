"""The engine itself: what it refuses, when it ends, and what it reports."""

from __future__ import annotations

import asyncio
import threading
import time
import tracemalloc

import pytest

from services.query.promql.engine import EngineOptions, PromqlEngine, Query
from tael.errors import Rejected, TooLarge
from tael.model.series import Samples, Selection
from tael.promql import evaluate as evaluation
from tael.promql.evaluate import Evaluated
from tael.promql.features import Features
from tael.promql.prepare import prepare
from tael.promql.print import printed
from tael.storage.api import Answer
from tael.vectors.annotations import Annotations
from tael.vectors.histograms import text as histogram_text
from tael.vectors.values import Scalar, Steps
from tests.support.series import MemorySeries

INSTANT = Steps(60_000, 60_000, 0)


def engine(*values: float, **options: object) -> PromqlEngine:
    """An engine over one series with a sample every ten seconds from 0 on."""
    store = MemorySeries()
    store.add({"__name__": "x"}, [(10_000 * index, value) for index, value in enumerate(values)])
    return PromqlEngine(store, EngineOptions(**options))  # type: ignore[arg-type]  # its fields


async def test_a_query_reports_how_much_it_read() -> None:
    run = engine(1, 2, 3, 4)
    outcome = await run.run("t1", Query("sum_over_time(x[1m])", INSTANT), run.parse("sum_over_time(x[1m])"))
    assert (outcome.samples, outcome.missing) == (3, ())


async def test_the_lookback_is_the_querys_own_where_it_has_one() -> None:
    run = engine(1)
    for lookback, series in ((None, 1), (30_000, 0)):
        outcome = await run.run("t1", Query("x", INSTANT, lookback), run.parse("x"))
        assert len(outcome.evaluated.value.labels) == series  # type: ignore[union-attr]  # a vector


async def test_bounds_apply_to_fetched_samples() -> None:
    run = engine(*range(100), max_samples=50)
    with pytest.raises(TooLarge, match="too many samples"):
        await run.run("t1", Query("x[1d]", Steps(10**6, 10**6, 0)), run.parse("x[1d]"))


class _Recording(MemorySeries):
    """See SeriesReader: records how many samples each question may return."""

    def __init__(self) -> None:
        super().__init__()
        self.most: list[int] = []

    async def select(self, tenant: str, selection: Selection, max_samples: int) -> Answer[Samples]:
        """See SeriesReader."""
        self.most.append(max_samples)
        return await super().select(tenant, selection, max_samples)


@pytest.mark.parametrize("most", [100, 79])
async def test_selectors_share_what_may_be_loaded(most: int) -> None:
    """Concurrent reads together return no more than the budget; a read that needs more than its share is repeated when it is alone."""
    store = _Recording()
    for name, samples in (("a", 60), ("b", 10), ("c", 10)):
        store.add({"__name__": name}, [(1000 * index, 1.0) for index in range(samples)])
    run = PromqlEngine(store, EngineOptions(max_samples=most))
    query = " + ".join(f"sum_over_time({name}[1h])" for name in "abc")
    asked = run.run("t1", Query(query, INSTANT), run.parse(query))
    if most < 80:
        with pytest.raises(TooLarge, match="too many samples"):
            await asked
        return
    assert (await asked).samples == 80
    assert store.most[0] == 33, "a third, beside two others"
    assert sorted(store.most)[:3] == [10, 13, 33], "a third of what was left then"
    assert store.most.count(100) == 1


@pytest.mark.parametrize(("query", "fits"), [("x + x + x + x + x", True), ("x + (x + (x + (x + x)))", False)])
async def test_the_left_sides_that_wait_count(query: str, *, fits: bool) -> None:
    """A chain of operators holds two vectors at a time, nested operands as many as their depth."""
    run = engine(1, max_samples=30)
    asked = run.run("t1", Query(query, Steps(0, 90_000, 10_000)), run.parse(query))
    if fits:
        await asked
        return
    with pytest.raises(TooLarge, match="too many samples"):
        await asked


async def test_histograms_count_by_their_buckets() -> None:
    store = MemorySeries()
    wide = histogram_text.parse("{{schema:0 count:400 sum:5 buckets:[" + "1 " * 400 + "]}}")
    store.add({"__name__": "x"}, [(10_000 * index, wide) for index in range(10)])
    query, steps = "sum_over_time(x[1h])", Steps(10**5, 10**5, 0)
    for most, fits in ((400 * 12 * 10 // 16, False), (400 * 12 * 10 // 16 * 2, True)):
        run = PromqlEngine(store, EngineOptions(max_samples=most))
        asked = run.run("t1", Query(query, steps), run.parse(query))
        if fits:
            assert (await asked).samples == 10
            continue
        with pytest.raises(TooLarge, match="too many samples"):
            await asked


@pytest.mark.parametrize(
    "query",
    [
        'count_values("v", vector(time()))',
        'histogram_quantiles(label_replace(vector(1), "le", "+Inf", "", ""), "q", time() / 1e9)',
        "x offset 1s",
        "timestamp(x)",
        "quantile_over_time(0.5, x[1s])",
        "rate(x[1s] anchored)",
        "info(y)",
    ],
)
async def test_too_many_values_are_refused_before_they_are_computed(query: str) -> None:
    """Series that hold one sample each, or a new label value at every step, have the square of the steps in values."""
    store, steps = MemorySeries(), Steps(0, 3_000_000, 1_000)
    for number in range(1, 3_000):
        for name in ("x", "target_info"):
            store.add({"__name__": name, "job": "a", "version": str(number)}, [(number * 1_000, 1.0)])
    store.add({"__name__": "y", "job": "a"}, [(number * 1_000, 1.0) for number in range(3_000)])
    run = PromqlEngine(store, EngineOptions(max_samples=100_000))
    expr = run.parse(query)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match="too many samples"):
            await run.run("t1", Query(query, steps, 1_000), expr)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("query", ["x", "rate(x[5m])", "count(x) + 1"])
async def test_a_selector_finds_no_more_series_than_it_may(query: str) -> None:
    store = MemorySeries()
    for number in range(4):
        store.add({"__name__": "x", "n": str(number)}, [(10_000 * index, float(index)) for index in range(6)])
    run = PromqlEngine(store, EngineOptions(max_series=4))
    await run.run("t1", Query(query, INSTANT), run.parse(query))
    run = PromqlEngine(store, EngineOptions(max_series=3))
    with pytest.raises(TooLarge, match="query processing would load too many series into memory in query execution"):
        await run.run("t1", Query(query, INSTANT), run.parse(query))


def test_only_what_has_a_value_at_a_step_is_a_range_query() -> None:
    run = engine()
    for text, kind in (("x[5m]", "range vector"), ("'x'", "string")):
        assert run.parse(text)
        with pytest.raises(Rejected, match=f'invalid expression type "{kind}" for range query'):
            run.parse(text, instant=False)


def test_experiments_are_the_options() -> None:
    run = engine(features=Features(functions=False))
    with pytest.raises(Rejected, match="is not enabled"):
        run.parse("mad_over_time(x[5m])")
    assert run.parse("x[5m * 2]")


async def test_an_evaluation_ends_when_its_caller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Event(), threading.Event()

    def evaluate(_: object, __: object, ___: object, settings: object, ____: str) -> Evaluated:
        begun.set()
        try:
            for _____ in range(500):
                settings.check()  # type: ignore[attr-defined]  # Settings
                time.sleep(0.01)
        except BaseException:
            ended.set()
            raise
        return Evaluated(Scalar(INSTANT.times_ms.astype(float)), Annotations())

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    run = engine(1)
    task = asyncio.create_task(run.run("t1", Query("x", INSTANT), run.parse("x")))
    await asyncio.to_thread(begun.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 5)


@pytest.mark.parametrize(
    ("query", "prepared"),
    [
        ("x[step() * 2] offset range()", "x[20s] offset 1m"),
        ("x @ start() + x @ end()", "x @ 0.000 + x @ 60.000"),
        ("sum(x[max_of(1m, step()):step()] offset -step())", None),
        ("count_over_time(x[max_of(1m, step()):step()] offset -step())", "count_over_time(x[1m:10s] offset -10s)"),
    ],
)
def test_preparing_calculates_times(query: str, prepared: str | None) -> None:
    run = engine()
    if prepared is None:
        with pytest.raises(Rejected):
            run.parse(query)
        return
    assert printed(prepare(query, run.parse(query), Steps(0, 60_000, 10_000))) == prepared


def test_a_duration_without_a_value_is_refused_with_its_place() -> None:
    query = "x[step()]"
    with pytest.raises(Rejected, match=r"^1:3: duration must be greater than 0$"):
        prepare(query, engine().parse(query), INSTANT)
