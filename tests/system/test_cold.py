"""Through the suite's processes: what was said is rolled, read from the cold tier, deleted there, and gone."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tael.vectors.histograms.text import parse
from tests.support.databases import Template
from tests.support.remote_write import request_of
from tests.support.suite import Suite, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
TRACE_ID, PROMPT = "ab" * 16, "tell me of the sea " * 400
HOUR_NS = 3_600 * 10**9


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
    # No tables from before: with an index of payloads older than the trace, the deletion waits hours until its payload can be collected.
    with Suite(tmp_path, env=settings) as suite:
        post(f"http://127.0.0.1:{suite.http_port}/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})

        def rolled() -> bool:
            [shard] = suite.get("/api/v1/admin/cold")["shards"]
            return {one["table"] for one in shard["tables"]} >= {"spans", "payloads"} and not shard["on_their_way"]

        until(rolled, "spans and payloads in the cold tier", pause=0.5)
        [found] = suite.get(f"/api/v1/traces/{TRACE_ID}")["spans"]
        assert found["attributes"]["gen_ai.input.messages"] == PROMPT
        assert traces_of(suite) == [TRACE_ID]
        asked = post(f"{suite.url}/api/v1/deletions?trace={TRACE_ID}")
        done = until(lambda: (one := suite.get(f"/api/v1/deletions/{asked['id']}"))["state"] == "done" and one, "the deletion", pause=0.5)
        assert done["rows"] >= 1
        assert traces_of(suite) == []


def send_spans(suite: Suite, hours_ago: range, each: int) -> set[str]:
    """Send traces of one span, in each of several hours; returns their ids."""
    hour_ns = time.time_ns() // HOUR_NS * HOUR_NS
    spans = [
        {
            "traceId": f"{ago * each + number + 1:032x}",
            "spanId": "cd" * 8,
            "name": "numbered",
            "startTimeUnixNano": str(hour_ns - ago * HOUR_NS + number),
            "endTimeUnixNano": str(hour_ns - ago * HOUR_NS + number + 1),
        }
        for ago in hours_ago
        for number in range(each)
    ]
    post(f"http://127.0.0.1:{suite.http_port}/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]})
    return {str(span["traceId"]) for span in spans}


def found_spans(suite: Suite) -> list[str]:
    """The traces of every span of the last day, each as often as it is there."""
    return [span["trace_id"] for span in suite.get_when_ready("/api/v1/traces?last=1d&limit=2000")["spans"]]


def test_hours_leave_early_while_the_disk_is_low(tmp_path: Path, template: Template) -> None:
    """Long before their time, and while writes are still accepted: less is free than is to be free, and more than what ingest
    refuses at.
    """
    with Suite(tmp_path, env={"TAEL_ROLL_FREE_BYTES": "1000TiB", "TAEL_ROLL_QUIET_SECS": "0"}, hot=template.directory) as suite:
        sent = send_spans(suite, range(1, 3), 5)
        until(lambda: suite.get("/api/v1/admin/cold")["shards"][0]["tables"], "files in the cold tier", pause=0.5)
        sent |= send_spans(suite, range(1), 5)
        until(lambda: sorted(found_spans(suite)) == sorted(sent), "what came meanwhile", pause=0.5)


def test_shards_of_a_compactor_that_was_killed_go_on(tmp_path: Path, template: Template) -> None:
    """Two share four shards, and one dies in the middle of a roll: the other takes its shards, and every span is there once at every
    moment.
    """
    settings = {"TAEL_HOT_TIER_HOURS": "0", "TAEL_ROLL_QUIET_SECS": "5"}
    with Suite(tmp_path, shards=4, env=settings, hot=template.directory) as suite:
        second = suite.spawn("compactor", "killed", {"TAEL_ROLL_FAILPOINT": "exported"})

        def holders() -> list[str]:
            return [(shard["compactor"] or {}).get("holder", "") for shard in suite.get("/internal/cluster")["shards"]]

        until(lambda: holders().count("killed") == 2, "two shards for each compactor", pause=0.5)
        sent = sorted(send_spans(suite, range(1, 4), 40))
        until(lambda: sorted(found_spans(suite)) == sent, "every span", pause=0.5)
        # A reader waits for nobody who died after the move: the hour is read where it stands.
        until(lambda: second.poll() is not None, "the second compactor's death", pause=0.1)
        assert sorted(found_spans(suite)) == sent

        def rolled() -> bool:
            assert sorted(found_spans(suite)) == sent
            shards = suite.get("/api/v1/admin/cold")["shards"]
            return all(one["tables"] and not one["on_their_way"] and not one["hot"]["rows"] for one in shards)

        until(rolled, "everything in the cold tier", 120, pause=0.5)
        assert "killed" not in holders()
        assert sorted(found_spans(suite)) == sent


def write(suite: Suite, body: bytes) -> None:
    """Send a remote write."""
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "snappy"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{suite.http_port}/api/v1/write", data=body, headers=headers, method="POST"
    )  # a loopback URL
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # the same
        assert answer.status in (200, 204)


def test_old_metrics_become_rollups(tmp_path: Path, template: Template) -> None:
    """By the compactor's own rounds, within seconds of a raw window of minutes; rates over them are those of the samples, and the answer
    says so.
    """
    settings = {
        "TAEL_HOT_TIER_HOURS": "0",
        "TAEL_ROLL_QUIET_SECS": "0",
        "TAEL_METRIC_RAW_DAYS": "0.001",
        "TAEL_COMPACT_INTERVAL_SECS": "1",
    }
    hour = int(time.time()) // 3_600 * 3_600 - 7_200
    times = range(hour, hour + 3_600, 15)
    growing = "{{{{schema:0 count:{0} sum:{0} buckets:[{0}]}}}}"
    body = request_of(
        [
            ((("__name__", "requests_total"), ("job", "shop")), [(at * 1000, 2.0 * (at - hour)) for at in times]),
            ((("__name__", "latency"), ("job", "shop")), [(at * 1000, parse(growing.format(at - hour + 1))) for at in times]),
        ]
    )
    points = [{"timeUnixNano": str(at * 10**9), "startTimeUnixNano": str(hour * 10**9), "asDouble": float(at - hour)} for at in times]
    counter = {"name": "jobs", "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": points}}
    with Suite(tmp_path, env=settings, hot=template.directory) as suite:
        write(suite, body)
        post(f"http://127.0.0.1:{suite.http_port}/v1/metrics", {"resourceMetrics": [{"scopeMetrics": [{"metrics": [counter]}]}]})

        def ask(query: str) -> Any:
            asked = {"query": query, "start": hour + 1_800, "end": hour + 3_600, "step": 300}
            return suite.get(f"/prometheus/api/v1/query_range?{urllib.parse.urlencode(asked)}")

        def told(query: str) -> Any:
            return (answer := ask(query)) and any("uses 5-minute rollups before" in info for info in answer.get("infos", ())) and answer

        for query, rate in (
            ("rate(requests_total[10m])", 2.0),
            ("rate(jobs_total[30m])", 1.0),
            ("histogram_count(rate(latency[10m]))", 1.0),
        ):
            answer = until(lambda query=query: told(query), f"rollups behind {query}", pause=0.5)  # type: ignore[misc]  # a default binds it
            assert not any("approximate" in info for info in answer["infos"]), answer
            [series] = answer["data"]["result"]
            assert [float(value) for _, value in series["values"]] == pytest.approx([rate] * 7)
