"""What storage finds in flat lines of JSON (tael/logql/flat_json.py) is what the parser finds, for generated lines, on shards and in
memory.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
from typing import Any

from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from services.query.logql.engine import LogqlEngine, LogqlOptions
from tael.errors import Rejected
from tael.logql.ast import JsonParser
from tael.logql.evaluate import leaves
from tael.logql.flat_json import is_member, is_whole, known_if, pattern_of, text_of
from tael.logql.hints import Hints
from tael.logql.needs import counts
from tael.logql.parse import parse
from tael.logql.records import entry
from tael.logql.stages.json_parser import json_parser
from tael.model.log import LogRecord
from tael.model.predicate import EVERYTHING
from tael.model.span import Resource, Scope
from tael.otlp.matches import log_test
from tael.vectors.values import Steps
from tests.property.test_logql_from_line import SCALARS, written
from tests.property.test_logql_pushdown import shown
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, logs_of, open_tier, wire_log

SECOND = 10**9
KEYS = ["status", "status", " status", "Status", "a_b", "a.b", "a-b", "a", "b", "", "1st", "_x", "é", "level", "service_name", "__error__", "st\"atus", "x\\y"]  # fmt: skip
LABELS = ["status", "a_b", "a", "level", "Status", "b"]
VALUES = st.one_of(
    SCALARS,
    st.sampled_from(['"say \\"status\\": 5"', '"\\"status\\""', '"status"', "[]", '["status", 1]', '[{"status": 1}]', '{"b": 1}', '{"status": 1}', '"x\x7f"']),
    st.sampled_from(['"a\\n"', "-0", "1e5", "7", "-12", "123456789012", "12345678901", "01", "1.", ".5", "tru", "NaN", "-", '"\x01"', '"ok"', "200", "200", '"200"', "[1 2]", "[1,]", '"\\x"', '"\\u12"']),
)  # fmt: skip
LINES = st.one_of(
    st.builds(
        written,
        st.lists(st.tuples(st.sampled_from(KEYS), VALUES), max_size=4),
        st.sampled_from(["", " ", "\t", "\n"]),
        st.sampled_from(["}", "}", "}", " }", "", '} "status": 7', ",", "}}"]),
    ),
    st.sampled_from(["", "{", "[]", '"status"', '{"status"}', '{"status":1 "a":2}', ' \n{"status":1}', '\u00a0{"status":1}', "{}", '{"a":1,}', '{"status":200,,"a":1}']),
)  # fmt: skip
TESTS = ["status = 200", "status != 200", "status >= 200", 'status="200"', 'status!="200"', 'a_b=""', 'a!=""', 'a=~"[a-z]+"', 'status!~".*5"', "b > 5ms", "a <= 1KB", 'b = ip("10.0.0.1")']  # fmt: skip
MANY = settings(
    max_examples=int(os.environ.get("TAEL_TEST_PREDICATES", "300")), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@MANY
@given(LINES, st.lists(st.sampled_from(LABELS), max_size=2, unique=True))
@example('{"status":null,"status":"x"}', ["status"])
@example('{"a.b":1,"a_b":2}', ["a_b"])
@example('{"msg":"\\"status\\":5","status":6}', ["status"])
@example('{"status":""}', ["status"])
@example('{} "status": 7', ["status"])
@example('{"a":1}\n', ["status"])
@example('{"x":"status","a":1}', ["status"])
@example('{"status":5,"status":"x"}', ["status"])
@example('{"status":"x","status":5}', ["status"])
@example('{"status":-0}', ["status"])
def test_a_line_that_is_known_has_these_members(line: str, labels: list[str]) -> None:
    """And no error."""
    record = LogRecord(1, 0, Resource(), Scope(), line)
    if not log_test(known_if(tuple(labels)))(record):
        return
    row = entry(record).row(Hints(frozenset(labels)) if labels else Hints())
    assert json_parser(JsonParser())(row)
    assert not row.error
    for label in labels:
        found = re.search(pattern_of(label), line)
        assert row.parsed.get(label) == (text_of(found[1]) if found else None)
        if log_test(is_whole(label))(record):
            assert str(int(str(row.parsed[label]))) == row.parsed[label]


def test_lines_as_they_are_usually_written_are_known() -> None:
    """With what such lines have: texts with escapes, numbers, words, lists."""
    line = json.dumps({"msg": 'say "hi"\n', "status": 200, "ok": True, "took.ms": 1.5, "tags": ["a", "b"], "none": None, "größe": "x"} | {})
    plain = line.replace(', "gr\\u00f6\\u00dfe": "x"', "")
    for text, known in ((plain, True), (line, False), (json.dumps({"a": {"b": 1}}), False)):
        assert log_test(known_if(("status", "ok", "took_ms")))(LogRecord(1, 0, Resource(), Scope(), text)) == known, text
    assert [is_member(name) for name in ("status", "service_name", "k8s_pod_name", "_x", "a_extracted", "__error__", "detected_level")] == [
        True,
        *[False] * 6,
    ]


def test_what_is_counted_by_shards() -> None:
    """Only groups by members, and by labels that every line has; without a label nothing is parsed."""
    steps = Steps(START_NS, START_NS, 0)

    def plan(query: str) -> Any:
        ((leaf),) = leaves(parse(query))
        return counts(leaf, steps)

    assert plan('sum by (status) (count_over_time({a="b"} |= "x" | json [1m]))').members == ("status",)
    assert plan('sum by (status, service_name) (rate({a="b"} | json | __error__="" [1m]))').members == ("status",)
    assert plan('sum(count_over_time({a="b"} | json [1m]))').known_if == EVERYTHING
    assert plan('sum by (status) (count_over_time({a="b"} | json | a > 5 [1m]))').members == ("a", "status")
    assert plan('sum(count_over_time({a="b"} | json | a > 5 or b="x" | detected_level="error" [1m]))').members == ("a", "b")
    assert plan('sum by (service_name) (count_over_time({a="b"} | json [1m]))').known_if == known_if(())
    assert plan('sum by (status) (sum_over_time({a="b"} | json | unwrap a [1m]))').summed == "a"
    assert plan('avg_over_time({a="b"} | json | unwrap a [1m]) by (status)').summed == "a"
    for text in (
        'sum(sum_over_time({a="b"} | json | unwrap bytes(a) [1m]))',
        'sum(sum_over_time({a="b"} | json | unwrap a | a > 5 [1m]))',
        'sum(sum_over_time({a="b"} | unwrap a [1m]))',
        'sum_over_time({a="b"} | json | unwrap a [1m])',
        'max_over_time({a="b"} | json | unwrap a [1m]) by (status)',
    ):
        assert plan(text) is None, text
    for query in ("sum by (k8s_pod_name)", "sum by (_x)", "sum without (status)", "max by (status)"):
        assert plan(f'{query} (count_over_time({{a="b"}} | json [1m]))') is None
    for stages in (
        '| json s="status"',
        '| status="200" | json',
        '| json | k8s_pod_name="a"',
        '| json | status="200" or __error__="x"',
        '| json | label_format a="b"',
        "| logfmt | json",
        '| json | __error__="x"',
    ):
        assert plan(f'sum by (status) (count_over_time({{a="b"}} {stages} [1m]))') is None


FILTERS = st.one_of(
    st.just(""),
    st.builds(
        lambda one, word, other: f" | {one} {word} {other}" if word else f" | {one}",
        st.sampled_from([*TESTS, 'detected_level="error"']),
        st.sampled_from(["", "", "and", "or"]),
        st.sampled_from(TESTS),
    ),
)


def groups(lines: list[str]) -> list[ResourceLogs]:
    """The lines, the last of them of a record and of a resource with an attribute that takes a label's place."""
    records = [wire_log(at * SECOND, line) for at, line in enumerate(lines)]
    return [
        logs_of("shop", *records),
        logs_of("shop", wire_log(1, lines[-1], attributes={"status": "own"}), wire_log(2, lines[-1], attributes={"a.b": 5})),
        logs_of("job", wire_log(3, lines[-1]), status=7),
    ]


def test_counts(shared_hot_node: HotNode) -> None:
    """Those of shards and those of the lines, which fail for the same lines."""
    errors = st.sampled_from(["", "", ' | __error__=""', " | drop __error__, __error_details__"])
    sums = st.builds(
        lambda by, op, test, label: (
            f'{op}({{service_name=~".+"}} | json{test} | unwrap {label} | __error__="" [2m]) by ({", ".join(by)})'
            if op == "avg_over_time"
            else f'sum by ({", ".join(by)}) ({op}({{service_name=~".+"}} | json{test} | unwrap {label} | __error__="" [2m]))'
        ),
        st.lists(st.sampled_from([*LABELS, "service_name", "detected_level"]), max_size=2, unique=True),
        st.sampled_from(["sum_over_time", "avg_over_time", "rate"]),
        FILTERS,
        st.sampled_from(LABELS),
    )
    counted = st.builds(
        lambda by, op, *stages: f'sum by ({", ".join(by)}) ({op}({{service_name=~".+"}} | json{"".join(stages)} [2m]))',
        st.lists(st.sampled_from([*LABELS, "service_name", "detected_level"]), max_size=3, unique=True),
        st.sampled_from(["count_over_time", "rate", "bytes_over_time"]),
        errors,
        FILTERS,
        errors,
    )
    queries = st.one_of(counted, sums)
    # Without making a failing example smaller, which takes minutes over a shard.
    few = settings(
        max_examples=int(os.environ.get("TAEL_TEST_PREDICATES", "20")),
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    steps = Steps(START_NS + 60 * SECOND, START_NS + 60 * SECOND, 0)

    with asyncio.Runner() as runner:
        opened = open_tier([shared_hot_node])
        tier = runner.run(opened.__aenter__())
        pushed, row_wise = LogqlEngine(tier.logs, LogqlOptions()), LogqlEngine(tier.logs, LogqlOptions(push=False))
        tenants = map(str, itertools.count())

        @few
        @given(st.lists(LINES, min_size=5, max_size=25), st.lists(queries, min_size=3, max_size=3))
        def agree(lines: list[str], asked: list[str]) -> None:
            runner.run(compared(next(tenants), lines, asked))

        async def compared(tenant: str, lines: list[str], asked: list[str]) -> None:
            await tier.store_logs(*groups(lines), tenant=tenant)
            for query in asked:
                assert await answered(pushed, tenant, query) == await answered(row_wise, tenant, query), query

        async def answered(engine: LogqlEngine, tenant: str, query: str) -> Any:
            expr: Any = parse(query)
            try:
                return shown((await engine.value(tenant, expr, steps)).value)
            except Rejected as error:
                return str(error)[:40]

        try:
            agree()
        finally:
            runner.run(opened.__aexit__(None, None, None))
