"""LogQL's data files, and what a query answers over rows in memory.

`lines.json` holds lines as `[seconds, stream labels, structured metadata, line]`. A metric query is asked at 10 s, and at 4, 6, 8 and 10 s.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tael.errors import Rejected
from tael.logql.ast import Expr, LogQuery
from tael.logql.evaluate import evaluate, leaves
from tael.logql.functions import of_samples
from tael.logql.parse import parse
from tael.logql.pipeline import Pipeline
from tael.logql.row import Row
from tael.logql.samples import Bounds, Extraction
from tael.logql.stages.label_filter import condition
from tael.model.series import Matcher
from tael.syntax.literals import compact
from tael.vectors.values import Scalar, Steps, Vector

HERE = Path(__file__).parents[1] / "golden" / "logql"
SECOND = 1_000_000_000
LINES = sorted(json.loads((HERE / "lines.json").read_text()), key=lambda line: line[0])
EVALUATED: dict[str, Any] = json.loads((HERE / "evaluated.json").read_text())
ROWS = [Row(seconds * SECOND, line, stream, metadata) for seconds, stream, metadata, line in LINES]


def pairs(name: str) -> list[tuple[str, str]]:
    lines = (HERE / name).read_text().splitlines()
    return [(query, expected or query) for query, _, expected in (line.partition(" => ") for line in lines if not line.startswith("#"))]


def at(origin_ns: int) -> Steps:
    """The instant at which a metric query is asked."""
    return Steps(origin_ns + 10 * SECOND, origin_ns + 10 * SECOND, 0)


def over(origin_ns: int) -> Steps:
    """The steps of a range query."""
    return Steps(origin_ns + 4 * SECOND, origin_ns + 10 * SECOND, 2 * SECOND)


def selected(matchers: tuple[Matcher, ...], rows: Sequence[Row], hints: Any = None) -> list[Row]:
    """Copies of the rows of the streams that match."""
    conditions = [(matcher.name, condition(matcher)) for matcher in matchers]
    extra = () if hints is None else (hints,)
    return [
        Row(row.timestamp_ns, row.line, row.stream, row.metadata, *extra)
        for row in rows
        if all(meets(row.stream.get(name, "")) for name, meets in conditions)
    ]


def shown_lines(rows: Sequence[Row], origin_ns: int) -> list[list[Any]]:
    return [[(row.timestamp_ns - origin_ns) // SECOND, row.labels(), row.line] for row in rows]


def shown(value: Scalar | Vector) -> Any:
    if isinstance(value, Scalar):
        return [compact(one) for one in value.values.tolist()]
    return [
        [dict(labels), [compact(one) if there else None for one, there in zip(values, present, strict=True)]]
        for labels, values, present in zip(value.labels, value.values.tolist(), value.present.tolist(), strict=True)
    ]


def answer(query: str, rows: Sequence[Row] = ROWS, origin_ns: int = 0) -> Any:
    """What a query answers over rows in memory, the seconds of which begin at ``origin_ns``, in the form of the golden file."""
    try:
        expr: Expr = parse(query)
        if isinstance(expr, LogQuery):
            pipeline = Pipeline(expr.stages)
            return {"lines": shown_lines([row for row in selected(expr.matchers, rows) if pipeline.keeps(row)], origin_ns)}
        return {"instant": _value(expr, rows, at(origin_ns)), "range": _value(expr, rows, over(origin_ns))}
    except Rejected as problem:
        return {"error": str(problem)}


def _value(expr: Any, rows: Sequence[Row], steps: Steps) -> Any:
    found = {}
    for leaf in leaves(expr):
        extraction = Extraction(leaf, Bounds())
        extraction.add(selected(leaf.query.matchers, rows, extraction.hints))
        found[leaf] = of_samples(leaf.aggregation, extraction.samples(), steps)
    return shown(evaluate(expr, steps, found))
