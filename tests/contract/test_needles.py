"""A needle whose last word is cut is looked for where a word of the text index begins so, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tael.logql.needs import wanted
from tael.logql.parse import parse_log
from tael.model.predicate import And, Compare, Contains, Not, Or, Predicate, all_of, intrinsic
from tael.model.time import TimeRange
from tael.storage.api import LogCounts, LogQuery
from tael.storage.clickhouse import log_query_builder, needles
from tael.storage.clickhouse.needles import Begun
from tael.storage.clickhouse.source import HotTables
from tests.support.hotnode import HotNode
from tests.support.plans import indexes_of
from tests.support.storage import START_NS, HotTier, logs_of, open_tier, wire_log

LINES = 40_000
"""Five granules."""
AROUND = TimeRange(START_NS - 10**9, START_NS + 10**9)


def needle(text: str, *, ignore_case: bool = False) -> Contains:
    return Contains(intrinsic("body"), text, ignore_case)


@pytest.fixture
async def tier(shared_hot_node: HotNode) -> AsyncIterator[HotTier]:
    async with open_tier([shared_hot_node]) as tier:
        yield tier


async def bodies(tier: HotTier, predicate: Predicate) -> list[Any]:
    """The bodies of the service's lines found, which are as many as are counted: of one service, the words are looked up at once."""
    predicate = all_of((Compare(intrinsic("service"), "=", "shop"), predicate))
    answer = await tier.logs.find_logs("t1", LogQuery(AROUND, predicate))
    counted = await tier.logs.count_logs("t1", LogCounts(AROUND, predicate), 100)
    assert sum(part.records for part in counted.value) == len(answer.value)
    return sorted(str(record.body) for record in answer.value)


async def test_only_granules_with_such_a_word_are_read(tier: HotTier) -> None:
    common = (wire_log(at, f"order: {at} paid") for at in range(LINES))
    await tier.store_logs(logs_of("shop", *common, wire_log(LINES, "order: 77001234 paid")))
    [clickhouse] = tier.clickhouses
    begun = Begun(frozenset(("77001",)), needles.source_of_words(clickhouse.database, AROUND))
    lines = parse_log('{service_name="shop"} |= "order: 77001"')
    for predicate in (needle("order: 77001"), wanted(lines)):
        statement = log_query_builder.find_keys(HotTables(clickhouse.database), "t1", LogQuery(AROUND, predicate), begun)
        [[plan]] = await clickhouse.query(f"EXPLAIN indexes = 1, json = 1 SELECT * FROM ({statement.sql})", statement.parameters)
        assert min(index["Selected Granules"] for index in indexes_of(json.loads(plan))) == 1
        assert await bodies(tier, predicate) == ["order: 77001234 paid"]
    # Its JSON is the line, and has the text.
    await tier.store_logs(logs_of("shop", wire_log(LINES + 1, {"order: 7700": 1})))
    assert await bodies(tier, wanted(lines)) == ["order: 77001234 paid", "{'order: 7700': 1}"]


CASES: list[tuple[Predicate, list[str]]] = [
    (needle("order 1234"), ["an order 1234567", "order 12345 PAID"]),
    (needle("order 12345"), ["an order 1234567", "order 12345 PAID"]),
    (needle("12345 PAID"), ["order 12345 PAID"]),
    (needle("12345 paid"), []),
    (needle("12345 paid", ignore_case=True), ["order 12345 PAID"]),
    (needle("order none"), []),
    (needle("in Graz caf"), ["in Graz cafeteria", "in Graz café"]),
    (needle("in Graz cafe"), ["in Graz cafeteria"]),
    (needle("the kelv", ignore_case=True), ["the \u212aelvin sign"]),
    (Or((needle("order 1234"), needle("in Graz cafe"))), ["an order 1234567", "in Graz cafeteria", "order 12345 PAID"]),
    (Or((needle("rder 99 pai"), needle("order 99 PAI"))), ["order 99 paid"]),
    (Not(needle("r 1234")), ["in Graz cafeteria", "in Graz café", "order 99 paid", "the \u212aelvin sign"]),
    (And((needle("order 1234"), needle("rder 12345 PA"))), ["order 12345 PAID"]),
]


@pytest.mark.parametrize(("predicate", "expected"), CASES)
async def test_lines_are_found(tier: HotTier, predicate: Predicate, expected: list[str]) -> None:
    """Whatever follows the last word, in any case."""
    texts = ["an order 1234567", "order 12345 PAID", "order 99 paid", "in Graz café", "in Graz cafeteria", "the \u212aelvin sign"]
    await tier.store_logs(logs_of("shop", *(wire_log(at, text) for at, text in enumerate(texts))))
    assert await bodies(tier, predicate) == expected


async def test_what_comes_meanwhile_is_not_lost(tier: HotTier) -> None:
    """A statement that sees a line sees its words among those that it looks up."""
    [clickhouse] = tier.clickhouses
    await tier.store_logs(logs_of("shop", wire_log(0, "order 12345")))
    slow = f"{needles.source_of_words(clickhouse.database, AROUND)} AND sleepEachRow(1) = 0"
    tokens = Begun(frozenset(), slow).tokens("{word:String}")
    sql = f"SELECT count(), countIf(hasAnyTokens(body, {tokens})) FROM {clickhouse.database}.logs WHERE position(body, 'order 1234') > 0"

    async def more() -> None:
        await asyncio.sleep(0.3)
        await tier.store_logs(logs_of("shop", wire_log(1, "order 12349")))

    [[seen, found]], _ = await asyncio.gather(clickhouse.query(sql, {"word": "1234"}), more())
    assert seen == found


async def test_a_server_that_does_not_tell_its_words_is_read(tier: HotTier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needles, "source_of_words", lambda *_: "noSuchTableFunction() WHERE true")
    await tier.store_logs(logs_of("shop", wire_log(0, "order 12345")))
    assert await bodies(tier, needle("order 1234")) == ["order 12345"]


@pytest.mark.parametrize("text", ["", "1234", "order 123", "order 1234 ", "é1234", "order é1234"])
def test_a_needle_without_the_beginning_of_a_word(text: str) -> None:
    """Or with one that too many words have."""
    assert needles.last_word(needle(text)) == ""
