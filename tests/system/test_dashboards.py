"""Every panel of Grafana's dashboards asks something that the suite answers with data."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.databases import Template
from tests.support.suite import Suite, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
DASHBOARDS = sorted((Path(__file__).parents[2] / "deploy/grafana/dashboards").glob("*.json"))
VARIABLES = {"$__rate_interval": "5m", "$__range": "15m", "$__auto": "1m", "$search": ""}
# One trace is asked by its id; tael's own metrics are there only where something scrapes them (tests/unit/test_alerts_and_dashboards.py
# knows that they exist).
BY_HAND = {"tael-trace", "tael-tael"}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[Suite]:
    """A suite with the demo's traffic of every signal."""
    with Suite(tmp_path_factory.mktemp("dashboards"), hot=template.directory) as running:
        command = [sys.executable, "-m", "examples.demo", "--rate", "20", "--duration", "20"]
        subprocess.run([*command, "--otlp", f"http://127.0.0.1:{running.grpc_port}", "--server", running.url], check=True, timeout=240)
        yield running


def targets() -> list[Any]:
    """A case for each panel that asks something: the dashboard's uid, the panel's title, its targets."""
    cases = []
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        if board["uid"] not in BY_HAND:
            cases += [pytest.param(p["targets"], id=f"{board['uid']}: {p['title']}") for p in board["panels"] if p.get("targets")]
    return cases


def answer(suite: Suite, target: dict[str, Any]) -> list[Any]:
    """The series, streams or traces of one target over the last quarter of an hour."""
    end = time.time()
    kind, query = target["datasource"]["type"], target.get("expr") or target["query"]
    service = ".+" if '=~"$service"' in query else "checkout"
    for name, value in {**VARIABLES, "$service": service}.items():
        query = query.replace(name, value)
    window = {"start": f"{end - 900:.0f}", "end": f"{end:.0f}"}
    if kind == "prometheus":
        found = suite.get(f"/prometheus/api/v1/query_range?{urlencode({'query': query, 'step': '15', **window})}")["data"]["result"]
    elif kind == "loki":
        found = suite.get(f"/loki-api/loki/api/v1/query_range?{urlencode({'query': query, 'step': '15', **window})}")["data"]["result"]
    elif "|" in query:
        found = suite.get(f"/tempo/api/metrics/query_range?{urlencode({'q': query, 'step': '15s', **window})}")["series"]
    else:
        found = suite.get(f"/tempo/api/search?{urlencode({'q': query, 'limit': 20, **window})}")["traces"]
    return list(found)


@pytest.mark.parametrize("asked", targets())
def test_every_panel_gets_data(suite: Suite, asked: list[dict[str, Any]]) -> None:
    until(lambda: any(answer(suite, target) for target in asked), f"data for {asked}", pause=1)
