"""No API writes a number that JSON does not have, wherever a sender puts it: each answer is read strictly."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from services.query.questions import long_traces, spans
from tael.model.attributes import Attributes
from tael.otlp.anyvalue import encode_attributes
from tael.otlp.decode import decode_logs
from tests.support.doubles import MemorySpans
from tests.support.logs import MemoryLogs
from tests.support.query import Api, serving
from tests.support.storage import RECEIVED_NS, START_NS, logs_of, new_trace_id, of_service, wire_log, wire_span

ODD: Attributes = {
    "nan": math.nan,
    "inf": math.inf,
    "list": [math.nan, -math.inf],
    "map": {"deep": [math.inf]},
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.conversation.id": "s-1",
    "gen_ai.usage.cost": math.nan,
    "gen_ai.request.temperature": math.inf,
    "gen_ai.server.time_to_first_token": -math.inf,
}
SECONDS = {"start": START_NS // 10**9 - 60, "end": START_NS // 10**9 + 60}
TIMES: dict[str, Any] = {"start": "2026-09-21T00:00:00Z", "end": "2026-09-22T12:00:00Z"}
MICROSECONDS = {"start": START_NS // 1000 - 10**6, "end": START_NS // 1000 + 10**6}
ANSWERS: dict[str, dict[str, Any]] = {
    "/api/v1/traces": {},
    "/api/v1/traces/{id}": {},
    "/api/v1/services": {},
    "/api/v1/llm/calls": {},
    "/api/v1/llm/usage": {"by": "model"},
    "/api/v1/llm/sessions": {},
    "/api/v1/llm/sessions/s-1": {},
    "/tempo/api/traces/{id}": {},
    "/tempo/api/v2/traces/{id}": {},
    "/tempo/api/search": {"q": "{ name != `` } | select(span.nan, span.inf, span.list)", **SECONDS},
    "/tempo/api/v2/search/tag/span.nan/values": {},
    "/tempo/api/metrics/query_range": {"q": "{} | sum_over_time(span.inf)", "step": "60s", **SECONDS},
    "/jaeger/api/traces/{id}": {},
    "/jaeger/api/traces": {"service": "shop", **MICROSECONDS},
    "/jaeger/api/v3/traces/{id}": {},
}


def is_json(body: bytes) -> bool:
    """Whether a strict reader takes it."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


@pytest.mark.parametrize("long", [False, True], ids=["whole", "in blocks"])
async def test_answers_are_json(api: Api, monkeypatch: pytest.MonkeyPatch, long: bool) -> None:
    """In attributes of all kinds, of a trace that is answered whole or in blocks."""
    if long:
        monkeypatch.setattr(spans, "WHOLE_SPANS", 1)
        monkeypatch.setattr(long_traces, "STEP", 2)
    trace_id = new_trace_id()
    made = [wire_span(at, trace_id=trace_id, attributes=ODD) for at in range(3)]
    made[0].events.add(name="e", time_unix_nano=START_NS).attributes.extend(encode_attributes(ODD))
    group = of_service("shop", *made, odd=math.inf)
    group.scope_spans[0].scope.attributes.extend(encode_attributes(ODD))
    await api.store(group)
    for path, parameters in ANSWERS.items():
        answer = await api.get(path.format(id=trace_id.hex()), **parameters)
        assert answer.status == 200, (path, answer.body)
        assert is_json(answer.body), path
    for_models = await api.get(f"/tempo/api/v2/traces/{trace_id.hex()}", headers={"Accept": "application/vnd.grafana.llm"})
    assert is_json(for_models.body)


async def test_log_records_are_json() -> None:
    """In bodies and attributes, and in the lines that Loki's API makes of them."""
    records = [wire_log(0, math.nan, attributes=ODD), wire_log(1, {"a": [math.inf], "b": math.nan}, attributes=ODD)]
    stored = list(decode_logs([logs_of("shop", *records, odd=math.nan)], RECEIVED_NS))
    async with serving(MemorySpans(), logs=MemoryLogs(stored)) as api:
        native = await api.get("/api/v1/logs", **TIMES)
        parameters: dict[str, Any] = {"start": START_NS - 10**9, "end": START_NS + 10**9}
        loki = await api.get("/loki-api/loki/api/v1/query_range", query='{service_name="shop"}', **parameters)
        parsed = await api.get("/loki-api/loki/api/v1/query_range", query='{service_name="shop"} | json', **parameters)
    assert native.status == loki.status == parsed.status == 200
    assert all(is_json(answer.body) for answer in (native, loki, parsed))
    lines = {line for stream in orjson.loads(loki.body)["data"]["result"] for _, line, *_ in stream["values"]}
    assert '{"a":["Infinity"],"b":"NaN"}' in lines
    assert not any("__error__" in stream["stream"] for stream in orjson.loads(parsed.body)["data"]["result"] if "a" in stream["stream"])
