"""Each case of TraceQL's data file through Tempo's API, on one and two shards, hot, cold and mixed: candidates, columns and merging lose
nothing of what the evaluation finds over a block in memory.
"""

from __future__ import annotations

import pytest

from tael.model.tenant import DEFAULT_TENANT
from tael.otlp.encode import encode_spans
from tests.support.query import Api, serving
from tests.support.storage import HotTier
from tests.support.traceql_cases import SPANS, START, pairs

pytestmark = pytest.mark.timeout(800)
RANGE = {"start": START // 10**9 - 60, "end": START // 10**9 + 60}


async def names(api: Api, query: str) -> str:
    """The spans of each spanset by start, as the cases have them."""
    body = await api.json("/tempo/api/search", q=f"{query} | select(name)", limit=100, spss=0, **RANGE)
    assert "PARTIAL" not in str(body.get("status", "")), body
    traces = sorted(body["traces"], key=lambda trace: trace["traceID"])
    sets = [spanset["spans"] for trace in traces for spanset in trace["spanSets"]]
    return " | ".join(
        ", ".join(span["name"] for span in sorted(spans, key=lambda span: (int(span["startTimeUnixNano"]), span["spanID"])))
        for spans in sets
    )


async def test_every_case(any_tier: HotTier) -> None:
    await any_tier.store(*encode_spans(SPANS), tenant=DEFAULT_TENANT)
    async with serving(any_tier.reader, any_tier, logs=any_tier.logs, spansets=any_tier.spansets) as api:
        found = {query: await names(api, query) for query, _ in pairs("evaluated.txt")}
    wrong = {query: (found[query], expected) for query, expected in pairs("evaluated.txt") if found[query] != expected}
    assert not wrong
