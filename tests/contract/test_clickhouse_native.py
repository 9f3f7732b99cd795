"""Answers in ClickHouse's Native format, read as columns: whatever number of blocks they come in."""

from __future__ import annotations

import numpy as np
import pytest

from tael.errors import TooLarge, Unavailable
from tael.storage.clickhouse import native
from tael.storage.clickhouse.client import ClickHouse, Limits
from tests.support.hotnode import HotNode

LIMITS = Limits(seconds=10)
ROWS = """SELECT number::UInt64 AS n, fromUnixTimestamp64Milli(number::Int64) AS t, number / 2 AS x, number::Int32 - 2 AS i, number % 2 = 0 AS b,
    if(number % 3 = 0, NULL, number / 4) AS o, range(number % 4)::Array(Int32) AS a, arrayMap(v -> if(v = 1, NULL, v / 2), range(number % 3)) AS g,
    toString(number) AS s, ('word' || toString(number % 5))::LowCardinality(String) AS w,
    mapFromArrays(arrayMap(v -> 'k' || toString(v), range(number % 3)), arrayMap(v -> 'ü' || toString(v), range(number % 3)))::Map(LowCardinality(String), String) AS m
FROM numbers({rows:UInt64})"""


@pytest.mark.parametrize("rows", [0, 1, 2, 1000])
@pytest.mark.parametrize("block_rows", [1, 7, 65_409])
async def test_columns_are_read_whole(shared_hot_node: HotNode, rows: int, block_rows: int) -> None:
    """Numbers, times, NULL, arrays, strings, words and maps of many rows, of one, and of none."""
    clickhouse = ClickHouse(shared_hot_node.url, "default")
    try:
        body = await clickhouse.native(ROWS, {"rows": rows}, LIMITS, {"max_block_size": block_rows})
    finally:
        await clickhouse.close()
    columns = native.read(body)
    if not rows:
        assert columns == []
        return
    numbers = np.arange(rows)
    for column, wanted in zip(columns[:5], (numbers, numbers, numbers / 2, numbers - 2, numbers % 2 == 0), strict=True):
        assert np.array_equal(native.numbers(column), wanted)
    some = native.optional(columns[5])
    assert np.array_equal(some.missing, numbers % 3 == 0)
    assert np.array_equal(native.numbers(some.values)[~some.missing], (numbers / 4)[~some.missing])
    assert lists_of(columns[6]) == [list(range(n % 4)) for n in range(rows)]
    grids = native.lists(columns[7])
    assert np.diff(grids.offsets).tolist() == [n % 3 for n in range(rows)]
    assert native.optional(grids.values).missing.tolist() == [v == 1 for n in range(rows) for v in range(n % 3)]
    assert native.strings(columns[8]).tolist() == [str(n) for n in range(rows)]
    assert native.strings(columns[9]).tolist() == [f"word{n % 5}" for n in range(rows)]
    entries = native.pairs(native.lists(columns[10]).values)
    assert native.strings(entries.keys).tolist() == [f"k{v}" for n in range(rows) for v in range(n % 3)]
    assert native.strings(entries.values).tolist() == [f"ü{v}" for n in range(rows) for v in range(n % 3)]


def lists_of(column: native.Column) -> list[list[int]]:
    lists = native.lists(column)
    flat = native.numbers(lists.values).tolist()
    return [flat[begin:end] for begin, end in zip(lists.offsets[:-1], lists.offsets[1:], strict=True)]


async def test_a_truncated_answer_is_detected(shared_hot_node: HotNode) -> None:
    """Wherever inside a block it was cut."""
    clickhouse = ClickHouse(shared_hot_node.url, "default")
    try:
        body = await clickhouse.native(ROWS, {"rows": 3}, LIMITS, {})
    finally:
        await clickhouse.close()
    for size in range(1, len(body)):
        with pytest.raises(Unavailable, match=r"ended early|not expected"):
            native.read(body[:size])


async def test_a_statement_that_fails_late_says_why(shared_hot_node: HotNode) -> None:
    """After megabytes of its answer were sent: the error is the same as of one that fails at once."""
    clickhouse = ClickHouse(shared_hot_node.url, "default")
    pieces: list[bytes] = []
    limit = {"max_result_rows": 2_000_000, "result_overflow_mode": "throw"}
    try:
        with pytest.raises(TooLarge, match="too large"):
            await clickhouse.native_pieces(pieces.append, "SELECT number FROM numbers(3000000)", {}, LIMITS, limit)
        assert sum(map(len, pieces)) > 1_000_000
        with pytest.raises(Unavailable, match="at the end"):
            await clickhouse.native("SELECT number, throwIf(number = 2999999, 'at the end') FROM numbers(3000000)", {}, LIMITS, {})
        assert native.read(await clickhouse.native("SELECT 1::UInt8", {}, LIMITS, {}))[0].tolist() == [1]  # type: ignore[union-attr]
    finally:
        await clickhouse.close()


def test_a_type_that_nothing_asks_for_is_refused() -> None:
    """By its name."""
    with pytest.raises(Unavailable, match=r"Tuple\(UInt8\)"):
        native.read(b"\x01\x01\x01c\x0cTuple(UInt8)\x00")
