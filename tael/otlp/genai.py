"""The dialects in which spans of LLM calls are written, as data, and the LlmCall that they amount to. Pure.

OpenTelemetry's gen_ai conventions (now and up to 1.36), OpenInference, OpenLLMetry and the Vercel AI SDK. For each field, the keys in
the order in which they are asked; the first that is there and not empty counts. ClickHouse computes the same from the same tables when
a span is inserted (tael/storage/clickhouse/llm.py); ``llm_call`` is what it is compared with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tael.model.attributes import Attributes, AttributeValue
from tael.model.span import LlmCall

MARKER_PREFIXES = ("gen_ai.", "llm.", "openinference.span.kind", "traceloop.span.kind", "ai.model.", "ai.usage.")
"""A span with an attribute that starts with one of these is an LLM span."""

PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider")
MODEL = (
    "gen_ai.request.model",
    "gen_ai.response.model",
    "llm.model_name",
    "llm.request.model_name",
    "llm.response.model_name",
    "ai.model.id",
)
OPERATION = ("gen_ai.operation.name", "llm.request.type", "openinference.span.kind", "traceloop.span.kind", "ai.operationId")
INPUT_TOKENS = (
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.prompt_tokens",
    "llm.token_count.prompt",
    "llm.usage.prompt_tokens",
    "ai.usage.promptTokens",
)
OUTPUT_TOKENS = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
    "llm.usage.completion_tokens",
    "ai.usage.completionTokens",
)
TOTAL_TOKENS = ("gen_ai.usage.total_tokens", "llm.token_count.total", "llm.usage.total_tokens", "ai.usage.totalTokens")
COST_USD = ("gen_ai.usage.cost", "llm.cost.total")
TTFT_SECONDS = ("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token")
TTFT_MS = ("ai.response.msToFirstChunk",)
FINISH_REASON = (
    "gen_ai.response.finish_reasons",
    "gen_ai.response.finish_reason",
    "gen_ai.completion.0.finish_reason",
    "llm.finish_reason",
    "llm.response.finish_reason",
    "ai.response.finishReason",
)
TEMPERATURE = ("gen_ai.request.temperature", "llm.request.temperature", "ai.settings.temperature")

OPERATIONS = {
    "chat": "chat",
    "generate_content": "chat",
    "llm": "chat",
    "ai.generatetext.dogenerate": "chat",
    "ai.streamtext.dostream": "chat",
    "text_completion": "completion",
    "completion": "completion",
    "embeddings": "embedding",
    "embedding": "embedding",
    "ai.embed.doembed": "embedding",
    "execute_tool": "tool",
    "tool": "tool",
    "ai.toolcall": "tool",
}
"""What an operation's name, in lower case, counts as; every other name is ``other``."""
OTHER_OPERATION = "other"

PROVIDERS = {
    "xai": "x_ai",
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "vertex_ai": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
}
"""Older spellings of providers, in lower case."""

PROMPT_KEYS = (
    "gen_ai.input.messages",
    "gen_ai.system_instructions",
    "gen_ai.prompt",
    "input.value",
    "traceloop.entity.input",
    "ai.prompt",
    "ai.prompt.messages",
)
PROMPT_PREFIXES = ("gen_ai.prompt.", "llm.input_messages.", "llm.prompts.")
COMPLETION_KEYS = ("gen_ai.output.messages", "gen_ai.completion", "output.value", "traceloop.entity.output", "ai.response.text")
COMPLETION_PREFIXES = ("gen_ai.completion.", "llm.output_messages.", "llm.completions.")

_CONTENT_KEYS = frozenset(PROMPT_KEYS + COMPLETION_KEYS)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def is_llm(attributes: Attributes) -> bool:
    """Whether the span is written in one of the dialects."""
    return any(key.startswith(MARKER_PREFIXES) for key in attributes)


def is_content(key: str) -> bool:
    """Whether an attribute of this name holds a prompt or a completion."""
    return key in _CONTENT_KEYS or key.startswith(PROMPT_PREFIXES + COMPLETION_PREFIXES)


def llm_call(attributes: Attributes) -> LlmCall | None:
    """The call that a span's attributes describe; None for a span that is not of an LLM."""
    if not is_llm(attributes):
        return None
    texts = {key: _text(value) for key, value in attributes.items()}
    provider = _first(texts, PROVIDER).lower()
    tokens = [_whole(_number(_first(texts, keys))) for keys in (INPUT_TOKENS, OUTPUT_TOKENS, TOTAL_TOKENS)]
    seconds = _number(_first(texts, TTFT_SECONDS))
    return LlmCall(
        provider=PROVIDERS.get(provider, provider),
        model=_first(texts, MODEL),
        operation=OPERATIONS.get(_first(texts, OPERATION).lower(), OTHER_OPERATION),
        input_tokens=tokens[0],
        output_tokens=tokens[1],
        total_tokens=tokens[0] + tokens[1] if tokens[2] is None and tokens[0] is not None and tokens[1] is not None else tokens[2],
        cost_usd=_number(_first(texts, COST_USD)),
        ttft_ms=_number(_first(texts, TTFT_MS)) if seconds is None else seconds * 1000,
        finish_reason=_first(texts, FINISH_REASON),
        temperature=_number(_first(texts, TEMPERATURE)),
    )


def _first(texts: Mapping[str, str], keys: Sequence[str]) -> str:
    return next((texts[key] for key in keys if texts.get(key)), "")


def _text(value: AttributeValue) -> str:
    """A string or number as text; of an array its first element when that is a string; nothing for the rest."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes) and value and isinstance(value[0], str):
        return value[0]
    return ""


def _number(text: str) -> float | None:
    return float(text) if _NUMBER.fullmatch(text) else None


def _whole(number: float | None) -> int | None:
    return int(number) if number is not None and number.is_integer() and abs(number) < 1 << 63 else None
