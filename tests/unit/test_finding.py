"""The statement that finds the traces of a TraceQL search."""

from __future__ import annotations

import pytest

from tael.model.predicate import And, Compare, Field, FieldScope, Listed, Or
from tael.model.time import TimeRange
from tael.storage.clickhouse.source import HotTables
from tael.storage.clickhouse.traceql.finding import Found, any_list, find_traces, read_found

RANGE = TimeRange(1, 2)


@pytest.mark.parametrize(
    ("scope", "first"),
    [
        ("attribute", "(bitAnd(empty_groups, 8) = 0)"),
        ("resource", "(bitAnd(more_empty_groups, 4) = 0)"),
        ("any", "(bitAnd(empty_groups, 8) = 0 OR bitAnd(more_empty_groups, 4) = 0)"),
        ("event", "true"),
    ],
)
def test_lists_are_looked_for_where_a_byte_does_not_deny_them(scope: FieldScope, first: str) -> None:
    """Most spans have none, and a byte a row is read much sooner than a map."""
    is_list = Listed(Field(scope, "a"))
    equal = Compare(is_list.field, "=", "x")
    sql = find_traces(HotTables("db"), "t", [equal, And((Or((is_list,)), equal))], [is_list], RANGE, 5, None).sql
    one, other = sql.split("UNION ALL")
    assert first not in one
    assert f"AND {first}\n" in other
    assert f"AND {first}\n" in any_list(HotTables("db"), "t", [is_list], RANGE).sql


def test_spans_are_known_where_none_has_a_list_and_they_are_few() -> None:
    trace_id = bytes(range(16))
    row = [trace_id.hex().encode(), 9, 7]
    assert read_found(row) == Found(trace_id, 9, 7)
    assert read_found([*row, [(7, 1), (9, 2)], 0]) == Found(trace_id, 9, 7, frozenset({(7, 1), (9, 2)}))
    assert read_found([*row, [(7, 1)], 1]) == Found(trace_id, 9, 7)
    assert read_found([*row, [(7, n) for n in range(1_000)], 0]) == Found(trace_id, 9, 7)
