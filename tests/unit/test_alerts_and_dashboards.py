"""Alerts, data sources and dashboards that are shipped ask for what exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.support.chart import VALUES, of_kind, render
from tests.support.deploy import DEPLOY


def test_every_alert_asks_for_metrics_that_exist() -> None:
    text = (DEPLOY.parent / "docs" / "operations.md").read_text()
    (rule,) = of_kind(render(VALUES["everything on"]), "PrometheusRule")
    asked = {name for group in rule["spec"]["groups"] for each in group["rules"] for name in re.findall(r"tael_\w+", each["expr"])}
    assert asked
    assert not [name for name in asked if f"`{name}" not in text]


def test_every_alert_has_its_meaning_and_action_in_the_document_and_no_other_is_there() -> None:
    section = (DEPLOY.parent / "docs" / "operations.md").read_text().partition("### What each alert means")[2].partition("\n#")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if line.startswith("| `Tael")]
    (rule,) = of_kind(render(VALUES["everything on"]), "PrometheusRule")
    alerts = [each["alert"] for group in rule["spec"]["groups"] for each in group["rules"]]
    assert [row[0].strip("` |") for row in rows] == alerts
    assert all(len(row) == 3 and min(map(len, row)) > 10 for row in rows)


def test_grafana_gets_a_data_source_for_each_api_and_each_leads_to_the_others() -> None:
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/tael.yaml").read_text())["datasources"]
    assert {(source["type"], source["url"]) for source in sources} == {
        ("tempo", "http://query:7701/tempo"),
        ("prometheus", "http://query:7701/prometheus"),
        ("loki", "http://query:7701/loki-api"),
        ("jaeger", "http://query:7701/jaeger"),
    }
    uids = {source["uid"] for source in sources}
    assert sources[0]["jsonData"]["streamingEnabled"] == {"search": True, "metrics": True}
    named = re.findall(r'"datasourceUid": "([^"]+)"', json.dumps(sources))
    assert set(named) == uids - {"tael-jaeger"}


def test_dashboards_use_the_data_sources_that_are_provisioned() -> None:
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/tael.yaml").read_text())["datasources"]
    boards = [json.loads(path.read_text()) for path in (DEPLOY / "grafana/dashboards").glob("*.json")]
    used = [set(datasource_uids(board)) for board in boards]
    assert all(used)
    assert set().union(*used) == {source["uid"] for source in sources} - {"tael-jaeger"}
    assert {board["uid"] for board in boards} == {"tael-services", "tael-service", "tael-llm", "tael-logs", "tael-tael", "tael-trace"}
    for board in boards:
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_dashboard_of_tael_itself_asks_for_metrics_that_exist() -> None:
    text = (DEPLOY.parent / "docs" / "operations.md").read_text()
    board = json.loads((DEPLOY / "grafana/dashboards/tael.json").read_text())
    asked = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for p in board["panels"]
        for t in p["targets"]
        for name in re.findall(r"tael_\w+", t["expr"])
    }
    assert asked
    assert not [name for name in asked if f"`{name}" not in text]


def datasource_uids(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("datasource"), dict):
            yield value["datasource"]["uid"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from datasource_uids(item)
