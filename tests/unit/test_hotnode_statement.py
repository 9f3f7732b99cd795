"""How the hot node analyses a statement: its rows, its formats, and what it changes."""

from __future__ import annotations

import pytest

from services.hotnode.errors import StatementFailed
from services.hotnode.statement import Insert, InsertFromInput, Other, Select, changes_something, parse_insert, parse_query, verb_of


@pytest.mark.parametrize(
    ("text", "sql", "input_format", "rows"),
    [
        (b"INSERT INTO t FORMAT Native \n\x00\x01", b"INSERT INTO t ", "Native", b"\x00\x01"),
        (b"insert into t values (1)", b"insert into t ", "Values", b" (1)"),
        (b"INSERT INTO format (values) FORMAT CSV\r\n\n1", b"INSERT INTO format (values) ", "CSV", b"\n1"),
        (b"INSERT INTO db.values FORMAT CSV 1", b"INSERT INTO db.values ", "CSV", b"1"),
        (b"INSERT INTO t SETTINGS x = 'FORMAT TSV', y = 1 FORMAT `CSV`\n", b"INSERT INTO t SETTINGS x = 'FORMAT TSV', y = 1 ", "CSV", b""),
        (
            b"-- FORMAT CSV\nINSERT INTO TABLE t /* VALUES */ (a) VALUES",
            b"-- FORMAT CSV\nINSERT INTO TABLE t /* VALUES */ (a) ",
            "Values",
            b"",
        ),
        (b"INSERT INTO FUNCTION file('x', CSV) FORMAT TSV\n1", b"INSERT INTO FUNCTION file('x', CSV) ", "TSV", b"1"),
    ],
)
def test_tells_an_insert_from_its_rows(text: bytes, sql: bytes, input_format: str, rows: bytes) -> None:
    found = parse_insert(text)
    assert isinstance(found, Insert)
    assert (found.sql, found.input_format, text[found.rows_at :]) == (sql, input_format, rows)


@pytest.mark.parametrize(
    "text", [b"INSERT INTO t SELECT 1", b"INSERT INTO t (SELECT 1)", b"INSERT INTO t", b"INSERT INTO t SELECT 1 FORMAT JSON"]
)
def test_an_insert_without_rows_is_a_statement_like_others(text: bytes) -> None:
    assert parse_insert(text) is None


def test_rows_of_input_are_put_into_a_file() -> None:
    text = b"INSERT INTO t SELECT a FROM input('a UInt8') WHERE a > 1 FORMAT CSV\n1\n"
    found = parse_insert(text)
    assert isinstance(found, InsertFromInput)
    assert found.from_file("/x") == b"INSERT INTO t SELECT a FROM file('/x', 'CSV', 'a UInt8') WHERE a > 1 "
    assert text[found.rows_at :] == b"1\n"


def test_reading_a_file_beside_the_client_is_refused() -> None:
    with pytest.raises(StatementFailed, match="INFILE"):
        parse_insert(b"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT TSV")


def test_the_target_is_written_before_the_format() -> None:
    found = parse_query(b"SELECT 1 SETTINGS a = 1 FORMAT JSON SETTINGS b = 2;")
    assert isinstance(found, Select)
    assert found.output_format == "JSON"
    assert found.into("/p", "TSV") == b"SELECT 1 SETTINGS a = 1 \nINTO OUTFILE '/p' APPEND FORMAT JSON SETTINGS b = 2"


def test_the_default_format_fills_in() -> None:
    found = parse_query(b"(SELECT 1) UNION ALL (SELECT 2) -- done")
    assert isinstance(found, Select)
    assert found.into("/p", "CSV") == b"(SELECT 1) UNION ALL (SELECT 2)\nINTO OUTFILE '/p' APPEND FORMAT CSV"


@pytest.mark.parametrize("text", [b"SELECT 1; SELECT 2", b"SELECT 1 INTO OUTFILE 'x'", b"(SELECT 1) into outfile 'x' format CSV"])
def test_statements_that_one_request_must_not_run_are_refused(text: bytes) -> None:
    with pytest.raises(StatementFailed):
        parse_query(text)


def test_the_clients_query_id_replaces_the_engines() -> None:
    killed = parse_query(b"KILL QUERY WHERE query_id = 'query_id' SYNC")
    assert killed == Other(b"KILL QUERY WHERE Settings['log_comment'] = 'query_id' SYNC", "KILL", None)
    shown = parse_query(b"SELECT query_id FROM system.processes AS p")
    assert isinstance(shown, Select)
    assert b"REPLACE" in shown.before
    assert shown.before.endswith(b"FROM system.processes) AS p")


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (b"select 1", False),
        (b"(select 1)", False),
        (b" -- x\nSHOW TABLES", False),
        (b"insert into t values", True),
        (b"DROP TABLE t", True),
    ],
)
def test_knows_what_changes_something(text: bytes, changes: bool) -> None:
    assert changes_something(verb_of(text)) is changes
