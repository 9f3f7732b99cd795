"""The dialects of LLM spans as read in Python, and the SQL that must agree."""

from __future__ import annotations

import pytest

from tael.model.attributes import Attributes
from tael.model.span import LlmCall
from tael.otlp.genai import llm_call
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, of_service, open_tier, wire_span

CASES: list[tuple[Attributes, LlmCall | None]] = [
    ({"http.method": "GET"}, None),
    ({"ai.response": "not of a dialect", "gen_ai": 1}, None),
    (
        {
            "gen_ai.operation.name": "generate_content",
            "gen_ai.provider.name": "gcp.gemini",
            "gen_ai.request.model": "gemini-3",
            "gen_ai.response.model": "gemini-3-001",
            "gen_ai.request.temperature": 0.5,
            "gen_ai.usage.input_tokens": 10,
            "gen_ai.usage.output_tokens": 3,
            "gen_ai.response.finish_reasons": ["stop", "length"],
            "gen_ai.response.time_to_first_chunk": 0.25,
        },
        LlmCall("gcp.gemini", "gemini-3", "chat", 10, 3, 13, None, 250.0, "stop", 0.5, "gemini-3-001"),
    ),
    (
        {
            "gen_ai.operation.name": "text_completion",
            "gen_ai.system": "vertex_ai",
            "gen_ai.usage.prompt_tokens": "12",
            "gen_ai.usage.completion_tokens": 4.0,
        },
        LlmCall("gcp.vertex_ai", "", "completion", 12, 4, 16),
    ),
    (
        {
            "openinference.span.kind": "LLM",
            "llm.provider": "OpenAI",
            "llm.model_name": "gpt-5",
            "llm.token_count.prompt": 7,
            "llm.token_count.total": 9,
            "llm.cost.total": 0.002,
        },
        LlmCall("openai", "gpt-5", "chat", 7, None, 9, 0.002),
    ),
    ({"openinference.span.kind": "EMBEDDING"}, LlmCall(operation="embedding")),
    (
        {"traceloop.span.kind": "tool", "gen_ai.completion.0.finish_reason": "tool_calls"},
        LlmCall(operation="tool", finish_reason="tool_calls"),
    ),
    ({"traceloop.span.kind": "workflow"}, LlmCall(operation="workflow")),
    (
        {"ai.operationId": "ai.streamText.doStream", "ai.model.id": "m", "ai.usage.promptTokens": 1, "ai.response.msToFirstChunk": 12},
        LlmCall("", "m", "chat", 1, ttft_ms=12.0),
    ),
    (
        {
            "gen_ai.request.model": "",
            "gen_ai.response.model": "fallback",
            "gen_ai.usage.input_tokens": 1.5,
            "gen_ai.usage.output_tokens": "many",
            "gen_ai.request.temperature": True,
            "gen_ai.system": ["a", "b"],
            "gen_ai.usage.cost": b"1",
            "gen_ai.response.finish_reasons": [],
            "gen_ai.usage.total_tokens": -5,
        },
        LlmCall("a", "fallback", "other", response_model="fallback"),
    ),
    (
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "openai",
            "gen_ai.cost.total_cost": 0.5,
            "gen_ai.response.finish_reasons": '["stop", "length"]',
            "gen_ai.usage.cache_read.input_tokens": 3,
            "gen_ai.usage.cache_creation.input_tokens": 4,
            "gen_ai.usage.reasoning.output_tokens": 5,
            "gen_ai.conversation.id": "c-1",
            "user.id": "ann",
            "gen_ai.agent.name": "planner",
        },
        LlmCall(
            "openai",
            operation="chat",
            cost_usd=0.5,
            finish_reason="stop",
            cache_read_tokens=3,
            cache_write_tokens=4,
            reasoning_tokens=5,
            session_id="c-1",
            user_id="ann",
            agent_name="planner",
        ),
    ),
    ({"gen_ai.operation.name": "chat", "operation.cost": 0.25}, LlmCall(operation="chat", cost_usd=0.25)),
    (
        {
            "ai.operationId": "ai.generateText.doGenerate",
            "ai.model.provider": "openai.chat",
            "ai.model.id": "m",
            "ai.usage.inputTokens": 100,
            "ai.usage.outputTokens": 20,
            "ai.response.model": "m-1",
            "ai.response.finishReason": "tool-calls",
        },
        LlmCall("openai", "m", "chat", 100, 20, 120, finish_reason="tool-calls", response_model="m-1"),
    ),
    ({"ai.operationId": "ai.generateText", "ai.model.provider": "google.vertex.chat"}, LlmCall("gcp.vertex_ai", operation="chain")),
    ({"ai.operationId": "ai.embed.doEmbed", "ai.usage.tokens": 12}, LlmCall(operation="embedding", input_tokens=12)),
    (
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": "gpt-5",
            "langfuse.observation.usage_details": '{"input": 7, "output": 2, "total": 9}',
            "langfuse.observation.cost_details": '{"input": 0.1, "total": 0.3}',
            "langfuse.observation.model.parameters": '{"temperature": 0.5}',
            "langfuse.session.id": "s-1",
        },
        LlmCall("", "gpt-5", "chat", 7, 2, 9, 0.3, None, "", 0.5, session_id="s-1"),
    ),
    (
        {
            "langfuse.observation.cost_details": '{"input": 0.1, "output": "0.2", "cache": 1e-3, "note": "x", "off": -1, "deep": {"input": 5}}'
        },
        LlmCall(operation="other", cost_usd=0.1 + 0.2 + 0.001),
    ),
    ({"langfuse.observation.cost_details": "{}", "gen_ai.usage.cost": "free"}, LlmCall(operation="other")),
    ({"langfuse.observation.cost_details": "[1, 2]"}, LlmCall(operation="other")),
    ({"gen_ai.cost.input_cost": 0.25, "gen_ai.cost.output_cost": "0.5"}, LlmCall(operation="other", cost_usd=0.75)),
    ({"gen_ai.cost.total_cost": 0.5, "gen_ai.cost.input_cost": 0.25}, LlmCall(operation="other", cost_usd=0.5)),
    (
        {"gen_ai.cost.total_cost": -1, "gen_ai.cost.input_cost": -2.0, "gen_ai.cost.output_cost": 3},
        LlmCall(operation="other", cost_usd=3.0),
    ),
    (
        {"llm.cost.prompt": 0.25, "llm.cost.completion": 0.0, "mlflow.llm.cost": '{"input_cost": 7}'},
        LlmCall(operation="other", cost_usd=0.25),
    ),
    ({"mlflow.spanType": "LLM", "mlflow.llm.cost": '{"input_cost": 0.5, "output_cost": 0.25}'}, LlmCall(operation="chat", cost_usd=0.75)),
    (
        {"gen_ai.usage.input_tokens": -5, "gen_ai.usage.output_tokens": 7, "gen_ai.usage.cost": -0.5, "ai.response.msToFirstChunk": -1},
        LlmCall(operation="other", output_tokens=7),
    ),
    ({"gen_ai.usage.input_tokens": -1, "gen_ai.usage.cost": float("inf"), "llm.cost.prompt": float("nan")}, LlmCall(operation="other")),
    ({"gen_ai.usage.total_tokens": -1, "gen_ai.usage.input_tokens": 2, "gen_ai.usage.output_tokens": 3}, LlmCall("", "", "other", 2, 3, 5)),
    ({"langfuse.observation.usage_details": "no JSON"}, LlmCall(operation="other")),
    (
        {"openinference.span.kind": "EMBEDDING", "embedding.model_name": "e-1", "llm.invocation_parameters": '{"temperature": 1}'},
        LlmCall("", "e-1", "embedding", temperature=1.0),
    ),
    ({"openinference.span.kind": "AGENT", "agent.name": "planner"}, LlmCall(operation="agent", agent_name="planner")),
    ({"openinference.span.kind": "RETRIEVER"}, LlmCall(operation="retriever")),
    ({"openinference.span.kind": "CHAIN"}, LlmCall(operation="chain")),
    ({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "search"}, LlmCall(operation="tool", tool_name="search")),
    (
        {"mlflow.spanType": '"CHAT_MODEL"', "mlflow.chat.tokenUsage": '{"input_tokens": 5, "output_tokens": 1, "total_tokens": 6}'},
        LlmCall("", "", "chat", 5, 1, 6),
    ),
    (
        {
            "mlflow.spanType": '"LLM"',
            "mlflow.llm.model": '"gpt-5"',
            "mlflow.llm.cost": '{"input_cost": 0.1, "total_cost": 0.25}',
            "mlflow.chat.tokenUsage": '{"input_tokens": 9, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2}',
            "mlflow.trace.session": '"s-2"',
            "mlflow.trace.user": "ben",
        },
        LlmCall("", "gpt-5", "chat", 9, cost_usd=0.25, cache_read_tokens=4, cache_write_tokens=2, session_id="s-2", user_id="ben"),
    ),
    (
        {
            "langsmith.span.kind": "llm",
            "langsmith.metadata.ls_provider": "anthropic",
            "langsmith.metadata.ls_model_name": "claude",
            "langsmith.metadata.thread_id": "t-1",
            "langsmith.metadata.user_id": "cleo",
            "langsmith.trace.session_id": "project",
            "gen_ai.usage.input_token_details": '{"cache_read": 3, "cache_creation": 2}',
            "gen_ai.usage.output_token_details": '{"reasoning": 1}',
        },
        LlmCall(
            "anthropic",
            "claude",
            "chat",
            cache_read_tokens=3,
            cache_write_tokens=2,
            reasoning_tokens=1,
            session_id="t-1",
            user_id="cleo",
        ),
    ),
    ({"langsmith.span.kind": "chain", "langsmith.trace.session_id": "s-3"}, LlmCall(operation="chain", session_id="s-3")),
    ({"langsmith.span.kind": "tool", "langsmith.metadata.conversation_id": "s-4"}, LlmCall(operation="tool", session_id="s-4")),
    ({"mlflow.spanType": '"AGENT"', "mlflow.trace.session": '""'}, LlmCall(operation="agent")),
    (  # Google ADK's call_llm, which names no operation
        {
            "gen_ai.system": "gcp.vertex.agent",
            "gen_ai.request.model": "gemini-3",
            "gcp.vertex.agent.invocation_id": "e-1",
            "gcp.vertex.agent.session_id": "s-5",
            "gcp.vertex.agent.llm_request": '{"model": "gemini-3"}',
            "gen_ai.response.finish_reasons": ["stop"],
        },
        LlmCall("gcp.vertex.agent", "gemini-3", "chat", finish_reason="stop", session_id="s-5"),
    ),
    (  # Vercel AI SDK 6
        {
            "ai.operationId": "ai.streamText.doStream",
            "ai.model.id": "m",
            "ai.usage.inputTokens": 100,
            "ai.usage.outputTokens": 20,
            "ai.usage.inputTokenDetails.cacheReadTokens": 80,
            "ai.usage.inputTokenDetails.cacheWriteTokens": 5,
            "ai.usage.outputTokenDetails.reasoningTokens": 7,
            "ai.telemetry.metadata.sessionId": "s-6",
            "ai.telemetry.metadata.userId": "dan",
        },
        LlmCall(
            "",
            "m",
            "chat",
            100,
            20,
            120,
            cache_read_tokens=80,
            cache_write_tokens=5,
            reasoning_tokens=7,
            session_id="s-6",
            user_id="dan",
        ),
    ),
    (  # Pydantic AI
        {
            "gen_ai.operation.name": "chat",
            "gen_ai.system": "openai",
            "gen_ai.usage.input_tokens": 9,
            "gen_ai.usage.details.cache_read_tokens": 4,
            "gen_ai.usage.details.cache_write_tokens": 2,
            "gen_ai.usage.details.reasoning_tokens": 1,
        },
        LlmCall("openai", "", "chat", 9, cache_read_tokens=4, cache_write_tokens=2, reasoning_tokens=1),
    ),
    (  # OpenLLMetry, as Traceloop's SDK writes it
        {
            "traceloop.span.kind": "agent",
            "traceloop.association.properties.session_id": "s-7",
            "traceloop.association.properties.user_id": "eve",
            "gen_ai.usage.cache_read_input_tokens": 3,
        },
        LlmCall(operation="agent", cache_read_tokens=3, session_id="s-7", user_id="eve"),
    ),
    ({"llm.request.type": "acompletion", "gen_ai.cost.total_cost": 0.5}, LlmCall(operation="chat", cost_usd=0.5)),  # LiteLLM
    ({"gen_ai.operation.name": "aresponses", "llm.user": "bob"}, LlmCall(operation="chat", user_id="bob")),
    (  # Google ADK's tools, today and before they named their operation
        {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "weather", "gcp.vertex.agent.llm_request": "{}"},
        LlmCall(operation="tool", tool_name="weather"),
    ),
    (
        {"gen_ai.system": "gcp.vertex.agent", "gcp.vertex.agent.tool_call_args": '{"city": "Ulm"}', "gcp.vertex.agent.llm_request": "{}"},
        LlmCall("gcp.vertex.agent", operation="tool"),
    ),
    (  # Pydantic AI: a run of an agent, which has the sum of its calls, before and after 1.37, and a tool of it
        {"gen_ai.agent.name": "helper", "gen_ai.usage.input_tokens": 5, "all_messages_events": "[]"},
        LlmCall(operation="agent", input_tokens=5, agent_name="helper"),
    ),
    ({"agent_name": "helper", "pydantic_ai.all_messages": "[]"}, LlmCall(operation="agent")),
    ({"gen_ai.tool.name": "roll", "gen_ai.tool.call.id": "c1", "tool_arguments": "{}"}, LlmCall(operation="tool", tool_name="roll")),
    ({"gen_ai.operation.name": "retrieve", "gen_ai.tool.name": "roll"}, LlmCall(operation="other", tool_name="roll")),
    # What a span stands for is an agent, a workflow or a tool, and nothing else.
    ({"traceloop.span.kind": "agent", "traceloop.entity.name": "planner"}, LlmCall(operation="agent", agent_name="planner")),
    ({"traceloop.span.kind": "tool", "traceloop.entity.name": "weather"}, LlmCall(operation="tool", tool_name="weather")),
    ({"traceloop.span.kind": "task", "traceloop.entity.name": "step"}, LlmCall(operation="chain")),
    ({"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "crew"}, LlmCall(operation="workflow", agent_name="crew")),
    (
        {"openinference.span.kind": "AGENT", "agent.name": "boss", "graph.node.name": "node"},
        LlmCall(operation="agent", agent_name="boss"),
    ),
    ({"mlflow.spanType": '"TOOL"', "mlflow.spanFunctionName": '"weather"'}, LlmCall(operation="tool", tool_name="weather")),
    (
        {"mlflow.spanType": '"CHAT_MODEL"', "mlflow.llm.provider": '"openai"', "mlflow.llm.model": '"m"'},
        LlmCall("openai", "m", "chat"),
    ),
    (  # Langfuse around OpenAI's chat, its responses, and LangChain
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.usage_details": '{"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, '
            '"prompt_tokens_details": {"cached_tokens": 6}, "completion_tokens_details": {"reasoning_tokens": 2}}',
        },
        LlmCall("", "", "chat", 10, 4, 14, cache_read_tokens=6, reasoning_tokens=2),
    ),
    (
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.usage_details": '{"input_tokens": 10, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 6}}',
        },
        LlmCall("", "", "chat", 10, 4, 14, cache_read_tokens=6),
    ),
    (
        {
            "langfuse.observation.type": "generation",
            "langfuse.observation.usage_details": '{"input": 10, "output": 4, "input_cache_read": 3, "input_cache_creation": 2, "output_reasoning": 1}',
        },
        LlmCall("", "", "chat", 10, 4, 14, cache_read_tokens=3, cache_write_tokens=2, reasoning_tokens=1),
    ),
    *(
        ({"langfuse.observation.type": "generation", "langfuse.observation.completion_start_time": at}, LlmCall("", "", "chat", ttft_ms=ms))
        for at, ms in (
            ('"2026-09-21T14:13:20.250Z"', 250.0),
            ("2026-09-21T14:13:21.000001", 1000.001),
            ("2026-09-21 16:13:20+02:00", 0.0),
            ("2026-09-21T14:13:19.999Z", None),
            ("2026-13-21T14:13:21Z", None),
            ("soon", None),
            ("5", None),
        )
    ),
    (
        {"ai.response.msToFirstChunk": 7, "langfuse.observation.completion_start_time": "2026-09-21T14:13:21Z"},
        LlmCall("", "", "other", ttft_ms=7.0),
    ),
]


@pytest.mark.parametrize(("attributes", "expected"), CASES)
def test_a_dialect_is_understood(attributes: Attributes, expected: LlmCall | None) -> None:
    assert llm_call(attributes, START_NS) == expected


def test_json_that_is_too_deep_is_ignored() -> None:
    assert llm_call({"mlflow.spanType": "LLM", "mlflow.llm.cost": '{"input_cost": ' + "[" * 100_000}, 0) == llm_call(
        {"mlflow.spanType": "LLM"}, 0
    )


async def test_the_columns_agree_with_the_dialects(shared_hot_node: HotNode) -> None:
    """ClickHouse and Python compute them from the same tables."""
    spans = [
        wire_span(attributes=attributes, trace_id=b"t" * 16, span_id=index.to_bytes(8)) for index, (attributes, _) in enumerate(CASES, 1)
    ]
    async with open_tier([shared_hot_node]) as tier:
        await tier.store(of_service("agent", *spans))
        answer = await tier.reader.get_trace("t1", b"t" * 16)
    assert [span.llm for span in answer.value] == [expected for _, expected in CASES]
