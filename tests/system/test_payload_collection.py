"""Through the suite's processes: prompts of a deleted trace go out of both tiers, what another trace says too stays, whenever the compactor
dies.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import Template
from tests.support.suite import Suite, until
from tests.system.test_cold import post

pytestmark = [pytest.mark.system, pytest.mark.timeout(800)]
SETTINGS = {
    "TAEL_HOT_TIER_HOURS": "0",
    "TAEL_ROLL_QUIET_SECS": "0",
    "TAEL_PAYLOADS_RELIED_ON_SECS": "10",
    "TAEL_PAYLOAD_GRACE_SECS": "20",
}
COLD, HOT, LIVE = "aa" * 16, "bb" * 16, "cc" * 16
SHARED, OF_COLD, OF_HOT = (text * 400 for text in ("you answer questions about the sea ", "how deep is it? ", "how salty is it? "))


def send(suite: Suite, trace_id: str, ago_seconds: int, *texts: str) -> None:
    """A call with these prompts."""
    start_ns = time.time_ns() - ago_seconds * 10**9
    attributes = [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}]
    attributes += [{"key": f"gen_ai.prompt.{place}.content", "value": {"stringValue": text}} for place, text in enumerate(texts)]
    span = {"traceId": trace_id, "spanId": trace_id[:16], "name": "chat", "startTimeUnixNano": str(start_ns), "attributes": attributes}
    span["endTimeUnixNano"] = str(start_ns + 10**9)
    post(f"http://127.0.0.1:{suite.http_port}/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})


def readable(suite: Suite, text: str) -> bool:
    """Whether somebody who knows its hash can read it."""
    try:
        with urllib.request.urlopen(f"{suite.url}/api/v1/blobs/{sha256(text.encode()).hexdigest()}", timeout=30) as answer:  # noqa: S310  # a loopback URL
            return bool(answer.read() == text.encode())
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
        return False


def said(suite: Suite, trace_id: str) -> list[str]:
    """The prompts of a trace, whole."""
    spans = suite.get(f"/api/v1/traces/{trace_id}")["spans"]
    return [span["attributes"][f"gen_ai.prompt.{place}.content"] for span in spans for place in range(2)]


def index_since_yesterday(suite: Suite) -> None:
    """As if the shard had known for a day what refers to payloads: what came before it did goes with its retention alone."""
    of, url = suite.children()["query"].environ(), suite.children()["coordinator"].environ()["TAEL_CLICKHOUSE_URLS"]
    headers = {"X-ClickHouse-User": of.get("TAEL_CLICKHOUSE_USER", "default"), "X-ClickHouse-Key": of["TAEL_CLICKHOUSE_PASSWORD"]}
    row = "FROM tael.tael_migrations WHERE name LIKE '%payload_references'"

    def ask(sql: str) -> bytes:
        request = urllib.request.Request(url, sql.encode(), headers)  # noqa: S310  # a loopback URL
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # the same
            return bytes(answer.read())

    # The suite takes spans before its tables are made: they wait in the WAL.
    until(lambda: ask(f"SELECT count() {row}") == b"1\n", "the index of references", pause=0.5)  # a text of this module
    ask("ALTER TABLE tael.tael_migrations UPDATE applied_at = now64(3) - INTERVAL 1 DAY WHERE 1 SETTINGS mutations_sync = 2")


def deletion(suite: Suite, deletion_id: str) -> Any:
    return suite.get(f"/api/v1/deletions/{deletion_id}")


def test_payloads_of_deleted_traces_leave_both_tiers(tmp_path: Path, template: Template) -> None:
    with Suite(tmp_path, env=SETTINGS, hot=template.directory) as suite:
        index_since_yesterday(suite)
        send(suite, COLD, 7_200, SHARED, OF_COLD)
        send(suite, LIVE, 7_200, SHARED, SHARED)

        def rolled() -> bool:
            [shard] = suite.get("/api/v1/admin/cold")["shards"]
            return {one["table"] for one in shard["tables"]} >= {"spans", "payloads"} and not shard["on_their_way"]

        until(rolled, "spans and payloads in the cold tier", 120, pause=0.5)
        send(suite, HOT, 1, SHARED, OF_HOT)
        until(lambda: readable(suite, OF_HOT), "the hot payload", pause=0.5)
        assert readable(suite, OF_COLD)
        asked = [post(f"{suite.url}/api/v1/deletions?trace={trace_id}")["id"] for trace_id in (COLD, HOT)]
        suite.children()["compactor"].kill()
        until(lambda: all(deletion(suite, one)["rows"] for one in asked), "the rows of both to go", 120, pause=0.2)
        assert readable(suite, OF_COLD)
        suite.children()["compactor"].kill()
        until(lambda: not (readable(suite, OF_COLD) and readable(suite, OF_HOT)), "the first of them to go", 180, pause=0.2)
        suite.children()["compactor"].kill()
        for one in asked:
            until(lambda one=one: deletion(suite, one)["state"] == "done", "the deletion", 180, pause=0.5)  # type: ignore[misc]
        assert [readable(suite, text) for text in (SHARED, OF_COLD, OF_HOT)] == [True, False, False]
        assert said(suite, LIVE) == [SHARED, SHARED]
