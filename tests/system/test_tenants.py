"""Two tenants that send the same ids and names through the whole suite: neither ever sees the other, whichever API is asked."""

from __future__ import annotations

import hashlib
import json
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import cramjam
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from services.query.api.prometheus.status import STATUS
from tael.pb.remote_read_pb2 import LabelMatcher, Query, ReadRequest, ReadResponse
from tests.support.databases import Template
from tests.support.doubles import MemorySpans
from tests.support.query import serving
from tests.support.suite import Suite, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(360)]
TRACE_ID, SPAN_ID = hashlib.md5(b"tenants").digest(), b"\1" * 8  # noqa: S324  # sixteen bytes that are always the same
TENANTS = ("red", "blue")
WATCHERS = ("pink", "gold")
"""Tenants that send while they watch."""
MINUTE_NS = 60 * 10**9
SESSION = "conversation"
"""How long ago spans were: what is counted from them stands at the end of a quarter of a minute."""


@dataclass
class Door:
    """The suite as one token's holder meets it."""

    suite: Suite
    token: str

    def open(self, url: str, body: bytes | None = None) -> tuple[int, bytes]:
        """The answer to a GET, or to a POST of protobuf."""
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Content-Type": "application/x-protobuf"} if body is not None else {})
        request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310  # a loopback http URL
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # the same
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def get(self, path: str, **parameters: str) -> tuple[int, str]:
        """Status and text of a read."""
        query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
        status, body = self.open(f"{self.suite.url}{path}{query}")
        return status, body.decode()

    def json(self, path: str, **parameters: str) -> Any:
        """What a read answers."""
        status, text = self.get(path, **parameters)
        assert status == 200, text
        return json.loads(text)

    def send(self, signal: str, body: bytes) -> int:
        """Status of an OTLP request."""
        return self.open(f"http://127.0.0.1:{self.suite.http_port}/v1/{signal}", body)[0]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory, template: Template) -> Iterator[Suite]:
    """A suite with two shards that knows tokens; both tenants have sent the same, but for a word that names them."""
    directory = tmp_path_factory.mktemp("tenants")
    tokens = directory / "tokens"
    tokens.write_text("".join(f"{name}-token-0123456789 {name} ingest,query\n" for name in (*TENANTS, *WATCHERS, "green")))
    with Suite(
        directory / "suite", shards=2, env={"TAEL_TOKENS_FILE": str(tokens), "TAEL_LOG_FORMAT": "json"}, hot=template.directory
    ) as running:
        for tenant in TENANTS:
            send_all(door(running, tenant), tenant)
        for tenant in TENANTS:
            until(partial(everything_arrived, door(running, tenant)), f"the telemetry of {tenant}")
        yield running


def door(suite: Suite, tenant: str) -> Door:
    return Door(suite, f"{tenant}-token-0123456789")


def resource_of(tenant: str) -> Resource:
    resource = Resource()
    for key, value in (("service.name", "shop"), ("owner", f"only-{tenant}"), ("deployment.environment", f"only-{tenant}")):
        resource.attributes.add(key=key).value.string_value = value
    return resource


def send_all(there: Door, tenant: str) -> None:
    now = time.time_ns()
    traces = ExportTraceServiceRequest()
    group = traces.resource_spans.add(resource=resource_of(tenant))
    span = group.scope_spans.add().spans.add(
        trace_id=TRACE_ID, span_id=SPAN_ID, name=f"only-{tenant}", start_time_unix_nano=now - MINUTE_NS, end_time_unix_nano=now - MINUTE_NS
    )
    said = json.dumps([{"role": "user", "parts": [{"type": "text", "content": f"hello from only-{tenant}"}]}])
    model = {"gen_ai.operation.name": "chat", "gen_ai.request.model": f"only-{tenant}"}
    call = {**model, "session.id": SESSION, "gen_ai.input.messages": said}
    for key, value in call.items():
        span.attributes.add(key=key).value.string_value = value
    span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 5
    logs = ExportLogsServiceRequest()
    record = (
        logs.resource_logs.add(resource=resource_of(tenant))
        .scope_logs.add()
        .log_records.add(time_unix_nano=now, trace_id=TRACE_ID, span_id=SPAN_ID)
    )
    record.body.string_value = f"hello from only-{tenant}"
    metrics = ExportMetricsServiceRequest()
    metric = (
        metrics.resource_metrics.add(resource=resource_of(tenant))
        .scope_metrics.add()
        .metrics.add(name="stock", description=f"only-{tenant}")
    )
    point = metric.gauge.data_points.add(time_unix_nano=now, as_double=1.0 if tenant == "red" else 2.0)
    point.attributes.add(key="owner").value.string_value = f"only-{tenant}"
    exemplar = point.exemplars.add(time_unix_nano=now, as_double=1, trace_id=TRACE_ID, span_id=SPAN_ID)
    exemplar.filtered_attributes.add(key="owner").value.string_value = f"only-{tenant}"
    sent = {"traces": traces, "logs": logs, "metrics": metrics}
    assert {signal: there.send(signal, body.SerializeToString()) for signal, body in sent.items()} == dict.fromkeys(sent, 200)


def everything_arrived(there: Door) -> bool:
    logs, spans = there.json("/api/v1/logs", last="1h")["logs"], there.json("/api/v1/traces", last="1h")["spans"]
    return bool(logs and spans and there.json("/prometheus/api/v1/query", query="stock")["data"]["result"])


HOUR = {"last": "1h"}
SPAN = {"start": str(time.time() - 600), "end": str(time.time() + 7_200)}
"""Wide enough for a test that runs long after it is collected."""
SECONDS = {"start": str(int(time.time() - 600)), "end": str(int(time.time() + 7_200))}
MICROSECONDS = {name: f"{value}000000" for name, value in SECONDS.items()}
TIMES = {"query.start_time_min": "2026-01-01T00:00:00Z", "query.start_time_max": "2036-01-01T00:00:00Z"}
SHOP = '{service_name="shop"}'
READS: list[tuple[str, dict[str, str]]] = [
    ("/api/v1/traces", HOUR),
    ("/api/v1/traces", {**HOUR, "service": "shop"}),
    (f"/api/v1/traces/{TRACE_ID.hex()}", {}),
    ("/api/v1/logs", HOUR),
    ("/api/v1/logs", {**HOUR, "trace_id": TRACE_ID.hex()}),
    (f"/tempo/api/traces/{TRACE_ID.hex()}", {}),
    (f"/tempo/api/v2/traces/{TRACE_ID.hex()}", {}),
    ("/prometheus/api/v1/query", {"query": "stock"}),
    ("/prometheus/api/v1/query", {"query": "last_over_time(stock[10m])"}),
    ("/prometheus/api/v1/series", {"match[]": "stock"}),
    ("/prometheus/api/v1/label/owner/values", {}),
    ("/prometheus/api/v1/metadata", {"metric": "stock"}),
    ("/prometheus/api/v1/metadata", {}),
    ("/prometheus/api/v1/query_range", {**SPAN, "query": "stock", "step": "30"}),
    ("/prometheus/api/v1/query_exemplars", {**SPAN, "query": "stock"}),
    ("/prometheus/api/v1/query", {"query": "traces_spanmetrics_calls_total"}),
    ("/prometheus/api/v1/query_range", {**SPAN, "query": "sum by (span_name) (traces_spanmetrics_latency_count)", "step": "30"}),
    ("/prometheus/api/v1/label/span_name/values", {"match[]": "traces_spanmetrics_calls_total"}),
    ("/tempo/api/search", {**SECONDS, "q": '{ resource.service.name = "shop" }'}),
    ("/tempo/api/search/tag/owner/values", SECONDS),
    ("/tempo/api/v2/search/tag/resource.owner/values", SECONDS),
    ("/tempo/api/metrics/query_range", {**SECONDS, "q": "{} | count_over_time() by (resource.owner)", "step": "60s"}),
    ("/tempo/api/metrics/query", {**SECONDS, "q": "{} | count_over_time() by (resource.owner)"}),
    ("/jaeger/api/services/shop/operations", {}),
    ("/jaeger/api/operations", {"service": "shop"}),
    ("/jaeger/api/traces", {"service": "shop", **MICROSECONDS}),
    (f"/jaeger/api/traces/{TRACE_ID.hex()}", {}),
    ("/jaeger/api/v3/operations", {"service": "shop"}),
    ("/jaeger/api/v3/traces", {"query.service_name": "shop", **TIMES}),
    ("/jaeger/api/v3/trace-summaries", {"query.service_name": "shop", **TIMES}),
    (f"/jaeger/api/v3/traces/{TRACE_ID.hex()}", {}),
    ("/loki-api/loki/api/v1/query_range", {**SPAN, "query": SHOP}),
    ("/loki-api/loki/api/v1/query_range", {**SPAN, "query": f"sum by (owner) (count_over_time({SHOP}[5m]))", "step": "60"}),
    ("/loki-api/loki/api/v1/query", {"query": f"sum by (owner) (count_over_time({SHOP}[1h]))"}),
    ("/loki-api/loki/api/v1/series", {**SPAN, "match[]": SHOP}),
    ("/loki-api/loki/api/v1/label/deployment_environment/values", SPAN),
    ("/loki-api/loki/api/v1/index/volume", {**SPAN, "query": SHOP, "targetLabels": "deployment_environment"}),
    ("/loki-api/loki/api/v1/index/volume_range", {**SPAN, "query": SHOP, "targetLabels": "deployment_environment", "step": "600"}),
    ("/loki-api/loki/api/v1/detected_field/owner/values", {**SPAN, "query": SHOP}),
    ("/loki-api/loki/api/v1/patterns", {**SPAN, "query": SHOP}),
    ("/api/v1/metrics", {**HOUR, "name": "stock"}),
    ("/api/v1/metrics/query", {**HOUR, "query": "stock"}),
    ("/api/v1/metrics/names", {}),
    ("/api/v1/llm/calls", HOUR),
    ("/api/v1/llm/usage", {**HOUR, "by": "model"}),
    (f"/api/v1/llm/sessions/{SESSION}", HOUR),
]
ELSEWHERE = {
    "/api/v1/llm/sessions": "counts of sessions, which have one name for both: tests/contract/test_llm_api.py",
    "/api/v1/llm/tools": "tests/contract/test_llm_api.py",
    "/api/v1/blobs": "tests/contract/test_payloads_api.py",
    "/api/v1/blobs/{sha256}": "tests/contract/test_payloads_api.py",
    "/api/v1/deletions": "tests/contract/test_deletions.py",
    "/api/v1/deletions/{id}": "tests/contract/test_deletions.py",
    "/api/v1/retention": "tests/contract/test_retention_api.py",
    "/api/v1/services": "counted below",
    "/prometheus/api/v1/read": "read below",
    "/api/v1/traces/live": "watched below",
    "/api/v1/logs/live": "watched below",
    "/prometheus/api/v1/labels": "names, which are the same for both: test_label_names_are_separate_for_each_tenant",
    "/jaeger/api/services": "names, which are the same for both",
    "/jaeger/api/v3/services": "the same",
    "/jaeger/api/dependencies": "counts of calls, of which there are none",
    "/tempo/api/search/tags": "names, which are the same for both",
    "/tempo/api/v2/search/tags": "the same",
    "/loki-api/loki/api/v1/labels": "the same",
    "/loki-api/loki/api/v1/label": "the same",
    "/loki-api/loki/api/v1/detected_labels": "the same",
    "/loki-api/loki/api/v1/detected_fields": "the same",
    "/loki-api/loki/api/v1/index/stats": "counted below",
    "/loki-api/loki/api/v1/tail": "tests/contract/test_loki_tail.py",
    "/api/v1/admin/deadletters": "tests/contract/test_dead_letters.py",
    "/api/v1/admin/deadletters/{id}": "tests/contract/test_dead_letters.py",
    "/api/v1/admin/deadletters/{id}/replay": "tests/contract/test_dead_letters.py",
}
ABOUT_NOBODY = {
    *(f"/api/v1/admin/cold{rest}" for rest in ("", "/roll", "/rebuild")),
    *("/", "/api/v1", "/healthz", "/readyz", "/metrics", "/internal/cluster", "/internal/targets"),
    *(f"/tempo/{path}" for path in ("api/echo", "api/status/buildinfo", "status/version", "ready")),
    *(f"/loki-api/loki/api/v1/{path}" for path in ("format_query", "drilldown-limits", "rules", "status/buildinfo")),
    *(f"/loki-api/{path}" for path in ("api/prom/rules", "prometheus/api/v1/rules", "prometheus/api/v1/alerts", "ready")),
    *(f"/prometheus/-/{word}" for word in ("healthy", "ready")),
    *(f"/prometheus/api/v1/{path}" for path in (*STATUS, "rules", "format_query", "parse_query")),
}
"""Routes whose answers hold no telemetry."""


async def test_no_route_is_forgotten() -> None:
    """Whatever the query service answers is asked here as two tenants, or named with its reason."""
    async with serving(MemorySpans()) as api:
        routes = {path for path in api.paths if not any(f"{prefix}{path}" in api.paths for prefix in ("/prometheus", "/loki-api"))}
    patterns = {route: re.compile(re.sub(r"\{\w+\}", "[^/]+", route)) for route in routes}
    asked = {route for route, pattern in patterns.items() if any(pattern.fullmatch(path) for path, _ in READS)}
    assert routes - asked - ELSEWHERE.keys() - ABOUT_NOBODY == set()


@pytest.mark.parametrize(("path", "parameters"), READS)
@pytest.mark.parametrize("tenant", TENANTS)
def test_each_tenant_sees_only_its_own_data(suite: Suite, tenant: str, path: str, parameters: dict[str, str]) -> None:
    status, text = door(suite, tenant).get(path, **parameters)
    (other,) = set(TENANTS) - {tenant}
    assert status == 200
    assert f"only-{tenant}" in text
    assert f"only-{other}" not in text


@pytest.mark.parametrize(("path", "parameters"), READS)
def test_a_tenant_without_data_sees_nothing(suite: Suite, path: str, parameters: dict[str, str]) -> None:
    status, text = door(suite, "green").get(path, **parameters)
    assert status in (200, 404)
    assert "only-" not in text


def test_counts_are_separate_for_each_tenant(suite: Suite) -> None:
    for tenant, value in (("red", "1"), ("blue", "2")):
        there = door(suite, tenant)
        (service,) = there.json("/api/v1/services", last="1h")["services"]
        assert (service["name"], service["span_count"]) == ("shop", 1)
        assert there.json("/loki/api/v1/index/stats", query=SHOP, **SPAN)["entries"] == 1
        (result,) = there.json("/prometheus/api/v1/query", query="sum(stock)")["data"]["result"]
        assert result["value"][1] == value
        now = time.time()
        parameters = {"query": "stock", "start": f"{now - 3_600}", "end": f"{now}"}
        (series,) = there.json("/prometheus/api/v1/query_exemplars", **parameters)["data"]
        assert len(series["exemplars"]) == 1
    assert door(suite, "green").json("/api/v1/services", last="1h")["services"] == []


def test_label_names_are_separate_for_each_tenant(suite: Suite) -> None:
    assert "owner" in door(suite, "red").json("/prometheus/api/v1/labels")["data"]
    assert "owner" not in door(suite, "green").json("/prometheus/api/v1/labels")["data"]


@pytest.mark.parametrize("tenant", [*TENANTS, "green"])
def test_a_prometheus_that_reads_from_afar_gets_its_own(suite: Suite, tenant: str) -> None:
    now_ms = int(time.time() * 1000)
    matcher = LabelMatcher(type=LabelMatcher.RE, name="__name__", value="stock|traces_spanmetrics_calls_total")
    query = Query(start_timestamp_ms=now_ms - 600_000, end_timestamp_ms=now_ms, matchers=[matcher])
    body = bytes(cramjam.snappy.compress_raw(ReadRequest(queries=[query]).SerializeToString()))
    status, answer = door(suite, tenant).open(f"{suite.url}/prometheus/api/v1/read", body)
    assert status == 200
    (result,) = ReadResponse.FromString(bytes(cramjam.snappy.decompress_raw(answer))).results
    owners = {other for other in (*TENANTS, "green") if any(f"only-{other}".encode() in series for series in result.timeseries)}
    assert owners == {tenant} - {"green"}
    assert len(result.timeseries) == (0 if tenant == "green" else 2)


@pytest.mark.parametrize("signal", ["traces", "logs"])
def test_a_live_stream_has_only_its_tenants_data(suite: Suite, signal: str) -> None:
    """Of two that send, the other first; their data are of one trace and so come over one subject."""
    pink, gold = (door(suite, tenant) for tenant in WATCHERS)
    request = urllib.request.Request(  # noqa: S310  # a loopback http URL
        f"{suite.url}/api/v1/{signal}/live", headers={"Authorization": f"Bearer {pink.token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as stream:  # noqa: S310  # the same
        send_all(gold, "gold")
        send_all(pink, "pink")
        seen = next(line for line in stream if line.startswith(b"data: "))
    assert b"only-pink" in seen
    assert b"only-gold" not in seen


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/api/v1/logs", '"error":'),
        ("/tempo/api/echo", "token"),
        ("/prometheus/api/v1/query?query=1", '"status":"error"'),
        ("/api/v1/labels", '"status":"error"'),
    ],
)
def test_unauthenticated_requests_are_refused_in_the_form_of_the_api(suite: Suite, path: str, word: str) -> None:
    status, text = Door(suite, "nobody").get(path)
    assert status == 401
    assert word in text


def test_output_of_the_processes_is_json(suite: Suite) -> None:
    """Each line an object, but for the banner, which is on standard output."""
    until(lambda: "compactor is ready" in suite.log(), "the last step")
    suite.supervisor()  # the banner is there
    before, _, after = suite.log().partition("tael is ready\n")
    objects = [json.loads(line) for line in before.splitlines()]
    objects += [json.loads(line) for line in after.splitlines() if line.startswith("{")]
    assert {"serve", "hotnode", "coordinator", "ingest", "query"} <= {one["service"] for one in objects}
    assert all({"event", "level", "timestamp", "node"} <= one.keys() for one in objects)
    assert all(one["level"] != "debug" for one in objects)
