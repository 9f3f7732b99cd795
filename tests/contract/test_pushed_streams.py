"""Streams that were pushed to Loki's API are selected and listed by all of their labels, in every composition of the hot tier and together
with OTLP's streams.
"""

from __future__ import annotations

import json
import time

import pytest

from services.compactor.retire import retire
from services.query.logql.engine import LogqlEngine, LogqlOptions, Wanted
from tael.logql.ast import LogQuery, Metric
from tael.logql.parse import parse, parse_selector
from tael.logql.records import entry
from tael.logql.selected import selected
from tael.logql.stages.label_filter import condition
from tael.loki.push import read_json
from tael.metrics.identity import labels_id
from tael.model.retention import Retention
from tael.model.series import Matcher, MatchOp, Selection
from tael.model.signals import LOGS
from tael.model.streams import INDEX_LABELS, PUSHED_SCOPE
from tael.model.time import TimeRange
from tael.otlp.decode import decode_logs
from tael.otlp.matches import log_test
from tael.storage.api import LANDING
from tael.storage.api import LogQuery as LineQuery
from tael.storage.clickhouse import log_query_builder
from tael.storage.clickhouse.schema import ClickHouseSchema
from tael.storage.clickhouse.source import HotTables
from tael.storage.clickhouse.stored_rows import ClickHouseRows
from tael.storage.clickhouse.streams import labels_held
from tael.storage.clickhouse.writer import settings_of
from tael.vectors.values import Steps, Vector
from tael.wal import codec
from tests.support.hotnode import HotNode
from tests.support.plans import indexes_of
from tests.support.storage import RECEIVED_NS, START_NS, HotTier, logs_of, open_tier, wire_log

SECOND = 10**9
HOUR_NS, DAY_NS = 3_600 * SECOND, 86_400 * SECOND
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
    by_env = (await engine.streams("t", parse_selector('{service_name=~".+"}'), AROUND, names=["env", "job"])).value
    counted = sorted((sorted(stream.labels.items()), stream.count) for stream in by_env)
    assert counted == [([], 1), ([("env", "dev")], 1), ([("env", "prod")], 2), ([("env", "prod"), ("job", "cron")], 1)]


async def test_lists_name_all_labels(any_tier: HotTier) -> None:
    """Those of the other tenant, who has a stream of the same labels and another, are not among them."""
    await any_tier.store_logs(*GROUPS, tenant="t")
    await any_tier.store_logs(*PUSHED.resource_logs[1:], tenant="t2")
    engine = LogqlEngine(any_tier.logs, LogqlOptions())
    listed = [
        {"app": "web", "env": "dev", "level": "error", "service_name": "web"},
        {"app": "web", "env": "prod", "k8s_pod_name": "web-1", "service_name": "web"},
        {"env": "prod", "job": "cron", "service_name": "cron"},
        {"service_name": "web"},
    ]
    assert (await engine.labels("t", (), AROUND)).value == listed
    for text, places in [
        ('{env="dev"}', [0]),
        ('{service_name="web"}', [0, 1, 3]),
        ('{env="prod", service_name=~".+"}', [1, 2]),
        ('{job="nope"}', []),
    ]:
        found = (await engine.labels("t", parse_selector(text), AROUND)).value
        assert sorted(found, key=lambda labels: sorted(labels.items())) == [listed[place] for place in places], text
    assert (await engine.labels("t2", (), AROUND)).value == [listed[0], listed[2]]
    counted = (await engine.streams("t", (), AROUND)).value
    assert sorted((stream.count, *stream.labels) for stream in counted) == sorted(
        (lines, *labels) for labels, lines in zip(listed, (1, 2, 1, 1), strict=True)
    )
    totals = (await any_tier.logs.list_streams("t", Selection((), START_NS // 10**6, START_NS // 10**6), 0)).value
    assert {stream.labels: stream.records for stream in totals} == {
        tuple(labels.items()): lines for labels, lines in zip(listed, (1, 2, 1, 1), strict=True)
    }


async def test_the_stream_of_a_pushed_record_equals_the_tables(hot_tier: HotTier) -> None:
    """By id and by labels; other scopes in a resource, which no push makes, leave it the labels of the index."""
    mixed = logs_of("sdk", wire_log(60 * SECOND, "mine"), app="x")
    mixed.scope_logs[0].scope.name = PUSHED_SCOPE
    mixed.scope_logs.add(log_records=[wire_log(61 * SECOND, "other")])
    written = await hot_tier.store_logs(*GROUPS, tenant="t")
    await hot_tier.store_logs(mixed, tenant="t")
    found: dict[int, tuple[int, dict[str, str], bool]] = {}
    for clickhouse in hot_tier.clickhouses:
        # What is computed for files that lack the column is what was written.
        ((again,),) = await clickhouse.query(
            "SELECT default_expression FROM system.columns WHERE database = {database:String} AND table = 'logs' AND name = 'stream_labels'",
            {"database": clickhouse.database},
        )
        sql = f"SELECT toUnixTimestamp64Nano(timestamp), stream, stream_labels, stream_labels = {again.decode()} FROM {clickhouse.database}.logs"
        for instant, stream, labels, same in await clickhouse.query(sql, {}):
            found[int(instant)] = (int(stream), dict(labels_held(labels)), bool(same))
    for record in written:
        attributes = tuple(sorted((INDEX_LABELS.get(label, label), value) for label, value in record.stream))
        assert found.pop(record.timestamp_ns) == (labels_id("t", attributes), dict(record.stream), True)
    assert [labels for _, labels, _ in found.values()] == [{"service_name": "sdk"}] * 2
    assert all(same for *_, same in found.values())


async def test_what_an_older_release_has_written_is_selected_and_listed_as_before(shared_hot_node: HotNode) -> None:
    """Its streams have the labels of the index; selectors and lines know all. An insert that it began is repeated into its table."""
    async with open_tier([shared_hot_node]) as tier:
        (clickhouse,) = tier.clickhouses
        body = codec.encode("t", START_NS, PUSHED.SerializeToString())
        await clickhouse.insert("logs_in_3", body, "ProtobufSingle", settings_of(LOGS, "token"))
        await tier.writers[0].write(LOGS, body, "token", landing=LANDING - 1)
        engine = LogqlEngine(tier.logs, LogqlOptions())
        query = parse('{app="web", env="prod"}')
        assert isinstance(query, LogQuery)
        rows = (await engine.lines("t", query, Wanted(AROUND, 100))).value
        assert [row.stream_labels() for row in rows] == [{"app": "web", "env": "prod", "k8s_pod_name": "web-1", "service_name": "web"}] * 2
        assert (await engine.labels("t", (), AROUND)).value == [
            {"k8s_pod_name": "web-1", "service_name": "web"},
            {"service_name": "cron"},
            {"service_name": "web"},
        ]
        # Of both releases at once.
        await tier.store_logs(*GROUPS, tenant="t")
        assert len((await engine.lines("t", query, Wanted(AROUND, 100))).value) == 4
        assert (await engine.labels("t", parse_selector('{job="cron"}'), AROUND)).value == [
            {"service_name": "cron"},
            {"env": "prod", "job": "cron", "service_name": "cron"},
        ]


async def test_a_line_shows_the_labels_of_its_stream(any_tier: HotTier) -> None:
    """As they were pushed: also such as no attribute of OTLP's has as its label."""
    odd = {"service_name": "odd", "a__b": "1", "_x": "2", "Ab": "3", "empty": ""}
    push = read_json(json.dumps({"streams": [{"stream": odd, "values": [[str(START_NS), "odd"]]}]}).encode(), 10_000).request
    await any_tier.store_logs(*push.resource_logs, tenant="t2")
    engine = LogqlEngine(any_tier.logs, LogqlOptions())
    shown = {name: value for name, value in odd.items() if value}
    assert (await engine.labels("t2", (), AROUND)).value == [dict(sorted(shown.items()))]
    query = parse('{a__b="1"}')
    assert isinstance(query, LogQuery)
    assert [row.stream_labels() for row in (await engine.lines("t2", query, Wanted(AROUND, 1))).value] == [shown]
    await any_tier.store_logs(*GROUPS, tenant="t")
    query = parse('{app="web", env="prod"} |= "/a"')
    assert isinstance(query, LogQuery)
    (row,) = (await LogqlEngine(any_tier.logs, LogqlOptions()).lines("t", query, Wanted(AROUND, 1))).value
    assert row.stream_labels() == {"app": "web", "env": "prod", "k8s_pod_name": "web-1", "service_name": "web"}
    assert row.metadata == {"detected_level": "unknown"}
    # A level that was pushed as a label is no severity beside it.
    leveled = parse('{level="error"}')
    assert isinstance(leveled, LogQuery)
    (row,) = (await LogqlEngine(any_tier.logs, LogqlOptions()).lines("t", leveled, Wanted(AROUND, 1))).value
    assert row.metadata == {"detected_level": "error"} == entry(RECORDS[2]).metadata


async def test_a_label_of_pushed_streams_alone_is_looked_for_among_their_lines(shared_hot_node: HotNode) -> None:
    """Not in granules without such lines: cron's are in front of those that came by OTLP, and web's behind."""
    async with open_tier([shared_hot_node]) as tier:
        (clickhouse,) = tier.clickhouses
        await tier.store_logs(logs_of("sdk", *(wire_log(at, "by OTLP") for at in range(40_000))), *PUSHED.resource_logs, tenant="t")
        streams, predicate = selected(parse_selector('{app="web"}'))
        query = LineQuery(AROUND, predicate, streams=streams)
        statement = log_query_builder.find_keys(HotTables(clickhouse.database), "t", query)
        [[plan]] = await clickhouse.query(f"EXPLAIN indexes = 1, json = 1 SELECT * FROM ({statement.sql})", statement.parameters)
        (index,) = [one for one in indexes_of(json.loads(plan)) if one.get("Name") == "by_scope_name"]
        assert (index["Selected Granules"], index["Initial Granules"] > 4) == (2, True)
        assert len((await tier.logs.find_logs("t", query)).value) == 3


async def test_pushed_streams_go_with_their_retention(shared_hot_node: HotNode) -> None:
    """Hour by hour, with their lines and labels, and those of one tenant alone where only that one lets them go."""
    async with open_tier([shared_hot_node]) as tier:
        (clickhouse,) = tier.clickhouses
        later = {"app": "web", "env": "late"}
        push = {"streams": [{"stream": later, "values": [[str(START_NS + 48 * HOUR_NS), "late"]]}]}
        groups = [*PUSHED.resource_logs, *read_json(json.dumps(push).encode(), 10_000).request.resource_logs]
        for tenant in ("t", "long"):
            await tier.store_logs(*groups, tenant=tenant)
        schema, rows, engine = ClickHouseSchema(clickhouse), ClickHouseRows(clickhouse), LogqlEngine(tier.logs, LogqlOptions())
        days = {"logs": (time.time_ns() - START_NS - 24 * HOUR_NS) / DAY_NS}
        for_ever = dict.fromkeys(("traces", "logs", "metrics"), 36_500.0)
        assert await retire(schema, rows, Retention(for_ever, {"t": for_ever | days}), 0) == 0
        whole, query = TimeRange(START_NS, START_NS + 50 * HOUR_NS), parse('{app="web"}')
        assert isinstance(query, LogQuery)
        kept = {**later, "service_name": "web"}
        assert (await engine.labels("t", (), whole)).value == [kept]
        assert [row.line for row in (await engine.lines("t", query, Wanted(whole, 9))).value] == ["late"]
        assert [(stream.labels, stream.count) for stream in (await engine.streams("t", query.matchers, whole)).value] == [(kept, 1)]
        assert len((await engine.labels("long", (), whole)).value) == 4
        assert len((await engine.lines("long", query, Wanted(whole, 9))).value) == 4
        assert await retire(schema, rows, Retention(for_ever | days), 0) == 0
        assert (await engine.labels("long", (), whole)).value == [kept]
