"""A target for scripts that speaks HTTP: queries go through Prometheus' API; series are written by a store, or by remote write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tael.model.series import Labels, labels_of
from tael.vectors.values import Steps
from tests.support.promqltest import Got, Points
from tests.support.series import Sample, SeriesStore


@dataclass
class OverHttp:
    """``renewed`` returns an empty store for a script, which the API at ``url`` reads for ``tenant``."""

    session: aiohttp.ClientSession
    url: str
    renewed: Callable[[], Awaitable[SeriesStore]]
    tenant: str = "default"
    headers: Mapping[str, str] = field(default_factory=dict)
    _store: SeriesStore | None = None

    async def clear(self) -> None:
        """See Target."""
        self._store = await self.renewed()

    async def load(self, series: Sequence[tuple[Labels, Sequence[tuple[int, Sample]]]]) -> None:
        """See Target."""
        assert self._store is not None
        for labels, samples in series:
            if samples:
                self._store.add(labels, samples, tenant=self.tenant)
        await self._store.flush()

    async def query(self, query: str, steps: Steps) -> Got:
        """See Target."""
        form = {"query": query}
        if steps.step_ms:
            form |= {"start": f"{steps.start_ms / 1000}", "end": f"{steps.end_ms / 1000}", "step": f"{steps.step_ms / 1000}"}
        else:
            form |= {"time": f"{steps.start_ms / 1000}"}
        path = "/api/v1/query_range" if steps.step_ms else "/api/v1/query"
        async with self.session.post(self.url + path, data=form, headers=self.headers) as response:
            return read(await response.json())


def read(body: Mapping[str, Any]) -> Got:
    """The result in an answer of the API."""
    if body["status"] == "error":
        return Got(error=body["error"].removeprefix('invalid parameter "query": '))
    kind, result = body["data"]["resultType"], body["data"]["result"]
    got = Got(kind, warnings=body.get("warnings", []), infos=body.get("infos", []))
    if kind == "scalar":
        got.scalar = float(result[1])
    elif kind == "string":
        got.string = result[1]
    else:
        got.series = [(labels_of(series["metric"]), _points(series)) for series in result]
    return got


def _points(series: Mapping[str, Any]) -> Points:
    floats = [series["value"]] if "value" in series else series.get("values", [])
    histograms = [series["histogram"]] if "histogram" in series else series.get("histograms", [])
    points: Points = {round(time * 1000): float(text) for time, text in floats}
    return points | {round(time * 1000): document for time, document in histograms}
