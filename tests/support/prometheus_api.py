"""Prometheus' API over a store that a test fills: in memory, and two shards on hot nodes.

async def test_x(prom: Prom) -> None:
await prom.add("up", [1, 1, 0], job="shop")
await prom.store.flush()
assert await prom.data("query", query="up", time=T0)
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tael.model.series import Exemplar, Family, labels_of
from tael.model.tenant import DEFAULT_TENANT
from tael.vectors.histograms import text as histogram_text
from tests.support.doubles import MemorySpans
from tests.support.query import Api, Response, serving
from tests.support.series import MemorySeries, SeriesStore, StoredSeries
from tests.support.storage import composed

T0 = 1_790_002_800
"""The start of an hour, in seconds."""


@dataclass
class Prom:
    """A running API and its store."""

    api: Api
    store: SeriesStore

    async def add(self, name: str, values: list[float], **labels: str) -> None:
        """A series with a sample every 15 seconds from T0 on."""
        samples = [((T0 + 15 * index) * 1000, value) for index, value in enumerate(values)]
        self.store.add(labels_of({"__name__": name, **labels}), samples, tenant=DEFAULT_TENANT)

    async def post(self, path: str, **form: Any) -> Response:
        """POST a form."""
        async with self.api.session.post(self.api.url + path, data={name: str(value) for name, value in form.items()}) as response:
            return Response(response.status, response.headers, await response.read())

    async def data(self, path: str, *pairs: tuple[str, str], **parameters: Any) -> Any:
        """The data of a request's answer, which must be a success."""
        body = await self.api.json(f"/prometheus/api/v1/{path}", *pairs, **parameters)
        assert body["status"] == "success"
        return body["data"]

    async def error(self, path: str, **parameters: Any) -> tuple[int, str, str]:
        """Status, error type and text of an error answer."""
        response = await self.api.get(f"/prometheus/api/v1/{path}", **parameters)
        body = response.json()
        assert body["status"] == "error"
        return response.status, body["errorType"], body["error"]


@pytest.fixture(params=["memory", "two-shards"])
async def prom(request: pytest.FixtureRequest) -> AsyncIterator[Prom]:
    """The API over each store, with two series a minute long."""
    if request.param == "memory":
        store: SeriesStore = MemorySeries()
        async with serving(MemorySpans(), series=store.reader) as api:
            yield await _filled(Prom(api, store))
        return
    async with composed(request, request.param) as tier:
        store = StoredSeries(tier)
        async with serving(MemorySpans(), series=store.reader) as api:
            yield await _filled(Prom(api, store))


async def _filled(prom: Prom) -> Prom:
    await prom.add("up", [1, 1, 0, 1, 1], job="shop", instance="a")
    await prom.add("up", [1, 1, 1, 1, 1], job="shop", instance="b")
    await prom.add("requests_total", [0, 15, 30, 45, 60], job="shop", **{"http.method": "get"})
    prom.store.add_family(Family("requests_total", "counter", "", "Requests."), tenant=DEFAULT_TENANT)
    exemplar = Exemplar(
        labels_of({"__name__": "requests_total", "job": "shop", "http.method": "get"}), (T0 + 20) * 1000, 0.5, (("trace_id", "ab"),)
    )
    prom.store.add_exemplar(exemplar, tenant=DEFAULT_TENANT)
    histogram = histogram_text.parse("{{schema:0 sum:5 count:4 buckets:[1 2 1]}}")
    prom.store.add(labels_of({"__name__": "latency"}), [(T0 * 1000, histogram)], tenant=DEFAULT_TENANT)
    await prom.store.flush()
    return prom
