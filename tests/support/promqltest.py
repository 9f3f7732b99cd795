"""Runs scripts in Prometheus' language for tests of PromQL (``load``, ``clear``, ``eval``) against anything that can load and query.

    python -m tests.support.promqltest FILE…      prints how many evaluations of each file pass, and why the others do not

A result is compared as Prometheus does it: floats within 1e-6 of each other, series in any order unless the script says ``ordered``,
annotations without their place. Histograms are compared by count, sum and buckets, and by their reset hint where the script gives one.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from services.query.promql.engine import EngineOptions, PromqlEngine, Query
from tael.errors import TaelError
from tael.model.histogram import RESET_UNKNOWN, Histograms
from tael.model.series import Labels
from tael.vectors.histograms import documents as histogram_json
from tael.vectors.histograms import resets as histogram_resets
from tael.vectors.histograms import text as histogram_text
from tael.vectors.values import Matrix, Scalar, Steps, Text, Vector
from tests.support.promqltest_script import Clear, Eval, Load, parse, unpacked
from tests.support.series import MemorySeries, Sample, samples_of

Found = float | Histograms | Mapping[str, Any]
"""A sample of a result: a float, a histogram, or a histogram as the HTTP API writes it."""
Points = dict[int, Found]

_EPSILON = 1e-6


@dataclass(slots=True)
class Got:
    """The result of a query."""

    kind: str = ""
    series: list[tuple[Labels, Points]] = field(default_factory=list)
    scalar: float = math.nan
    string: str = ""
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)
    error: str | None = None


class Target(Protocol):
    """The system that a script runs against."""

    async def clear(self) -> None:
        """Start with an empty store."""
        ...

    async def load(self, series: Sequence[tuple[Labels, Sequence[tuple[int, Sample]]]]) -> None:
        """Write series, which later calls of ``query`` must see."""
        ...

    async def query(self, query: str, steps: Steps) -> Got:
        """Evaluate a query; an error is part of the result."""
        ...


@dataclass(slots=True)
class Score:
    """The result of a script: the failures with their lines."""

    name: str
    total: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> int:
        """The number of passed evaluations."""
        return self.total - len(self.failures)


async def run(path: Path, target: Target) -> Score:
    """Run all evaluations of one script."""
    score = Score(path.name)
    await target.clear()
    for command in parse(path.read_text()):
        match command:
            case Clear():
                await target.clear()
            case Load():
                await target.load(command.series)
            case Eval():
                score.total += 1
                got = await target.query(command.query, command.steps)
                if problem := differs(command, got):
                    score.failures.append(f"{path.name}:{command.line}: {command.query}: {problem}")
    return score


def differs(command: Eval, got: Got) -> str:
    """Why a result differs from the expected one; empty if it does not."""
    if failures := command.wants("fail"):
        if got.error is None:
            return "did not fail"
        return "" if all(failure.met_by(got.error) for failure in failures) else f"failed with {got.error!r}"
    if got.error is not None:
        return f"failed: {got.error}"
    return _annotations(command, "warn", got.warnings) or _annotations(command, "info", got.infos) or _result(command, got)


def _annotations(command: Eval, kind: str, messages: list[str]) -> str:
    if command.wants(f"no_{kind}") and messages:
        return f"unexpected {kind}: {messages}"
    wanted = command.wants(kind)
    for expectation in wanted:
        if not any(expectation.met_by(message) for message in messages):
            return f"no {kind} {expectation.text or ''!r} in {messages}"
    for message in messages if wanted else []:
        if not any(expectation.met_by(message) for expectation in wanted):
            return f"unexpected {kind}: {message!r}"
    return ""


def _result(command: Eval, got: Got) -> str:
    if command.string is not None:
        return "" if got.kind == "string" and got.string == command.string else f"gave {got.kind} {got.string!r}"
    if got.kind == "scalar":
        if command.steps.step_ms:
            return _series(command, [((), dict.fromkeys(command.steps.times_ms.tolist(), got.scalar))])
        if command.scalar is None:
            return f"gave the scalar {got.scalar}"
        return "" if close(command.scalar, got.scalar) else f"gave {got.scalar}"
    if command.scalar is not None:
        return f"gave a {got.kind}"
    return _series(command, got.series)


def _series(command: Eval, series: list[tuple[Labels, Points]]) -> str:
    times = (command.grid or command.steps).times_ms.tolist()
    found = dict(series)
    if len(found) != len(series):
        return "gave a series twice"
    for labels, samples, hinted in command.series:
        if labels not in found:
            return f"no series {dict(labels)}; there are {[dict(labels) for labels in found][:5]}"
        wanted = {time: sample for time, sample in zip(times, samples, strict=False) if sample is not None}
        if problem := _points(wanted, found[labels], hinted=hinted):
            return f"{dict(labels)}: {problem}"
    if extra := set(found) - {labels for labels, _, _ in command.series}:
        return f"unexpected series {[dict(labels) for labels in sorted(extra)][:5]}"
    if command.wants("ordered") and [labels for labels, _ in series] != [labels for labels, _, _ in command.series]:
        return f"in the order {[dict(labels) for labels, _ in series]}"
    return ""


def _points(wanted: dict[int, Sample], got: Points, *, hinted: bool) -> str:
    if wanted.keys() != got.keys():
        return f"samples at {sorted(got)}, expected at {sorted(wanted)}"
    for time, sample in wanted.items():
        if not same(sample, got[time], hinted=hinted):
            return f"at {time}: {_shown(got[time])}, expected {_shown(sample)}"
    return ""


def _shown(sample: Found) -> str:
    return histogram_text.expressions(sample)[0] if isinstance(sample, Histograms) else str(sample)


def same(wanted: Sample, got: Found, *, hinted: bool) -> bool:
    """Whether a sample is the expected one."""
    if not isinstance(wanted, Histograms):
        return isinstance(got, float) and close(wanted, got)
    if isinstance(got, float):
        return False
    if hinted and isinstance(got, Histograms) and got.reset_hint[0] != wanted.reset_hint[0] != RESET_UNKNOWN:
        return False
    if isinstance(got, Histograms):
        [got] = histogram_json.documents(got)
    [document] = histogram_json.documents(wanted)
    left, right = _numbers(document), _numbers(got)
    return len(left) == len(right) and all(map(close, left, right))


def _numbers(document: Mapping[str, Any]) -> list[float]:
    buckets = [float(number) for bucket in document.get("buckets", []) for number in bucket]
    return [float(document["count"]), float(document["sum"]), *buckets]


def close(a: float, b: float) -> bool:
    """Whether two numbers are equal within a relative error of 1e-6; NaN equals NaN."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if a == b:
        return True
    total, difference = abs(a) + abs(b), abs(a - b)
    if a == 0 or b == 0 or total < sys.float_info.min:
        return difference < _EPSILON * sys.float_info.min
    return difference / min(total, sys.float_info.max) < _EPSILON


@dataclass
class InMemory:
    """A target without storage: the engine over series in memory."""

    store: MemorySeries = field(default_factory=MemorySeries)

    async def clear(self) -> None:
        """See Target."""
        self.store = MemorySeries()

    async def load(self, series: Sequence[tuple[Labels, Sequence[tuple[int, Sample]]]]) -> None:
        """See Target."""
        for labels, samples in unpacked(histogram_resets.hinted(samples_of([own for own in series if own[1]]))):
            self.store.add(labels, samples)

    async def query(self, query: str, steps: Steps) -> Got:
        """See Target."""
        engine = PromqlEngine(self.store, EngineOptions())
        try:
            expr = engine.parse(query, instant=steps.step_ms == 0)
            outcome = await engine.run("t1", Query(query, steps), expr)
        except TaelError as problem:
            return Got(error=str(problem))
        notes = outcome.evaluated.notes
        got = Got(warnings=notes.warnings, infos=notes.infos)
        match outcome.evaluated.value:
            case Scalar(values=values):
                got.kind, got.scalar = "scalar", float(values[0])
                if steps.step_ms:
                    got.kind = "matrix"
                    got.series = [((), dict(zip(steps.times_ms.tolist(), values.tolist(), strict=True)))]
            case Text(value=value):
                got.kind, got.string = "string", value
            case Vector() as vector:
                got.kind = "vector"
                got.series = [(labels, _row_points(vector, row, steps)) for row, labels in enumerate(vector.labels)]
            case Matrix(samples=samples):
                got.kind = "matrix"
                got.series = [(labels, dict(points)) for labels, points in unpacked(samples)]
        return got


def _row_points(vector: Vector, row: int, steps: Steps) -> Points:
    points: Points = {}
    for column, time in enumerate(steps.times_ms.tolist()):
        if not vector.present[row, column]:
            continue
        if vector.cells is not None and vector.histograms is not None and vector.cells[row, column] >= 0:
            points[time] = vector.histograms.take(vector.cells[row, column : column + 1])
        else:
            points[time] = float(vector.values[row, column])
    return points


def table(scores: Sequence[Score]) -> str:
    """A table of the passed evaluations of each file."""
    lines = [f"{score.passed:5} of {score.total:5}  {score.name}" for score in scores]
    passed, total = sum(score.passed for score in scores), sum(score.total for score in scores)
    return "\n".join([*lines, f"{passed:5} of {total:5}  {100 * passed / max(total, 1):.2f} %"])


async def _main(paths: Sequence[Path]) -> None:
    scores = [await run(path, InMemory()) for path in paths]
    for score in scores:
        print(*score.failures, sep="\n")  # noqa: T201 - a command
    print(table(scores))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_main([Path(path) for path in sys.argv[1:]]))
