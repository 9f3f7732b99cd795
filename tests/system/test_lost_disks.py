"""A disk that is lost for ever, one kind after the other: what docs/operations.md, "Losing a machine", says is lost, and what brings the
rest back.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import Template
from tests.support.suite import Suite, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(800)]
DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
COLD, HOT, AFTER, LATE = "aa" * 16, "bb" * 16, "cc" * 16, "dd" * 16


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[Suite]:
    """With a trace and a log record that have gone to the bucket, and a trace that is hot."""
    with Suite(
        tmp_path_factory.mktemp("lost"), env={"TAEL_HOT_TIER_HOURS": "1", "TAEL_ROLL_QUIET_SECS": "0"}, hot=template.directory
    ) as suite:
        send_span(suite, COLD, 3 * 3600)
        send_log(suite, 3 * 3600)
        until(lambda: {"spans", "logs"} <= rolled(suite), "both in the bucket", 120, pause=0.5)
        send_span(suite, HOT, 5)
        until(lambda: names(suite, HOT) == ["shop"], "the hot trace")
        yield suite


def post(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310  # a loopback URL
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # the same
        return json.load(answer)


RESOURCE = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]}


def send_span(suite: Suite, trace_id: str, ago: int) -> None:
    start = time.time_ns() - ago * 10**9
    span = {"traceId": trace_id, "spanId": "cd" * 8, "name": "x", "startTimeUnixNano": str(start), "endTimeUnixNano": str(start + 10**6)}
    body = {"resourceSpans": [{"resource": RESOURCE, "scopeSpans": [{"spans": [span]}]}]}
    post(f"http://127.0.0.1:{suite.http_port}/v1/traces", body)


def send_log(suite: Suite, ago: int) -> None:
    record = {"timeUnixNano": str(time.time_ns() - ago * 10**9), "body": {"stringValue": "old words"}}
    body = {"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"logRecords": [record]}]}]}
    post(f"http://127.0.0.1:{suite.http_port}/v1/logs", body)


def rolled(suite: Suite) -> set[str]:
    [shard] = suite.get("/api/v1/admin/cold")["shards"]
    return set() if shard["on_their_way"] else {one["table"] for one in shard["tables"]}


def names(suite: Suite, trace_id: str) -> list[str]:
    """The services of a trace; nothing where it is not found or nobody answers."""
    try:
        return [span["service"] for span in suite.get(f"/api/v1/traces/{trace_id}")["spans"]]
    except OSError:
        return []


def found(suite: Suite) -> dict[str, Any] | None:
    """What a search of the last day answers."""
    try:
        answer: dict[str, Any] = suite.get("/api/v1/traces?limit=10&last=1d")
    except OSError:
        return None
    return answer


def searched(suite: Suite) -> set[str]:
    return {span["trace_id"] for span in (found(suite) or {"spans": []})["spans"]}


def lines(suite: Suite) -> list[str]:
    """The log records of the last day that LogQL finds."""
    start = int(time.time()) - 86_400
    query = urllib.parse.urlencode({"query": '{service_name="shop"}', "start": str(start)})
    streams = suite.get(f"/loki-api/loki/api/v1/query_range?{query}")["data"]["result"]
    return [line for stream in streams for _, line in stream["values"]]


def counted(suite: Suite) -> dict[str, str]:
    """How many these are, by level, with a filter of levels, and together."""
    found = {}
    for by, kept in (("", ""), ("by (detected_level) ", ""), ("", '| detected_level="unknown"')):
        query = urllib.parse.urlencode({"query": f'sum {by}(count_over_time({{service_name="shop"}} {kept}[1d]))'})
        for row in suite.get(f"/loki-api/loki/api/v1/query?{query}")["data"]["result"]:
            found[kept + row["metric"].get("detected_level", "")] = row["value"][1]
    return found


def lose(suite: Suite, process: str, *directories: Path) -> None:
    """End it so that it writes nothing more, and take its disk away; the supervisor starts it again on an empty one."""
    victim = suite.children()[process]
    victim.suspend()
    for directory in directories:
        shutil.rmtree(directory)
    victim.send_signal(signal.SIGKILL)
    victim.wait(60)


def restart(suite: Suite, process: str) -> None:
    suite.children()[process].kill()


CLIENT = """#!/bin/sh
printf %s "$2" | curl -sS --fail-with-body -H "X-ClickHouse-User: default" -H "X-ClickHouse-Key: $PASSWORD" --data-binary @- "$URL"
"""


def make_indexes(suite: Suite, directory: Path) -> None:
    """The document's commands."""
    section = DOCUMENT.read_text().partition("## Losing a machine")[2].partition("\n## ")[0]
    [script] = re.findall(r"```sh\n(for view in .*?)```", section, re.DOTALL)
    assert run(suite, directory, script) == ""


OLDER = """
files=https://s3.example.com/tael/logs/tenant=*/date=*/hour=*/0-*.parquet
path=$(clickhouse-client -q "SELECT DISTINCT _path FROM s3('$files', 'Parquet') FORMAT TSVRaw")
to=https://s3.example.com/${path%/*}/0-0.parquet
clickhouse-client -q "INSERT INTO FUNCTION s3('$to', 'Parquet') SELECT * EXCEPT (line_names, line_level) FROM s3('$files', 'Parquet') SETTINGS use_hive_partitioning = 0"
"""
"""Puts a generation that the hour's file of log records has replaced beside it, as the version wrote it that knew no levels."""


def run(suite: Suite, directory: Path, script: str) -> str:
    """What a script says, with a client that speaks HTTP, as the hot node does."""
    of_query, of_coordinator = (suite.children()[name].environ() for name in ("query", "coordinator"))
    client = directory / "clickhouse-client"
    client.write_text(CLIENT)
    client.chmod(0o755)
    environment = {
        "PATH": f"{directory}:{os.environ['PATH']}",
        "LC_ALL": "C",
        "URL": of_coordinator["TAEL_CLICKHOUSE_URLS"],
        "PASSWORD": of_query["TAEL_CLICKHOUSE_PASSWORD"],
    }
    script = script.replace("https://s3.example.com", of_query["TAEL_S3_URL"])
    done = subprocess.run(["bash", "-euc", script], env=environment, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.decode()


def test_clickhouse_is_lost(suite: Suite, tmp_path: Path) -> None:
    """What was hot is gone, unless the writer had no answer yet and repeats it. What is in the bucket is found by time, and by id once the
    indexes are made anew; what was sent meanwhile comes from the WAL.
    """
    lose(suite, "hotnode-0", suite.directory / "data" / "hotnode-0")
    send_span(suite, AFTER, 1)
    until(lambda: names(suite, AFTER) == ["shop"], "what waited in the WAL", pause=0.5)
    assert searched(suite) - {HOT} == {COLD, AFTER}
    assert (names(suite, COLD), lines(suite), counted(suite)) == ([], [], {})
    assert run(suite, tmp_path, OLDER) == ""
    make_indexes(suite, tmp_path)
    assert names(suite, COLD) == ["shop"]
    assert (lines(suite), counted(suite)) == (["old words"], {"": "1", "unknown": "1", '| detected_level="unknown"': "1"})


def test_the_only_nats_is_lost(suite: Suite) -> None:
    """What is stored is read on; what is sent is refused retryably until a coordinator has made the streams anew."""
    lose(suite, "nats", suite.directory / "data" / "nats" / "jetstream")
    until(lambda: "does not exist yet" in refusal(suite), "a refusal", pause=0.5)
    assert searched(suite) - {HOT} == {COLD, AFTER}
    restart(suite, "coordinator")
    until(lambda: not refusal(suite), "an acknowledgement", pause=0.5)
    until(lambda: names(suite, HOT) == ["shop"], "what was sent", pause=0.5)
    until(lambda: names(suite, COLD) == ["shop"], "the manifest from the bucket", pause=0.5)


def refusal(suite: Suite) -> str:
    try:
        send_span(suite, HOT, 1)
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except OSError as error:
        return str(error)
    return ""


def test_the_bucket_is_lost(suite: Suite) -> None:
    """Nothing is answered as if it were whole. A manifest made anew, of a bucket that is empty, gives up what was there; what is hot is
    answered and rolled as before.
    """
    lose(suite, "s3", suite.directory / "data" / "s3" / "objects")
    until(lambda: (found(suite) or {"partial": True}).get("partial"), "no whole answer", pause=0.5)
    send_span(suite, LATE, 4 * 3600)
    post(f"{suite.url}/api/v1/admin/cold/rebuild?force=true", {})
    until(
        lambda: searched(suite) == {HOT, AFTER, LATE} and not (found(suite) or {}).get("partial", True),
        "a whole answer of what is left",
        120,
        pause=0.5,
    )
    until(lambda: "spans" in rolled(suite), "a later roll", 120, pause=0.5)
    assert names(suite, LATE) == ["shop"]
