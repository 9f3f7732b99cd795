"""``GET /api/v1/metrics``, ``/api/v1/metrics/query`` and ``tael query metrics``, in memory and over two hot nodes."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.query.questions.metrics import looks
from tael.model.series import STALE, Family, labels_of
from tael.model.tenant import DEFAULT_TENANT
from tael.model.time import TimeRange
from tael.storage.llm_series import FAMILIES
from tael.vectors.histograms import text as histogram_text
from tests.contract.test_cli import tael
from tests.support.doubles import MemorySpans
from tests.support.query import Api, serving
from tests.support.series import MemorySeries, SeriesStore, StoredSeries
from tests.support.storage import composed

T0 = 1_790_000_000
DERIVED_NAMES = ("gen_ai_client_cost_usd_total", "traces_service_graph_request_total", "traces_spanmetrics_calls_total")
RANGE = {"start": str(T0), "end": str(T0 + 61)}


@pytest.fixture(params=["memory", "two-shards"])
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    """The API over each store, filled."""
    if request.param == "memory":
        store: SeriesStore = MemorySeries()
        await _fill(store)
        async with serving(MemorySpans(), series=store.reader) as served:
            yield served
        return
    async with composed(request, request.param) as tier:
        store = StoredSeries(tier)
        await _fill(store)
        async with serving(MemorySpans(), series=store.reader) as served:
            yield served


async def _fill(store: SeriesStore) -> None:
    def add(name: str, values: dict[int, Any], **labels: str) -> None:
        samples = [((T0 + at) * 1000, value) for at, value in values.items()]
        store.add(labels_of({"__name__": name, **labels}), samples, tenant=DEFAULT_TENANT)

    add("orders_total", {0: 1.0, 15: 4.0, 30: 9.0}, job="eu/shop", route="/pay")
    add("temperature_celsius", {10: float("inf"), 20: 21.5, 25: STALE}, job="room")
    add("latency_seconds", {40: histogram_text.parse("{{schema:0 sum:5 count:4 buckets:[1 2 1]}}")}, job="eu/shop")
    for name in DERIVED_NAMES:
        add(name, {50: 1.0})
    add("gen_ai_client_token_usage_sum", {71: 5.0}, service="bot", gen_ai_token_type="input")
    add("gen_ai_client_token_usage_sum", {72: 7.0}, job="bot", gen_ai_token_type="input")
    store.add_family(Family("gen_ai_client_token_usage", "histogram", "{token}", "Tokens, as the SDK counts them."), tenant=DEFAULT_TENANT)
    for family in FAMILIES:
        store.add_family(family, tenant=DEFAULT_TENANT)
    store.add_family(Family("orders", "counter", "", "Orders."), tenant=DEFAULT_TENANT)
    store.add_family(Family("temperature_celsius", "gauge", "celsius", ""), tenant=DEFAULT_TENANT)
    store.add_family(Family("latency_seconds", "histogram", "seconds", ""), tenant=DEFAULT_TENANT)
    await store.flush()


def _points(answer: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [(point["name"], point["timestamp"][17:19], point["value"]) for point in answer["metrics"]]


async def test_points_newest_first(api: Api) -> None:
    answer = await api.json("/api/v1/metrics", *RANGE.items())
    assert answer["count"] == 6
    assert answer["partial"] is False
    assert [point["name"] for point in answer["metrics"]] == [
        "latency_seconds", "orders_total", "temperature_celsius", "orders_total", "temperature_celsius", "orders_total",
    ]  # fmt: skip
    newest, second = answer["metrics"][:2]
    assert newest["histogram"]["count"] == "4"
    assert newest["value"] is None
    assert second == {
        "timestamp": "2026-09-21T14:13:50.000000000Z",
        "service": "shop",
        "name": "orders_total",
        "metric_type": "sum",
        "unit": "",
        "attributes": {"job": "eu/shop", "route": "/pay"},
        "value": 9.0,
    }
    assert answer["metrics"][4]["value"] == "+Inf"


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        ({"service": "shop", "name": "orders"}, ["orders_total"] * 3),
        ({"name": "orders_total", "limit": "1"}, ["orders_total"]),
        ({"metric_type": "gauge"}, ["temperature_celsius"] * 2),
        ({"metric_type": "summary"}, []),
        ({"service": "sho"}, []),
    ],
)
async def test_filters(api: Api, parameters: dict[str, str], names: list[str]) -> None:
    answer = await api.json("/api/v1/metrics", *{**RANGE, **parameters}.items())
    assert [point["name"] for point in answer["metrics"]] == names


async def test_promql_over_a_range(api: Api) -> None:
    answer = await api.json("/api/v1/metrics/query", ("query", "orders_total"), ("step", "15"), ("start", str(T0)), ("end", str(T0 + 30)))
    assert answer["count"] == 1
    assert answer["series"] == [
        {
            "metric": {"__name__": "orders_total", "job": "eu/shop", "route": "/pay"},
            "values": [[T0, 1.0], [T0 + 15, 4.0], [T0 + 30, 9.0]],
        }
    ]
    words = await api.json("/api/v1/metrics/query", ("query", "orders_total"), ("step", "15s"), ("start", str(T0)), ("end", str(T0 + 30)))
    assert words["series"] == answer["series"]
    histograms = await api.json(
        "/api/v1/metrics/query", ("query", "latency_seconds"), ("step", "60"), ("start", str(T0)), ("end", str(T0 + 60))
    )
    assert histograms["series"][0]["histograms"][0][1]["sum"] == "5"


@pytest.mark.parametrize(
    ("path", "parameters", "text"),
    [
        ("/api/v1/metrics/query", {"query": "sum("}, "parse error"),
        ("/api/v1/metrics/query", {}, "query"),
        ("/api/v1/metrics/query", {"query": "up", "step": "0.001", "last": "1h"}, "steps"),
        ("/api/v1/metrics/query", {"query": "up", "step": "0"}, "seconds above 0"),
        ("/api/v1/metrics/query", {"query": "up", "step": "often"}, "not a duration"),
        ("/api/v1/metrics/query", {"query": "up", "last": ""}, "last"),
        ("/api/v1/metrics", {"metric_type": "count"}, "metric_type"),
        ("/api/v1/metrics", {"limit": "0"}, "limit"),
    ],
)
async def test_invalid_parameters_are_named(api: Api, path: str, parameters: dict[str, str], text: str) -> None:
    answer = await api.get(path, *parameters.items())
    assert answer.status == 400
    assert text in answer.json()["error"]


async def test_the_command(api: Api) -> None:
    flags = ("--server", str(api.url))
    ended = await tael("query", "metrics", "--name", "orders", *flags)
    assert [point["value"] for point in json.loads(ended.out)["metrics"]] == [9.0, 4.0, 1.0]
    table = await tael(
        "--format", "table", "query", "metrics", "--query", "orders_total", "--start", str(T0), "--end", str(T0 + 30), *flags
    )
    assert 'route="/pay"' in table.out


@given(st.integers(0, 2_000_000_000), st.integers(1, 2_000_000_000))
def test_looks_cover_the_range_once(start_s: int, length_s: int) -> None:
    """From the end to the start without a gap, in few steps."""
    found = list(looks(TimeRange(start_s * 10**9, (start_s + length_s) * 10**9), 1_790_000_000 * 10**9))
    assert len(found) <= 12
    for (begin, _), (_, end) in itertools.pairwise(found):
        assert begin == end
    if found:
        assert found[-1][0] == start_s * 1000 - 1


async def test_usage_that_an_application_sent_is_listed(api: Api) -> None:
    """What is counted from spans has its name and no job, and is not."""
    usage = "gen_ai_client_token_usage"
    later = {"start": str(T0 + 61), "end": str(T0 + 80)}
    points = _points(await api.json("/api/v1/metrics", **later))
    assert [value for name, _, value in points if name.startswith(usage)] == [7.0]
    asked = _points(await api.json("/api/v1/metrics", **later, derived="true"))
    assert sorted(value for name, _, value in asked if name.startswith(usage)) == [5.0, 7.0]
    named = _points(await api.json("/api/v1/metrics", **later, name=usage))
    assert sorted(value for _, _, value in named) == [5.0, 7.0]
    of_service = (await api.json("/api/v1/metrics", **later, service="bot", derived="true"))["metrics"]
    assert [(point["service"], point["value"]) for point in of_service] == [("bot", 7.0), ("bot", 5.0)]
    assert [value for *_, value in _points(await api.json("/api/v1/metrics", **later, service="bot"))] == [7.0]
    families = (await api.json("/api/v1/metrics/names", match=usage))["names"]
    assert [family["description"] for family in families] == ["Tokens, as the SDK counts them."]
    assert len((await api.json("/api/v1/metrics/names", match=usage, derived="true"))["names"]) == 2


async def test_metrics_without_data_are_listed_only_by_name(api: Api) -> None:
    """By list; by name it is there."""
    names = [name for name, *_ in _points(await api.json("/api/v1/metrics", **RANGE))]
    assert names
    assert not set(names) & set(DERIVED_NAMES)
    asked = [name for name, *_ in _points(await api.json("/api/v1/metrics", **RANGE, derived="true"))]
    assert sorted(set(asked) - set(names)) == sorted(DERIVED_NAMES)
    assert [name for name, *_ in _points(await api.json("/api/v1/metrics", **RANGE, name=DERIVED_NAMES[0]))] == [DERIVED_NAMES[0]]
