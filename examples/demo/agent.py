"""The shop's assistant: an LLM agent, described in the current GenAI semantic conventions.

https://github.com/open-telemetry/semantic-conventions-genai: ``invoke_agent`` around ``embeddings``, ``chat`` and ``execute_tool``. The
model is random; messages, tool calls, token counts and finish reasons have the shapes that instrumentations send.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass

from opentelemetry._logs import SeverityNumber
from opentelemetry.trace import Span, SpanKind
from opentelemetry.util.types import AttributeValue

from examples.demo.shop import call, query
from examples.demo.stage import Failed, Story

_INSTRUCTIONS = (
    "You are the assistant of a shop for amateur astronomers. Answer from the catalogue; never invent a product or a price. "
    "Ask back when the wish is not clear. Prices are in euros and include tax. "
) + "\n".join(f"Rule {n}: mention delivery times only after looking the stock up with find_products." for n in range(1, 21))


@dataclass(frozen=True)
class _Model:
    provider: str
    name: str
    tokens_per_second: int


_MODELS = (_Model("anthropic", "claude-sonnet-4-5", 70), _Model("openai", "gpt-5-mini", 120), _Model("openai", "gpt-5", 60))
_WISHES = (
    ("a first telescope for a ten year old under 200 euros", "The 114/500 on a table tripod fits: 179 euros, in stock."),
    ("what do I need to see the rings of Saturn", "From 60 mm aperture on and 50x you see them; the 90/900 shows them well."),
    ("a red torch that does not blind my club", "The dimmable red torch, 19 euros, goes down to one lumen."),
)


def ask(story: Story) -> None:
    """One question: embed it, let the model choose a tool, run the tool, let the model answer."""
    model, (wish, reply) = story.chance.choice(_MODELS), story.chance.choice(_WISHES)
    arguments = json.dumps({"query": wish, "limit": 3})
    call_id = f"call_{story.chance.getrandbits(48):012x}"
    attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": model.provider,
        "gen_ai.agent.name": "stargazer",
        "gen_ai.agent.id": "agent_7c1",
        "gen_ai.conversation.id": f"conv_{story.chance.getrandbits(32):08x}",
    }
    with contextlib.suppress(Failed), story.step("assistant", "invoke_agent stargazer", SpanKind.INTERNAL, attributes):
        story.spend(1, 5)
        story.say("assistant", SeverityNumber.INFO, f"asked: {wish}", {"gen_ai.conversation.id": attributes["gen_ai.conversation.id"]})
        _embed(story, wish)
        asked: list[dict[str, object]] = [{"role": "user", "parts": [{"type": "text", "content": wish}]}]
        wanted = {"type": "tool_call", "id": call_id, "name": "find_products", "arguments": json.loads(arguments)}
        _chat(story, model, asked, {"role": "assistant", "parts": [wanted], "finish_reason": "tool_call"})
        found = _tool(story, call_id, arguments)
        asked += [
            {"role": "assistant", "parts": [wanted]},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": call_id, "response": found}]},
        ]
        _chat(story, model, asked, {"role": "assistant", "parts": [{"type": "text", "content": reply}], "finish_reason": "stop"})


def _embed(story: Story, text: str) -> None:
    attributes: dict[str, AttributeValue] = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "text-embedding-3-small",
        "gen_ai.embeddings.dimension.count": 1536,
        "gen_ai.usage.input_tokens": len(text) // 4,
    }
    with story.step("assistant", "embeddings text-embedding-3-small", SpanKind.CLIENT, attributes):
        story.spend(20, 80)


def _chat(story: Story, model: _Model, asked: list[dict[str, object]], answered: dict[str, object]) -> None:
    messages, answer = json.dumps(asked), json.dumps([answered])
    into, out = (len(_INSTRUCTIONS) + len(messages)) // 4, len(answer) // 4 + story.chance.randint(0, 150)
    attributes: dict[str, AttributeValue] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": model.provider,
        "gen_ai.request.model": model.name,
        "gen_ai.request.temperature": 0.2,
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.output.type": "text",
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": _INSTRUCTIONS}]),
        "gen_ai.input.messages": messages,
        "server.address": f"api.{model.provider}.example",
    }
    with story.step("assistant", f"chat {model.name}", SpanKind.CLIENT, attributes) as span:
        began = story.at_ns
        story.spend(180, 900)
        if story.chance.random() < 0.04:
            raise Failed("rate_limit_exceeded", f"{model.provider} answered 429")
        span.set_attribute("gen_ai.response.time_to_first_chunk", (story.at_ns - began) / 1e9)
        story.spend(out * 900 / model.tokens_per_second, out * 1100 / model.tokens_per_second)
        _answered(span, model, into, out, story, answer, str(answered["finish_reason"]))
        _count_tokens(story, model, into, out)


def _answered(span: Span, model: _Model, into: int, out: int, story: Story, answer: str, reason: str) -> None:
    span.set_attributes(
        {
            "gen_ai.response.model": f"{model.name}-2026-08-01",
            "gen_ai.response.id": f"resp_{story.chance.getrandbits(48):012x}",
            "gen_ai.response.finish_reasons": [reason],
            "gen_ai.usage.input_tokens": into,
            "gen_ai.usage.output_tokens": out,
            "gen_ai.usage.cache_read.input_tokens": len(_INSTRUCTIONS) // 4 if story.chance.random() < 0.6 else 0,
            "gen_ai.output.messages": answer,
        }
    )


def _count_tokens(story: Story, model: _Model, into: int, out: int) -> None:
    labels = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": model.provider, "gen_ai.request.model": model.name}
    tokens = story.telemetry.meters["assistant"].tokens
    tokens.record(into, {**labels, "gen_ai.token.type": "input"})
    tokens.record(out, {**labels, "gen_ai.token.type": "output"})


def _tool(story: Story, call_id: str, arguments: str) -> str:
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "find_products",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.description": "Searches the shop's catalogue",
        "gen_ai.tool.call.id": call_id,
        "gen_ai.tool.call.arguments": arguments,
    }
    with story.step("assistant", "execute_tool find_products", SpanKind.INTERNAL, attributes) as span:
        with call(story, "assistant", "catalog", "GET /search"):
            query(story, "catalog", "SELECT", "products", slow=story.chance.random() < 0.05)
        result = json.dumps([{"id": story.chance.randint(100, 999), "price_eur": 179, "stock": story.chance.randint(0, 12)}])
        span.set_attribute("gen_ai.tool.call.result", result)
        return result
