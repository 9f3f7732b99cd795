"""Scripts for tests of PromQL: ours, and other people's where a folder of them is there, over the engine without storage.

``../shared/promqltest`` beside the checkout is used when it exists, and the folder that ``TAEL_PROMQLTEST`` names. Ours must pass whole; of
theirs at least 98 of 100 evaluations, file by file (native histograms 95): what is left is in the table that the run prints.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.doubles import MemorySpans
from tests.support.promqltest import Got, InMemory, Score, differs, run
from tests.support.promqltest_http import OverHttp
from tests.support.promqltest_script import Clear, Eval, Expectation, Load, ScriptError, described, parse
from tests.support.query import serving
from tests.support.series import MemorySeries

HERE = Path(__file__).parent / "promql"
FOREIGN = [Path(__file__).parents[3] / "shared" / "promqltest"]
if "TAEL_PROMQLTEST" in os.environ:
    FOREIGN.append(Path(os.environ["TAEL_PROMQLTEST"]))
LEAST, LEAST_OF_HISTOGRAMS = 0.98, 0.95


def _foreign() -> Iterator[Path]:
    for folder in FOREIGN:
        yield from sorted(folder.glob("*.test"))


def _report(score: Score) -> str:
    return "\n".join([f"{score.passed} of {score.total}", *score.failures])


@pytest.mark.parametrize("path", sorted(HERE.glob("*.test")), ids=lambda path: path.stem)
async def test_our_scripts(path: Path) -> None:
    score = await run(path, InMemory())
    assert score.total
    assert not score.failures, _report(score)


@pytest.mark.parametrize("path", sorted(HERE.glob("*.test")), ids=lambda path: path.stem)
async def test_our_scripts_over_http(path: Path) -> None:
    async def renewed() -> MemorySeries:
        series._samples.clear()
        return series

    series = MemorySeries()
    async with serving(MemorySpans(), series=series) as api:
        score = await run(path, OverHttp(api.session, api.url, renewed))
    assert not score.failures, _report(score)


@pytest.mark.parametrize("path", list(_foreign()) or [pytest.param(None, marks=pytest.mark.skip("no folder of scripts"))], ids=str)
async def test_other_peoples_scripts(path: Path) -> None:
    score = await run(path, InMemory())
    least = LEAST_OF_HISTOGRAMS if "native" in path.stem else LEAST
    assert score.passed >= least * score.total, _report(score)


def test_a_script_is_read_whole() -> None:
    text = """
# a comment
load 30s
  up{job="a"} 1+1x2 _x2 stale 5
  h {{count:2 sum:3 buckets:[1 1]}}x1

eval_warn instant at 1m up
  expect no_info
  expect warn regex: some.*thing
  up{job="a"} 3

clear
eval range from 0 to 1m step 30s 1 + 1
  {} 2 2 2
"""
    load, first, clear, second = parse(text)
    assert isinstance(load, Load)
    assert isinstance(first, Eval)
    assert isinstance(second, Eval)
    assert isinstance(clear, Clear)
    (labels, samples), (_, histograms) = load.series
    assert labels == (("__name__", "up"), ("job", "a"))
    assert [time for time, _ in samples] == [0, 30_000, 60_000, 150_000, 180_000]
    assert len(histograms) == 2
    assert [expectation.kind for expectation in first.expectations] == ["warn", "no_info", "warn"]
    assert second.steps.count == 3


def test_samples_of_a_series_are_expanded_as_prometheus_does() -> None:
    _, samples = described("x 1-2x3 _ 4x1 NaN -Inf")
    assert samples[:7] == [1.0, -1.0, -3.0, -5.0, None, 4.0, 4.0]
    with pytest.raises(ScriptError, match="are no samples"):
        described("x 1 many")


@pytest.mark.parametrize(
    ("got", "problem"),
    [
        (Got(kind="vector", series=[((("a", "1"),), {0: 2.0})]), ""),
        (Got(kind="vector", series=[((("a", "1"),), {0: 2.0000001})]), ""),
        (Got(kind="vector", series=[((("a", "1"),), {0: 2.1})]), "expected 2.0"),
        (Got(kind="vector", series=[((("a", "2"),), {0: 2.0})]), "no series"),
        (Got(kind="vector", series=[((("a", "1"),), {0: 2.0}), ((), {0: 1.0})]), "unexpected series"),
        (Got(kind="scalar", scalar=2.0), "gave the scalar"),
        (Got(error="boom"), "failed: boom"),
        (Got(kind="vector", series=[((("a", "1"),), {0: 2.0})], warnings=["odd (1:2)"]), ""),
    ],
)
def test_a_result_that_differs_is_reported(got: Got, problem: str) -> None:
    [command] = parse('eval instant at 0 x\n  {a="1"} 2')
    assert isinstance(command, Eval)
    assert problem in differs(command, got)
    assert bool(problem) == bool(differs(command, got))


def test_expectations_meet_annotations_with_and_without_their_place() -> None:
    exact, pattern = Expectation("warn", "odd"), Expectation("warn", r"odd \(1:\d\)", pattern=True)
    assert exact.met_by("odd (1:2)")
    assert exact.met_by("odd")
    assert not exact.met_by("odder")
    assert pattern.met_by("odd (1:2)")
    assert not pattern.met_by("odd")
