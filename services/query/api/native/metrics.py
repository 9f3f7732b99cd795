"""The native API's reads of metrics, under ``/api/v1``, over the series that PromQL reads.

``/metrics`` lists points, newest first: ``{"metrics", "count", "partial"}``. ``/metrics/query`` evaluates PromQL over a range:
``{"query", "series", "count", "partial", "warnings"}``; a sample is ``[seconds, number]``, and NaN and infinities are strings.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from aiohttp import web

from services.query.api.family import Route
from services.query.api.native.partial import partial_json
from services.query.api.native.span_json import rfc3339
from services.query.api.tenant import tenant_of
from services.query.backend import Backend
from services.query.questions.metrics import Point, find_points, list_names, query_metrics
from tael.runtime.http import json_response
from tael.syntax.literals import decimal
from tael.vectors import vectors
from tael.vectors.histograms.documents import documents
from tael.vectors.values import Scalar, Steps, Value, Vector


class NativeMetrics:
    """The handlers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """Every route."""
        return [
            Route("GET", "/api/v1/metrics", self.find),
            Route("GET", "/api/v1/metrics/names", self.names),
            Route("GET", "/api/v1/metrics/query", self.query),
        ]

    async def find(self, request: web.Request) -> web.Response:
        """``GET /api/v1/metrics``: points of the series that match, newest first."""
        async with find_points(self._backend, tenant_of(request), list(request.query.items())) as found:
            points = await asyncio.to_thread(lambda: [_point_json(point) for point in found.points])
            return json_response({"metrics": points, "count": len(points), **partial_json(found.missing)})

    async def names(self, request: web.Request) -> web.Response:
        """``GET /api/v1/metrics/names``: families with their types, units and descriptions."""
        found = await list_names(self._backend, tenant_of(request), list(request.query.items()))
        names = [{"name": one.name, "metric_type": one.type, "unit": one.unit, "description": one.help} for one in found.families]
        return json_response({"names": names, "count": len(names), **partial_json(found.missing)})

    async def query(self, request: web.Request) -> web.Response:
        """``GET /api/v1/metrics/query``: PromQL at every step of the range, by default the last hour."""
        async with query_metrics(self._backend, tenant_of(request), list(request.query.items())) as found:
            query, outcome, notes = found.query, found.outcome, found.outcome.evaluated.notes
            series = await asyncio.to_thread(series_json, outcome.evaluated.value, query.steps)
            head = {"query": query.text, "series": series, "count": len(series), **partial_json(outcome.missing)}
            return json_response({**head, "warnings": [*notes.warnings, *notes.infos]})


def _point_json(point: Point) -> dict[str, Any]:
    head = {
        "timestamp": rfc3339(point.time_ms * 1_000_000),
        "service": point.service,
        "name": point.name,
        "metric_type": point.type,
        "unit": point.unit,
        "attributes": point.labels,
    }
    if point.value is None:
        return {**head, "histogram": point.histogram, "value": None}
    return {**head, "value": number(point.value)}


def series_json(value: Value, steps: Steps) -> list[dict[str, Any]]:
    """The value's series: labels and samples."""
    if isinstance(value, Scalar):
        value = vectors.of_scalar(value.values)
    if not isinstance(value, Vector):
        return []
    seconds = (steps.times_ms / 1000).tolist()
    return [_one_series(value, row, seconds) for row in range(len(value.labels))]


def _one_series(vector: Vector, row: int, seconds: Sequence[float]) -> dict[str, Any]:
    present = np.flatnonzero(vector.present[row])
    cells = vector.cells[row, present] if vector.cells is not None else np.full(len(present), -1)
    floats = [[seconds[at], number(float(vector.values[row, at]))] for at in present[cells < 0].tolist()]
    answer: dict[str, Any] = {"metric": dict(vector.labels[row]), "values": floats}
    if vector.histograms is not None and (cells >= 0).any():
        shapes = documents(vector.histograms.take(cells[cells >= 0]))
        answer["histograms"] = [[seconds[at], shape] for at, shape in zip(present[cells >= 0].tolist(), shapes, strict=True)]
    return answer


def number(value: float) -> float | str:
    """The number, or a string for NaN and infinities, which JSON does not have."""
    return value if math.isfinite(value) else decimal(value)
