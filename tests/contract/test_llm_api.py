"""The native API of LLM calls and its commands: over spans in memory, and over two shards on hot nodes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from services.query.questions import llm_session
from tests.contract.test_cli import tael
from tests.support.query import Api
from tests.support.storage import new_trace_id, of_service, wire_span

LAST = {"start": "2026-01-01T00:00:00Z"}
SYSTEM, FIRST, ANSWER, SECOND = (
    {"role": "system", "content": "be kind"},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "hello"},
    {"role": "user", "content": "weather?"},
)


def call(offset: int, trace_id: bytes, span_id: bytes, parent: bytes = b"", **attributes: Any) -> WireSpan:
    """A span of a call; ``__`` stands for a dot."""
    wire = wire_span(
        offset,
        trace_id=trace_id,
        span_id=span_id,
        attributes={"gen_ai." + key.replace("__", "."): value for key, value in attributes.items()},
    )
    wire.parent_span_id = parent
    return wire


async def talk(api: Api) -> tuple[bytes, bytes]:
    """A session of two traces: a question and its answer, then an agent that asks a tool; and a call of nobody's."""
    first, second = new_trace_id(), new_trace_id()
    usage: dict[str, Any] = {
        "usage__input_tokens": 1_000_000,
        "usage__output_tokens": 0,
        "request__model": "gpt-4o",
        "provider__name": "openai",
    }
    known = {"conversation__id": "s/1", **usage}
    one = call(0, first, b"one-----", operation__name="chat", prompt=json.dumps([SYSTEM, FIRST]), completion=json.dumps([ANSWER]), **known)
    agent = call(10, second, b"agent---", operation__name="invoke_agent", agent__name="forecaster", **known)
    two = call(
        11,
        second,
        b"two-----",
        b"agent---",
        operation__name="chat",
        prompt=json.dumps([SYSTEM, FIRST, ANSWER, SECOND]),
        completion=json.dumps([{"role": "assistant", "content": "rain"}]),
        **usage,
    )
    tool = call(12, second, b"tool----", b"agent---", operation__name="execute_tool", tool__name="weather")
    tool.status.code = 2  # type: ignore[assignment]  # OTLP's number of an error
    tool.end_time_unix_nano = tool.start_time_unix_nano + 5_000_000
    nobody = call(20, new_trace_id(), b"nobody--", operation__name="chat", request__model="unheard-of", usage__input_tokens=5)
    await api.store(of_service("bot", one, agent, two, tool), of_service("batch", nobody))
    return first, second


async def test_usage_counts_each_call_once(api: Api) -> None:
    """By one thing or several, filtered, the most expensive first; what has no price says so."""
    await talk(api)
    whole = await api.json("/api/v1/llm/usage", **LAST)
    assert [(one["model"], one["calls"], one["input_tokens"], one["cost_usd"]) for one in whole["usage"]] == [
        ("gpt-4o", 2, 2_000_000, pytest.approx(5.0)),
        ("unheard-of", 1, 5, 0),
    ]
    assert (whole["total"]["calls"], whole["total"]["traces"], whole["total"]["calls_without_cost"]) == (3, 3, 1)
    by_two = await api.json("/api/v1/llm/usage", by="service,session", **LAST)
    assert [(one["service"], one["session"], one["calls"]) for one in by_two["usage"]] == [("bot", "s/1", 2), ("batch", "", 1)]
    agents = await api.json("/api/v1/llm/usage", by="agent", service="bot", model="gpt-4o", **LAST)
    assert [(one["agent"], one["calls"]) for one in agents["usage"]] == [("", 1), ("forecaster", 1)]
    assert (await api.json("/api/v1/llm/usage", service="nobody", **LAST))["total"] is None
    assert (await api.json("/api/v1/llm/usage", end="2026-01-01T00:00:00Z"))["usage"] == []
    assert (await api.error("/api/v1/llm/usage", by="colour"))[0] == 400
    for path in ("usage", "sessions", "tools", "calls"):
        status, text = await api.error(f"/api/v1/llm/{path}", operation="bad")
        assert status == 400
        assert "operation" in text


async def test_a_call_that_failed_is_counted(api: Api) -> None:
    """It has no tokens, and its session may have no other call."""
    failed = call(0, new_trace_id(), b"failed--", operation__name="chat", request__model="gpt-4o", conversation__id="s1")
    failed.status.code = 2  # type: ignore[assignment]  # OTLP's number of an error
    await api.store(of_service("bot", failed))
    [used] = (await api.json("/api/v1/llm/usage", **LAST))["usage"]
    assert (used["model"], used["calls"], used["errors"], used["input_tokens"]) == ("gpt-4o", 1, 1, 0)
    [session] = (await api.json("/api/v1/llm/sessions", **LAST))["sessions"]
    assert (session["session_id"], session["calls"]) == ("s1", 1)


async def test_a_session_is_shown_in_order_across_traces(api: Api) -> None:
    """Each thing once, with the call that it was new in; sessions are listed with what was used in them."""
    first, second = await talk(api)
    [session] = (await api.json("/api/v1/llm/sessions", **LAST))["sessions"]
    assert (session["session_id"], session["calls"], session["traces"], session["agents"]) == ("s/1", 2, 2, ["forecaster"])
    told = await api.json("/api/v1/llm/sessions/s%2F1")
    assert told["traces"] == [first.hex(), second.hex()]
    assert [(m["role"], m["parts"][0]["text"], m["trace_id"] == second.hex()) for m in told["messages"]] == [
        ("system", "be kind", False),
        ("user", "hi", False),
        ("assistant", "hello", False),
        ("user", "weather?", True),
        ("assistant", "rain", True),
    ]
    assert (told["usage"]["calls"], told["usage"]["cost_usd"]) == (2, pytest.approx(5.0))
    assert (await api.error("/api/v1/llm/sessions/other"))[0] == 404


async def test_a_long_session_is_shown_from_its_end(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """As much as there is room for, whether its traces are read whole or by their calls; the answer names where the rest is."""
    first, second = new_trace_id(), new_trace_id()
    said = [[{"role": "user", "content": f"question {at}"}] for at in range(6)]
    spans = [
        call(
            at,
            first if at < 2 else second,
            b"call---%d" % at,
            operation__name="chat",
            conversation__id="s/1",
            usage__input_tokens=1,
            prompt=json.dumps(said[at]),
        )
        for at in range(6)
    ]
    await api.store(of_service("bot", *spans))

    async def told(**parameters: Any) -> tuple[list[str], list[str], Any]:
        answer = await api.json("/api/v1/llm/sessions/s%2F1", **parameters)
        return answer["traces"], [one["parts"][0]["text"][-1] for one in answer["messages"]], answer.get("truncated")

    whole = ([first.hex(), second.hex()], list("012345"), None)
    assert await told() == whole
    monkeypatch.setattr(llm_session, "MAX_WHOLE_SPANS", 1)
    monkeypatch.setattr(llm_session, "_PAGE", 1)
    assert await told() == whole
    for bound, most in (("MAX_CALLS", 3), ("MAX_BYTES", 1_300)):
        with monkeypatch.context() as bounded:
            bounded.setattr(llm_session, bound, most)
            traces, texts, cut = await told()
            assert (traces, texts) == ([second.hex()], list("345"))
            assert cut is not None
            end = cut.rpartition("end=")[2]
            traces, texts, cut = await told(end=end)
            assert (traces, texts) == ([first.hex(), second.hex()], list("012"))
            assert cut is None
    monkeypatch.setattr(llm_session, "MAX_TRACES", 1)
    traces, texts, cut = await told()
    assert (traces, texts) == ([second.hex()], list("2345"))
    assert cut is not None
    traces, texts, cut = await told(end=cut.rpartition("end=")[2])
    assert (traces, texts, cut) == ([first.hex()], list("01"), None)


async def test_calls_and_tools_are_listed(api: Api) -> None:
    """Calls of models unless something else is asked for, newest first and in pages; tools with their failures."""
    await talk(api)
    page = await api.json("/api/v1/llm/calls", limit=2)
    assert [one["span_id"] for one in page["calls"]] == [b"nobody--".hex(), b"two-----".hex()]
    rest = await api.json("/api/v1/llm/calls", limit=2, cursor=page["cursor"])
    assert ([one["span_id"] for one in rest["calls"]], rest["cursor"]) == ([b"one-----".hex()], None)
    assert "attributes" not in rest["calls"][0]
    found = await api.json("/api/v1/llm/calls", operation="any", session="s/1")
    assert [one["llm"]["operation"] for one in found["calls"]] == ["agent", "chat"]
    assert [one["span_id"] for one in (await api.json("/api/v1/llm/calls", operation="tool", tool="weather"))["calls"]] == [
        b"tool----".hex()
    ]
    [tool] = (await api.json("/api/v1/llm/tools", **LAST))["tools"]
    assert (tool["tool"], tool["agent"], tool["calls"], tool["error_rate"], tool["p95_duration_ms"]) == (
        "weather",
        "forecaster",
        1,
        1.0,
        5.0,
    )
    assert (await api.error("/api/v1/llm/calls", operation="singing"))[0] == 400


async def test_the_commands_print_tables(api: Api) -> None:
    """Each one as a table that lines up, and as the API's JSON."""
    await talk(api)
    for command, words in {
        ("usage", "--by", "model,service", "--start", "2026-01-01"): ["gpt-4o", "$5.00"],
        ("sessions", "--start", "2026-01-01"): ["s/1", "$5.00"],
        ("session", "s/1"): ["weather?", "rain"],
        ("tools", "--start", "2026-01-01"): ["weather", "100.00%"],
        ("calls", "--model", "gpt-4o"): ["gpt-4o", "1,000,000"],
    }.items():
        ended = await tael("--server", api.url, "--format", "table", "llm", *command)
        assert ended.code == 0, ended.err
        assert all(word in ended.out for word in words), ended.out
        assert (await tael("--server", api.url, "llm", *command)).json()["partial"] is False
