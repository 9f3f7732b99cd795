"""What each endpoint of Loki, Tempo and Jaeger answers has the schema of the real one, and is not empty."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tael.model.tenant import DEFAULT_TENANT
from tael.otlp.encode import encode_spans
from tests.support import answer_shapes as shapes
from tests.support.query import Api, serving
from tests.support.storage import START_NS, composed, logs_of, wire_log
from tests.support.traceql_cases import SPANS, START

LOKI, TEMPO, JAEGER = "/loki/api/v1", "/tempo/api", "/jaeger/api"
LINES = {"start": START_NS, "end": START_NS + 60 * 10**9}
ONE = LINES | {"query": '{service_name="shop"}'}
TRACES = {"start": START // 10**9 - 60, "end": START // 10**9 + 60}
MICROSECONDS = {"start": START // 1_000 - 60_000_000, "end": START // 1_000 + 60_000_000}
CATEGORIZE = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
COUNT = 'sum by (service_name) (count_over_time({service_name="shop"}[1m]))'
ANSWERS: list[tuple[str, dict[str, Any], type[shapes.Shape]]] = [
    (f"{LOKI}/query_range", ONE, shapes.Lines),
    (f"{LOKI}/query_range", LINES | {"query": COUNT, "step": "10s"}, shapes.Range),
    (f"{LOKI}/query", {"query": COUNT, "time": LINES["end"]}, shapes.Moment),
    (f"{LOKI}/query", {"query": "1 + 1", "time": LINES["end"]}, shapes.Number),
    (f"{LOKI}/labels", LINES, shapes.Texts),
    (f"{LOKI}/label/service_name/values", LINES, shapes.Texts),
    (f"{LOKI}/series", LINES | {"match[]": '{service_name="shop"}'}, shapes.LabelSets),
    (f"{LOKI}/index/stats", ONE, shapes.IndexStats),
    (f"{LOKI}/index/volume", ONE, shapes.Moment),
    (f"{LOKI}/index/volume_range", ONE | {"step": "10s"}, shapes.Range),
    (f"{LOKI}/detected_labels", ONE, shapes.DetectedLabels),
    (f"{LOKI}/detected_fields", ONE, shapes.DetectedFields),
    (f"{LOKI}/detected_field/n/values", ONE, shapes.DetectedValues),
    (f"{LOKI}/patterns", ONE, shapes.Patterns),
    (f"{LOKI}/format_query", {"query": COUNT}, shapes.Formatted),
    (f"{TEMPO}/search", TRACES | {"q": "{ status = error && span.size != nil }"}, shapes.Search),
    (f"{TEMPO}/search", TRACES | {"q": "{ } | by(kind) | select(name)"}, shapes.Search),
    (f"{TEMPO}/search", TRACES | {"tags": "service.name=shop"}, shapes.Search),
    (f"{TEMPO}/search/tags", TRACES, shapes.TagNames),
    (f"{TEMPO}/v2/search/tags", TRACES, shapes.Scopes),
    (f"{TEMPO}/search/tag/service.name/values", TRACES, shapes.TagValues),
    (f"{TEMPO}/v2/search/tag/resource.service.name/values", TRACES, shapes.TypedValues),
    (f"{TEMPO}/v2/search/tag/status/values", TRACES, shapes.TypedValues),
    (f"{TEMPO}/metrics/query_range", TRACES | {"q": "{ } | rate() by (kind)", "step": "10s"}, shapes.MetricRange),
    (f"{TEMPO}/metrics/query_range", TRACES | {"q": "{ } | quantile_over_time(duration, .5)", "step": "10s"}, shapes.MetricRange),
    (f"{TEMPO}/metrics/query", TRACES | {"q": "{ } | count_over_time() by (kind)"}, shapes.MetricInstant),
    (f"{JAEGER}/services", {}, shapes.JaegerTexts),
    (f"{JAEGER}/services/shop/operations", {}, shapes.JaegerTexts),
    (f"{JAEGER}/operations", {"service": "shop"}, shapes.Operations),
    (f"{JAEGER}/traces", MICROSECONDS | {"service": "shop"}, shapes.JaegerTraces),
    (f"{JAEGER}/traces/{SPANS[0].trace_id.hex()}", {}, shapes.JaegerTraces),
    (f"{JAEGER}/dependencies", {"endTs": START // 10**6 + 60_000, "lookback": 120_000}, shapes.Dependencies),
    (f"{JAEGER}/v3/services", {}, shapes.ServicesV3),
    (f"{JAEGER}/v3/operations", {"service": "shop"}, shapes.OperationsV3),
]


@pytest.fixture
async def api(request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    async with composed(request, "two-shards") as tier:
        records = [
            wire_log(second * 10**9, f'{{"n": {second}, "took": "{second}ms"}}', attributes={"user": "ann"}, severity_text="INFO")
            for second in range(20)
        ]
        await tier.store_logs(logs_of("shop", *records), tenant=DEFAULT_TENANT)
        await tier.store(*encode_spans(SPANS), tenant=DEFAULT_TENANT)
        async with serving(tier.reader, tier, logs=tier.logs, spansets=tier.spansets, topology=tier.topology) as running:
            yield running


def is_empty(answer: Any) -> bool:
    """Whether no list in it has anything, as where nothing was found."""
    if isinstance(answer, dict):
        return all(is_empty(value) for name, value in answer.items() if name not in ("stats", "metrics"))
    return answer == [] or not isinstance(answer, list | int)


async def test_every_answer(api: Api) -> None:
    wrong = {}
    for path, parameters, shape in ANSWERS:
        answer = await api.get(path, **parameters)
        body = json.loads(answer.body)
        try:
            shape.model_validate_json(answer.body)
        except ValueError as problem:
            wrong[path, str(parameters)] = f"{problem}\n{str(body)[:500]}"
        if is_empty(body) and shape is not shapes.Formatted:
            wrong[path, str(parameters)] = f"nothing was found: {body}"
    assert not wrong, "\n".join(f"{path} {text}" for (path, _), text in wrong.items())


async def test_lines_with_labels_by_their_origin(api: Api) -> None:
    answer = await api.get(f"{LOKI}/query_range", headers=CATEGORIZE, **ONE)
    assert shapes.CategorizedLines.model_validate_json(answer.body).data.result
