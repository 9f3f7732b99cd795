"""Counts and filters that shards compute for LogQL agree with the same query evaluated row by row, for generated queries."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from services.query.logql.engine import LogqlEngine, LogqlOptions, Wanted
from tael.logql.ast import LogQuery
from tael.logql.evaluate import leaves
from tael.logql.parse import parse
from tael.logql.pipeline import Pipeline
from tael.logql.plans import counts
from tael.logql.records import entry
from tael.logql.stages.label_filter import condition
from tael.model.attributes import AttributeValue
from tael.model.log import LogRecord
from tael.model.time import TimeRange
from tael.storage.api import LogReader
from tael.vectors.values import Steps
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, logs_of, open_tier, wire_log

SECOND = 1_000_000_000
BODIES: list[AttributeValue] = [
    "user alice logged in", "user bob FAILED", "", "level=error msg=oops", "an error here", '{"level": "warn", "n": 5}', "multi\nline", "Grüße", "10.0.0.5 done",
    5, True, 1.5, None, b"bytes", {"user": "alice", "n": 1}, ["alice", 2],
]  # fmt: skip
TEXTS = [
    "alice",
    "user",
    "FAILED",
    "level",
    "n",
    "5",
    "true",
    "",
    "Grü",
    'user": "alice',
    "line",
    ".",
    "nobody",
    "user alic",
    "an erro",
    "alice logg",
    "r bob fail",
    "level=erro",
    "=error msg",
    'user": "alic',
    "0.0.5 done",
    "no body",
]
REGEXES = ["alice|bob", "^user", "(?i)failed", "multi.line", "(?s)multi.line", "^$", "[0-9]+", "x"]
LABELS = ["service_name", "service_namespace", "k8s_pod_name", "detected_level", "level"]


def groups() -> list[ResourceLogs]:
    resources: list[tuple[str, dict[str, Any]]] = [
        ("shop", {"service.namespace": "eu", "k8s.pod.name": "p-1", "host.name": "a"}),
        ("shop", {"service.namespace": "us", "k8s.pod.name": 5}),
        ("job", {"k8s.pod.name": True}),
        ("auth", {"service.namespace": ""}),
    ]
    severities: list[dict[str, Any]] = [
        {"severity_number": 9, "severity_text": "INFO"},
        {"severity_number": 17},
        {"severity_text": "odd"},
        {},
    ]
    attributes: list[dict[str, Any]] = [
        {},
        {"level": "Warning"},
        {"Severity": "x"},
        {"trace_id": "ab" * 16},
        {"n": 1},
        {"detected_level": "error"},
    ]
    made = []
    for place, (service, resource) in enumerate(resources):
        records = [
            wire_log(
                (place * 7 + number * 3) * SECOND // 2,
                body,
                attributes=attributes[(place + number) % len(attributes)],
                trace_id=b"\xab" * 16 if number % 4 == 0 else b"",
                **severities[(place + number) % len(severities)],
            )
            for number, body in enumerate(BODIES)
        ]
        made.append(logs_of(service, *records, **resource))
    return made


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


MATCHERS = st.sampled_from(
    [
        'service_name=~".+"', 'service_name="shop"', 'service_name!="shop"', 'service_name=~"s.*|job"', 'service_namespace="eu"',
        'service_namespace!="eu"', 'service_namespace=""', 'service_namespace=~".*u.*"', 'k8s_pod_name="5"', 'k8s_pod_name=~"p.*|true"',
        'k8s_pod_name!~"p.*"', 'host_name="a"', 'host_name=""',
    ]
)  # fmt: skip
SELECTORS = st.lists(MATCHERS, max_size=2).map(lambda some: "{" + ", ".join(['service_name=~".+"', *some]) + "}")
FILTERS = st.one_of(
    st.builds(lambda op, text: f"{op} {quoted(text)}", st.sampled_from(["|=", "!="]), st.sampled_from(TEXTS)),
    st.builds(lambda one, other: f"|= {quoted(one)} or {quoted(other)}", st.sampled_from(TEXTS), st.sampled_from(TEXTS)),
    st.builds(lambda op, text: f"{op} {quoted(text)}", st.sampled_from(["|~", "!~"]), st.sampled_from(REGEXES)),
)
OF_LEVEL = st.builds(
    lambda op, level: f"detected_level{op}{quoted(level)}",
    st.sampled_from(["=", "!=", "=~", "!~"]),
    st.sampled_from(["error", "warn", "info", "unknown", "odd", "x", "", "ERROR", "error|odd", "warn.*", "(?i)INFO|ODD", ".*", "o.d"]),
)
LEVELS = st.one_of(
    st.builds(lambda one: f"| {one}", OF_LEVEL),
    st.builds(lambda one, word, other: f"| {one} {word} {other}", OF_LEVEL, st.sampled_from(["or", "and"]), OF_LEVEL),
    st.builds(lambda one, two, three: f"| ({one} or {two}) and {three}", OF_LEVEL, OF_LEVEL, OF_LEVEL),
)
OTHERS = st.sampled_from(
    [
        '|> "user <_>"',
        '!> "user <_>"',
        '|= ip("10.0.0.0/8")',
        f'| trace_id="{"ab" * 16}"',
        '| level="Warning"',
        "| logfmt",
        "| json",
        "| decolorize",
        '| json detected_level="level"',
        '| pattern "<detected_level> <_>"',
        '| line_format "error"',
        '| label_format detected_level="error"',
        "| label_format detected_level=level",
        "| label_format other=detected_level",
        "| drop detected_level",
        "| drop __error__",
        "| keep service_name",
        "| n > 0",
        f'| detected_level="odd" or trace_id="{"ab" * 16}"',
        '| detected_level="odd" or n > 0',
    ]
)
LINES = st.builds(
    lambda selector, stages: " ".join([selector, *stages]), SELECTORS, st.lists(st.one_of(FILTERS, LEVELS, OTHERS), max_size=3)
)
COUNTED = st.builds(
    lambda op, by, selector, filters, drop, window: (
        f"sum by ({', '.join(by)}) ({op}({' '.join([selector, *filters])}{' | drop __error__' * drop} [{window}]))"
    ),
    st.sampled_from(["count_over_time", "rate"]),
    st.lists(st.sampled_from(LABELS), max_size=2, unique=True),
    SELECTORS,
    st.lists(st.one_of(FILTERS, LEVELS), max_size=2),
    st.booleans(),
    st.sampled_from(["2s", "5s", "30s", "1m", "2m"]),
)


THOROUGH = settings(
    max_examples=int(os.environ.get("TAEL_TEST_PREDICATES", "50")), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
AROUND = TimeRange(START_NS - SECOND, START_NS + 60 * SECOND)


def on_a_shard(node: HotNode, check: Callable[[LogReader, Sequence[LogRecord], Any], None]) -> None:
    """Run ``check`` on a new shard that holds the records, and on the records themselves."""
    with asyncio.Runner() as runner:
        opened = open_tier([node])
        tier = runner.run(opened.__aenter__())
        try:
            check(tier.logs, runner.run(tier.store_logs(*groups(), tenant="t")), runner.run)
        finally:
            runner.run(opened.__aexit__(None, None, None))


def shown(value: Any) -> Any:
    """Series by labels, with the samples that are present."""
    return {
        labels: [round(number, 9) if there else None for number, there in zip(numbers, present, strict=True)]
        for labels, numbers, present in zip(value.labels, value.values.tolist(), value.present.tolist(), strict=True)
    }


def test_counts(shared_hot_node: HotNode) -> None:
    """A query that shards count themselves, and the same query evaluated line by line."""

    def check(reader: LogReader, _: Sequence[LogRecord], run: Any) -> None:
        pushed, row_wise = LogqlEngine(reader, LogqlOptions()), LogqlEngine(reader, LogqlOptions(push=False))
        ranged = Steps(START_NS, START_NS + 40 * SECOND, 10 * SECOND)
        minute = START_NS - START_NS % (60 * SECOND)
        by_minutes = Steps(minute, minute + 180 * SECOND, 60 * SECOND)

        @THOROUGH
        @given(COUNTED, st.sampled_from([ranged, by_minutes, Steps(START_NS + 20 * SECOND, START_NS + 20 * SECOND, 0)]))
        def agree(query: str, steps: Steps) -> None:
            expr: Any = parse(query)
            assert all(counts(leaf, steps) is not None for leaf in leaves(expr)), query
            assert shown(run(pushed.value("t", expr, steps)).value) == shown(run(row_wise.value("t", expr, steps)).value), query

        agree()

    on_a_shard(shared_hot_node, check)


def test_lines(shared_hot_node: HotNode) -> None:
    """The storage never filters out a line that the stages would keep; both directions return the same lines."""

    def check(reader: LogReader, records: Sequence[LogRecord], run: Any) -> None:
        engine = LogqlEngine(reader, LogqlOptions())

        @THOROUGH
        @given(LINES)
        def agree(text: str) -> None:
            query = parse(text)
            assert isinstance(query, LogQuery)
            expected = sorted(plainly(query, records))
            for oldest_first in (False, True):
                found = run(engine.lines("t", query, Wanted(AROUND, 1000, oldest_first))).value
                assert sorted((row.timestamp_ns, row.line, sorted(row.labels().items())) for row in found) == expected, text

        agree()

    on_a_shard(shared_hot_node, check)


def plainly(query: LogQuery, records: Sequence[LogRecord]) -> list[Any]:
    """The lines of a query, found by evaluating every record."""
    pipeline = Pipeline(query.stages)
    found = []
    for record in records:
        one = entry(record)
        row = one.row()
        if all(condition(matcher)(one.stream.get(matcher.name, "")) for matcher in query.matchers) and pipeline.keeps(row):
            found.append((row.timestamp_ns, row.line, sorted(row.labels().items())))
    return found
