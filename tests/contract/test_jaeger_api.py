"""Jaeger's API as its UI and Grafana's data source call it, on spans in memory and on two shards of real hot nodes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tael.otlp.encode import encode_spans
from tests.support.query import Api, with_a_stalled_shard
from tests.support.traceql_cases import SPANS, START

MICROSECONDS = START // 1000
RANGE = {"start": MICROSECONDS - 60_000_000, "end": MICROSECONDS + 60_000_000}
CART, AGENT, LOST = ("0" * 30 + end for end in ("aa", "bb", "cc"))


async def data(api: Api, path: str, **parameters: Any) -> Any:
    body = await api.json(f"/jaeger{path}", **parameters)
    assert body.keys() == {"data", "total", "limit", "offset", "errors"}
    assert body["errors"] is None
    return body["data"]


async def found(api: Api, **parameters: Any) -> list[str]:
    return sorted(trace["traceID"] for trace in await data(api, "/api/traces", **{**RANGE, **parameters}))


async def test_services_and_operations(api: Api) -> None:
    """Names from what was received; a service without a name has Jaeger's word for it."""
    await api.store(*encode_spans(SPANS))
    assert await data(api, "/api/services") == ["agent", "db", "missing-service-name", "shop"]
    assert await data(api, "/api/services/shop/operations") == ["GET /cart", "auth", "render"]
    assert await data(api, "/api/services/nothing/operations") is None
    assert await data(api, "/api/operations", service="shop", spanKind="server") == [{"name": "GET /cart", "spanKind": "server"}]
    assert (await api.json("/jaeger/api/v3/services"))["services"] == ["agent", "db", "missing-service-name", "shop"]
    assert {"name": "auth", "spanKind": "client"} in (await api.json("/jaeger/api/v3/operations", service="shop"))["operations"]


async def test_a_trace(api: Api) -> None:
    """Spans, tags of each type, logs, references and processes."""
    await api.store(*encode_spans(SPANS))
    (trace,) = await data(api, f"/api/traces/{CART}")
    spans = {span["operationName"]: span for span in trace["spans"]}
    root, row = spans["GET /cart"], spans["read row"]
    assert (root["startTime"], root["duration"], root["references"]) == (MICROSECONDS, 100_000, [])
    tags = {tag["key"]: (tag["type"], tag["value"]) for tag in root["tags"]}
    assert tags["http.status_code"] == ("int64", 200)
    assert tags["tags"] == ("string", '["a","b"]')
    assert tags["span.kind"] == ("string", "server")
    assert tags["otel.scope.name"] == ("string", "lib")
    failed = {tag["key"]: (tag["type"], tag["value"]) for tag in row["tags"]}
    assert failed["raw"] == ("binary", "AP8=")
    assert (failed["error"], failed["otel.status_description"]) == (("bool", True), ("string", "deadlock"))
    assert [log["fields"][0]["value"] for log in row["logs"]] == ["exception", "retry"]
    assert row["references"] == [{"refType": "CHILD_OF", "traceID": CART, "spanID": spans["query db"]["spanID"]}]
    assert trace["processes"][row["processID"]] == {"serviceName": "db", "tags": []}
    (agent,) = await data(api, f"/api/traces/{AGENT}")
    linked = next(span for span in agent["spans"] if span["operationName"] == "tool two")
    assert [reference["refType"] for reference in linked["references"]] == ["CHILD_OF", "FOLLOWS_FROM"]
    groups = (await api.json(f"/jaeger/api/v3/traces/{CART}"))["result"]["resourceSpans"]
    assert {span["traceId"] for group in groups for scope in group["scopeSpans"] for span in scope["spans"]} == {CART}


async def test_search(api: Api) -> None:
    """One span of the trace has the service, the operation, the duration and the tags."""
    await api.store(*encode_spans(SPANS))
    assert await found(api, service="shop") == [CART]
    assert await found(api, service="missing-service-name") == [LOST]
    assert await found(api, service="db", operation="query db") == [CART]
    assert await found(api, service="db", operation="auth") == []
    assert await found(api, service="shop", tags='{"http.status_code":"200","level":"resource"}') == [CART]
    assert await found(api, service="shop", tags='{"tags":"[\\"a\\",\\"b\\"]"}') == [CART]
    assert await found(api, service="db", tags='{"exception.type":"Deadlock"}') == [CART]
    assert await found(api, service="db", tags='{"error":"true"}') == [CART]
    assert await found(api, service="db", tags='{"error":"perhaps"}') == []
    assert await found(api, service="db", tags='{"span.kind":"client","span.status":"error"}') == [CART]
    assert await found(api, service="db", tags='{"span.kind":"producer"}') == []
    # Words that Jaeger does not know stand for unset and for no kind.
    assert await found(api, service="db", tags='{"span.status":"bogus"}') == await found(api, service="db", tags='{"span.status":"unset"}')
    assert await found(api, service="db", tags='{"span.kind":"bogus"}') == [CART]
    assert await found(api, service="agent", tags='{"scope.name":"llm","cause":"tool one"}') == [AGENT]
    assert await found(api, service="shop", tags='{"resource.level":"resource","team":"core"}') == [CART]
    assert await found(api, service="shop", tags='{"resource.level":"span"}') == []
    assert await found(api, service="agent", minDuration="150ms") == [AGENT]
    assert await found(api, service="agent", maxDuration="10ms") == []
    assert await found(api, traceID=LOST) == [LOST]
    summaries = await api.json(
        "/jaeger/api/v3/trace-summaries",
        ("query.service_name", "db"),
        ("query.start_time_min", "2026-01-01T00:00:00Z"),
        ("query.start_time_max", "2027-01-01T00:00:00Z"),
    )
    (summary,) = summaries["summaries"]
    assert (summary["traceId"], summary["rootServiceName"], summary["spanCount"], summary["errorSpanCount"]) == (CART, "shop", 5, 2)


async def test_search_by_very_many_tags(api: Api) -> None:
    """A store tests the first of them alone, and the others are tested of what it finds."""
    tags = {f"key.{number}": "yes" for number in range(60)}
    await api.store(*encode_spans([replace(SPANS[0], attributes=dict(tags))]))
    assert await found(api, service="shop", tags=json.dumps(tags)) == [CART]
    assert await found(api, service="shop", tags=json.dumps({**tags, "key.59": "no"})) == []


async def test_dependencies(api: Api) -> None:
    """Who calls whom, a service's own spans included."""
    await api.store(*encode_spans(SPANS))
    links = await data(api, "/api/dependencies", endTs=START // 10**6 + 60_000, lookback=120_000)
    assert {(link["parent"], link["child"]): link["callCount"] for link in links} == {
        ("agent", "agent"): 2,
        ("db", "db"): 1,
        ("missing-service-name", "missing-service-name"): 1,
        ("shop", "db"): 1,
        ("shop", "shop"): 2,
    }


async def test_refusals(api: Api) -> None:
    """Errors in the shape of the version that was asked, as text, and an unknown trace is 404."""
    cases: tuple[tuple[str, dict[str, str], int, str], ...] = (
        (f"/api/traces/{'f' * 32}", {}, 404, "trace not found"),
        ("/api/traces/xyz", {}, 400, "invalid length for TraceID"),
        ("/api/traces", {}, 400, "parameter 'service' is required"),
        ("/api/traces", {"service": "a", "tags": "{bad"}, 400, "malformed 'tags' parameter"),
        ("/api/traces", {"service": "a", "tag": "bad"}, 400, "malformed 'tag' parameter"),
        ("/api/traces", {"service": "a", "limit": "x"}, 400, "limit"),
        ("/api/traces", {"service": "a", "limit": "0"}, 500, "search depth"),
        ("/api/traces", {"service": "a", "minDuration": "2s", "maxDuration": "1s"}, 400, "'maxDuration' should be greater"),
        ("/api/operations", {}, 400, "parameter 'service' is required"),
        ("/api/dependencies", {"endTs": "x"}, 400, "unable to parse param 'endTs'"),
    )
    for path, parameters, status, said in cases:
        response = await api.get(f"/jaeger{path}", *parameters.items())
        assert (response.status, response.headers["Content-Type"].split(";")[0]) == (status, "text/plain"), path
        (error,) = response.json()["errors"]
        assert error["code"] == status
        assert said in error["msg"]
    response = await api.get("/jaeger/api/services", headers={"X-Scope-OrgID": "a|b"})
    assert response.json()["errors"][0]["msg"].startswith("X-Scope-OrgID: more than one tenant (accepted: ")
    odd = await api.get("/jaeger/api/traces", service="shop", tags=r'{"\ud800": "\ud800"}')
    assert (odd.status, odd.json()["data"]) == (200, [])
    response = await api.get("/jaeger/api/v3/traces")
    assert response.json() == {"error": {"httpCode": 400, "message": "query.startTimeMin and query.startTimeMax are required"}}
    assert (await api.get("/jaeger/api/nothing")).status == 404


@pytest.mark.parametrize("version", ["", "v3/"])
async def test_a_trace_is_not_called_missing_while_a_shard_does_not_answer(version: str) -> None:
    """503, and which shard did not answer; what another shard has is shown."""
    async with with_a_stalled_shard([span for span in SPANS if span.trace_id.hex() == CART]) as api:
        lost = await api.get(f"/jaeger/api/{version}traces/{'f' * 32}")
        assert (lost.status, lost.headers["Retry-After"]) == (503, "1")
        assert b"shard-1" in lost.body
        assert (await api.get(f"/jaeger/api/{version}traces/{CART}")).status == 200
