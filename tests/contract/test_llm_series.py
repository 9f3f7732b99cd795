"""LLM calls as series: tokens and cost from spans, as PromQL reads them, on one shard and on two."""

from __future__ import annotations

from typing import Any

import pytest

from tael.model.series import Matcher, Selection
from tael.storage.gather import AllOf
from tael.storage.llm_series import LlmSeries
from tael.storage.merged_series import MergedSeries
from tests.support.doubles import MemorySpans
from tests.support.query import serving
from tests.support.storage import START_NS, HotTier, new_trace_id, of_service, wire_span

S = 10**9
T0 = START_NS // 10**6 // 15_000 * 15_000
NAMED = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}


async def fill(tier: HotTier) -> None:
    """An agent around two calls of 1,000,000 tokens in and 3 out, half a minute from each other, and one of a model without a price."""
    trace = new_trace_id()
    usage: dict[str, Any] = {"gen_ai.usage.input_tokens": 1_000_000, "gen_ai.usage.output_tokens": 3}
    agent = wire_span(0, trace_id=trace, span_id=b"agent---", attributes={"gen_ai.operation.name": "invoke_agent", **usage})
    calls = [wire_span(at * S, trace_id=trace, attributes={**NAMED, **usage}) for at in (0, 30)]
    for call in calls:
        call.parent_span_id = b"agent---"
    other = wire_span(0, trace_id=new_trace_id(), attributes={**NAMED, "gen_ai.request.model": "none", "gen_ai.usage.input_tokens": 70})
    await tier.store(of_service("bot", agent, *calls, other), tenant="default")


async def test_tokens_and_cost_are_series(any_tier: HotTier) -> None:
    """Each call once, by what it was; rates come out as of any counter."""
    await fill(any_tier)
    reader = LlmSeries(any_tier.llm, now_ms=lambda: T0 + 60_000)
    selection = Selection((Matcher("__name__", "=~", "gen_ai_client_.*"),), T0 - 60_000, T0 + 60_000)
    found = (await reader.select("default", selection, 10**6)).value
    last = {
        tuple(dict(labels).get(name, "") for name in ("__name__", "gen_ai_request_model", "gen_ai_token_type", "le")): found.values[end - 1]
        for labels, end in zip(found.labels, found.offsets[1:], strict=True)
    }
    assert last["gen_ai_client_token_usage_sum", "gpt-4o", "input", ""] == 2_000_000
    assert last["gen_ai_client_token_usage_count", "gpt-4o", "output", ""] == 2
    assert last["gen_ai_client_token_usage_bucket", "none", "input", "64"] == 0
    assert last["gen_ai_client_token_usage_bucket", "none", "input", "256"] == 1
    assert last["gen_ai_client_cost_usd_total", "gpt-4o", "", ""] == pytest.approx(5.00006)
    series = [labels for labels in found.labels if dict(labels)["__name__"] == "gen_ai_client_token_usage_sum"]
    assert {dict(labels)["service"] for labels in series} == {"bot"}
    assert found.labels == sorted(found.labels)
    async with serving(MemorySpans(), series=MergedSeries(AllOf([reader]))) as api:
        asked = "sum by (gen_ai_request_model) (increase(gen_ai_client_token_usage_sum{gen_ai_token_type='input'}[5m]))"
        answer = await api.json("/prometheus/api/v1/query", query=asked, time=T0 / 1000 + 60)
        rates = {one["metric"]["gen_ai_request_model"]: float(one["value"][1]) for one in answer["data"]["result"]}
        assert rates["gpt-4o"] > 1_000_000
    listed = (await reader.list_series("default", selection, 0)).value
    assert set(found.labels) <= set(listed)


async def test_series_of_calls_are_listed_where_there_are_calls(any_tier: HotTier) -> None:
    """And nothing of them where there are none."""
    reader = LlmSeries(any_tier.llm, now_ms=lambda: T0 + 60_000)
    everything, named = Selection((), T0 - 60_000, T0 + 60_000), Matcher("__name__", "=", "gen_ai_client_cost_usd_total")
    for there in (False, True):
        if there:
            await fill(any_tier)
        assert ("gen_ai_token_type" in (await reader.label_names("default", everything, 0)).value) is there
        assert ("gen_ai_client_cost_usd_total" in (await reader.label_values("default", "__name__", everything, 0)).value) is there
        assert bool((await reader.families("default", "", 0)).value) is there
    models = await reader.label_values("default", "gen_ai_request_model", Selection((named,), T0 - 60_000, T0 + 60_000), 0)
    assert models.value == ["gpt-4o", "none"]
    assert (await reader.select("default", Selection((Matcher("job", "=", "x"),), 0, T0), 10)).value.labels == []
