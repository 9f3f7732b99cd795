"""Scripts for tests of PromQL through everything: remote write in, the log, the writer, ClickHouse, Prometheus' HTTP API out.

Ours, and other people's where a folder of them is there: what these give is what they give without storage.
"""

from __future__ import annotations

from pathlib import Path

import aiohttp

from tests.golden.test_promql_scripts import FOREIGN
from tests.support.databases import Template
from tests.support.promqltest import InMemory, run
from tests.support.promqltest_script import ScriptError, parse
from tests.support.remote_write import Suited, stretches
from tests.support.suite import Suite

FOREVER = {"TAEL_METRIC_RETENTION_DAYS": "36500"}
"""Scripts live in 1970."""
SCRIPTS = sorted((Path(__file__).parents[1] / "golden" / "promql").glob("*.test"))
OTHERS = [path for folder in FOREIGN for path in sorted(folder.glob("*.test"))]
TWICE = ('avg(data{test="inf3"})', 'avg(data{test="-inf3"})')
"""What these ask about was loaded twice in one request, with two values."""


def _sendable(path: Path) -> bool:
    """Whether a script loads all of a stretch before it asks."""
    try:
        list(stretches(path))
    except ScriptError:
        return False
    return True


async def test_scripts_give_the_same_through_remote_write_and_http(tmp_path: Path, template: Template) -> None:
    paths = [path for path in SCRIPTS + OTHERS if _sendable(path)]
    assert len(paths) > len(SCRIPTS + OTHERS) // 2
    with Suite(tmp_path, env=FOREVER, hot=template.directory) as suite:
        async with aiohttp.ClientSession() as session:
            target = Suited(session, f"http://127.0.0.1:{suite.http_port}/api/v1/write", suite.url)
            await target.send(paths)
            failures = []
            for path in paths:
                target.about(path)
                known = (await run(path, InMemory())).failures if path in OTHERS else []
                failures += [told for told in (await run(path, target)).failures if told not in known and not any(q in told for q in TWICE)]
    assert sum(1 for path in paths for _ in parse(path.read_text())) > 100
    assert not failures, "\n".join(failures)
