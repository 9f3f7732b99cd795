"""A predicate gives the same result as SQL on a real shard and as a Python test of each item, for generated predicates."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord as WireLogRecord
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan

from tael.errors import Rejected
from tael.model.attributes import Attributes, AttributeValue
from tael.model.log import LogRecord
from tael.model.predicate import (
    EVERYTHING,
    LOG_INTRINSICS,
    NOTHING,
    SPAN_INTRINSICS,
    And,
    Compare,
    Contains,
    Exists,
    Field,
    Kind,
    Listed,
    Not,
    Or,
    Predicate,
    Regex,
    Words,
    intrinsic,
    words_of,
)
from tael.model.search import find_spans
from tael.model.span import Resource, Scope, Span
from tael.model.time import ALL_TIME
from tael.otlp.anyvalue import encode_attributes
from tael.otlp.matches import log_test, span_test
from tael.storage.api import LogQuery, SpanQuery
from tael.storage.clickhouse.columns import LOG_COLUMNS, SPAN_COLUMNS, Column
from tael.storage.clickhouse.log_lines import KNOWN_IF, LEVEL_SHOWN
from tael.storage.clickhouse.predicate import condition, conditions
from tests.support.hotnode import HotNode
from tests.support.storage import START_NS, HotTier, logs_of, of_service, open_tier, wire_log, wire_span

KEYS = ("k", "other", "service.name", "it's \\ {p0:String}")
TEXTS = ("", "a", "A b", "b-a.Ä", "ä", "5", "x\ny", "it's \\ {p0:String}", "unknown_service", "shop", "GET /a", "chat", "m-1")
NUMBERS = (0, 1, 5, -3, (1 << 63) - 1, -(1 << 63))
DOUBLES = (0.0, 5.0, -2.5, 1e300)
BYTES = (b"", b"\x00", b"t" * 16, b"s" * 8, b"\xff\x01")
PATTERNS = ("", "^$", "a", "^a", "(?i)A|B", "x.y", "(?s)x.y", "[0-9]+$", "ä", r"\\")
ATTRIBUTES: list[Attributes] = [
    {},
    {"k": "a", "other": 5},
    {"k": "A b", "other": 5.0, "it's \\ {p0:String}": "it's \\ {p0:String}"},
    {"k": "", "other": ""},
    {"k": 0, "other": False},
    {"k": 5, "other": True},
    {"k": 0.0, "other": -2.5},
    {"k": False, "other": b"\xff\x01"},
    {"k": b"", "other": None},
    {"k": None, "other": [1, "a"]},
    {"k": ["a", "b-a.Ä"], "other": {"a": "b"}},
    {"k": {"x": 1}, "other": -(1 << 63)},
    {"k": (1 << 63) - 1, "other": "x\ny"},
    {"k": 1e300, "other": "b-a.Ä"},
    {"service.name": "a", "k": "5"},
]
PROMPTS: Attributes = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "m-1",
    "gen_ai.usage.input_tokens": 5,
    "gen_ai.usage.cost": 0.5,
    "gen_ai.prompt": "b-a.Ä",
    "gen_ai.output.messages": [{"role": "a"}],
}


def spans() -> list[ResourceSpans]:
    """Spans in which every field has one of a few values that predicates compare with."""
    groups = []
    for index, own in enumerate([*ATTRIBUTES, PROMPTS, {**PROMPTS, "gen_ai.prompt": 5}]):
        resource = ATTRIBUTES[(index * 7 + 3) % len(ATTRIBUTES)]
        span = wire_span(index, name=TEXTS[index % len(TEXTS)], attributes=own, duration_ns=(0, 5, -3, 1)[index % 4], status=index % 3)
        span.kind = index % 6  # type: ignore[assignment]  # a number, as on the wire
        span.parent_span_id = (b"", b"s" * 8, b"\xff\x01")[index % 3]
        span.trace_state, span.status.message = TEXTS[(index + 1) % len(TEXTS)], TEXTS[(index + 2) % len(TEXTS)]
        for other in range(index % 3):
            nested = encode_attributes(ATTRIBUTES[(index + other * 5) % len(ATTRIBUTES)])
            span.events.add(name=TEXTS[(index + other) % len(TEXTS)], time_unix_nano=START_NS + index + 5 * other, attributes=nested)
            span.links.add(trace_id=BYTES[(index + other) % len(BYTES)], span_id=b"s" * 8, attributes=nested)
        group = of_service("shop" if index % 2 else "a", span)
        if index % 5 == 0:
            del group.resource.attributes[:]
        group.resource.attributes.extend(encode_attributes({key: value for key, value in resource.items() if key != "service.name"}))
        group.scope_spans[0].scope.CopyFrom(InstrumentationScope(name=TEXTS[index % 4], attributes=encode_attributes(resource)))
        groups.append(group)
    extremes = WireSpan(trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=(1 << 64) - 1, end_time_unix_nano=1 << 62)
    extremes.events.add(time_unix_nano=3)
    call = wire_span(50, attributes={"gen_ai.system": "a"})
    for name, key in (("gen_ai.choice", "message"), ("a", "content"), ("gen_ai.user.message", "content"), ("a", "gen_ai.prompt")):
        call.events.add(name=name, attributes=encode_attributes({key: TEXTS[len(call.events)]}))
    return [*groups, of_service("shop", extremes), of_service("agent", call)]


def records() -> list[ResourceLogs]:
    """Log records like that."""
    bodies: list[AttributeValue] = [*TEXTS, None, True, 5, ["a", {"b": "x\ny"}], {"a": "Ä b"}, b"\xff\x01", b"a b"]
    groups = []
    for index, body in enumerate(bodies):
        ids: dict[str, Any] = {"trace_id": b"t" * 16, "span_id": b"s" * 8} if index % 3 == 0 else {}
        named: dict[str, Any] = {"event_name": TEXTS[index % len(TEXTS)], "severity_text": TEXTS[(index + 4) % len(TEXTS)]}
        record = wire_log(index, body, attributes=ATTRIBUTES[index % len(ATTRIBUTES)], severity_number=index % 7, **ids, **named)
        group = logs_of("shop" if index % 2 else "a", record)
        group.scope_logs[0].scope.CopyFrom(InstrumentationScope(name=TEXTS[index % 4], version=TEXTS[index % 3]))
        group.resource.attributes.extend(encode_attributes({"k": 5, "other": "a"} if index % 4 == 0 else {}))
        groups.append(group)
    return [*groups, logs_of("a", WireLogRecord(observed_time_unix_nano=(1 << 64) - 1))]


def fields(intrinsics: dict[str, Kind], scopes: tuple[str, ...]) -> st.SearchStrategy[Field]:
    """Any field of an item."""
    own = st.builds(Field, st.sampled_from(scopes), st.sampled_from(KEYS))
    return own | st.sampled_from(sorted(intrinsics)).map(intrinsic)


def predicates(field: st.SearchStrategy[Field], texts: tuple[str, ...] = TEXTS) -> st.SearchStrategy[Predicate]:
    """Any predicate over these fields."""
    values = st.sampled_from((*texts, *NUMBERS, START_NS + 3, *DOUBLES, float("inf"), float("nan"), True, False, *BYTES))
    words = st.sampled_from(texts).map(words_of)
    leaves: st.SearchStrategy[Predicate] = st.one_of(
        st.builds(Compare, field, st.sampled_from(("=", "!=", "<", "<=", ">", ">=")), values),
        st.builds(Regex, field, st.sampled_from(PATTERNS)),
        st.builds(Contains, field, st.sampled_from(texts), st.booleans()),
        st.builds(Words, field, words | st.just(tuple(f"w{i}" for i in range(70)))),
        st.builds(Exists, field),
        st.builds(Listed, field),
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(Not, inner) | st.lists(inner, max_size=3).map(tuple).flatmap(lambda parts: st.sampled_from((And(parts), Or(parts))))
        ),
        max_leaves=5,
    )


SPAN_PREDICATES = predicates(fields(SPAN_INTRINSICS, ("attribute", "resource", "instrumentation", "event", "link", "any")))
DETECTED = intrinsic("detected_level")
LOG_PREDICATES = predicates(
    fields(
        {name: kind for name, kind in LOG_INTRINSICS.items() if name != DETECTED.key}, ("attribute", "resource", "instrumentation", "any")
    )
)
AT_ONCE = 5
THOROUGH = settings(
    max_examples=int(os.environ.get("TAEL_TEST_PREDICATES", "150")) // AT_ONCE, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


async def judged(tier: HotTier, table: str, key: str, columns: Mapping[str, Column], predicates: Sequence[Predicate]) -> list[set[Any]]:
    """The keys of the rows that satisfy each predicate, by one statement, because planning one costs more than reading these rows."""
    (clickhouse,), parameters = tier.clickhouses, dict[str, Any]()
    asked = ", ".join(f"toUInt8({condition(predicate, columns, parameters)})" for predicate in predicates)
    rows = await clickhouse.query(f"SELECT {key}, {asked} FROM {clickhouse.database}.{table}", parameters)  # names of ours
    return [{row[0] for row in rows if row[1 + at]} for at in range(len(predicates))]


def on_a_shard(node: HotNode, check: Any) -> None:
    """Run ``check(tier, run)`` on a new shard."""
    with asyncio.Runner() as runner:
        opened = open_tier([node])
        tier = runner.run(opened.__aenter__())
        try:
            check(tier, runner.run)
        finally:
            runner.run(opened.__aexit__(None, None, None))


def test_of_spans(shared_hot_node: HotNode) -> None:
    def check(tier: HotTier, run: Any) -> None:
        async def find(predicate: Predicate) -> list[Span]:
            return (await tier.reader.find_spans("t1", SpanQuery(ALL_TIME, predicate))).value

        run(tier.store(*spans()))
        everything = run(find(EVERYTHING))
        assert len(everything) == len(spans())

        @THOROUGH
        @given(SPAN_PREDICATES, st.lists(SPAN_PREDICATES, min_size=AT_ONCE - 1, max_size=AT_ONCE - 1))
        @example(NOTHING, [])
        @example(Compare(Field("resource", "service.name"), "=", "shop"), [])
        @example(Compare(Field("any", "k"), "=", "a"), [])
        @example(Not(Compare(Field("event", "k"), "!=", "a")), [])
        @example(And((Contains(intrinsic("llm_content"), "ROLE", ignore_case=True), Not(Contains(intrinsic("llm_content"), "b-a")))), [])
        def agree(predicate: Predicate, others: list[Predicate]) -> None:
            test = span_test(predicate)
            assert run(find(predicate)) == [span for span in everything if test(span)]
            for other, keys in zip(others, run(judged(tier, "spans", "span_id", SPAN_COLUMNS, others)) if others else (), strict=True):
                assert keys == {span.span_id for span in everything if span_test(other)(span)}, other

        agree()

    on_a_shard(shared_hot_node, check)


def test_of_log_records(shared_hot_node: HotNode) -> None:
    def check(tier: HotTier, run: Any) -> None:
        async def find(predicate: Predicate) -> list[LogRecord]:
            return (await tier.logs.find_logs("t1", LogQuery(ALL_TIME, predicate))).value

        run(tier.store_logs(*records()))
        everything = run(find(EVERYTHING))
        assert len(everything) == len(records())

        @THOROUGH
        @given(LOG_PREDICATES, st.lists(LOG_PREDICATES, min_size=AT_ONCE - 1, max_size=AT_ONCE - 1))
        @example(Contains(intrinsic("body"), "Ä B", ignore_case=True), [])
        @example(Words(intrinsic("body"), ("b", "ä")), [])
        @example(Contains(intrinsic("body"), ""), [])
        @example(Not(Contains(intrinsic("body"), "{p0:String}")), [])
        @example(Or((Words(intrinsic("body"), ("string",)), NOTHING)), [])
        def agree(predicate: Predicate, others: list[Predicate]) -> None:
            test = log_test(predicate)
            assert run(find(predicate)) == [record for record in everything if test(record)]
            for other, keys in zip(others, run(judged(tier, "logs", "serial", LOG_COLUMNS, others)) if others else (), strict=True):
                assert keys == {record.serial for record in everything if log_test(other)(record)}, other

        agree()

    on_a_shard(shared_hot_node, check)


SHOWN = Field("attribute", "detected_level")
"""What stands for the level in memory, where it is not known."""
LEVEL_PREDICATES = predicates(st.just(SHOWN), ("", "unknown", "error", "ERROR", "critical", "crit", "Odd", "b-a.Ä", "as_severity", "x"))


def of_levels(predicate: Predicate) -> Predicate:
    """The predicate with the level in place of ``SHOWN``."""
    if isinstance(predicate, And | Or):
        return type(predicate)(tuple(map(of_levels, predicate.parts)))
    return Not(of_levels(predicate.part)) if isinstance(predicate, Not) else replace(predicate, field=DETECTED)


def test_of_levels(shared_hot_node: HotNode) -> None:
    """The level is what the shard knows of a record, if it does; LogQL's tests compare that with the line."""

    def check(tier: HotTier, run: Any) -> None:
        severities = ("", "unknown", "Error", "CRIT", "critical", "Odd", "b-a.Ä", "as_severity")
        wires = [wire_log(index, "x", severity_text=text) for index, text in enumerate(severities)]
        run(tier.store_logs(logs_of("shop", *wires, wire_log(90, "level=x"), wire_log(91, "y", attributes={"detected_level": "error"}))))
        (clickhouse,) = tier.clickhouses
        rows = run(clickhouse.query(f"SELECT serial, {KNOWN_IF['level']}, {LEVEL_SHOWN} FROM {clickhouse.database}.logs", {}))
        known = {row[0]: {SHOWN.key: bytes(row[2]).decode()} if row[1] else {} for row in rows}
        assert sorted(found.get(SHOWN.key, "") for found in known.values()) == sorted(
            ["", "", "unknown", "unknown", "error", "CRIT", "critical", "Odd", "b-a.Ä", "as_severity"]
        )

        @THOROUGH
        @given(st.lists(LEVEL_PREDICATES, min_size=AT_ONCE, max_size=AT_ONCE))
        def agree(wanted: list[Predicate]) -> None:
            found = run(judged(tier, "logs", "serial", LOG_COLUMNS, [of_levels(predicate) for predicate in wanted]))
            for predicate, serials in zip(wanted, found, strict=True):
                test = log_test(predicate)
                assert serials == {serial for serial, own in known.items() if test(LogRecord(0, 0, Resource(), Scope(), attributes=own))}, (
                    predicate
                )

        agree()

    on_a_shard(shared_hot_node, check)


@pytest.mark.parametrize("compile_it", [span_test, lambda predicate: conditions(predicate, SPAN_COLUMNS, {})])
def test_a_field_that_spans_do_not_have_is_refused(compile_it: Any) -> None:
    with pytest.raises(Rejected, match="'body' is not a field"):
        compile_it(Not(Exists(intrinsic("body"))))


@pytest.mark.parametrize("compile_it", [log_test, lambda predicate: conditions(predicate, LOG_COLUMNS, {})])
def test_a_field_that_records_do_not_have_is_refused(compile_it: Any) -> None:
    with pytest.raises(Rejected, match="'duration' is not a field"):
        compile_it(Compare(intrinsic("duration"), ">", 5))


def test_every_intrinsic_field_has_its_column() -> None:
    """With the type that the model gives it."""
    assert {name: column.kind for name, column in SPAN_COLUMNS.items()} == SPAN_INTRINSICS
    assert {name: column.kind for name, column in LOG_COLUMNS.items()} == LOG_INTRINSICS


def test_invalid_predicates_are_refused_when_they_are_built() -> None:
    """And not only by the shard."""
    with pytest.raises(Rejected, match="missing closing"):
        Regex(intrinsic("name"), "a(b")
    with pytest.raises(Rejected, match="error parsing regexp"):
        Regex(intrinsic("name"), "a)(b")
    with pytest.raises(ValueError, match="64 bits"):
        Compare(intrinsic("kind"), "=", 1 << 63)


def test_a_word_that_is_repeated_is_searched_once() -> None:
    """Each one is a search of all payloads in the range."""
    assert find_spans(text="to be or not to be") == find_spans(text="to be or not")
