"""Grafana as it is provisioned, over the demo's traffic: every panel of its dashboards gets data, each link between its data sources leads
from live data to live data, and its streaming is answered where it looks for it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import grpc
import pytest
import yaml

from tael.pb import jaeger_query_v3_pb2 as v3
from tael.pb import tempo_query_pb2 as tempo
from tests.support.databases import Template
from tests.support.stubs import stubs
from tests.support.suite import Suite, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]
GRAFANA = Path(__file__).parents[2] / "deploy/grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))
# Grafana's provisioning takes $$ for a dollar sign.
SOURCES = {
    source["uid"]: source
    for source in yaml.safe_load((GRAFANA / "provisioning/datasources/tael.yaml").read_text().replace("$$", "$"))["datasources"]
}
SERVICE = "checkout"
VARIABLES = {"$__rate_interval": "5m", "$__range": "15m", "$__auto": "1m", "$search": ""}
# One trace is asked by its id; tael's own metrics are there only where something scrapes them (tests/unit/test_alerts_and_dashboards.py
# knows that they exist).
BY_HAND = {"tael-trace", "tael-tael"}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[Suite]:
    """A suite of two shards with the demo's traffic of every signal."""
    with Suite(tmp_path_factory.mktemp("grafana"), shards=2, hot=template.directory) as running:
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
    service = ".+" if '=~"$service"' in query else SERVICE
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


def ask(suite: Suite, uid: str, path: str, **parameters: Any) -> Any:
    """What Grafana gets of a data source."""
    prefix = re.sub(r"^http://[^/]+", "", SOURCES[uid]["url"])
    return suite.get(f"{prefix}{path}?{urlencode(parameters)}")


def window() -> dict[str, str]:
    now = time.time()
    return {"start": f"{now - 900:.0f}", "end": f"{now + 60:.0f}"}


def a_trace(suite: Suite) -> str:
    """The id of a trace of the service whose logs carry it: of a paid order, because the service logs nothing of one whose charge is
    declined.
    """

    def find() -> str | None:
        query = f'{{ resource.service.name = "{SERVICE}" && name = "send orders" }}'
        found = ask(suite, "tael-traces", "/api/search", q=query, limit=20, **window())["traces"]
        return next((trace["traceID"].rjust(32, "0") for trace in found), None)

    return until(find, "a trace", pause=0.5)


def filled(query: str, tags: Mapping[str, str], trace_id: str = "") -> str:
    """A link's query with what Grafana puts in: the span's tags under the names that the link gives them, and the trace's id."""
    shown = ", ".join(f'{name}="{value}"' for name, value in tags.items())
    query = query.replace("${__trace.traceId}", trace_id).replace("${__tags}", shown).replace("$__tags", shown)
    assert "$" not in query
    return query


def tags_of(link: Mapping[str, Any]) -> dict[str, str]:
    return {tag["value"]: {"service.name": SERVICE}[tag["key"]] for tag in link["tags"]}


@pytest.mark.parametrize("uid", ["tael-traces", "tael-jaeger"])
def test_from_a_trace_to_its_logs_and_back(suite: Suite, uid: str) -> None:
    link = SOURCES[uid]["jsonData"]["tracesToLogsV2"]
    trace_id = a_trace(suite)
    query = filled(link["query"], tags_of(link), trace_id)

    def lines() -> list[Any]:
        found: list[Any] = ask(suite, link["datasourceUid"], "/loki/api/v1/query_range", query=query, **window())["data"]["result"]
        return found

    streams = until(lines, f"logs by {query}", pause=0.5)
    derived = SOURCES[link["datasourceUid"]]["jsonData"]["derivedFields"][0]
    assert {stream["stream"][derived["matcherRegex"]] for stream in streams} == {trace_id}
    trace = ask(suite, derived["datasourceUid"], f"/api/v2/traces/{trace_id}")["trace"]
    assert trace["resourceSpans"]


def test_from_a_trace_to_metrics(suite: Suite) -> None:
    link = SOURCES["tael-traces"]["jsonData"]["tracesToMetrics"]
    for query in link["queries"]:
        text = filled(query["query"], tags_of(link))

        def series(text: str = text) -> list[Any]:
            found: list[Any] = ask(suite, link["datasourceUid"], "/api/v1/query_range", query=text, step=15, **window())["data"]["result"]
            return [one for one in found if any(float(value) > 0 for _, value in one["values"])]

        until(series, f"series by {text}", pause=1)


def test_from_metrics_to_a_trace(suite: Suite) -> None:
    """By the exemplars of a metric."""
    (link,) = SOURCES["tael-metrics"]["jsonData"]["exemplarTraceIdDestinations"]

    def exemplar() -> str | None:
        found = ask(suite, "tael-metrics", "/api/v1/query_exemplars", query='{__name__=~".+_bucket"}', **window())["data"]
        ids = [one["labels"][link["name"]] for series in found for one in series["exemplars"] if link["name"] in one["labels"]]
        return next(iter(ids), None)

    trace_id = until(exemplar, "an exemplar with a trace", pause=1)
    assert ask(suite, link["datasourceUid"], f"/api/v2/traces/{trace_id}")["trace"]["resourceSpans"]


def test_the_service_graph(suite: Suite) -> None:
    """What the Tempo data source asks of the metrics that ``serviceMap`` names."""
    uid = SOURCES["tael-traces"]["jsonData"]["serviceMap"]["datasourceUid"]

    def edges() -> set[tuple[str, str]]:
        query = "sum by (client, server) (rate(traces_service_graph_request_total[15m])) > 0"
        found = ask(suite, uid, "/api/v1/query", query=query, time=f"{time.time():.0f}")["data"]["result"]
        return {(one["metric"]["client"], one["metric"]["server"]) for one in found}

    assert any(SERVICE in edge for edge in until(edges, "edges", pause=1))


def test_grafana_streams_on_the_port_of_its_data_source(suite: Suite) -> None:
    """Its gRPC goes to the host and port of the URL; Jaeger's clients take the gRPC port."""
    query = f'{{ resource.service.name = "{SERVICE}" }} | select(span.http.route)'
    bounds: dict[str, Any] = {name: int(value) for name, value in window().items()}
    with grpc.insecure_channel(f"127.0.0.1:{suite.rest_port}") as channel:
        parts = list(stubs("tempo_query").StreamingQuerierStub(channel).Search(tempo.SearchRequest(Query=query, Limit=100, **bounds)))
    assert parts[-1].metrics.completedJobs == parts[-1].metrics.totalJobs == 2
    streamed = {trace.traceID for part in parts for trace in part.traces}
    assert streamed
    assert len(streamed) == sum(len(part.traces) for part in parts) <= 100
    with grpc.insecure_channel(f"127.0.0.1:{suite.grpc_api_port}") as channel:
        jaeger = stubs("jaeger_query_v3").QueryServiceStub(channel)
        assert SERVICE in jaeger.GetServices(v3.GetServicesRequest()).services
        trace_id = next(iter(streamed)).rjust(32, "0")
        (chunk,) = jaeger.GetTrace(v3.GetTraceRequest(trace_id=trace_id))
    assert chunk.resource_spans
