"""`tael doctor` against a running API."""

from __future__ import annotations

import asyncio
import json

from click.testing import CliRunner, Result

from tael.cli import main
from tests.support.doubles import MemorySpans
from tests.support.query import serving


async def tael(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, list(arguments))


async def test_a_cluster_with_a_shard_that_nobody_writes() -> None:
    async with serving(MemorySpans()) as api:
        ended = await tael("--server", api.url, "doctor")
        found = {finding["what"]: finding for finding in json.loads(ended.output)["findings"]}
        assert ended.exit_code == 1
        assert found["query is ready"]["level"] == "ok"
        assert found["shard-1: it has no writer; new data waits in the WAL"]["level"] == "failure"
        shown = await tael("--server", api.url, "--format", "table", "doctor")
        assert "FAILURE  compactor: none alive\n         -> start one" in shown.output
        api.readiness.set("nats", "away")
        assert "query is not ready: nats: away" in (await tael("--server", api.url, "doctor")).output


async def test_no_server() -> None:
    ended = await tael("--server", "http://127.0.0.1:1", "doctor")
    assert ended.exit_code == 3
