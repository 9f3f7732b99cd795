"""OpenInference's instrumentation of LangChain, over a chat model that only pretends."""

from __future__ import annotations

from tests.peers.conftest import exporting, read_trace, run_python
from tests.support.suite import Suite


def test_a_chain_is_read_back_and_its_call_fills_the_columns(suite: Suite) -> None:
    """Every link of the chain is a span; the model's has tokens, finish reason, prompts and completion."""
    trace_id = run_python("openinference_chain", environment=exporting(suite, "inference"))["trace_id"]
    spans = {span["operation"]: span for span in read_trace(suite, trace_id, 4).values()}
    chain, prompt, chat = spans["RunnableSequence"], spans["ChatPromptTemplate"], spans["Pretender"]
    assert chain["parent_span_id"] == spans["ask"]["span_id"]
    assert prompt["parent_span_id"] == chat["parent_span_id"] == chain["span_id"]
    kinds = [span["attributes"]["openinference.span.kind"] for span in (chain, prompt, chat)]
    assert kinds == ["CHAIN", "PROMPT", "LLM"]
    assert {span["service"] for span in spans.values()} == {"inference"}
    assert {key: value for key, value in chat["llm"].items() if value is not None} == {
        "provider": "pretender",
        "model": "pretend-1",
        "operation": "chat",
        "input_tokens": 11,
        "output_tokens": 5,
        "total_tokens": 16,
        "finish_reason": "stop",
        "temperature": 0.5,
        "counted": True,
        "messages": [],
    }
    attributes = chat["attributes"]
    assert attributes["llm.input_messages.1.message.content"] == "why is the sky blue?"
    assert attributes["llm.output_messages.0.message.content"] == "because of Rayleigh scattering"
    assert attributes["llm.token_count.total"] == 16
    found = suite.get("/api/v1/traces?service=inference&text=rayleigh+scattering")["spans"]
    assert chat["span_id"] in [span["span_id"] for span in found]
