"""Streams that were pushed to Loki's API are selected by all of their labels, in every composition of the hot tier and together with OTLP's streams."""

from __future__ import annotations

import json

import pytest

from services.query.logql.engine import LogqlEngine, LogqlOptions, Wanted
from tael.logql.ast import LogQuery, Metric
from tael.logql.parse import parse, parse_selector
from tael.logql.records import entry
from tael.logql.selected import selected
from tael.logql.stages.label_filter import condition
from tael.loki.push import read_json
from tael.model.series import Matcher, MatchOp
from tael.model.time import TimeRange
from tael.otlp.decode import decode_logs
from tael.otlp.matches import log_test
from tael.vectors.values import Steps, Vector
from tests.support.storage import RECEIVED_NS, START_NS, HotTier, logs_of, wire_log

SECOND = 10**9
AROUND = TimeRange(START_NS, START_NS + 100 * SECOND)
AT_THE_END = Steps(START_NS + 99 * SECOND, START_NS + 99 * SECOND, 0)
STREAMS = [
    ({"app": "web", "env": "prod", "k8s_pod_name": "web-1"}, ["GET /a", "GET /b"]),
    ({"app": "web", "env": "dev", "level": "error"}, ["GET /c"]),
    ({"job": "cron", "env": "prod"}, ['{"app": "x"}']),
]
PUSHED = read_json(
    json.dumps(
        {
            "streams": [
                {"stream": labels, "values": [[str(START_NS + (place * 10 + at) * SECOND), line] for at, line in enumerate(lines)]}
                for place, (labels, lines) in enumerate(STREAMS)
            ]
        }
    ).encode(),
    10_000,
).request
# A resource's attribute is no label of a stream where it came by OTLP.
GROUPS = [*PUSHED.resource_logs, logs_of("web", wire_log(50 * SECOND, "by OTLP"), app="web", env="prod")]
RECORDS = list(decode_logs(GROUPS, RECEIVED_NS))
SELECTORS = [
    ('{app="web"}', ["GET /a", "GET /b", "GET /c"]),
    ('{app="web", env!="dev"}', ["GET /a", "GET /b"]),
    ('{env=~"pr.*", service_name="web"}', ["GET /a", "GET /b"]),
    ('{service_name="web", env!="prod"}', ["GET /c", "by OTLP"]),
    ('{service_name="web", env=""}', ["by OTLP"]),
    ('{service_name=~".+", app!=""}', ["GET /a", "GET /b", "GET /c"]),
    ('{k8s_pod_name="web-1"}', ["GET /a", "GET /b"]),
    ('{service_name="cron"}', ['{"app": "x"}']),
    ('{app="web"} |= "c"', ["GET /c"]),
    ('{app="web"} | level="error"', ["GET /c"]),
    ('{env="prod"} | json | app_extracted="x"', []),
    ('{env="prod"} | json | app="x"', ['{"app": "x"}']),
    ('{job="nope"}', []),
]


def metric(text: str) -> Metric:
    """A metric query's tree."""
    expr = parse(text)
    assert not isinstance(expr, LogQuery)
    return expr


@pytest.mark.parametrize("op", ["=", "!=", "=~", "!~"])
@pytest.mark.parametrize("value", ["", "web", "prod", "pro", ".*", ".+", "prod|", "we."])
def test_a_matcher_selects_by_what_is_shown_as_the_streams_labels(op: MatchOp, value: str) -> None:
    for name in ("app", "env", "job", "nope", "k8s_pod_name", "service_name"):
        matcher = Matcher(name, op, value)
        streams, predicate = selected((matcher,))
        for record in RECORDS:
            shown = entry(record).stream
            kept = all(condition(one)(shown.get(one.name, "")) for one in streams) and log_test(predicate)(record)
            assert kept == condition(matcher)(shown.get(name, "")), (matcher, shown)


async def test_lines_counts_and_volumes(any_tier: HotTier) -> None:
    await any_tier.store_logs(*GROUPS, tenant="t")
    engine = LogqlEngine(any_tier.logs, LogqlOptions())
    for text, expected in SELECTORS:
        query = parse(text)
        assert isinstance(query, LogQuery)
        rows = (await engine.lines("t", query, Wanted(AROUND, 100, oldest_first=True))).value
        assert [row.line for row in rows] == expected, text
        count = metric(f"sum(count_over_time({text}[100s]))")
        value = (await engine.value("t", count, AT_THE_END)).value
        assert value.values.tolist() == ([[float(len(expected))]] if expected else []), text
    by_app = (await engine.value("t", metric('sum by (app) (count_over_time({env="prod"}[100s]))'), AT_THE_END)).value
    assert isinstance(by_app, Vector)
    assert sorted(zip(by_app.labels, by_app.values[:, 0].tolist(), strict=True)) == [((), 1.0), ((("app", "web"),), 2.0)]
    volumes = (await engine.volumes("t", parse_selector('{app="web"}'), AROUND, ["service_name"])).value
    assert {stream.labels["service_name"] for stream in volumes} == {"web"}
    assert (await engine.labels("t", parse_selector('{env="dev"}'), AROUND)).value == [{"service_name": "web"}]


async def test_a_line_shows_the_labels_of_its_stream(any_tier: HotTier) -> None:
    await any_tier.store_logs(*GROUPS, tenant="t")
    query = parse('{app="web", env="prod"} |= "/a"')
    assert isinstance(query, LogQuery)
    (row,) = (await LogqlEngine(any_tier.logs, LogqlOptions()).lines("t", query, Wanted(AROUND, 1))).value
    assert row.stream_labels() == {"app": "web", "env": "prod", "k8s_pod_name": "web-1", "service_name": "web"}
    assert row.metadata == {"detected_level": "unknown"}
