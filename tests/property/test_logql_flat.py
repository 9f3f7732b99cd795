"""What storage finds in flat lines (tael/logql/flat.py) is what the parsers find, for generated lines, on shards and in memory."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs

from services.query.logql.engine import LogqlEngine, LogqlOptions
from tael.errors import Rejected, TooLarge
from tael.logql.evaluate import leaves
from tael.logql.flat import JSON, LOGFMT, Flat, is_member, text_of
from tael.logql.hints import Hints
from tael.logql.parse import parse
from tael.logql.pipeline import compiled_stages
from tael.logql.plans import counts, values
from tael.logql.records import entry
from tael.model.log import LogRecord
from tael.model.predicate import EVERYTHING
from tael.model.span import Resource, Scope
from tael.otlp.matches import log_test
from tael.storage.api import LogReader
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
# The same texts as pairs, among which some are broken, and words around quotations that do not end, or not where they seem to.
PAIRS = st.one_of(
    st.builds("{}={}".format, st.sampled_from([*KEYS, "a/b", "größe", "\u00a0status", "a\x7fb"]), st.one_of(VALUES, st.sampled_from(['"status=7"', '"x status=7"', '"x\\\\ status=7"', '"say \\" status=7"', '"x="', "a=b", 'a"b', '"a"b', "", '""', "1.5s", "10KB", "0.1", "-", "007", "größe", '"größe"', '"a\\tb"', '"\\q"', '"x\nstatus=7"']))),
    st.sampled_from(["status", "plain words", '"status=5"', '="x', "=", '"', 'x"', "==", "größe", "\x7f"]),
)  # fmt: skip
LOGFMT_LINES = st.one_of(
    LINES, st.lists(st.tuples(PAIRS, st.sampled_from([" ", " ", "  ", "\t", "\n", "", "\u00a0"])), max_size=5).map(lambda some: "".join(map("".join, some)))
)  # fmt: skip
FORMS = {"json": (JSON, LINES), "logfmt": (LOGFMT, LOGFMT_LINES)}
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
def test_a_line_of_json_that_is_known_has_these_members(line: str, labels: list[str]) -> None:
    """And no error."""
    found_as_parsed(JSON, line, labels)


@MANY
@given(LOGFMT_LINES, st.lists(st.sampled_from(LABELS), max_size=2, unique=True))
@example("status= status=5", ["status"])
@example('msg="x status=7" status=5', ["status"])
@example('msg="x\\\\ status=7', ["status"])
@example('msg="x\\ status=7"', ["status"])
@example('url="/?a=" status=5', ["status"])
@example("status=a=b status=5", ["status"])
@example('status="a"b=5 b=6', ["status", "b"])
@example('status="a"b', ["status"])
@example("a/b=5 a_b=6", ["a_b"])
@example("\u00a0status=5 status=6", ["status"])
@example("status=größe", ["status"])
@example("status=- a=1", ["status"])
@example("status=\x7f", ["status"])
@example('="x status=5"', ["status"])
@example('größe="x status=5"', ["status"])
def test_a_line_of_logfmt_that_is_known_has_these_pairs(line: str, labels: list[str]) -> None:
    """And no error."""
    found_as_parsed(LOGFMT, line, labels)


def found_as_parsed(form: Flat, line: str, labels: list[str]) -> None:
    """What the expressions find in the line is what the parser finds, if the line is known."""
    record = LogRecord(1, 0, Resource(), Scope(), line)
    if not log_test(form.known_if(tuple(labels)))(record):
        return
    row = entry(record).row(Hints(frozenset(labels)) if labels else Hints())
    (run,) = compiled_stages([form.parser])
    assert run(row)
    assert not row.error
    for label in labels:
        found = re.search(form.pattern_of(label), line)
        assert row.parsed.get(label) == (text_of(found[1]) if found else None)
        if found and log_test(form.is_whole(label))(record):
            assert str(int(str(row.parsed[label]))) == row.parsed[label]


def test_lines_as_they_are_usually_written_are_known() -> None:
    """With what such lines have: texts with escapes, numbers, words, lists."""
    line = json.dumps({"msg": 'say "hi"\n', "status": 200, "ok": True, "took.ms": 1.5, "tags": ["a", "b"], "none": None, "größe": "x"} | {})
    plain = line.replace(', "gr\\u00f6\\u00dfe": "x"', "")
    for text, known in ((plain, True), (line, False), (json.dumps({"a": {"b": 1}}), False)):
        assert log_test(JSON.known_if(("status", "ok", "took_ms")))(LogRecord(1, 0, Resource(), Scope(), text)) == known, text
    usual = 'time=2026-11-30T10:00:00Z level=info msg="say \\"hi\\"" url=/a?b=c status=200 took_ms=1.5 path="/a b" größe and words'
    for text, known in ((usual, True), (usual + ' msg="x', False), (usual.replace("=1.5", '="é"'), False)):
        assert log_test(LOGFMT.known_if(("status", "path", "took_ms")))(LogRecord(1, 0, Resource(), Scope(), text)) == known, text
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
    assert plan('sum by (service_name) (count_over_time({a="b"} | json [1m]))').known_if == JSON.known_if(())
    assert plan('sum by (status) (count_over_time({a="b"} | logfmt | a > 5 [1m]))').known_if == LOGFMT.known_if(("a", "status"))
    assert plan('sum by (status) (sum_over_time({a="b"} | json | unwrap a [1m]))').unwrapped == "a"
    assert plan('avg_over_time({a="b"} | logfmt | unwrap a [1m]) by (status)').unwrapped == "a"
    for text in (
        'sum(sum_over_time({a="b"} | json | unwrap bytes(a) [1m]))',
        'sum(sum_over_time({a="b"} | json | unwrap a | a > 5 [1m]))',
        'sum(sum_over_time({a="b"} | unwrap a [1m]))',
        'sum_over_time({a="b"} | json | unwrap a [1m])',
        'max_over_time({a="b"} | json | unwrap a [1m]) by (status)',
    ):
        assert plan(text) is None, text
    for stages in ("| json | logfmt", "| logfmt --strict", "| logfmt --keep-empty", '| logfmt a="b"'):
        assert plan(f'sum by (status) (count_over_time({{a="b"}} {stages} [1m]))') is None
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


def test_what_is_read_as_values() -> None:
    """Any function of an unwrapped member, with any conversion, for groups by members; of filters behind it only that of failed lines."""

    def label(query: str) -> str | None:
        ((leaf),) = leaves(parse(query))
        plan = values(leaf)
        return plan.unwrapped if plan else None

    assert label('quantile_over_time(0.9, {a="b"} | json | status >= 500 | unwrap took [1m]) by (path)') == "took"
    assert label('max_over_time({a="b"} | logfmt | unwrap duration(took) | __error__="" [1m]) by (service_name)') == "took"
    assert label('sum by (path) (sum_over_time({a="b"} | json | took > 5 | unwrap took [1m]))') == "took"
    for text in (
        'max_over_time({a="b"} | json | unwrap took [1m])',
        'max_over_time({a="b"} | json | unwrap took [1m]) by (took)',
        'max_over_time({a="b"} | json | unwrap took | took > 5 [1m]) by (path)',
        'max_over_time({a="b"} | unwrap took [1m]) by (path)',
        'max_over_time({a="b"} | json | unwrap trace_id [1m]) by (path)',
        'sum by (path) (count_over_time({a="b"} | json [1m]))',
    ):
        assert label(text) is None, text


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


class WithoutValues:
    """A reader for which values are always too many, so that shards add them up."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader

    async def read_values(self, *_: Any) -> Any:
        raise TooLarge("too many")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


@pytest.mark.parametrize("parser", FORMS)
def test_counts(shared_hot_node: HotNode, parser: str) -> None:
    """Those of shards and those of the lines, which fail for the same lines; so are sums and other functions of numbers."""
    errors = st.sampled_from(["", "", ' | __error__=""', " | drop __error__, __error_details__"])
    sums = st.builds(
        lambda by, op, test, label, failed: (
            f'sum by ({", ".join(by)}) ({op}({{service_name=~".+"}} | {parser}{test} | unwrap {label}{failed} [2m]))'
            if op in ("sum_over_time", "rate")
            else f'{op}({{service_name=~".+"}} | {parser}{test} | unwrap {label}{failed} [2m]) by ({", ".join(by)})'
        ),
        st.lists(st.sampled_from([*LABELS, "service_name", "detected_level"]), max_size=2, unique=True),
        st.sampled_from(["sum_over_time", "rate", "avg_over_time", "max_over_time", "min_over_time", "quantile_over_time(0.7, ", "stddev_over_time", "stdvar_over_time", "first_over_time", "last_over_time"]),
        FILTERS,
        st.one_of(st.sampled_from(LABELS), st.builds("{}({})".format, st.sampled_from(["duration", "bytes", "duration_seconds"]), st.sampled_from(LABELS))),
        st.sampled_from([' | __error__=""', ' | __error__=""', ""]),
    ).map(lambda query: query.replace("quantile_over_time(0.7, (", "quantile_over_time(0.7, "))  # fmt: skip
    counted = st.builds(
        lambda by, op, *stages: f'sum by ({", ".join(by)}) ({op}({{service_name=~".+"}} | {parser}{"".join(stages)} [2m]))',
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
        added_up = LogqlEngine(WithoutValues(tier.logs), LogqlOptions())
        tenants = map(str, itertools.count())

        @few
        @given(st.lists(FORMS[parser][1], min_size=5, max_size=25), st.lists(queries, min_size=3, max_size=3))
        def agree(lines: list[str], asked: list[str]) -> None:
            runner.run(compared(next(tenants), lines, asked))

        async def compared(tenant: str, lines: list[str], asked: list[str]) -> None:
            await tier.store_logs(*groups(lines), tenant=tenant)
            for query in asked:
                expected = await answered(row_wise, tenant, query)
                assert await answered(pushed, tenant, query) == expected, query
                if any(counts(leaf, steps) and values(leaf) for leaf in leaves(parse(query))):
                    assert await answered(added_up, tenant, query) == expected, query

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
