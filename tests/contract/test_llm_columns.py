"""The columns of LLM calls are computed twice, by a hot node as spans are inserted and by ``llm_call``, and both say the same."""

from __future__ import annotations

import json
import random

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tael.model.attributes import Attributes, AttributeValue
from tael.otlp import genai
from tael.otlp.anyvalue import encode_value
from tael.otlp.genai import llm_call
from tests.support.hotnode import HotNode
from tests.support.storage import new_trace_id, of_service, open_tier, wire_span

KEYS = sorted({*genai.ALL_KEYS, *genai.IMPLIED})
TEXTS = (
    "chat",
    "OpenAI",
    "azure.ai.openai.chat",
    '"quoted"',
    "gpt-4o",
    '["stop", "length"]',
    "7",
    "-1",
    "x",
    "",
    "9000000000000000000",
    "2026-09-21T14:13:21.25Z",
    "1.7e308",
    "1e400",
    "nan",
)
MEMBERS: tuple[object, ...] = (None, True, {}, {"a": 1}, [], ["stop"], 'a "quoted" \\ one', 0.5)


def drawn(rng: random.Random) -> Attributes:
    """Some of the keys that some column asks for, in any order, with a marker that no column asks for."""
    found: dict[str, AttributeValue] = {"llm.other": "x"}
    for key in rng.sample(KEYS, rng.randrange(1, 9)):
        name, _, path = key.partition(genai.MEMBER)
        member, _, inner = path.partition(genai.MEMBER)
        value = rng.choice((rng.choice(TEXTS), rng.randrange(900), rng.choice(TEXTS)))
        held = rng.choice((value, rng.choice(MEMBERS)))
        found[name] = json.dumps({member: rng.choice(({inner: held}, held)) if inner else held, "other": 5}) if member else value
    return found


async def test_of_a_repeated_key_the_last_value_counts(shared_hot_node: HotNode) -> None:
    """In sums, which had both, and where one key is read, as in the attributes themselves."""
    span = wire_span(trace_id=new_trace_id(), attributes={"gen_ai.cost.input_cost": 1.0})
    for key, value in (
        ("gen_ai.cost.output_cost", 2.0),
        ("gen_ai.usage.input_tokens", 5),
        ("gen_ai.request.model", "before"),
        ("gen_ai.cost.input_cost", 0.25),
        ("gen_ai.usage.input_tokens", 7),
        ("gen_ai.request.model", "after"),
    ):
        span.attributes.append(KeyValue(key=key, value=encode_value(value)))
    async with open_tier([shared_hot_node]) as tier:
        await tier.store(of_service("agent", span))
        [read] = (await tier.reader.get_trace("t1", span.trace_id)).value
    assert read.llm is not None
    assert (read.llm.cost_usd, read.llm.input_tokens, read.llm.model) == (2.25, 7, "after")
    assert read.llm == llm_call(read.attributes, read.start_ns)


async def test_a_hot_node_reads_what_is_read_here(shared_hot_node: HotNode) -> None:
    """Whichever keys stand beside each other: of several that a column asks for, the first that is not empty counts."""
    rng, trace_id = random.Random(5), new_trace_id()
    spans = [wire_span(trace_id=trace_id, span_id=number.to_bytes(8), attributes=drawn(rng)) for number in range(1, 1_001)]
    async with open_tier([shared_hot_node]) as tier:
        given = await tier.store(of_service("agent", *spans))
        read = {span.span_id: span for span in (await tier.reader.get_trace("t1", trace_id)).value}
    assert [read[span.span_id].llm for span in given] == [span.llm for span in given]
    for name in (
        "model",
        "cost_usd",
        "response_model",
        "session_id",
        "input_tokens",
        "cache_read_tokens",
        "temperature",
        "ttft_ms",
        "finish_reason",
        "agent_name",
        "tool_name",
    ):
        assert any(span.llm is not None and getattr(span.llm, name) for span in given), name
