"""The native API's reads of metrics, under ``/api/v1``, over the series that PromQL reads.

``/metrics`` lists points, newest first: ``{"metrics", "count", "partial"}``. ``/metrics/query`` evaluates PromQL over a range:
``{"query", "series", "count", "partial", "warnings"}``; a sample is ``[seconds, number]``, and a number that JSON does not have is text.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from aiohttp import web

from services.query.api.family import Route
from services.query.api.native.span_json import rfc3339
from services.query.api.native.traces import partial_json
from services.query.api.tenant import tenant_of
from services.query.parameters import Parameters
from services.query.promql.engine import PromqlEngine, Query
from services.query.turns import Turns
from tael.errors import Rejected
from tael.model.series import METRIC_NAME, Family, Labels, Matcher, Samples, Selection, is_stale
from tael.model.time import NS_PER_SECOND, TimeRange
from tael.runtime.http import json_response
from tael.syntax.literals import decimal
from tael.vectors.histograms.documents import documents
from tael.vectors.values import Scalar, Steps, Text, Value, Vector

_RANGE = ("last", "start", "end")
_DEFAULT_LIMIT, _DEFAULT_RANGE_NS = 500, 3600 * NS_PER_SECOND
_FIRST_LOOK_MS, _LOOK_FACTOR = 60_000, 8
_STEPS, _LEAST_STEP_MS, _MAX_STEPS = 250, 1_000, 11_000
_TYPES = {"counter": "sum", "gauge": "gauge", "histogram": "histogram", "gaugehistogram": "histogram", "summary": "summary"}
_SUFFIXES = ("_total", "_bucket", "_sum", "_count")
_OF_A_FAMILY = f"({'|'.join(_SUFFIXES)})?"


class NativeMetrics:
    """The handlers, over the engine's reader."""

    def __init__(self, engine: PromqlEngine, turns: Turns, *, max_limit: int) -> None:
        self._engine = engine
        self._turns = turns
        self._max_limit = max_limit

    def routes(self) -> list[Route]:
        """Every route."""
        return [Route("GET", "/api/v1/metrics", self.find), Route("GET", "/api/v1/metrics/query", self.query)]

    async def find(self, request: web.Request) -> web.Response:
        """``GET /api/v1/metrics``: points of the series that match, newest first."""
        tenant, now_ns = tenant_of(request), time.time_ns()
        parameters = Parameters(request.query.items(), known=("service", "name", "metric_type", "limit", *_RANGE))
        limit = parameters.whole("limit", default=_DEFAULT_LIMIT, low=1, high=self._max_limit, high_from="TAEL_MAX_QUERY_LIMIT")
        kind = parameters.choice("metric_type", sorted(set(_TYPES.values())))
        matchers = matchers_of(parameters.text("service"), parameters.text("name"))
        time_range = parameters.time_range(now_ns=now_ns)
        async with self._turns.turn("metrics", tenant) as turn:
            families = await turn.ask(self._engine.reader.families(tenant, "", 0))
            known = {family.name: family for family in families.value}
            missing = set(families.missing)
            points: list[dict[str, Any]] = []
            for start_ms, end_ms in looks(time_range, now_ns):
                selection = Selection(matchers, start_ms, end_ms)
                answer = await turn.ask(self._engine.reader.select(tenant, selection, self._engine.options.max_samples))
                missing.update(answer.missing)
                points += await asyncio.to_thread(points_of, answer.value, known, kind, limit - len(points))
                if len(points) >= limit:
                    break
        return json_response({"metrics": points, "count": len(points), **partial_json(sorted(missing))})

    async def query(self, request: web.Request) -> web.Response:
        """``GET /api/v1/metrics/query``: PromQL at every step of the range, the last hour where none is given."""
        tenant, now_ns = tenant_of(request), time.time_ns()
        parameters = Parameters(request.query.items(), known=("query", "step", *_RANGE))
        text = parameters.text("query")
        if not text:
            raise Rejected("it is missing", where="query", accepted="a PromQL expression")
        query = Query(text, steps_of(parameters, now_ns))
        expr = self._engine.parse(text, instant=False)
        async with self._turns.turn("promql", tenant) as turn:
            outcome = await turn.ask(self._engine.run(tenant, query, expr))
        series = await asyncio.to_thread(series_json, outcome.evaluated.value, query.steps)
        notes = outcome.evaluated.notes
        warnings = [*notes.warnings, *notes.infos]
        return json_response({"query": text, "series": series, "count": len(series), **partial_json(outcome.missing), "warnings": warnings})


def matchers_of(service: str, name: str) -> tuple[Matcher, ...]:
    """What selects a service's series and a metric's: of a family also its ``_total``, ``_bucket``, ``_sum`` and ``_count``."""
    named = Matcher(METRIC_NAME, "=~", re.escape(name) + _OF_A_FAMILY) if name else Matcher(METRIC_NAME, "!=", "")
    return (named, Matcher("job", "=~", f"(.+/)?{re.escape(service)}")) if service else (named,)


def looks(time_range: TimeRange, now_ns: int) -> Iterable[tuple[int, int]]:
    """Ranges of milliseconds that cover the time range from its end back, the first short and each of the next longer."""
    start_ms = max(-1, time_range.start_ns // 1_000_000 - 1)
    end_ms = min(time_range.end_ns, now_ns) // 1_000_000
    length = _FIRST_LOOK_MS * 2
    while end_ms > start_ms:
        begin = max(start_ms, end_ms - length)
        yield begin, end_ms
        end_ms, length = begin, length * _LOOK_FACTOR


def points_of(samples: Samples, families: Mapping[str, Family], kind: str, limit: int) -> list[dict[str, Any]]:
    """The newest ``limit`` samples as points, of one metric type where ``kind`` is not empty; stale markers are none."""
    owners = np.repeat(np.arange(len(samples.labels)), np.diff(samples.offsets))
    described = [_family_of(dict(labels).get(METRIC_NAME, ""), families) for labels in samples.labels]
    wanted = np.array([not kind or _type(family) == kind for family in described], np.bool_)
    kept = np.flatnonzero(~is_stale(samples.values) & wanted[owners]) if len(owners) else owners
    newest = kept[np.lexsort((owners[kept], -samples.times_ms[kept]))][:limit]
    shapes = documents(samples.histograms) if samples.histograms is not None and samples.histogram is not None else []
    points = []
    for at in newest.tolist():
        labels, family = samples.labels[owners[at]], described[owners[at]]
        cell = -1 if samples.histogram is None else int(samples.histogram[at])
        value = {"histogram": shapes[cell], "value": None} if cell >= 0 else {"value": number(float(samples.values[at]))}
        points.append({"timestamp": rfc3339(int(samples.times_ms[at]) * 1_000_000), **_described(labels, family), **value})
    return points


def _described(labels: Labels, family: Family | None) -> dict[str, Any]:
    own = dict(labels)
    name, job = own.pop(METRIC_NAME, ""), own.get("job", "")
    unit = family.unit if family else ""
    return {"service": job.rpartition("/")[2], "name": name, "metric_type": _type(family), "unit": unit, "attributes": own}


def _family_of(name: str, families: Mapping[str, Family]) -> Family | None:
    stems = [name, *(name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix))]
    return next((families[stem] for stem in stems if stem in families), None)


def _type(family: Family | None) -> str:
    return _TYPES.get(family.type, "unknown") if family else "unknown"


def steps_of(parameters: Parameters, now_ns: int) -> Steps:
    """The steps of a range: ``step`` seconds apart, or so that there are about 250. Raises Rejected beyond 11,000."""
    asked = any(parameters.text(name) for name in _RANGE)
    found = parameters.time_range(now_ns=now_ns) if asked else TimeRange(now_ns - _DEFAULT_RANGE_NS, now_ns)
    start_ms, end_ms = max(0, found.start_ns) // 1_000_000, min(found.end_ns, now_ns) // 1_000_000
    given = parameters.number("step")
    step_ms = int(given * 1000) if given else max(_LEAST_STEP_MS, (end_ms - start_ms) // _STEPS)
    if step_ms < 1 or (end_ms - start_ms) // step_ms > _MAX_STEPS:
        raise Rejected(f"there would be more than {_MAX_STEPS:,} steps", where="step", accepted="seconds above 0, fewer steps")
    return Steps(end_ms - max(0, end_ms - start_ms) // step_ms * step_ms, end_ms, step_ms)


def series_json(value: Value, steps: Steps) -> list[dict[str, Any]]:
    """The value's series: labels, and the samples that there are."""
    if isinstance(value, Scalar):
        value = Vector([()], value.values[None, :], np.ones((1, len(value.values)), np.bool_))
    if isinstance(value, Text) or not isinstance(value, Vector):
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
    """The number, or the text of one that JSON does not have."""
    return value if math.isfinite(value) else decimal(value)
