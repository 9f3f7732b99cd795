"""The write path's promise: a batch sent again under its token is stored once, in every table that it feeds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.test_clickhouse_http_formats import BATCH, PROTO_FIELDS
from tests.support.hotnode import ClickHouse


@pytest.fixture
def fed(clickhouse: ClickHouse) -> ClickHouse:
    """A Null table that feeds two MergeTree tables."""
    window = "SETTINGS non_replicated_deduplication_window = 1000"
    clickhouse.run("CREATE TABLE inbox (items Array(Tuple(name String, count Int64))) ENGINE = Null")
    clickhouse.run(f"CREATE TABLE names (name String) ENGINE = MergeTree ORDER BY name {window}")
    clickhouse.run(f"CREATE TABLE counts (count Int64) ENGINE = MergeTree ORDER BY count {window}")
    clickhouse.run("CREATE MATERIALIZED VIEW to_names TO names AS SELECT i.name AS name FROM (SELECT arrayJoin(items) AS i FROM inbox)")
    clickhouse.run("CREATE MATERIALIZED VIEW to_counts TO counts AS SELECT i.count AS count FROM (SELECT arrayJoin(items) AS i FROM inbox)")
    return clickhouse


def send(clickhouse: ClickHouse, token: str, body: bytes = BATCH) -> None:
    """One batch, as the writer sends it."""
    fields: dict[str, Any] = {**PROTO_FIELDS, "insert_deduplication_token": token, "deduplicate_blocks_in_dependent_materialized_views": 1}
    response = clickhouse.request("POST", body, query="INSERT INTO inbox FORMAT ProtobufSingle", **fields)
    assert response.status == 200, response.data


def counts(clickhouse: ClickHouse) -> tuple[str, str]:
    """Rows in both tables."""
    return clickhouse.run("SELECT count() FROM names").strip(), clickhouse.run("SELECT count() FROM counts").strip()


def test_same_token_is_stored_once_in_both_tables(fed: ClickHouse) -> None:
    """However often it is sent."""
    for _ in range(3):
        send(fed, "batch-1")
    assert counts(fed) == ("2", "2")


def test_same_rows_under_another_token_are_stored_again(fed: ClickHouse) -> None:
    """The token decides, not the rows."""
    send(fed, "batch-1")
    send(fed, "batch-2")
    assert counts(fed) == ("4", "4")


def test_a_batch_that_a_view_refuses_fails(clickhouse: ClickHouse) -> None:
    """An error behind the rows, in a materialized view, is the insert's error: nothing is acknowledged that was not stored."""
    clickhouse.run("CREATE TABLE inbox (a UInt64) ENGINE = Null")
    clickhouse.run("CREATE TABLE stored (a UInt64) ENGINE = MergeTree ORDER BY a")
    clickhouse.run("CREATE MATERIALIZED VIEW to_stored TO stored AS SELECT a + throwIf(a = 5) AS a FROM inbox")
    for sql, body in (("INSERT INTO inbox FORMAT TSV", b"1\n5\n"), ("INSERT INTO inbox VALUES", b"(1), (5)")):
        response = clickhouse.request("POST", body, query=sql, async_insert=0)
        assert response.headers.get("X-ClickHouse-Exception-Code") == "395"
    assert clickhouse.run("SELECT count() FROM stored") == "0\n"


def test_an_insert_that_is_stopped_fails(clickhouse: ClickHouse) -> None:
    """So is one that runs out of time amid its rows."""
    clickhouse.run("CREATE TABLE inbox (a UInt64) ENGINE = Null")
    clickhouse.run("CREATE TABLE stored (a UInt64) ENGINE = MergeTree ORDER BY a")
    clickhouse.run("CREATE MATERIALIZED VIEW to_stored TO stored AS SELECT a + sleepEachRow(0.2) AS a FROM inbox")
    rows = b"".join(b"%d\n" % number for number in range(1, 12))
    response = clickhouse.request("POST", rows, query="INSERT INTO inbox FORMAT TSV", async_insert=0, max_execution_time=0.5)
    assert response.headers.get("X-ClickHouse-Exception-Code") == "159"
    assert clickhouse.run("SELECT count() FROM stored") == "0\n"
