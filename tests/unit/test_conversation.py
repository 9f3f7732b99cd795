"""The messages of a call, in every dialect, in one form; and the calls of a session as one conversation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tael.otlp.conversation import CallMessages, Conversation, Message, Part, call_messages

QUESTION, ANSWER = Message("user", (Part("text", "hi"),)), Message("assistant", (Part("text", "hello"),))
SYSTEM = Message("system", (Part("text", "be kind"),))
CALL = Message("assistant", (Part("tool_call", name="weather", call_id="c1", arguments={"city": "Ulm"}),))
RESULT = Message("tool", (Part("tool_result", "rain", call_id="c1"),))
CHAT = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]
ASKED = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}],
}
TOLD = {"role": "tool", "tool_call_id": "c1", "content": "rain"}


def of_langchain(kind: str, content: str) -> dict[str, Any]:
    """A message as LangChain serialises it."""
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages"], "kwargs": {"type": kind, "content": content}}


DIALECTS: dict[str, dict[str, Any]] = {
    "gen_ai latest": {
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "be kind"}]),
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "hi"}]}]),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [{"type": "text", "content": "hello"}]}]),
    },
    "gen_ai latest, structured": {
        "gen_ai.system_instructions": [{"type": "text", "content": "be kind"}],
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": "hi"}]}],
        "gen_ai.output.messages": [{"role": "assistant", "parts": [{"type": "text", "content": "hello"}]}],
    },
    "gen_ai up to 1.36": {"gen_ai.prompt": json.dumps(CHAT), "gen_ai.completion": json.dumps([{"role": "assistant", "content": "hello"}])},
    "OpenLLMetry": {
        "gen_ai.prompt.0.role": "system",
        "gen_ai.prompt.0.content": "be kind",
        "gen_ai.prompt.1.role": "user",
        "gen_ai.prompt.1.content": "hi",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.content": "hello",
    },
    "OpenInference": {
        "llm.input_messages.0.message.role": "system",
        "llm.input_messages.0.message.content": "be kind",
        "llm.input_messages.1.message.role": "user",
        "llm.input_messages.1.message.contents.0.message_content.type": "text",
        "llm.input_messages.1.message.contents.0.message_content.text": "hi",
        "llm.output_messages.0.message.role": "assistant",
        "llm.output_messages.0.message.content": "hello",
        "input.value": "something else",
    },
    "Vercel AI SDK": {"ai.prompt.messages": json.dumps(CHAT), "ai.response.text": "hello"},
    "Vercel AI SDK, whole prompt": {"ai.prompt": json.dumps({"system": "be kind", "prompt": "hi"}), "ai.response.text": "hello"},
    "Google ADK": {
        "gcp.vertex.agent.llm_request": json.dumps(
            {"system_instruction": "be kind", "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        ),
        "gcp.vertex.agent.llm_response": json.dumps({"content": {"role": "model", "parts": [{"text": "hello"}]}}),
    },
    "Google ADK, as its call_llm writes it": {
        "gcp.vertex.agent.llm_request": json.dumps(
            {"model": "m", "config": {"system_instruction": "be kind"}, "contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        ),
        "gcp.vertex.agent.llm_response": json.dumps({"content": {"role": "model", "parts": [{"text": "hello"}]}, "partial": False}),
    },
    "Pydantic AI up to 1.36": {
        "events": json.dumps(
            [
                {"event.name": "gen_ai.system.message", "role": "system", "content": "be kind", "gen_ai.message.index": 0},
                {"event.name": "gen_ai.user.message", "role": "user", "content": "hi", "gen_ai.message.index": 0},
                {"event.name": "gen_ai.choice", "index": 0, "message": {"role": "assistant", "content": "hello"}},
            ]
        )
    },
    "Logfire": {
        "request_data": json.dumps({"model": "m", "messages": CHAT}),
        "response_data": json.dumps({"message": {"role": "assistant", "content": "hello"}, "usage": {"prompt_tokens": 3}}),
    },
    "LangSmith": {
        "gen_ai.prompt": json.dumps({"messages": [[of_langchain("system", "be kind"), of_langchain("human", "hi")]]}),
        "gen_ai.completion": json.dumps(
            {"generations": [[{"text": "hello", "type": "ChatGeneration", "message": of_langchain("ai", "hello")}]], "llm_output": {}}
        ),
    },
    "Traceloop, a text as JSON": {"traceloop.entity.input": json.dumps(CHAT), "traceloop.entity.output": '"hello"'},
    "Langfuse": {"langfuse.observation.input": json.dumps({"messages": CHAT}), "langfuse.observation.output": "hello"},
    "MLflow": {
        "mlflow.spanInputs": json.dumps({"model": "m", "messages": CHAT}),
        "mlflow.spanOutputs": json.dumps({"choices": [{"message": {"role": "assistant", "content": "hello"}}]}),
    },
    "Traceloop": {"traceloop.entity.input": json.dumps(CHAT), "traceloop.entity.output": "hello"},
    "LiteLLM, Pydantic AI": {
        "pydantic_ai.all_messages": json.dumps(
            [
                {"role": "system", "parts": [{"type": "text", "content": "be kind"}]},
                {"role": "user", "parts": [{"type": "text", "content": "hi"}]},
            ]
        ),
        "output.value": "hello",
    },
}


@pytest.mark.parametrize("attributes", DIALECTS.values(), ids=DIALECTS)
def test_every_dialect_has_one_form(attributes: dict[str, Any]) -> None:
    assert call_messages(attributes) == CallMessages([SYSTEM, QUESTION], [ANSWER])


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.input.messages": json.dumps([ASKED, TOLD])},
        {
            "gen_ai.prompt.0.role": "assistant",
            "gen_ai.prompt.0.tool_calls.0.id": "c1",
            "gen_ai.prompt.0.tool_calls.0.name": "weather",
            "gen_ai.prompt.0.tool_calls.0.arguments": '{"city": "Ulm"}',
            "gen_ai.prompt.1.role": "tool",
            "gen_ai.prompt.1.tool_call_id": "c1",
            "gen_ai.prompt.1.content": "rain",
        },
        {
            "llm.input_messages.0.message.role": "assistant",
            "llm.input_messages.0.message.tool_calls.0.tool_call.id": "c1",
            "llm.input_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
            "llm.input_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"city": "Ulm"}',
            "llm.input_messages.1.message.role": "tool",
            "llm.input_messages.1.message.tool_call_id": "c1",
            "llm.input_messages.1.message.content": "rain",
        },
        {
            "gen_ai.input.messages": [
                {"role": "assistant", "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Ulm"}}]},
                {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "rain"}]},
            ]
        },
        {
            "ai.prompt.messages": json.dumps(
                [
                    {
                        "role": "assistant",
                        "content": [{"type": "tool-call", "toolCallId": "c1", "toolName": "weather", "args": {"city": "Ulm"}}],
                    },
                    {"role": "tool", "content": [{"type": "tool-result", "toolCallId": "c1", "result": "rain"}]},
                ]
            )
        },
    ],
)
def test_tool_calls_have_one_form(attributes: dict[str, Any]) -> None:
    assert call_messages(attributes).input == [CALL, RESULT]


def test_parts_in_several_attributes_are_one_answer() -> None:
    """Vercel's AI SDK writes text, reasoning and tool calls apart."""
    call = {"toolCallId": "c1", "toolName": "weather", "input": '{"city": "Ulm"}'}
    messages = call_messages({"ai.response.text": "hello", "ai.response.toolCalls": json.dumps([call]), "ai.response.reasoning": "hm"})
    assert messages.output == [Message("assistant", (Part("reasoning", "hm"), *ANSWER.parts, *CALL.parts))]


def test_an_answer_of_a_tool_in_quotes_is_its_text() -> None:
    """MLflow writes every value as JSON; quotes in a text of a message are its own."""
    assert call_messages({"mlflow.spanOutputs": '"hello"', "gen_ai.prompt": '"hi"'}) == CallMessages(
        [Message("user", (Part("text", '"hi"'),))], [ANSWER]
    )


def test_an_empty_request_has_no_messages() -> None:
    """Google ADK writes one on the spans of its tools."""
    assert call_messages({"gcp.vertex.agent.llm_request": "{}", "gcp.vertex.agent.llm_response": "{}"}) == CallMessages()


def test_events_are_read_where_attributes_have_no_messages() -> None:
    events: list[tuple[str, Any, Any]] = [
        ("gen_ai.system.message", {"content": "be kind"}, {}),
        ("gen_ai.user.message", "", {"content": "hi"}),
        ("exception", {"content": "no message"}, {}),
        ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": {"content": "hello"}}, {}),
    ]
    answer = Message("assistant", ANSWER.parts, "stop")
    assert call_messages({}, events) == CallMessages([SYSTEM, QUESTION], [answer])
    assert call_messages({"gen_ai.prompt": "other", "gen_ai.completion": "hello"}, events) == CallMessages(
        [Message("user", (Part("text", "other"),))], [ANSWER]
    )
    details = ("gen_ai.client.inference.operation.details", None, {"gen_ai.input.messages": [{"role": "user", "content": "hi"}]})
    assert call_messages({}, [details]).input == [QUESTION]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            [("gen_ai.user.message", {"content": '[{"text": "hi"}]'}), ("gen_ai.choice", {"message": '[{"text": "hello"}]'})],
            id="parts as JSON",
        ),
        pytest.param(
            [("gen_ai.user.message", {"content": "hi"}), ("gen_ai.choice", {"message": '{"role": "assistant", "content": "hello"}'})],
            id="a message as JSON",
        ),
        pytest.param([("gen_ai.user.message", {"content": "hi"}), ("gen_ai.choice", {"message": "hello"})], id="a message as text"),
        pytest.param(
            [
                ("gen_ai.user.message", {"gen_ai.event.content": '{"role": "user", "content": "hi"}'}),
                ("gen_ai.choice", {"gen_ai.event.content": '{"message": {"content": "hello"}, "index": 0}'}),
            ],
            id="a whole body as JSON",
        ),
        pytest.param(
            [("gen_ai.content.prompt", {"gen_ai.prompt": "hi"}), ("gen_ai.content.completion", {"gen_ai.completion": "hello"})],
            id="OpenLIT",
        ),
    ],
)
def test_events_of_a_span_have_messages_in_their_attributes(events: list[tuple[str, dict[str, Any]]]) -> None:
    assert call_messages({}, [(name, None, attributes) for name, attributes in events]) == CallMessages([QUESTION], [ANSWER])


@pytest.mark.parametrize("text", ["{", "[1, 2", '{"a": 1}', "[]", "null", '[{"x": {}}]', "0"])
def test_arbitrary_attributes_lose_nothing_and_raise_nothing(text: str) -> None:
    call = call_messages({"gen_ai.prompt": text})
    assert text == "[]" or len(call.input) >= 1


DEEP = "[" * 10_000 + "]" * 10_000
LIST_900 = "[" * 900 + "1" + "]" * 900


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param({"gen_ai.input.messages": DEEP}, id="JSON that is too deep to read"),
        pytest.param({"gen_ai.input.messages": f'[{{"role": "user", "content": {LIST_900}}}]'}, id="JSON that is too deep to walk"),
        pytest.param({"gen_ai.input.messages": '[{"role": "user", "tool_calls": 5, "content": "hi"}]'}, id="calls that are a number"),
        pytest.param({"gen_ai.prompt.0.0": "hi"}, id="an index in the place of a field"),
        pytest.param({"gen_ai.prompt.0.tool_call": "hi"}, id="a call in the place of a field"),
        pytest.param({"gen_ai.prompt.0.content.²": "hi"}, id="a digit that is no number"),
        pytest.param({"gen_ai.prompt.0." + "a." * 1_500 + "b": "hi", "gen_ai.prompt.0.content": "hi"}, id="a path that is too deep"),
        pytest.param({f"gen_ai.prompt.{'1' * 5_000}.content": "hi", "gen_ai.prompt.0.content": "hi"}, id="an index that is too long"),
        pytest.param(
            {"gen_ai.input.messages": [{"role": "user", "content": [{"type": "tool_result", "content": [b"hi"]}]}]}, id="an answer of bytes"
        ),
    ],
)
def test_odd_content_fails_nothing(attributes: dict[str, Any]) -> None:
    assert len(Conversation().add(call_messages(attributes))) == 1


def test_an_emoji_that_was_cut_in_half_can_be_shown() -> None:
    call = call_messages({"gen_ai.input.messages": r'[{"role": "user", "content": "cut \ud83d"}]'})
    assert call.input[0].parts[0].text == "cut \N{REPLACEMENT CHARACTER}"


def test_a_conversation_has_each_message_once() -> None:
    """A call usually carries the earlier messages; one that does not is taken as it is. A message that was really sent twice
    appears twice.
    """
    talk, again = Conversation(), Message("user", (Part("text", "more"),))
    assert talk.add(CallMessages([SYSTEM, QUESTION], [ANSWER])) == [SYSTEM, QUESTION, ANSWER]
    assert talk.add(CallMessages([SYSTEM, QUESTION, ANSWER, again], [CALL])) == [again, CALL]
    assert talk.add(CallMessages([SYSTEM, QUESTION, ANSWER, again, CALL, RESULT], [ANSWER])) == [RESULT, ANSWER]
    assert talk.add(CallMessages([SYSTEM, QUESTION, ANSWER, again, CALL, RESULT, ANSWER, again], [])) == [again]
    assert talk.add(CallMessages([SYSTEM, QUESTION], [ANSWER])) == [QUESTION, ANSWER]
