"""How a table that is too wide is cut: numbers and levels stay whole, text is shortened."""

from __future__ import annotations

from typing import Any

import pytest

from tael.cli.tables import print_calls, print_logs, print_points, print_series, print_services, print_sessions, print_tools, print_usage


def test_a_long_body_leaves_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    record = {"timestamp": "2026-01-31T09:30:00.123456789Z", "service": "shop", "level": "error", "body": "x" * 5000, "trace_id": "a" * 32}
    print_logs({"logs": [record], "cursor": None})
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[:4] == ["TIME", "SERVICE", "LEVEL", "BODY"]
    assert line.split()[2:4] == ["shop", "error"]
    assert len(line) <= 1000


def test_a_long_name_leaves_the_value(capsys: pytest.CaptureFixture[str]) -> None:
    point = {"timestamp": "2026-01-31T09:30:00.123456789Z", "service": "shop", "name": "n" * 2000, "metric_type": "gauge", "value": 41.25}
    print_points({"metrics": [{**point, "attributes": {}}]})
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == "41.25"


@pytest.mark.parametrize("odd", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_has_as_texts(odd: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers that JSON cannot represent are shown as their text."""
    counts = dict.fromkeys(("calls", "errors", "traces", "input_tokens", "cache_read_tokens", "output_tokens", "error_rate"), odd)
    durations = dict.fromkeys(("p50_duration_ms", "p95_duration_ms", "duration_ms", "avg_duration_ms", "span_count", "trace_count"), odd)
    one: dict[str, Any] = {"model": "m", **counts, **durations, "cost_usd": odd, "calls_without_cost": 0, "last": "2026-01-31T09:30:00Z"}
    who = {"session_id": "s", "users": [], "services": [], "tool": "t", "agent": "a", "service": "shop", "name": "shop", "status": "ok"}
    call = {"response_model": "m", "operation": "chat", "session_id": "s", "input_tokens": odd, "output_tokens": odd, "cost_usd": odd}
    span = {**who, "start_time": "2026-01-31T09:30:00.123456789Z", "duration_ms": odd, "trace_id": "a" * 32, "llm": call}
    print_usage({"usage": [one], "total": one})
    print_sessions({"sessions": [who | one]})
    print_tools({"tools": [who | one]})
    print_services({"services": [one | who]})
    print_calls({"calls": [span], "cursor": None})
    print_series({"series": [{"metric": {}, "values": [[0, odd]]}], "warnings": []})
    lines = capsys.readouterr().out.splitlines()
    assert [line.count(odd) for line in lines if odd in line] == [8, 8, 5, 4, 4, 4, 1]
