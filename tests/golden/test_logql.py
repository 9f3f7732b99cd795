"""LogQL by data files: what parses and how it is printed, what is refused and with which words, and what queries answer over known lines.

`lines.json` holds lines as `[seconds, stream labels, structured metadata, line]`. A metric query is asked at 10 s, and at 4, 6, 8 and 10 s.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tael.errors import Rejected
from tael.logql.ast import Expr, LogQuery
from tael.logql.evaluate import evaluate, leaves
from tael.logql.functions import of_samples
from tael.logql.parse import parse
from tael.logql.pipeline import Pipeline
from tael.logql.print import printed
from tael.logql.row import Row
from tael.logql.samples import Bounds, Extraction
from tael.logql.stages.label_filter import condition
from tael.model.series import Matcher
from tael.syntax.literals import compact
from tael.vectors.values import Scalar, Steps, Vector

HERE = Path(__file__).parent / "logql"
SECOND = 1_000_000_000
LINES = sorted(json.loads((HERE / "lines.json").read_text()), key=lambda line: line[0])


def pairs(name: str) -> list[tuple[str, str]]:
    lines = (HERE / name).read_text().splitlines()
    return [(query, expected or query) for query, _, expected in (line.partition(" => ") for line in lines if not line.startswith("#"))]


def selected(matchers: tuple[Matcher, ...], hints: Any = None) -> list[Row]:
    conditions = [(matcher.name, condition(matcher)) for matcher in matchers]
    extra = () if hints is None else (hints,)
    return [
        Row(seconds * SECOND, line, stream, metadata, *extra)
        for seconds, stream, metadata, line in LINES
        if all(meets(stream.get(name, "")) for name, meets in conditions)
    ]


def lines_of(query: LogQuery) -> list[list[Any]]:
    pipeline = Pipeline(query.stages)
    return [[row.timestamp_ns // SECOND, row.labels(), row.line] for row in selected(query.matchers) if pipeline.keeps(row)]


def value_of(expr: Any, steps: Steps) -> Any:
    found = {}
    for leaf in leaves(expr):
        extraction = Extraction(leaf, Bounds())
        extraction.add(selected(leaf.query.matchers, extraction.hints))
        found[leaf] = of_samples(leaf.aggregation, extraction.samples(), steps)
    return shown(evaluate(expr, steps, found))


def shown(value: Scalar | Vector) -> Any:
    if isinstance(value, Scalar):
        return [compact(one) for one in value.values.tolist()]
    return [
        [dict(labels), [compact(one) if there else None for one, there in zip(values, present, strict=True)]]
        for labels, values, present in zip(value.labels, value.values.tolist(), value.present.tolist(), strict=True)
    ]


def answer(query: str) -> Any:
    """What the golden file holds of a query."""
    try:
        expr: Expr = parse(query)
        if isinstance(expr, LogQuery):
            return {"lines": lines_of(expr)}
        instant, steps = Steps(10 * SECOND, 10 * SECOND, 0), Steps(4 * SECOND, 10 * SECOND, 2 * SECOND)
        return {"instant": value_of(expr, instant), "range": value_of(expr, steps)}
    except Rejected as problem:
        return {"error": str(problem)}


@pytest.mark.parametrize(("query", "expected"), pairs("valid.txt"))
def test_a_valid_query_parses_and_is_printed_as_text_that_means_the_same(query: str, expected: str) -> None:
    expr = parse(query.strip())
    assert printed(expr) == expected.strip()
    assert parse(printed(expr)) == expr


@pytest.mark.parametrize(("query", "message"), pairs("refused.txt"))
def test_a_bad_query_is_refused_with_its_place_and_what_was_expected(query: str, message: str) -> None:
    with pytest.raises(Rejected) as refused:
        parse(query)
    assert str(refused.value) == message


EVALUATED = json.loads((HERE / "evaluated.json").read_text())


@pytest.mark.parametrize("query", EVALUATED)
def test_a_query_answers_what_the_file_says(query: str) -> None:
    assert json.loads(json.dumps(answer(query))) == EVALUATED[query]
