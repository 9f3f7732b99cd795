"""The SQL that is generated, against files that a person can read: ``TAEL_UPDATE_GOLDEN=1`` writes them anew."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tael.logql.ast import Filtered, TextFilter
from tael.logql.ast import LogQuery as LogLines
from tael.logql.flat import JSON, LOGFMT
from tael.logql.needs import wanted
from tael.model.series import GridRequest, Matcher, Selection
from tael.model.time import ALL_TIME, TimeRange
from tael.storage.api import Cursor, LogCounts, LogCursor, LogQuery
from tael.storage.clickhouse import (
    attribute_keys,
    flatten,
    flatten_logs,
    log_lines,
    log_minutes,
    log_query_builder,
    log_streams,
    metric_wire,
    query_builder,
    schema,
    service_counts,
    span_counts,
    topology,
    totals,
    wire,
)
from tael.storage.clickhouse.conditions import Statement
from tael.storage.clickhouse.log_query_builder import LogKey
from tael.storage.clickhouse.needles import Begun, source_of_words
from tael.storage.clickhouse.query_builder import SpanKey, TracePlace
from tael.storage.clickhouse.series import query_builder as series_query_builder
from tael.storage.clickhouse.source import HotTables
from tael.storage.clickhouse.traceql import counted as counted_sql
from tael.storage.clickhouse.traceql import statements, suggest
from tael.traceql.ast import MetricsAggregate
from tael.traceql.counted import counted
from tael.traceql.metrics import Grid
from tael.traceql.parse import parse
from tests.support.storage import log_query, span_query

HOT = HotTables("tael")
FOLDER = Path(__file__).parent / "sql"
HOUR = TimeRange(1_790_000_000_000_000_000, 1_790_003_600_000_000_000)
UP = Selection((Matcher("__name__", "=", "up"),), 1_790_000_000_000, 1_790_003_600_000)
UP_OF_JOBS = replace(UP, matchers=(*UP.matchers, Matcher("job", "=~", "api|web"), Matcher("zone", "!=", ""), Matcher("path", "!~", "/x.*")))
ANY_METRIC = replace(UP, matchers=(Matcher("__name__", "=~", "u.*"), Matcher("job", "=", "api")), start_ms=-5)
COUNTED = LogCounts(
    HOUR, streams=(Matcher("k8s_pod_name", "=~", "cart-.+"),), known=("labels", "level"), slot_ns=60_000_000_000, by_level=True, sizes=True
)
OF_MEMBERS = LogCounts(HOUR, known=("level",), by_stream=False, known_if=JSON.known_if(("status",)), texts=(JSON.pattern_of("status"),))
LEVELS = (Matcher("detected_level", "=~", "err.*|odd"), Matcher("detected_level", "!=", "fatal"))
OF_LEVELS = wanted(LogLines((), tuple(Filtered(TextFilter(matcher)) for matcher in LEVELS)))
CUT = Begun(frozenset(("1234",)), source_of_words("tael", HOUR))
STREAMS = replace(UP, matchers=(Matcher("service_name", "=", "shop"), Matcher("k8s_pod_name", "=~", "cart-.+")))
WIDE = GridRequest(UP.matchers, "increase", 1_790_000_100_000, 1_790_086_500_000, 3_600_000, 600_000)
STEPS = (1_790_000_000_000, 1_790_003_600_000, 15_000)
PLACE = TracePlace(frozenset({HOUR.start_ns}), HOUR.start_ns, HOUR.end_ns, 0)
COUNTED_TRACES, FEWER_TRACES = (
    counted_sql.CountedTraces(found, HOUR)
    for text in ("{ status = error } | count() > 1 | avg(duration) > 1s", "{ kind = client } | { status = error } | count() < 3.5")
    if (found := counted(parse(text).pipeline)) is not None
)
SUM_COUNTED = statements.sum_spans(
    HOT,
    "t1",
    COUNTED_TRACES.counted.kept,
    MetricsAggregate("rate"),
    Grid.over(HOUR.start_ns, HOUR.end_ns, 60_000_000_000),
    exemplars=False,
    of_traces=partial(replace(COUNTED_TRACES, without=(b"t" * 16,)).condition, HOT, "t1"),
)
assert SUM_COUNTED is not None
CURSOR = Cursor(1_790_000_000_000_000_007, b"t" * 16, b"s" * 8)


def shown(statement: Statement) -> str:
    parameters = "".join(f"-- {name} = {value!r}\n" for name, value in statement.parameters.items())
    return f"{statement.sql}\n\n{parameters}"


def find(**query: Any) -> str:
    return shown(query_builder.find_keys(HOT, "t1", span_query(**{"time_range": HOUR, **query})))


def find_logs(**query: Any) -> str:
    return shown(log_query_builder.find_keys(HOT, "t1", log_query(**{"time_range": HOUR, **query})))


CASES = {
    "spans_in_columns": wire.landing_columns(wire.wal_batch(wire.TRACE_REQUEST)) + "\n",
    "metrics_in_1_columns": wire.landing_columns(wire.wal_batch(metric_wire.METRIC_BATCH)) + "\n",
    "metrics_in_1_schema": wire.format_schema(wire.wal_batch(metric_wire.METRIC_BATCH)),
    "totals_in_1_columns": wire.landing_columns(wire.wal_batch(metric_wire.TOTAL_BATCH)) + "\n",
    "totals_in_1_schema": wire.format_schema(wire.wal_batch(metric_wire.TOTAL_BATCH)),
    "spans_in_schema": wire.format_schema(wire.wal_batch(wire.TRACE_REQUEST)),
    "spans_in_9_select": flatten.spans_select("tael.spans_in_9") + "\n",
    "find_newest": find(),
    "find_of_service": find(service="shop", limit=20),
    "find_operation": shown(query_builder.find_keys(HOT, "t1", span_query(HOUR, operation="GET"), named_since_ns=0)),
    "find_everything": find(
        time_range=ALL_TIME,
        service="shop",
        operation="GET",
        min_duration_ns=5,
        max_duration_ns=9,
        status_code=2,
        model="m-1",
        min_cost_usd=0.5,
        after=CURSOR,
    ),
    "find_attributes": find(attributes=[("user", "ann"), ("n", "5"), ("zero", "0"), ("cached", "false"), ("empty", "")]),
    "find_number": find(attributes=[("n", "5")], status_code=2, after=CURSOR),
    "find_text": find(text="blue  sky"),
    "find_in_an_empty_range": find(time_range=TimeRange(5, 5)),
    "fetch": shown(query_builder.fetch(HOT, "t1", [SpanKey("shop", 7, b"t" * 16, b"s" * 8), SpanKey("pay", 3, b"u" * 16, b"v" * 8)])),
    "trace_place": shown(query_builder.trace_place(HOT, "t1", b"t" * 16)),
    "get_trace": shown(query_builder.get_trace(HOT, "t1", b"t" * 16, PLACE, 2_001, empty=0xFFFF)),
    "services_by_hours_and_minutes": shown(
        service_counts.list_services(HOT, "t1", TimeRange(HOUR.start_ns + 7, HOUR.end_ns + 7_200 * 10**9), 0)
    ),
    "services_counted_since": shown(service_counts.counted_since(HOT, "t1")),
    "services_within_an_hour": shown(service_counts.list_services(HOT, "t1", TimeRange(HOUR.start_ns, HOUR.start_ns + 100 * 10**9), 0)),
    "services_before_they_were_counted": shown(service_counts.list_services(HOT, "t1", HOUR, HOUR.end_ns)),
}

CASES |= {
    "logs_in_columns": wire.landing_columns(wire.wal_batch(wire.LOGS_REQUEST)) + "\n",
    "logs_in_schema": wire.format_schema(wire.wal_batch(wire.LOGS_REQUEST)),
    "logs_in_1_select": flatten_logs.logs_select_1("tael.logs_in_1") + "\n",
    "logs_in_4_select": flatten_logs.logs_select("tael.logs_in_4") + "\n",
    "log_line_names": log_lines.names() + "\n",
    "log_line_level": log_lines.level() + "\n",
    "logs_counted": shown(log_query_builder.count(HOT, "t1", COUNTED, HOUR, 9)),
    "logs_counted_of_members": shown(log_query_builder.count(HOT, "t1", OF_MEMBERS, HOUR, 9)),
    "logs_summed_of_members": shown(log_query_builder.count(HOT, "t1", replace(OF_MEMBERS, value=JSON.pattern_of("took_ms")), HOUR, 9)),
    "logs_values_of_members": shown(log_query_builder.read_values(HOT, "t1", replace(OF_MEMBERS, value=LOGFMT.pattern_of("took_ms")), 9)),
    "logs_of_unknown_members": shown(
        log_query_builder.find_keys(HOT, "t1", LogQuery(HOUR, unknown=("level",), known_if=OF_MEMBERS.known_if))
    ),
    "logs_counted_by_minutes": shown(log_minutes.count(HOT, "t1", COUNTED, HOUR, 9)),
    "logs_counted_alike_by_minutes": shown(log_minutes.count(HOT, "t1", replace(COUNTED, slot_ns=0, labels=("service_name",)), HOUR, 9)),
    "logs_counted_of_levels": shown(log_query_builder.count(HOT, "t1", replace(COUNTED, predicate=OF_LEVELS), HOUR, 9)),
    "logs_counted_of_levels_by_minutes": shown(log_minutes.count(HOT, "t1", replace(COUNTED, predicate=OF_LEVELS), HOUR, 9)),
    "logs_newest": find_logs(),
    "logs_of_service": find_logs(service="shop", limit=20, min_level=4),
    "logs_everything": find_logs(
        time_range=ALL_TIME,
        level=5,
        body_contains="db: Connection refused, by",
        words="refused retry",
        trace_id=b"t" * 16,
        span_id=b"s" * 8,
        attributes=[("user", "ann")],
        after=LogCursor(1_790_000_000_000_000_007, 9),
    ),
    "logs_of_a_cut_word": shown(log_query_builder.find_keys(HOT, "t1", log_query(HOUR, body_contains="one order 1234"), CUT)),
    "logs_lines_of_a_cut_word": shown(log_query_builder.lines_of(CUT.source, "1234")),
    "logs_fetch": shown(log_query_builder.fetch(HOT, "t1", [LogKey("shop", 7, 1), LogKey("pay", 3, 1 << 63)])),
}

CASES |= {
    "series_select": shown(series_query_builder.select_samples(HOT, "t1", UP_OF_JOBS, 1_001)),
    "series_select_by_name": shown(series_query_builder.select_samples(HOT, "t1", UP, 1_001)),
    "series_select_any_metric": shown(series_query_builder.select_samples(HOT, "t1", ANY_METRIC, 1_001)),
    "series_select_histograms": shown(series_query_builder.select_histograms(HOT, "t1", UP, 1_001)),
    "series_any_histogram": shown(series_query_builder.any_histogram(HOT, "t1", UP)),
    "series_grid_rate": shown(series_query_builder.grid(HOT, "t1", GridRequest(UP_OF_JOBS.matchers, "rate", *STEPS, 300_000))),
    "series_buckets": shown(series_query_builder.buckets(HOT, "t1", WIDE, ("count", "sum", "min", "before_resets"))),
    "series_grid_last_once": shown(series_query_builder.grid(HOT, "t1", GridRequest(UP.matchers, "last", -1, -1, 0, 1))),
    "series_grid_predict": shown(series_query_builder.grid(HOT, "t1", GridRequest(UP.matchers, "predict_linear", *STEPS, 60_500, -3.5))),
    "series_list": shown(series_query_builder.list_series(HOT, "t1", UP_OF_JOBS, 7)),
    "series_list_first": shown(series_query_builder.list_series(HOT, "t1", UP_OF_JOBS, 7, ordered=True)),
    "series_label_names": shown(series_query_builder.label_names(HOT, "t1", Selection((), 0, 1), 0)),
    "series_label_values": shown(series_query_builder.label_values(HOT, "t1", "job", UP, 10)),
    "series_metric_names": shown(series_query_builder.label_values(HOT, "t1", "__name__", UP, 0)),
    "streams_list": shown(log_streams.list_streams(HOT, "t1", STREAMS, 0)),
    "streams_list_first": shown(log_streams.list_streams(HOT, "t1", STREAMS, 5)),
    "logs_of_streams": shown(log_query_builder.find_keys(HOT, "t1", LogQuery(HOUR, streams=STREAMS.matchers))),
    "attribute_keys": shown(attribute_keys.list_keys(HOT, "t1", "logs", HOUR)),
    "attribute_key_values": shown(attribute_keys.key_values(HOT, "t1", "traces", "attribute", "k", HOUR, 9)),
    "traceql_counted": shown(SUM_COUNTED),
    "traceql_counted_any_copies": shown(counted_sql.any_copies(HOT, "t1", COUNTED_TRACES)),
    "traceql_counted_copied": shown(counted_sql.find_copied(HOT, "t1", FEWER_TRACES, 9)),
    "traceql_counted_far": shown(counted_sql.find_far(HOT, "t1", COUNTED_TRACES, 9)),
    "suggested_names": shown(suggest.list_names(HOT, "t1", HOUR, 9)),
    "suggested_services": shown(suggest.list_services(HOT, "t1", HOUR)),
    "attribute_keys_of_spans_select": attribute_keys.own_keys_select("traces") + "\n",
    "attribute_keys_of_resources_select": attribute_keys.shared_keys_select("traces", "tael.spans_in_9") + "\n",
    "counts_calls": shown(span_counts.count_calls(HOT, "t1", 1_790_000_000_000, 1_790_003_600_000, 60_000, 1_001)),
    "counts_spans": shown(span_counts.count_spans(HOT, "t1", 1_790_000_000_000, 1_790_003_600_000)),
    "counts_edges": shown(span_counts.count_edges(HOT, "t1", 1_790_000_000_000, 1_790_003_600_000, 60_000, 1_001, 1)),
    "counts_edges_sampled": shown(span_counts.count_edges(HOT, "t1", 1_790_000_000_000, 1_790_003_600_000, 60_000, 1_001, 3)),
    "totals_samples": shown(totals.last("tael.samples", "value", ("value",), "t1", [(7, 70), (5, 51), (7, 71)], 1_790_000_000_000)),
    "totals_histograms": shown(totals.last("tael.histograms", "sum", ("schema", "count"), "t1", [(7, 70)], -5)),
    "topology_services": shown(topology.list_services(HOT, "t1", HOUR)),
    "topology_operations": shown(topology.list_operations(HOT, "t1", "shop", HOUR)),
    "topology_calls": shown(topology.count_calls(HOT, "t1", HOUR)),
    "series_families": shown(series_query_builder.families(HOT, "t1", "", 0)),
    "series_families_of_one": shown(series_query_builder.families(HOT, "t1", "up", 5)),
    "series_exemplars": shown(series_query_builder.exemplars(HOT, "t1", UP, 100)),
}


@pytest.mark.parametrize("name", CASES)
def test_sql_is_as_it_was(name: str) -> None:
    """A landing table and its view are frozen once released; a change to any other file is to be read in review."""
    path = FOLDER / f"{name}.sql"
    if os.environ.get("TAEL_UPDATE_GOLDEN"):
        path.write_text(CASES[name])
    assert path.read_text() == CASES[name]


def test_no_file_is_left_over() -> None:
    """Every file belongs to a case."""
    assert {path.stem for path in FOLDER.glob("*.sql")} == set(CASES)


def test_no_question_names_a_table_by_itself() -> None:
    """A row may be in another tier: a Source says where. The writer's own reads, what makes the tables and what empties them know the hot
    ones.
    """
    folder = Path(flatten.__file__).parent
    own = {"holdings.py", "rolling.py", "schema.py", "source.py", "stored.py", "stored_rows.py", "totals.py"}
    named = [
        path.name
        for path in folder.rglob("*.py")
        if path.name not in own and re.search(r"(FROM|JOIN|IN) \(?\{\w*database\}", path.read_text())
    ]
    assert named == []


_RELEASED = 12
"""The last migration of which the file is kept: those that were released do not change."""


@pytest.mark.parametrize("engine", ["mergetree", "replicated"])
def test_the_schema_of_each_engine_is_as_written(engine: schema.Engine) -> None:
    """What a shard's servers are told; of views their heads alone, which are what differs."""
    migrations = [migration for migration in schema.read_migrations() if migration.version <= _RELEASED]
    statements = [
        schema.create_database("tael", engine),
        *(schema.fill(text, "tael", engine) for one in migrations for text in one.statements),
    ]
    if engine == "replicated":
        statements += schema.everywhere("tael", "shards")
    heads = [re.sub(r"(?ms)(^CREATE MATERIALIZED VIEW .*?\bTO \S+).*", r"\1 …", text) for text in statements]
    path, found = FOLDER.with_name("schema") / f"{engine}.sql", ";\n\n".join(heads) + ";\n"
    if os.environ.get("TAEL_UPDATE_GOLDEN"):
        path.write_text(found)
    assert path.read_text() == found
