"""Prometheus' HTTP API as Grafana and promtool call it, over series in memory and over two shards on hot nodes."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from typing import Any

import pytest

from services.query.api.prometheus import answers as prometheus_answers
from tael.errors import Unavailable
from tael.model.series import Grid, GridRequest, Labels, Samples, Selection
from tael.storage.api import Answer, Shard
from tael.storage.gather import Shards
from tael.storage.merged_series import MergedSeries
from tests.support.doubles import MemorySpans
from tests.support.prometheus_api import T0, Prom
from tests.support.query import serving
from tests.support.series import MemorySeries


async def test_grafanas_health_check(prom: Prom) -> None:
    response = await prom.post("/prometheus/api/v1/query", query="1+1", time="4")
    assert response.status == 200
    assert response.json() == {"status": "success", "data": {"resultType": "scalar", "result": [4, "2"]}}
    build = await prom.data("status/buildinfo")
    assert "features" not in build
    assert build["version"]
    assert await prom.data("query_exemplars", query="test", start=T0 * 1000, end=T0 * 1000 + 1) == []


async def test_an_instant_query_gives_a_vector(prom: Prom) -> None:
    data = await prom.data("query", query='up{instance="a"}', time=T0 + 30.5)
    metric = {"__name__": "up", "instance": "a", "job": "shop"}
    assert data == {"resultType": "vector", "result": [{"metric": metric, "value": [T0 + 30.5, "0"]}]}
    assert await prom.data("query", query="nothing", time=T0) == {"resultType": "vector", "result": []}
    assert await prom.data("query", query='"text"', time=T0) == {"resultType": "string", "result": [T0, "text"]}


async def test_a_range_query_gives_a_matrix_by_labels(prom: Prom) -> None:
    data = await prom.data("query_range", query="sum by (instance) (up)", start=T0, end=T0 + 60, step="30s")
    assert data["resultType"] == "matrix"
    assert data["result"] == [
        {"metric": {"instance": "a"}, "values": [[T0, "1"], [T0 + 30, "0"], [T0 + 60, "1"]]},
        {"metric": {"instance": "b"}, "values": [[T0, "1"], [T0 + 30, "1"], [T0 + 60, "1"]]},
    ]
    assert (await prom.data("query_range", query="2", start=T0, end=T0 + 1, step=1))["result"] == [
        {"metric": {}, "values": [[T0, "2"], [T0 + 1, "2"]]}
    ]


async def test_a_range_vector_is_an_instant_answer(prom: Prom) -> None:
    data = await prom.data("query", query='up{instance="a"}[30s]', time=T0 + 45)
    assert data["resultType"] == "matrix"
    assert data["result"][0]["values"] == [[T0 + 30, "0"], [T0 + 45, "1"]]


async def test_rates_are_the_same_on_every_reader(prom: Prom) -> None:
    data = await prom.data("query", query='rate({"requests_total", "http.method"="get"}[1m])', time=T0 + 60)
    [series] = data["result"]
    assert series["metric"] == {"http.method": "get", "job": "shop"}
    assert float(series["value"][1]) == pytest.approx(1.0)


async def test_native_histograms_have_their_own_shape(prom: Prom) -> None:
    [series] = (await prom.data("query", query="latency", time=T0))["result"]
    assert series["histogram"] == [
        T0,
        {"count": "4", "sum": "5", "buckets": [[0, "0.5", "1", "1"], [0, "1", "2", "2"], [0, "2", "4", "1"]]},
    ]
    [series] = (await prom.data("query_range", query="latency", start=T0, end=T0 + 1, step=1))["result"]
    assert [time for time, _ in series["histograms"]] == [T0, T0 + 1]


async def test_forms_and_query_strings_are_the_same(prom: Prom) -> None:
    asked: dict[str, Any] = {"query": "up", "start": str(T0), "end": str(T0 + 30), "step": "15"}
    posted = await prom.post("/api/v1/query_range", **asked)
    assert posted.json() == (await prom.api.get("/api/v1/query_range", **asked)).json()
    series = await prom.post("/prometheus/api/v1/series", **{"match[]": "up"})
    assert len(series.json()["data"]) == 2


async def test_series_labels_and_values(prom: Prom) -> None:
    found = await prom.data("series", ("match[]", 'up{instance="a"}'), ("match[]", "latency"), start=T0, end=T0 + 60)
    assert found == [{"__name__": "latency"}, {"__name__": "up", "instance": "a", "job": "shop"}]
    assert await prom.data("labels") == ["__name__", "http.method", "instance", "job"]
    assert await prom.data("labels", ("match[]", "up")) == ["__name__", "instance", "job"]
    assert await prom.data("label/instance/values", start=T0, end=T0 + 60) == ["a", "b"]
    assert await prom.data("label/U__http_2e_method/values") == ["get"]
    assert await prom.data("label/__name__/values", ("match[]", '{job="shop"}')) == ["requests_total", "up"]
    assert await prom.data("labels", start=T0 - 7200, end=T0 - 3600) == []


async def test_a_limit_is_kept_and_reported(prom: Prom) -> None:
    values = await prom.api.json("/api/v1/label/instance/values", limit=1)
    assert values == {"status": "success", "data": ["a"], "warnings": ["results truncated due to limit"]}
    assert "warnings" not in await prom.api.json("/api/v1/label/instance/values", limit=2)
    queried = await prom.api.json("/api/v1/query", query="up", time=T0, limit=1)
    assert len(queried["data"]["result"]) == 1
    assert queried["warnings"] == ["results truncated due to limit"]


async def test_metadata_and_exemplars(prom: Prom) -> None:
    known = {"requests_total": [{"type": "counter", "unit": "", "help": "Requests."}]}
    assert await prom.data("metadata") == known
    assert await prom.data("metadata", metric="requests_total", limit_per_metric=1) == known
    assert await prom.data("metadata", metric="other") == {}
    [found] = await prom.data("query_exemplars", query="rate(requests_total[5m])", start=T0, end=T0 + 60)
    assert await prom.data("query_exemplars", query="requests_total") == [found]
    assert found["seriesLabels"] == {"__name__": "requests_total", "http.method": "get", "job": "shop"}
    assert found["exemplars"] == [{"labels": {"trace_id": "ab"}, "value": "0.5", "timestamp": T0 + 20}]


async def test_annotations_and_stats(prom: Prom) -> None:
    body = await prom.api.json("/api/v1/query", query="rate(up[1m]) + histogram_quantile(2, up)", time=T0 + 60, stats="all")
    assert any("might not be a counter" in text and text.endswith("(1:6)") for text in body["infos"])
    assert any("quantile value should be between 0 and 1, got 2" in text for text in body["warnings"])
    assert body["data"]["stats"]["samples"]["totalQueryableSamples"] > 0
    assert set(body["data"]["stats"]["timings"]) >= {"evalTotalTime", "execQueueTime", "execTotalTime"}


async def test_format_and_parse(prom: Prom) -> None:
    assert await prom.data("format_query", query='sum(rate(x{b="2",a="1"}[5m]))by(job)') == 'sum by (job) (rate(x{a="1",b="2"}[5m]))'
    tree = await prom.data("parse_query", query="topk(3, a) > bool on (x) group_left () b")
    assert (tree["type"], tree["op"], tree["bool"]) == ("binaryExpr", ">", True)
    assert tree["matching"] == {"card": "many-to-one", "labels": ["x"], "on": True, "include": [], "fillValues": {"lhs": None, "rhs": None}}
    assert tree["lhs"]["param"] == {"type": "numberLiteral", "val": "3"}


async def test_status_pages(prom: Prom) -> None:
    assert await prom.data("rules") == {"groups": []}
    assert await prom.data("alerts") == {"alerts": []}
    assert (await prom.data("targets"))["activeTargets"] == []
    assert (await prom.data("status/flags"))["query.lookback-delta"] == "300s"
    for path in ("status/config", "status/runtimeinfo", "status/tsdb"):
        assert await prom.data(path)
    for path in ("/-/ready", "/-/healthy", "/prometheus/-/ready"):
        assert (await prom.api.get(path)).status == 200


@pytest.mark.parametrize(
    ("path", "parameters", "text"),
    [
        ("query", {"query": "up +"}, 'invalid parameter "query": 1:5: parse error: unexpected end of input'),
        ("query", {}, 'invalid parameter "query": unknown position: parse error: no expression found in input'),
        (
            "query",
            {"query": "up", "time": "x"},
            'invalid parameter "time": Invalid time value for \'time\': cannot parse "x" to a valid timestamp',
        ),
        ("query", {"query": "up", "timeout": "x"}, 'invalid parameter "timeout": cannot parse "x" to a valid duration'),
        ("query", {"query": "up", "limit": "-1"}, 'invalid parameter "limit": limit must be non-negative'),
        ("query_range", {"query": "up"}, 'invalid parameter "start": cannot parse "" to a valid timestamp'),
        (
            "query_range",
            {"query": "up", "start": 2, "end": 1, "step": 1},
            'invalid parameter "end": end timestamp must not be before start time',
        ),
        (
            "query_range",
            {"query": "up", "start": 1, "end": 2, "step": 0},
            'invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer',
        ),
        (
            "query_range",
            {"query": "up", "start": 0, "end": 11001, "step": 1},
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        (
            "query_range",
            {"query": "up[5m]", "start": 0, "end": 1, "step": 1},
            'invalid parameter "query": invalid expression type "range vector" for range query, must be Scalar or instant Vector',
        ),
        (
            "query",
            {"query": "up", "lookback_delta": "x"},
            'error parsing lookback delta duration: cannot parse "x" to a valid duration',
        ),
        ("rules", {"type": "x"}, 'invalid parameter "type": not supported value "x"'),
        ("series", {}, "no match[] parameter provided"),
        ("labels", {"match[]": "{}"}, 'invalid parameter "match[]": match[] must contain at least one non-empty matcher'),
        ("query_exemplars", {"query": "up", "start": 2, "end": 1}, "end timestamp must not be before start timestamp"),
        ("series", {"match[]": "up{"}, 'invalid parameter "match[]": 1:4: parse error: unexpected end of input inside braces'),
    ],
)
async def test_bad_questions_are_refused_in_prometheus_words(path: str, parameters: dict[str, Any], text: str) -> None:
    async with serving(MemorySpans()) as api:
        assert await Prom(api, MemorySeries()).error(path, **parameters) == (400, "bad_data", text)


async def test_a_form_that_is_too_large_is_bad_data() -> None:
    async with serving(MemorySpans()) as api:
        form = io.BytesIO(b"query=1" + b"+" * (10 << 20))
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        async with api.session.post(f"{api.url}/prometheus/api/v1/query", data=form, headers=headers) as response:
            body = await response.json()
            assert (response.status, body["status"], body["errorType"]) == (400, "error", "bad_data")
    assert body["error"].startswith("error parsing form values: body: the form is too long (accepted: at most 10,485,760 bytes)")


async def test_conflicts_in_the_data_are_execution_errors(prom: Prom) -> None:
    status, kind, text = await prom.error("query", query="up + on(job) up", time=T0)
    assert (status, kind) == (422, "execution")
    assert "many-to-many matching not allowed" in text or "duplicate series" in text


async def test_a_query_beyond_the_bound_fails_alone() -> None:
    store = MemorySeries()
    async with serving(MemorySpans(), series=store, TAEL_PROMQL_MAX_SAMPLES="1000") as api:
        prom = Prom(api, store)
        await prom.add("big", [1.0] * 2000)
        refused = prom.error("query", query="sum_over_time(big[10h])", time=T0 + 30_000)
        allowed = prom.data("query", query="big", time=T0 + 60)
        (status, kind, text), data = await asyncio.gather(refused, allowed)
    assert (status, kind) == (422, "execution")
    assert text == "query processing would load too many samples into memory in query execution"
    assert len(data["result"]) == 1


async def test_lists_of_series_end_where_a_query_does() -> None:
    """With a warning, as one that a client limits: also where it asks for more."""
    store = MemorySeries()
    async with serving(MemorySpans(), series=store, TAEL_PROMQL_MAX_SERIES="3") as api:
        prom = Prom(api, store)
        for number in range(4):
            await prom.add("up", [1.0], number=str(number))
        for path in ("series", "label/number/values"):
            for limit in (0, 3, 9):
                body = await api.json(f"/api/v1/{path}", ("match[]", "up"), limit=limit)
                assert (len(body["data"]), body["warnings"]) == (3, ["results truncated due to limit"])
            assert len((await api.json(f"/api/v1/{path}", ("match[]", 'up{number!="3"}')))["data"]) == 3
        status, kind, text = await prom.error("query", query="up", time=T0)
    assert (status, kind, text) == (422, "execution", "query processing would load too many series into memory in query execution")


async def test_experiments_can_be_switched_off() -> None:
    async with serving(MemorySpans(), TAEL_PROMQL_EXPERIMENTAL="false") as api:
        prom = Prom(api, MemorySeries())
        for query, problem in (
            ("mad_over_time(x[5m])", 'function "mad_over_time" is not enabled'),
            ("limitk(1, x)", "limitk() is experimental"),
            ("x[5m * 2]", "experimental duration expression is not enabled"),
            ("x[5m] anchored", "anchored modifier is experimental and not enabled"),
            ("x + fill(0) y", "binop fill modifiers are experimental and not enabled"),
        ):
            status, kind, text = await prom.error("query", query=query)
            assert (status, kind) == (400, "bad_data")
            assert problem in text


class _Hanging(MemorySeries):
    """See SeriesReader: takes every question and answers none."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def select(self, tenant: str, selection: Selection, max_samples: int) -> Answer[Samples]:
        del tenant, selection, max_samples
        self.asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.left.set()
        raise AssertionError("nobody resolves that future")


async def test_a_query_that_takes_too_long_times_out() -> None:
    async with serving(MemorySpans(), series=_Hanging()) as api:
        assert await Prom(api, MemorySeries()).error("query", query="up", time=T0, timeout="0.1") == (
            503,
            "timeout",
            "query timed out in expression evaluation",
        )


async def test_a_shard_that_is_slower_than_the_timeout_of_a_query_makes_a_warning() -> None:
    """Though others could wait longer for it."""
    store = MemorySeries()
    shards = MergedSeries(Shards([Shard("shard-0", store.reader), Shard("shard-1", _Hanging().reader)], deadline_seconds=60))
    async with serving(MemorySpans(), series=shards) as api:
        await Prom(api, store).add("up", [1.0])
        body = await api.json("/api/v1/query", query="up", time=T0, timeout="5")
    assert len(body["data"]["result"]) == 1
    assert body["warnings"] == ["shard-1 did not answer: its series are missing from this result"]


async def test_a_query_ends_when_its_client_disconnects() -> None:
    series = _Hanging()
    async with serving(MemorySpans(), series=series) as api:
        question = asyncio.create_task(api.get("/api/v1/query", query="up", time=T0))
        await series.asked.wait()
        question.cancel()
        async with asyncio.timeout(20):  # less than a query may take
            await series.left.wait()


class _Down(MemorySeries):
    """See SeriesReader: a shard that cannot be reached."""

    async def select(self, tenant: str, selection: Selection, max_samples: int) -> Answer[Samples]:
        del tenant, selection, max_samples
        raise Unavailable("no connection")

    async def list_series(self, tenant: str, selection: Selection, limit: int) -> Answer[list[Labels]]:
        del tenant, selection, limit
        raise Unavailable("no connection")

    async def grid(self, tenant: str, request: GridRequest, max_series: int) -> Answer[Grid] | None:
        del tenant, request, max_series
        raise Unavailable("no connection")


async def test_a_shard_that_is_missing_makes_a_warning() -> None:
    store = MemorySeries()
    shards = MergedSeries(Shards([Shard("shard-0", store.reader), Shard("shard-1", _Down().reader)]))
    async with serving(MemorySpans(), series=shards) as api:
        prom = Prom(api, store)
        await prom.add("up", [1.0])
        body = await api.json("/api/v1/query", query="up", time=T0)
        assert len(body["data"]["result"]) == 1
        assert body["warnings"] == ["shard-1 did not answer: its series are missing from this result"]
        listed = await api.json("/api/v1/series", ("match[]", "up"))
        assert listed["warnings"] == body["warnings"]
    async with serving(MemorySpans(), series=MergedSeries(Shards([Shard("shard-1", _Down().reader)]))) as api:
        status, kind, _ = await Prom(api, store).error("query", query="up", time=T0)
        assert (status, kind) == (503, "unavailable")


async def test_a_large_matrix_is_streamed_whole() -> None:
    store = MemorySeries()
    values = [index * 0.1 for index in range(2000)]
    async with serving(MemorySpans(), series=store, TAEL_PROMQL_LOOKBACK_SECS="15") as api:
        prom = Prom(api, store)
        for number in range(40):
            await prom.add("big", values, number=f"{number:02}")
        asked: dict[str, Any] = {"query": "big", "start": T0, "end": T0 + 15 * 1999, "step": 15}
        response = await api.get("/api/v1/query_range", **asked)
        assert "Content-Length" not in response.headers
        zipped = await api.get("/api/v1/query_range", headers={"Accept-Encoding": "gzip"}, **asked)
        assert zipped.headers["Content-Encoding"] == "gzip"
    result = json.loads(response.body)["data"]["result"]
    assert [series["metric"]["number"] for series in result] == [f"{number:02}" for number in range(40)]
    assert all([float(text) for _, text in series["values"]] == values for series in result)
    assert gzip.decompress(zipped.body) == response.body


@pytest.mark.parametrize(("limit", "told"), [(0, False), (11_000, True)])
async def test_a_long_list_is_streamed_whole(limit: int, told: bool) -> None:
    store = MemorySeries()
    async with serving(MemorySpans(), series=store) as api:
        for number in range(12_000):
            await Prom(api, store).add("up", [1.0], number=f"{number:05}")
        response = await api.get("/api/v1/series", ("match[]", "up"), limit=limit)
    assert "Content-Length" not in response.headers
    numbers = [f"{number:05}" for number in range(limit or 12_000)]
    assert [series["number"] for series in response.json()["data"]] == numbers
    assert ("warnings" in response.json()) is told


async def test_a_client_that_does_not_read_holds_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prometheus_answers, "STALLED_SECONDS", 0.2)
    store = MemorySeries()
    async with serving(MemorySpans(), series=store, TAEL_QUERY_CONCURRENCY="1") as api:
        for number in range(60):
            await Prom(api, store).add("up", [1.0], number=str(number))
        path = f"/api/v1/query_range?query=last_over_time(up[1d])&start={T0}&end={T0 + 10_999}&step=1"
        address = api.url.removeprefix("http://")
        reader, writer = await asyncio.open_connection(*address.split(":"), limit=1024)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        async with asyncio.timeout(60):
            assert (await api.get("/api/v1/query", query="1")).status == 200
        writer.close()


async def test_numbers_are_written_as_go_writes_them() -> None:
    store = MemorySeries()
    numbers = [
        (0.0, "0"),
        (-0.0, "-0"),
        (1e-7, "1e-07"),
        (1e-5, "0.00001"),
        (123456789.125, "123456789.125"),
        (1e17, "100000000000000000"),
        (1e21, "1e+21"),
        (0.1 + 0.2, "0.30000000000000004"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ]
    async with serving(MemorySpans(), series=store) as api:
        for index, (value, _) in enumerate(numbers):
            await Prom(api, store).add("n", [value], index=f"{index:02}")
        data = await Prom(api, store).data("query_range", query="n", start=T0, end=T0 + 1, step=5)
    assert [series["values"][0][1] for series in data["result"]] == [text for _, text in numbers]
