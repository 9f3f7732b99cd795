"""The cost of calls by list prices, by model, day and kinds of tokens, and the SQL that must agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.query.settings import QuerySettings
from tael.errors import BadSettings, Rejected
from tael.model.predicate import Compare, Exists, Not, Predicate, intrinsic
from tael.model.search import find_spans
from tael.model.span import LlmCall
from tael.model.time import ALL_TIME
from tael.otlp.prices import read_prices
from tael.storage.api import SpanQuery
from tael.storage.clickhouse.spans import ClickHouseSpans
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, of_service, open_tier, wire_span

OWN = """
as_of = 2027-01-01
prices = [
  { models = ["house-1"], input = 1, output = 2 },
  { models = ["house-1"], from = 2026-10-01, input = 10, output = 20 },
  { models = ["gpt-4o"], input = 0, output = 0 },
]
"""
DAY_NS = 86_400 * 10**9


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A file of the user's."""
    path = tmp_path / "prices.toml"
    path.write_text(OWN)
    return path


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("gpt-4o", "gpt-4o"),
        ("GPT-4o-2024-08-06", "gpt-4o"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("claude-3-5-sonnet-20241022", "claude-3-5-sonnet"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5"),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4-1106-preview", "gpt-4-turbo"),
        ("publishers/google/models/gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
    ],
)
def test_a_model_is_found_by_its_name_without_date_and_place(model: str, named: str) -> None:
    prices = read_prices()
    assert prices.price(model, START_NS) == prices.periods[-1][1][named]


@pytest.mark.parametrize("model", ["", "gpt-4o-mini-audio-preview", "llama3", "my-gpt-4o", "gpt-4.1-turbo"])
def test_another_model_has_no_price(model: str) -> None:
    assert read_prices().price(model, START_NS) is None


def test_cached_tokens_have_prices_of_their_own() -> None:
    """They are not counted as plain ones; if a provider does not include them in its input, the rest is never negative."""
    prices = read_prices()
    call = LlmCall(model="claude-sonnet-4-5", operation="chat", input_tokens=1_000_000, output_tokens=100_000)
    assert prices.computed_usd(call, 0) == pytest.approx(3 + 1.5)
    cached = LlmCall(
        response_model="claude-sonnet-4-5-20250929",
        model="alias",
        operation="chat",
        input_tokens=1_000_000,
        cache_read_tokens=800_000,
        cache_write_tokens=100_000,
    )
    assert prices.computed_usd(cached, 0) == pytest.approx(0.1 * 3 + 0.8 * 0.3 + 0.1 * 3.75)
    apart = LlmCall(model="claude-sonnet-4-5", operation="chat", input_tokens=10, cache_read_tokens=1_000_000)
    assert prices.computed_usd(apart, 0) == pytest.approx(0.3)


@pytest.mark.parametrize(
    "call",
    [
        LlmCall(model="gpt-4o", operation="chat", input_tokens=5, cost_usd=0.5),
        LlmCall(model="gpt-4o", operation="chat"),
        LlmCall(model="gpt-4o", operation="agent", input_tokens=5),
        LlmCall(model="unheard-of", operation="chat", input_tokens=5),
    ],
)
def test_nothing_is_computed_of_a_call_that(call: LlmCall) -> None:
    """Reports its cost, reports no tokens, repeats its calls, or has no price."""
    assert read_prices().computed_usd(call, 0) is None


def test_a_price_file_takes_precedence_and_may_have_dates(own: Path) -> None:
    prices = read_prices(own)
    call = LlmCall(model="house-1", operation="chat", input_tokens=1_000_000)
    october = 1_790_812_800 * 10**9
    assert [prices.computed_usd(call, at) for at in (0, october - 1, october)] == [1.0, 1.0, 10.0]
    assert prices.computed_usd(LlmCall(model="gpt-4o", operation="chat", input_tokens=5), october) == 0
    assert prices.price("gpt-4o-mini", october) is not None


@pytest.mark.parametrize("text", ["x", "prices = 5", "as_of = 2027-01-01\nprices = [{models = ['a'], input = -1, output = 0}]"])
def test_a_file_of_another_form_refuses_the_process(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(Rejected, match="is not a valid price table"):
        read_prices(path)
    with pytest.raises(BadSettings, match="TAEL_LLM_PRICES_FILE"):
        QuerySettings.model_validate({"TAEL_LLM_PRICES_FILE": str(path)}).read_prices()
    with pytest.raises(BadSettings, match="TAEL_LLM_PRICES_FILE"):
        QuerySettings.model_validate({"TAEL_LLM_PRICES_FILE": str(tmp_path / "absent")}).read_prices()


MODELS = ("gpt-4o-2024-08-06", "us.anthropic.claude-haiku-4-5-20251001-v1:0", "house-1", "unheard-of", "", "openai/GPT-5-mini", "it's")


async def test_the_engine_computes_the_same(shared_hot_node: HotNode, own: Path) -> None:
    """In filters, by tael's own prices and by the user's, before and after a change of prices."""
    spans = [
        wire_span(
            index + day * DAY_NS,
            attributes={"gen_ai.operation.name": operation, "gen_ai.request.model": model, **tokens},
            trace_id=b"t" * 16,
        )
        for index, (model, operation, tokens, day) in enumerate(
            (model, operation, tokens, day)
            for model in MODELS
            for operation in ("chat", "agent")
            for tokens in (
                {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.cache_read.input_tokens": 300, "gen_ai.usage.output_tokens": 7},
                {"gen_ai.usage.output_tokens": 100},
                {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.cost": 0.5},
                {},
            )
            for day in (0, 20)
        )
    ]
    cost = intrinsic("llm_computed_cost_usd")
    questions: list[tuple[Predicate, Callable[[LlmCall], bool]]] = [
        (Exists(cost), lambda call: call.computed_cost_usd is not None),
        (Not(Exists(cost)), lambda call: call.computed_cost_usd is None),
        (Compare(cost, ">=", 0.0006), lambda call: (call.computed_cost_usd or 0) >= 0.0006),
        (find_spans(min_cost_usd=0.4), lambda call: max(call.cost_usd or 0, call.computed_cost_usd or 0) >= 0.4),
    ]
    async with open_tier([shared_hot_node]) as tier:
        await tier.store(of_service("agent", *spans))
        for prices in (read_prices(), read_prices(own)):
            reader = ClickHouseSpans(tier.clickhouses[0], prices)
            everything = (await reader.get_trace("t1", b"t" * 16)).value
            for predicate, holds in questions:
                found = (await reader.find_spans("t1", SpanQuery(ALL_TIME, predicate, 1000))).value
                expected = {span.span_id for span in everything if span.llm and holds(span.llm)}
                assert {span.span_id for span in found} == expected
                assert expected
