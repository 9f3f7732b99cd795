r"""Conditions on the text of lines of JSON and logfmt (tael/logql/from_line.py) never leave out a line that the query keeps, for generated
lines and filters.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.query.logql.engine import LogqlEngine, LogqlOptions, Wanted
from tael.logql.ast import LogQuery
from tael.logql.needs import wanted
from tael.logql.parse import parse
from tael.logql.pipeline import Pipeline
from tael.logql.records import entry
from tael.model.log import LogRecord
from tael.model.span import Resource, Scope
from tael.model.time import TimeRange
from tael.otlp.matches import log_test
from tests.property.test_logql_pushdown import plainly
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, logs_of, open_tier, wire_log

NAMES = [
    "status", "took_ms", "a_b_c", "_1st", "level", "service_name", "a__b", "__error__", "__error_details__", "__preserve_error__", "detected_level", "severity_number",
    "status_extracted", "service_name_extracted", "severity_number_extracted",
]  # fmt: skip
KEYS = ["status", " status ", "Status", "http_status", "took_ms", "took-ms", "took ms", "took", "ms", "a", "b", "c", "b_c", "1st", "_1st", "", "-", "é", "level", "a_", "_b", "service_name", "severity_number"]  # fmt: skip
NUMBERS = ["404", "0", "7", "40", "4040", "399", "400", "404.0", "4.04e2", "-404", "00404", "0.5", "404.5", "399.5", "12.", "0.25", "9007199254740993", "1" * 40, "403.9999999999999999999"]  # fmt: skip
TEXTS = ["404", "0", "7", "", "x", "ok then", "4xx", " 404", "404 ", "a/b", "ok", "Grü", "1s", "5KB", "true", "a\ufffdb", "-1", "+404", "0x194p0", "\u0660"]  # fmt: skip
SCALARS = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(TEXTS).map(lambda text: json.dumps(text, ensure_ascii=False)),
    st.sampled_from(["true", "false", "null", '"4\\u00304"', '"\\/x"', "[404]", '"40', "nope", '"\\ud800"']),
)


def written(pairs: list[tuple[str, str]], space: str, end: str) -> str:
    """An object with these members, which may repeat, as text."""
    return "{" + ",".join(f"{space}{json.dumps(key, ensure_ascii=False)}{space}:{space}{value}" for key, value in pairs) + end


def objects(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Objects of such values, sometimes malformed."""
    members = st.lists(st.tuples(st.sampled_from(KEYS), values), max_size=4)
    return st.builds(written, members, st.sampled_from(["", " ", "\t"]), st.sampled_from(["}", "}", "}", " }", "", "} x", ","]))


PAIRS = st.builds(
    lambda key, between, value, after: f"{key}{between}{value}{after}",
    st.sampled_from([key for key in KEYS if " " not in key]),
    st.sampled_from(["=", "=", "=", '="', "", "=="]),
    st.sampled_from([*NUMBERS, *TEXTS, '"404"', '"0"', '"a b"', "404,", "40]", "4\\04"]),
    st.sampled_from(["", "", '"', ",", "\x01"]),
)
LOGFMT = st.lists(PAIRS, max_size=4).map(" ".join)
PARTS = st.lists(st.sampled_from([*NUMBERS, *TEXTS, "4.5", "12.", "404.5", "399.999", "1.5e3"]), min_size=1, max_size=4)
SPLIT = st.builds(lambda front, parts, between, end: front + between.join(parts) + end, st.sampled_from(["", "", "[", "x "]), PARTS, st.sampled_from([" ", " - ", "] ", "4", "."]), st.sampled_from(["", "", " ", "]", " -"]))  # fmt: skip
BODIES = st.recursive(SCALARS, objects, max_leaves=6) | LOGFMT | SPLIT
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["status", "took.ms", "took", "", "-", "a.b", "a", "other", "level", "status."]),
    st.sampled_from(["404", 404, 404.0, True, {"ms": 77}, {"status": "404"}, {"b": {"c": 1}}]),
    max_size=1,
)
RECORDS = st.builds(
    lambda body, own, resource, scope: LogRecord(
        START_NS,
        START_NS,
        Resource({"service.name": "shop", **resource}),
        Scope("", "", scope),
        body=body,
        attributes=own,
        severity_number=9,
    ),
    BODIES | st.sampled_from([5, True, None, b'{"status": 404}', {"status": 404}, ["status"]]),
    ATTRIBUTES,
    ATTRIBUTES,
    st.dictionaries(st.sampled_from(["status", "took.ms", "x"]), st.just("404"), max_size=1),
)
NUMBER = st.sampled_from(
    ["404", "0", "7", "400", "399.5", "0.25", "404.5", "12", "4", "99", "100", "1000", "1e3", "0.5", "404.0", "9007199254740993"]
)
FILTERS = st.one_of(
    st.builds(lambda name, op, value: f"{name} {op} {value}", st.sampled_from(NAMES), st.sampled_from(["=", "==", "!=", ">", ">=", "<", "<="]), NUMBER),
    st.builds(
        lambda name, op, value: f"{name}{op}{json.dumps(value, ensure_ascii=False)}",
        st.sampled_from(NAMES),
        st.sampled_from(["=", "!="]),
        st.sampled_from([*TEXTS, *NUMBERS, 'say "x"']),
    ),
    st.builds(
        lambda name, op, value: f"{name}{op}{json.dumps(value)}",
        st.sampled_from(NAMES),
        st.sampled_from(["=~", "!~"]),
        st.sampled_from(["4..", "4.*|ok", ".+", ".*", "", "(?i)OK", "ok.then", "^404$", "[0-9]+", "a/b|x", "(4|5)0?4", "\\d+"]),
    ),
    st.builds(lambda name, op: f"{name} {op} 1s", st.sampled_from(NAMES), st.sampled_from(["=", ">", "!="])),
    st.builds(lambda name, op: f"{name} {op} 5KB", st.sampled_from(NAMES), st.sampled_from(["=", "<"])),
)  # fmt: skip
STAGES = st.one_of(
    FILTERS.map(lambda one: f"| {one}"),
    st.builds(lambda one, word, other: f"| {one} {word} {other}", FILTERS, st.sampled_from(["or", "and"]), FILTERS),
    st.sampled_from(["| json", "| logfmt", '| drop __error__', "| drop status", '| label_format status="404"', '| line_format "x"', "| unpack", '| __error__="JSONParserErr"', '|= "4"']),
)  # fmt: skip
NAMED = st.sampled_from(["status", "took_ms", "a__b", "other"])
PARSERS = st.one_of(
    st.sampled_from(["| json", "| logfmt", "| logfmt", "| logfmt --strict", "| logfmt --keep-empty"]),
    st.builds(lambda flags, name, path: f"| {flags} {name}={json.dumps(path)}", st.sampled_from(["json", "json other=\"a\","]), NAMED, st.sampled_from(["status", "a.b", '["took ms"]', 'a["é"]', "a[0]", "b.c", '["-"]'])),
    st.builds(lambda flags, name, path: f"| {flags} {name}={json.dumps(path)}", st.sampled_from(["logfmt", "logfmt --strict", "logfmt --keep-empty", "logfmt other=\"a\","]), NAMED, st.sampled_from(["status", "took_ms", "level", '"b_c"', "_b"])),
    st.builds(lambda front, name, between, other, end: f"| pattern `{front}<{name}>{between}<{other}>{end}`", st.sampled_from(["", "", "[", "x ", "<_> "]), NAMED, st.sampled_from([" ", " - ", "] ", "4", "."]), st.sampled_from(["_", "ms"]), st.sampled_from(["", " ", "]"])),
    st.builds(lambda front, name, end: f"| pattern `{front}<{name}>{end}`", st.sampled_from(["", "[", "<_> ", "<_> - "]), NAMED, st.sampled_from(["", " ", "]", " -", "404"])),
    st.builds(lambda name, regex: f"| regexp `{regex.format(name)}`", NAMED, st.sampled_from(["(?P<{}>[0-9]+)", "^(?P<{}>\\S*) ", "(?P<{}>[0-9.]+)?.*x", "(?i)(?P<{}>ok)", "status=(?P<{}>\\d*)", "(?s)(?P<{}>.*)", "(?<{}>4)"])),
)  # fmt: skip
QUERIES = st.builds(
    lambda before, parser, after: " ".join(['{service_name=~".+"}', *before, parser, *after]),
    st.lists(STAGES, max_size=1),
    PARSERS,
    st.lists(STAGES, min_size=1, max_size=2),
)
MANY = int(os.environ.get("TAEL_TEST_PREDICATES", "500"))
AROUND = TimeRange(START_NS - 1, START_NS + 10**9)


@settings(max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(RECORDS, QUERIES)
@example(LogRecord(START_NS, START_NS, Resource(), Scope(), body='{"status": {"": "404"}}'), '{a="b"} | json | status="404"')
@example(LogRecord(START_NS, START_NS, Resource(), Scope(), body="{}", attributes={"": {"status": 404}}), '{a="b"} | json | status=404')
@example(LogRecord(START_NS, START_NS, Resource(), Scope(), body='{"status": ' + "1" * 400 + "}"), '{a="b"} | json | status < 7')
@example(LogRecord(START_NS, START_NS, Resource(), Scope(), body="no JSON"), '{a="b"} | json | __error__!=""')
@example(LogRecord(START_NS, START_NS, Resource(), Scope(), body="[]"), '{a="b"} | json | __error__="JSONParserErr"')
@example(LogRecord(START_NS, START_NS, Resource(), Scope(), body='{"service_name": 1}'), '{a="b"} | json | service_name_extracted="1"')
@example(
    LogRecord(START_NS, START_NS, Resource(), Scope(), severity_number=9, body='{"severity_number": 1}'),
    '{a="b"} | json | severity_number_extracted = 1',
)
def test_no_line_is_left_out(record: LogRecord, text: str) -> None:
    query = parse(text)
    assert isinstance(query, LogQuery)
    if Pipeline(query.stages).keeps(entry(record).row()):
        assert log_test(wanted(query))(record), (record.body, text)


def test_lines_that_cannot_pass_are_left_out() -> None:
    """Of ordinary lines, those of other values, whatever they are beside."""
    cases = [
        ("status = 404", ['{"status": 404}', '{"status":"404","x":1}'], ['{"status": 500}', '{"status": 4040}', '{"x": 404}', "{}", "plain 404"]),
        ("status >= 500", ['{"status": 500}', '{"status": 1000}'], ['{"status": 499}', '{"status": 50}', '{"status":"200"}']),
        ("status < 300", ['{"status": 299}', '{"status": 0}', '{"status": 7}'], ['{"status": 300}', '{"status": 1000}']),
        ('path="/a"', ['{"path": "/a"}'], ['{"path": "/a/b"}', '{"other": "/a"}']),
        ('path=~"/a.*"', ['{"path": "/a/b"}'], ['{"path": "/b/a"}']),
        ("took_ms = 77", ['{"took_ms": 77}', '{"took": {"ms": 77}}'], ['{"took_ms": 78}', '{"ms_": 7}']),
        ("took > 1s", ['{"took": "2s"}'], ['{"x": "2s"}']),
    ]  # fmt: skip
    logfmt = [
        ("status = 404", ["status=404 x=1", 'a=b status="404"', "status=404,"], ["status=500", 'x=404 status="4040" ', "status=", "http_status=", "404"]),
        ('level="error"', ["level=error", 'x=1 level="error"'], ["level=errors", "level=info x=error", "xlevel=error"]),
        ("took_ms > 99", ["took_ms=100", "took-ms=1000"], ["took_ms=99", "took_ms=7 x=100"]),
    ]  # fmt: skip
    others = [
        ("json", "took > 12.5", ['{"took": 12.75}', '{"took": 13}', '{"took": 12.0}', '{"took": 1.5e3}', '{"took": "99.5"}'], ['{"took": 11.9}', '{"took": 12}', '{"took": "3.5"}']),
        ("json", "took < 0.5", ['{"took": 0.25}', '{"took": 0}', '{"took": -3.5}'], ['{"took": 1.5}', '{"took": 10.25}', '{"took": 1}']),
        ("logfmt", "took = 2.5", ["took=2.5 x=1", "took=2.5s"], ["took=3.5", "took=2", "took=12.5"]),
        ('json at="request.path"', 'at="/a"', ['{"request": {"path": "/a"}}'], ['{"request": {"path": "/b"}}', '{"at": "/a"}', "{}"]),
        ('json at="request[\'path\']"'.replace("\'", '\\"'), 'at=~"/a.*"', ['{"request": {"path": "/a/b"}}', '{"path": {"/a": 1}}'], ['{"request": {"path": "/b"}}']),
        ('logfmt at="path"', 'at="/a"', ["path=/a", 'x=1 path="/a" y'], ["path=/ab", "at=/a"]),
        ("pattern `<ip> - <_> \"<method> <path>\" <status> <size>`", "status >= 500", ['::1 - u "GET /a" 503 7', '::1 - u "GET /a" 5x3 7'], ['::1 - u "GET /a" 404 7', "503"]),
        ("pattern `<ip> - <_> \"<method> <path>\" <status> <size>`", 'method="GET"', ['::1 - u "GET /a" 503 7'], ['::1 - u "POST GET" 503 7', "GET"]),
        ("pattern `[<level>] <_>`", 'level=~"warn|error"', ["[warn] disk", "[error"], ["[info] warn error", "x [warn] y"]),
        ("pattern `<_>took=<took>ms`", "took > 99.5", ["took=100ms", "a took=99.75ms", "took=250m"], ["took=99ms", "took=7.5ms"]),
        ("regexp `took=(?P<took>[0-9]+)`", "took > 99", ["took=100", "took=7"], ["took=", "100"]),
        ("regexp `user=(?P<user>\\S+)`", 'user="ann"', ["user=ann"], ["user=bob", "x=ann"]),
    ]  # fmt: skip
    for parser, condition, kept, dropped in [*(("json", *case) for case in cases), *(("logfmt", *case) for case in logfmt), *others]:
        query: Any = parse(f'{{a="b"}} | {parser} | {condition}')
        test = log_test(wanted(query))
        for passes, bodies in ((True, kept), (False, dropped)):
            for body in bodies:
                assert test(LogRecord(START_NS, START_NS, Resource({"service.name": "x"}), Scope(), body=body)) is passes, (condition, body)


def test_shards_agree(shared_hot_node: HotNode) -> None:
    """Over stored records, whose text ClickHouse's regular expressions read."""
    with asyncio.Runner() as runner:
        opened = open_tier([shared_hot_node])
        tier = runner.run(opened.__aenter__())
        bodies = [
            f'{{"{key}": {value}}}' for key in ("status", "took_ms", "x") for value in (*NUMBERS, *map(json.dumps, TEXTS), '"4\\u00304"')
        ]
        bodies += [
            *(f"[{text}] - {text}" for text in (*NUMBERS, *TEXTS)),
            *(f"x {text} {text}" for text in NUMBERS),
            *(f"status={text}" for text in NUMBERS),
        ]
        attributes: list[dict[str, Any]] = [{}, {}, {}, {"status": "404"}, {"took": {"ms": 7}}]
        wires = [wire_log(place, body, attributes=attributes[place % 5]) for place, body in enumerate(bodies)]
        records = runner.run(tier.store_logs(logs_of("shop", *wires), tenant="t"))
        engine = LogqlEngine(tier.logs, LogqlOptions())

        @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(QUERIES)
        @example('{service_name=~".+"} | regexp `(?P<took_ms>[0-9]+)` | took_ms = 404')
        @example('{service_name=~"(?P<the_shop>shop)"} |~ `(?P<took_ms>40)4`')
        def agree(text: str) -> None:
            query = parse(text)
            assert isinstance(query, LogQuery)
            found = runner.run(engine.lines("t", query, Wanted(AROUND, 1000))).value
            shown = sorted((row.timestamp_ns, row.line, sorted(row.labels().items())) for row in found)
            assert shown == sorted(plainly(query, records)), text

        try:
            agree()
        finally:
            runner.run(opened.__aexit__(None, None, None))
