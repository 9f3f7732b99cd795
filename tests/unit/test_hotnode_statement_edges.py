"""Statements that would be misread by looking only at their first and last words."""

from __future__ import annotations

import pytest

from services.hotnode.statement import Insert, Other, Select, changes_something, parse_insert, parse_query, verb_of


@pytest.mark.parametrize("text", [b"WITH 1 AS a INSERT INTO t SELECT a", b"WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x"])
def test_an_insert_may_open_with_its_with_clause(text: bytes) -> None:
    assert verb_of(text) == "INSERT"
    assert changes_something(verb_of(text))
    assert parse_insert(text) is None
    assert parse_query(text) == Other(text, "INSERT", None)


@pytest.mark.parametrize(
    "text", [b"WITH 1 AS a SELECT a", b"WITH x AS (SELECT 'INSERT INTO') SELECT * FROM x", b"WITH 1 AS insert SELECT insert"]
)
def test_a_select_with_a_with_clause_only_reads(text: bytes) -> None:
    assert not changes_something(verb_of(text))
    assert isinstance(parse_query(text), Select)


@pytest.mark.parametrize(
    ("text", "output_format"),
    [
        (b"SELECT 1 AS format ORDER BY format DESC", None),
        (b"SELECT a, format x FROM t", None),
        (b"SELECT format FROM t FORMAT JSON", "JSON"),
        (b"SELECT * FROM t ORDER BY format DESC FORMAT CSV SETTINGS max_threads = 1", "CSV"),
        (b"SELECT format('{}', 'FORMAT JSON')", None),
        (b"SELECT 1 -- FORMAT JSON", None),
    ],
)
def test_a_column_called_format_is_not_the_format_clause(text: bytes, output_format: str | None) -> None:
    assert parse_query(text).output_format == output_format


def test_rows_begin_after_one_line_break() -> None:
    text = b"INSERT INTO `format` (a) FORMAT TSV\n\n1\n"
    assert parse_insert(text) == Insert(b"INSERT INTO `format` (a) ", "TSV", text.index(b"\n") + 1, text.index(b"FORMAT"))
