"""Tables of LLM calls, and a session as a conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from tael.cli.figures import figure, milliseconds, usd
from tael.cli.tables.layout import Rows, printable, say_if_none, status_of, to_minute, write

_USED = (">CALLS", ">ERRORS", ">INPUT", "?>CACHED", ">OUTPUT", "?>P50", "?>P95", ">COST")


def print_calls(answer: Mapping[str, Any]) -> None:
    """``llm calls``: one line a call."""
    if say_if_none(answer["calls"], "LLM calls match", "a longer --last, fewer filters, or --operation any"):
        return
    table = Rows("START", "SERVICE", "~MODEL", "?KIND", "STATUS", ">DURATION", "?>INPUT", "?>OUTPUT", ">COST", "?SESSION", "?TRACE")
    for span in answer["calls"]:
        call, start = span["llm"], span["start_time"].replace("T", " ")[:-7]
        model = printable(call["response_model"] or call["model"] or "-")
        cells = [milliseconds(span["duration_ms"]), figure(call["input_tokens"]), figure(call["output_tokens"]), usd(call["cost_usd"])]
        ids = [printable(call["session_id"] or "-"), span["trace_id"]]
        table.add_row(start, printable(span["service"]), model, call["operation"], status_of(span), *cells, *ids)
    write(table.fitted())
    if answer["cursor"]:
        write(Text(f"there is more: --cursor {answer['cursor']}", style="dim"))


def print_usage(answer: Mapping[str, Any]) -> None:
    """``llm usage``: one line a group, and the total."""
    if say_if_none(answer["usage"], "LLM calls with usage match", "a longer --last, or fewer filters"):
        return
    by = list(answer["usage"][0])[: list(answer["usage"][0]).index("calls")]
    table = Rows(*(f"~{name.upper()}" for name in by), *_USED)
    for one in answer["usage"]:
        table.add_row(*(printable(one[name] or "-") for name in by), *_used(one))
    table.add_row("all", *[""] * (len(by) - 1), *_used(answer["total"]))
    write(table.fitted())
    if unpriced := answer["total"]["calls_without_cost"]:
        write(Text(f"{figure(unpriced)} calls neither report a cost nor have a price (TAEL_LLM_PRICES_FILE)", style="yellow"))


def _used(one: Mapping[str, Any]) -> list[str]:
    counts = [figure(one[name]) for name in ("calls", "errors", "input_tokens", "cache_read_tokens", "output_tokens")]
    return [*counts, milliseconds(one["p50_duration_ms"]), milliseconds(one["p95_duration_ms"]), usd(one["cost_usd"])]


def print_sessions(answer: Mapping[str, Any]) -> None:
    """``llm sessions``: one line a session."""
    if say_if_none(answer["sessions"], "sessions match", "a longer --last, or fewer filters"):
        return
    table = Rows("~SESSION", "LAST CALL", "?USER", "?SERVICE", ">TRACES", ">CALLS", ">INPUT", ">OUTPUT", ">COST")
    for one in answer["sessions"]:
        who = [printable(", ".join(one[name]) or "-") for name in ("users", "services")]
        counts = [figure(one[name]) for name in ("traces", "calls", "input_tokens", "output_tokens")]
        table.add_row(printable(one["session_id"]), to_minute(one["last"]), *who, *counts, usd(one["cost_usd"]))
    write(table.fitted())


def print_session(answer: Mapping[str, Any]) -> None:
    """``llm session``: the messages of the conversation, in order."""
    used = answer["usage"]
    head = (
        f"session {printable(answer['session_id'])}  {len(answer['traces'])} traces  {figure(used['calls'])} calls  {usd(used['cost_usd'])}"
    )
    write(Text(head))
    for message in answer["messages"]:
        who = message["agent"] or message["model"] if message["role"] == "assistant" else ""
        write(
            Text.assemble(
                "\n", (message["role"], "bold"), f"  {printable(who or '')}  ", (message["timestamp"][:19].replace("T", " "), "dim")
            )
        )
        for part in message["parts"]:
            write(Text("\n".join(printable(line).plain for line in _said(part).splitlines())))
    if "truncated" in answer:
        write(Text(answer["truncated"], style="yellow"))


def _said(part: Mapping[str, Any]) -> str:
    if part["type"] == "tool_call":
        return f"→ {part['name']}({json.dumps(part['arguments'], ensure_ascii=False)})"
    text = part["text"] if "text" in part else json.dumps(part["value"], ensure_ascii=False)
    return f"← {text}" if part["type"] == "tool_result" else f"({text})" if part["type"] == "reasoning" else text


def print_tools(answer: Mapping[str, Any]) -> None:
    """``llm tools``: one line a tool."""
    if say_if_none(answer["tools"], "tool calls match", "a longer --last, or fewer filters"):
        return
    table = Rows("~TOOL", "AGENT", ">CALLS", ">ERRORS", ">P50", ">P95", "?LAST CALL")
    for one in answer["tools"]:
        times = [milliseconds(one["p50_duration_ms"]), milliseconds(one["p95_duration_ms"]), to_minute(one["last"])]
        table.add_row(
            printable(one["tool"] or "-"), printable(one["agent"] or "-"), figure(one["calls"]), figure(one["error_rate"], ".2%"), *times
        )
    write(table.fitted())
