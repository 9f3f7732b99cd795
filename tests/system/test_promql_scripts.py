"""Scripts for tests of PromQL through everything: remote write in, the log, the writer, ClickHouse, Prometheus' HTTP API out."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from tests.support.promqltest import ScriptError, parse, run
from tests.support.remote_write import Suited, stretches
from tests.support.suite import Suite

FOREVER = {"TAEL_METRIC_RETENTION_DAYS": "36500"}
"""Scripts live in 1970."""
SCRIPTS = sorted((Path(__file__).parents[1] / "golden" / "promql").glob("*.test"))


def _sendable(path: Path) -> bool:
    """Whether a script loads all of a stretch before it asks."""
    try:
        list(stretches(path))
    except ScriptError:
        return False
    return True


async def test_scripts_give_the_same_through_remote_write_and_http(tmp_path: Path) -> None:
    paths = [path for path in SCRIPTS if _sendable(path)]
    assert len(paths) > len(SCRIPTS) // 2
    with Suite(tmp_path, env=FOREVER) as suite:
        async with aiohttp.ClientSession() as session:
            target = Suited(session, f"http://127.0.0.1:{suite.http_port}/api/v1/write", suite.url)
            await target.send(paths)
            failures = []
            for path in paths:
                target.about(path)
                failures += (await run(path, target)).failures
    assert sum(1 for path in paths for _ in parse(path.read_text())) > 100
    assert not failures, "\n".join(failures)
