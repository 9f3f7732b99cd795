"""Loki's API: the shape of each endpoint's answer, and the status and words of each refusal, as Grafana's data source meets them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.query.api.loki.explore import VERSION
from tael.model.tenant import TENANT_HEADER
from tael.otlp.decode import decode_logs
from tael.storage.api import LogReader, Shard
from tael.storage.gather import Shards
from tael.storage.merged import MergedLogs
from tests.support.doubles import MemorySpans
from tests.support.logs import MemoryLogs
from tests.support.query import Api, Response, serving
from tests.support.storage import RECEIVED_NS, START_NS, logs_of, wire_log

SECOND = 1_000_000_000
RANGE = {"start": START_NS, "end": START_NS + 100 * SECOND}
LOKI = "/loki/api/v1"
GROUPS = [
    logs_of(
        "shop",
        wire_log(
            1 * SECOND,
            '{"status": 200, "took": "12ms", "user": {"id": 7}}',
            severity_number=9,
            severity_text="INFO",
            attributes={"http.status": 200},
        ),
        wire_log(
            2 * SECOND, '{"status": 500, "took": "1s", "user": {"id": 8}}', severity_number=17, severity_text="ERROR", trace_id=b"t" * 16
        ),
        wire_log(3 * SECOND, '{"broken', severity_number=9),
        **{"service.namespace": "eu", "host.name": "a"},
    ),
    logs_of("job", wire_log(4 * SECOND, "level=warn rows=5"), wire_log(5 * SECOND, {"k": "v", "n": 1})),
]


class Stalled:
    """A shard that never answers."""

    async def find_logs(self, *_: Any) -> Any:
        raise TimeoutError

    async def read_lines(self, *_: Any) -> Any:
        raise TimeoutError

    async def read_values(self, *_: Any) -> Any:
        raise TimeoutError

    async def count_logs(self, *_: Any) -> Any:
        raise TimeoutError

    async def list_streams(self, *_: Any) -> Any:
        raise TimeoutError


@pytest.fixture
async def loki() -> AsyncIterator[Api]:
    async with serving(MemorySpans(), logs=MemoryLogs(list(decode_logs(GROUPS, RECEIVED_NS)))) as running:
        yield running


EVERYTHING = (
    "parse error : queries require at least one regexp or equality matcher that does not have an empty-compatible value. "
    'For instance, app=~".*" does not meet this requirement, but app=~".+" will'
)


async def data(api: Api, path: str, **parameters: Any) -> Any:
    body = await api.json(f"{LOKI}/{path}", **(RANGE | parameters))
    assert body["status"] == "success"
    return body["data"]


async def test_the_health_check_of_the_data_source(loki: Api) -> None:
    """Grafana asks `vector(1)+vector(1)` at four seconds and wants one sample of 2."""
    body = await loki.json(f"{LOKI}/query", query="vector(1)+vector(1)", time=4_000_000_000, step="1s", direction="backward")
    assert body["data"].pop("stats")["summary"]["totalEntriesReturned"] == 1
    assert body == {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [4_000_000_000.0, "2"]}]}}


@pytest.mark.parametrize("prefix", ["", "/loki-api"])
async def test_routes_answer_under_both_prefixes(loki: Api, prefix: str) -> None:
    body = await loki.json(f"{prefix}{LOKI}/query_range", query='{service_name="job"}', **RANGE)
    assert body["data"]["resultType"] == "streams"
    assert (await loki.get(f"{prefix}/ready")).body == b"ready\n"


async def test_lines_have_their_labels_folded_in(loki: Api) -> None:
    found = await data(loki, "query_range", query='{service_name="shop"} | json | status = 500')
    assert found["resultType"] == "streams"
    assert found["result"] == [
        {
            "stream": {
                "service_name": "shop",
                "service_namespace": "eu",
                "host_name": "a",
                "severity_number": "17",
                "severity_text": "ERROR",
                "trace_id": "74" * 16,
                "detected_level": "error",
                "status": "500",
                "took": "1s",
                "user_id": "8",
            },
            "values": [[str(START_NS + 2 * SECOND), '{"status": 500, "took": "1s", "user": {"id": 8}}']],
        }
    ]


async def test_categorized_labels_come_apart(loki: Api) -> None:
    """With the encoding flag a stream has its own labels alone, and each value says of the others where they are from."""
    headers = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
    response = await loki.get(
        f"{LOKI}/query_range", query='{service_name="shop"} |= "500" | json status | status = 500', headers=headers, **RANGE
    )
    found = response.json()["data"]
    assert found["encodingFlags"] == ["categorize-labels"]
    [stream] = found["result"]
    assert stream["stream"] == {"service_name": "shop", "service_namespace": "eu"}
    [[_, _, extra]] = stream["values"]
    assert extra["parsed"] == {"status": "500"}
    assert extra["structuredMetadata"]["trace_id"] == "74" * 16
    response = await loki.get(f"{LOKI}/query_range", query='{service_name="job"} | drop level, detected_level', headers=headers, **RANGE)
    assert [value[2] for stream in response.json()["data"]["result"] for value in stream["values"]] == [{}, {}]


async def test_direction_limit_interval_and_the_ends_of_a_range(loki: Api) -> None:
    """The start is held, the end is not; lines are at least an interval apart."""

    async def times(**parameters: Any) -> list[int]:
        found = await data(loki, "query_range", query='{service_name=~".+"}', **parameters)
        values = [value for stream in found["result"] for value in stream["values"]]
        return sorted((int(value[0]) - START_NS) // SECOND for value in values)

    assert await times() == [1, 2, 3, 4, 5]
    assert await times(limit=2) == [4, 5]
    assert await times(limit=2, direction="forward") == [1, 2]
    assert await times(start=START_NS + 2 * SECOND, end=START_NS + 4 * SECOND) == [2, 3]
    assert await times(interval="2s", direction="forward") == [1, 3, 5]


async def test_a_form_is_read_like_the_url(loki: Api) -> None:
    fields = {"query": '{service_name="job"} |= "rows"', "start": str(START_NS), "end": str(START_NS + 100 * SECOND)}
    async with loki.session.post(f"{loki.url}{LOKI}/query_range", data=fields) as response:
        body = await response.json(content_type=None)
    assert len(body["data"]["result"]) == 1


async def test_metrics_over_steps(loki: Api) -> None:
    """Steps are multiples of the step since the epoch; a window holds its end and not its start."""
    start = START_NS // (10 * SECOND) * 10 * SECOND
    query = 'sum by (service_name) (count_over_time({service_name=~".+"}[10s]))'
    found = await data(loki, "query_range", query=query, start=start, end=start + 20 * SECOND, step="10s")
    assert found["resultType"] == "matrix"
    assert {one["metric"]["service_name"]: sum(int(value) for _, value in one["values"]) for one in found["result"]} == {
        "shop": 3,
        "job": 2,
    }
    assert all(time % 10 == 0 for one in found["result"] for time, _ in one["values"])


@pytest.mark.parametrize(
    ("path", "parameters", "status", "text"),
    [
        ("query_range", {"query": "{"}, 400, "parse error at line 1, col 2: syntax error: unexpected $end, expecting IDENTIFIER"),
        ("query_range", {"query": ""}, 400, "parse error : syntax error: unexpected $end"),
        (
            "query",
            {"query": '{a="b"}'},
            400,
            "log queries are not supported as an instant query type, please change your query to a range query type",
        ),
        ("query_range", {"query": 'approx_topk(2, rate({a="b"}[1m]))'}, 400, "approx_topk is only supported on instant queries"),
        ("query", {"query": "vector(1)", "limit": "0"}, 400, "limit must be a positive value"),
        ("query_range", {"query": '{a="b"}', "limit": "abc"}, 400, 'strconv.Atoi: parsing "abc": invalid syntax'),
        (
            "query_range",
            {"query": '{a="b"}', "limit": "10000"},
            400,
            "max entries limit per query exceeded, limit > max_entries_limit_per_query (10000 > 5000)",
        ),
        ("query_range", {"query": '{a="b"}', "limit": "9" * 5_000}, 400, f'strconv.Atoi: parsing "{"9" * 5_000}": value out of range'),
        ("query", {"query": "vector(1)", "time": "9" * 5_000}, 400, f'strconv.ParseInt: parsing "{"9" * 5_000}": value out of range'),
        ("query_range", {"query": '{a="b"}', "direction": "up"}, 400, "invalid direction 'up'"),
        (
            "query_range",
            {"query": '{a="b"}', "start": "x"},
            400,
            "could not parse 'start' parameter: strconv.ParseInt: parsing \"x\": invalid syntax",
        ),
        ("query_range", {"query": '{a="b"}', "step": "x"}, 400, 'cannot parse "x" to a valid duration'),
        (
            "query_range",
            {"query": '{a="b"}', "step": "-1"},
            400,
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ),
        ("query_range", {"query": '{a="b"}', "interval": "-1"}, 400, "interval must be >= 0"),
        ("query_range", {"query": '{a="b"}', "end": str(START_NS - 1)}, 400, "end timestamp must not be before or equal to start time"),
        ("query", {"query": "vector(1)", "time": "abc"}, 400, 'strconv.ParseInt: parsing "abc": invalid syntax'),
        ("series", {"match[]": "{a"}, 400, "parse error at line 1, col 3: syntax error: unexpected $end, expecting = or != or =~ or !~"),
        ("series", {"match[]": ""}, 400, "parse error : syntax error: unexpected $end"),
        ("series", {"match[]": '{a!="b"}'}, 400, EVERYTHING),
        ("labels", {"query": "{}"}, 400, EVERYTHING),
        ("label/a/values", {"query": '{a=~".*"}'}, 400, EVERYTHING),
        ("index/stats", {"query": "{}"}, 400, EVERYTHING),
        ("index/volume", {"query": '{a=~".*"}'}, 400, EVERYTHING),
        ("detected_labels", {"query": "{}"}, 400, EVERYTHING),
        ("patterns", {"query": '{a="b"} | json'}, 400, "parse error : only label matchers are supported"),
        ("detected_fields", {"query": '{a="b"}', "step": "x"}, 400, 'cannot parse "x" to a valid duration'),
        ("query", {"query": "sum(1)"}, 400, "parse error : sum() is of series, not of a number: vector(1) is a series"),
        ("index/volume", {}, 400, "parse error : syntax error: unexpected $end"),
        ("detected_fields", {"query": "vector(1)"}, 400, "parse error : only log selector is supported"),
        ("tail", {"query": "{"}, 400, "parse error at line 1, col 2: syntax error: unexpected $end, expecting IDENTIFIER"),
        ("tail", {"query": '{a="b"}', "delay_for": "6"}, 400, "delay_for can't be greater than 5"),
        ("tail", {"query": '{a="b"}'}, 400, "Bad Request: the tail is a WebSocket"),
        ("rules", {}, 404, "tael has no ruler"),
        ("drilldown-limits", {}, 401, "no org id"),
        ("nope", {}, 404, f"path not found: {LOKI}/nope"),
    ],
)
async def test_refusals(loki: Api, path: str, parameters: dict[str, str], status: int, text: str) -> None:
    """In plain text, in Loki's words."""
    response = await loki.get(f"{LOKI}/{path}", *((name, str(value)) for name, value in (RANGE | parameters).items()))
    assert (response.status, response.body.decode()) == (status, text)
    assert response.headers["Content-Type"].startswith("text/plain")


async def test_series_that_do_not_pair_off_are_an_error_of_500(loki: Api) -> None:
    count = 'sum by (service_name) (count_over_time({service_name=~".+"}[100s]))'
    response = await loki.get(f"{LOKI}/query", query=f"{count} + on () {count}", time=START_NS + 100 * SECOND)
    assert response.status == 500
    assert b"many-to-many" in response.body


async def test_a_line_that_fails_fails_a_metric_query(loki: Api) -> None:
    query = 'sum by (status) (count_over_time({service_name="shop"} | json %s [100s]))'
    response = await loki.get(f"{LOKI}/query", query=query % "", time=START_NS + 100 * SECOND)
    assert response.status == 400
    assert response.body.startswith(b"pipeline error: 'JSONParserErr' for series: ")
    found = await loki.json(f"{LOKI}/query", query=query % '| __error__=""', time=START_NS + 100 * SECOND)
    assert [one["metric"] for one in found["data"]["result"]] == [{"status": "500"}, {"status": "200"}]


async def test_replaced_labels_may_be_the_same(loki: Api) -> None:
    """Loki tells such series of an instant apart; over a range they cannot be."""
    query = 'label_replace(sum by (service_name) (count_over_time({service_name=~".+"}[100s])), "service_name", "x", "service_name", ".*")'
    found = await loki.json(f"{LOKI}/query", query=query, time=RANGE["end"])
    assert [(one["metric"], one["value"][1]) for one in found["data"]["result"]] == [
        ({"service_name": "x"}, "3"),
        ({"service_name": "x"}, "2"),
    ]
    assert (await loki.get(f"{LOKI}/query_range", headers=None, query=query, **RANGE)).status == 400


async def test_detected_fields(loki: Api) -> None:
    body = await loki.json(f"{LOKI}/detected_fields", query='{service_name="shop"}', **RANGE)
    assert body["limit"] == 1000
    fields = {field["label"]: field for field in body["fields"]}
    assert fields["http_status"] == {"label": "http_status", "type": "int", "cardinality": 1, "parsers": None}
    assert fields["took"] == {"label": "took", "type": "duration", "cardinality": 2, "parsers": ["json"], "jsonPath": ["took"]}
    assert fields["user_id"]["jsonPath"] == ["user", "id"]
    assert len((await loki.json(f"{LOKI}/detected_fields", query='{service_name="shop"}', limit=2, **RANGE))["fields"]) == 2
    values = await loki.json(f"{LOKI}/detected_field/status/values", query='{service_name="shop"}', **RANGE)
    assert values == {"values": ["200", "500"], "limit": 1000}
    rows = await loki.json(f"{LOKI}/detected_field/rows/values", query='{service_name="job"}', **RANGE)
    assert rows["values"] == ["5"]


async def test_patterns(loki: Api) -> None:
    found = await data(loki, "patterns", query='{service_name="job"}', step="60s")
    assert {one["pattern"] for one in found} == {"level=warn <_>", "<_>"}
    assert all(len(sample) == 2 for one in found for sample in one["samples"])


async def test_formatting(loki: Api) -> None:
    assert (
        await data(loki, "format_query", query='sum   by(a)(rate({b="c"}|="x"|json[5m]))') == 'sum by (a)(rate({b="c"} |= "x" | json[5m]))'
    )
    long = 'sum by (a) (rate({b="c"} |= "a rather long text to look for" | json | status >= 500 | line_format "{{.a}} {{.b}} {{.c}}" [5m]))'
    assert (await data(loki, "format_query", query=long)).splitlines() == [
        "sum by (a)(",
        "  rate(",
        '    {b="c"}',
        '      |= "a rather long text to look for"',
        "      | json",
        "      | status>=500",
        '      | line_format "{{.a}} {{.b}} {{.c}}" [5m]',
        "  )",
        ")",
    ]
    matched = 'sum by (a, b) (rate({b="c"} |= "a rather long text"[5m])) * on (a, b) group_left (c) sum by (a, b, c) (rate({b="d"}[5m]))'
    assert "* on (a, b) group_left (c)" in (await data(loki, "format_query", query=matched)).splitlines()
    response = await loki.get(f"{LOKI}/format_query", query='{a="b"')
    assert (response.status, response.json()["status"]) == (400, "invalid-query")


async def test_status_endpoints(loki: Api) -> None:
    assert (await loki.json(f"{LOKI}/status/buildinfo"))["version"] == VERSION
    response: Response = await loki.get(f"{LOKI}/drilldown-limits", headers={TENANT_HEADER: "default"})
    limits = response.json()["limits"]
    assert limits["volume_enabled"] is True
    assert (limits["query_timeout"], limits["retention_period"]) == ("30s", f"{365 * 86_400}s")
    assert (await loki.get("/loki/api/v2alpha/tail")).status == 404
    for path, name in (("rules", "groups"), ("alerts", "alerts")):
        assert await loki.json(f"/loki-api/prometheus/api/v1/{path}") == {
            "status": "success",
            "data": {name: []},
            "errorType": "",
            "error": "",
        }
        assert await loki.json(f"/prometheus/api/v1/{path}") == {"status": "success", "data": {name: []}}


async def test_a_shard_that_is_missing_is_named() -> None:
    shards: list[Shard[LogReader]] = [Shard("shard-0", MemoryLogs(list(decode_logs(GROUPS, RECEIVED_NS)))), Shard("shard-1", Stalled())]
    async with serving(MemorySpans(), logs=MergedLogs(Shards(shards, deadline_seconds=0.5))) as api:
        for path, query in (("query_range", '{service_name="job"}'), ("query_range", 'rate({service_name="job"}[1m])'), ("labels", "")):
            body = await api.json(f"{LOKI}/{path}", query=query, **RANGE)
            assert body["warnings"] == ["shard-1 did not answer: its lines are missing from this result"]
            assert body["data"]
        for path in ("index/stats", "detected_labels", "detected_fields", "detected_field/level/values"):
            body = await api.json(f"{LOKI}/{path}", query='{service_name="job"}', **RANGE)
            assert body.pop("warnings") == ["shard-1 did not answer: its lines are missing from this result"]
            assert body


@pytest.mark.parametrize("stage", ["", " | logfmt"])
async def test_a_metric_query_of_too_many_values_is_refused(stage: str) -> None:
    """Whether shards count its lines or these are read."""
    query: dict[str, Any] = {"query": f'sum by (service_name) (count_over_time({{service_name=~".+"}}{stage}[1s]))', **RANGE}
    records = list(decode_logs(GROUPS, RECEIVED_NS))
    async with serving(MemorySpans(), logs=MemoryLogs(records), TAEL_LOGQL_MAX_SAMPLES="1000") as api:
        kept = await api.get(f"{LOKI}/query_range", **query, step="1")
        refused = await api.get(f"{LOKI}/query_range", **query, step="0.1")
    assert (kept.status, refused.status) == (200, 400)
    assert refused.body == b"the query makes more than 1000 values (series by steps); ask for fewer series or longer steps"
