"""Each case of LogQL's data files over stored lines, on one and two shards, hot, cold and mixed: what shards count, leave out and read as
columns is what the evaluation over rows in memory says, which the golden files hold to known answers.
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from services.query.logql.engine import LogqlEngine, LogqlOptions, Wanted
from tael.errors import Rejected
from tael.logql.ast import LogQuery
from tael.logql.parse import parse
from tael.loki.push import read_json
from tael.model.time import TimeRange
from tests.support.logql_cases import EVALUATED, LINES, SECOND, answer, at, over, shown, shown_lines
from tests.support.storage import START_NS, HotTier

pytestmark = pytest.mark.timeout(800)
AROUND = TimeRange(START_NS, START_NS + 11 * SECOND)
PUSHED = read_json(
    json.dumps(
        {
            "streams": [
                {"stream": stream, "values": [[str(START_NS + seconds * SECOND), line, metadata]]}
                for seconds, stream, metadata, line in LINES
            ]
        }
    ).encode(),
    10_000,
).request


async def found(engine: LogqlEngine, text: str) -> Any:
    """What the engine answers, as the data files have it."""
    try:
        query = parse(text)
        if isinstance(query, LogQuery):
            return {"lines": shown_lines((await engine.lines("t", query, Wanted(AROUND, 1000, oldest_first=True))).value, START_NS)}
        values = {"instant": at(START_NS), "range": over(START_NS)}
        return {name: shown((await engine.value("t", query, steps)).value) for name, steps in values.items()}
    except Rejected as problem:
        return {"error": str(problem)}


def comparable(given: Any) -> Any:
    """Without the order of series and lines of one second, and with numbers to nine digits: sums are added up in another order."""
    if isinstance(given, dict):
        return {name: comparable(value) for name, value in given.items()}
    if not isinstance(given, list):
        return given
    return sorted(json.dumps(_rounded(one), sort_keys=True) for one in given)


def _rounded(given: Any) -> Any:
    if isinstance(given, list):
        return [_rounded(one) for one in given]
    try:
        number = float(given)
    except (TypeError, ValueError):
        return given
    return f"{number:.9g}" if math.isfinite(number) else str(number)


async def test_every_case(any_tier: HotTier) -> None:
    await any_tier.store_logs(*PUSHED.resource_logs, tenant="t")
    engine = LogqlEngine(any_tier.logs, LogqlOptions())
    everything: Any = parse('{app=~".+"}')
    rows = (await engine.lines("t", everything, Wanted(AROUND, 1000, oldest_first=True))).value
    # What the store gives back is what was sent, with the labels that Loki adds.
    assert sorted((row.timestamp_ns - START_NS, row.line) for row in rows) == sorted((line[0] * SECOND, line[3]) for line in LINES)
    wrong = {}
    for query in EVALUATED:
        given, expected = comparable(await found(engine, query)), comparable(answer(query, rows, START_NS))
        if given != expected:
            wrong[query] = (given, expected)
    assert not wrong
