"""Through the suite's processes: what was said is rolled, read from the cold tier, deleted there, and gone."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.support.suite import Suite, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
TRACE_ID, PROMPT = "ab" * 16, "tell me of the sea " * 400


def post(url: str, body: Any = None) -> Any:
    data = json.dumps(body).encode() if body is not None else b""
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"}, method="POST")  # noqa: S310  # a loopback URL
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # the same
        return json.load(answer)


def traces_of(suite: Suite) -> list[str]:
    return [span["trace_id"] for span in suite.get("/api/v1/traces?text=sea&limit=10")["spans"]]


def test_a_trace_is_rolled_read_and_deleted(tmp_path: Path) -> None:
    """With its payload; the deletion ends in the cold tier."""
    settings = {"TAEL_HOT_TIER_HOURS": "0", "TAEL_ROLL_QUIET_SECS": "0"}
    start_ns = time.time_ns() - 7_200 * 10**9
    span = {
        "traceId": TRACE_ID,
        "spanId": "cd" * 8,
        "name": "chat",
        "startTimeUnixNano": str(start_ns),
        "endTimeUnixNano": str(start_ns + 10**9),
        "attributes": [
            {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
            {"key": "gen_ai.input.messages", "value": {"stringValue": PROMPT}},
        ],
    }
    with Suite(tmp_path, env=settings) as suite:
        post(f"http://127.0.0.1:{suite.http_port}/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})

        def rolled() -> bool:
            [shard] = suite.get("/api/v1/admin/cold")["shards"]
            return {one["table"] for one in shard["tables"]} >= {"spans", "payloads"} and not shard["on_their_way"]

        until(rolled, "spans and payloads in the cold tier", 90, pause=0.5)
        [found] = suite.get(f"/api/v1/traces/{TRACE_ID}")["spans"]
        assert found["attributes"]["gen_ai.input.messages"] == PROMPT
        assert traces_of(suite) == [TRACE_ID]
        asked = post(f"{suite.url}/api/v1/deletions?trace={TRACE_ID}")
        done = until(
            lambda: (one := suite.get(f"/api/v1/deletions/{asked['id']}"))["state"] == "done" and one, "the deletion", 90, pause=0.5
        )
        assert done["rows"] >= 1
        assert traces_of(suite) == []
