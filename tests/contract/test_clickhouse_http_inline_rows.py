"""Where an INSERT's rows may stand: in the URL, in the body, or begun in one and finished in the other."""

from __future__ import annotations

import pytest

from tests.support.hotnode import ClickHouse


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("INSERT INTO t VALUES (1, 'a'), (2, 'b')", b""),
        ("INSERT INTO t VALUES (1, 'a'),", b"(2, 'b')"),
        ("INSERT INTO t VALUES", b"(1, 'a'), (2, 'b')"),
        ("", b"INSERT INTO t VALUES (1, 'a'), (2, 'b');"),
        ("INSERT INTO t FORMAT CSV 1,a", b"2,b\n"),
        ("INSERT INTO t FORMAT CSV\n1,a\n2,b", b""),
        ("INSERT INTO t FORMAT CSV", b"1,a\n2,b\n"),
        ("INSERT INTO t", b"FORMAT CSV\n1,a\n2,b\n"),
        ("", b"INSERT INTO t (a, b) FORMAT CSV\n1,a\n2,b\n"),
        ("INSERT INTO t SELECT number + 1, if(number = 0, 'a', 'b')", b"FROM numbers(2)"),
        ("INSERT INTO t SELECT a, b FROM input('a UInt8, b String') FORMAT CSV", b"1,a\n2,b\n"),
        ("WITH 2 AS n INSERT INTO t SELECT number + 1, if(number = 0, 'a', 'b') FROM numbers(n)", b""),
    ],
)
def test_rows_may_stand_anywhere(clickhouse: ClickHouse, query: str, body: bytes) -> None:
    """Acknowledged means stored, however the statement was cut."""
    clickhouse.run("CREATE TABLE t (a UInt8, b String) ENGINE = Memory")
    response = clickhouse.request("POST", body, query=query, async_insert=0)
    assert response.status == 200, response.data
    assert clickhouse.run("SELECT * FROM t ORDER BY a") == "1\ta\n2\tb\n"
