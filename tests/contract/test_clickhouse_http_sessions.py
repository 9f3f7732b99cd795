"""HTTP sessions: what one request leaves for the next, and what it must not."""

from __future__ import annotations

import threading
import uuid

from tests.contract.test_clickhouse_http_running import eventually, is_running
from tests.support.hotnode import ClickHouse


def session() -> str:
    """A name that nobody has used."""
    return uuid.uuid4().hex


def test_set_use_and_temporary_tables_last(clickhouse: ClickHouse) -> None:
    """Within a session, and nowhere else."""
    name = session()
    clickhouse.run("SET max_block_size = 123", session_id=name)
    clickhouse.run("CREATE TEMPORARY TABLE tmp (a UInt64)", session_id=name)
    clickhouse.run("INSERT INTO tmp FORMAT TSV", b"7\n", session_id=name)
    assert clickhouse.run("SELECT getSetting('max_block_size'), a FROM tmp", session_id=name) == "123\t7\n"
    assert clickhouse.run("SELECT getSetting('max_block_size')") != "123\n"
    assert clickhouse.fails("SELECT * FROM tmp") == 60
    assert clickhouse.fails("SELECT * FROM tmp", session_id=session()) == 60


def test_current_database_lasts(clickhouse: ClickHouse) -> None:
    """USE holds for requests that name no database; one that names another does not change it."""
    name = session()
    own, clickhouse.database = clickhouse.database, ""
    try:
        clickhouse.run(f"USE {own}", session_id=name)
        assert clickhouse.run("SELECT currentDatabase()", session_id=name, database="system") == "system\n"
        assert clickhouse.run("SELECT currentDatabase()", session_id=name) == f"{own}\n"
    finally:
        clickhouse.database = own


def test_settings_of_a_request_do_not_last(clickhouse: ClickHouse) -> None:
    """What SET made of a setting comes back after a request with its own value, also one that failed."""
    name = session()
    sql = "SELECT getSetting('max_block_size'), getSetting('max_insert_block_size')"
    before = clickhouse.run("SELECT getSetting('max_insert_block_size')", session_id=name)
    clickhouse.run("SET max_block_size = 123", session_id=name)
    assert clickhouse.run(sql, session_id=name, max_block_size=55, max_insert_block_size=66) == "55\t66\n"
    assert clickhouse.run(sql, session_id=name) == f"123\t{before}"
    clickhouse.fails("SELECT nope", session_id=name, max_block_size=55, max_insert_block_size=66)
    assert clickhouse.run(sql, session_id=name) == f"123\t{before}"


def test_unknown_session_is_refused_when_checked(clickhouse: ClickHouse) -> None:
    """session_check=1 opens none."""
    name = session()
    assert clickhouse.fails("SELECT 1", session_id=name, session_check=1) == 372
    clickhouse.run("SELECT 1", session_id=name)
    assert clickhouse.run("SELECT 1", session_id=name, session_check=1) == "1\n"


def test_session_timeout_is_bounded(clickhouse: ClickHouse) -> None:
    """More than an hour, or no number, is refused."""
    assert clickhouse.fails("SELECT 1", session_id=session(), session_timeout=100_000) == 374
    assert clickhouse.fails("SELECT 1", session_id=session(), session_timeout="soon") == 374


def test_session_ends_after_its_timeout(clickhouse: ClickHouse) -> None:
    """An idle session is forgotten."""
    name = session()
    clickhouse.run("CREATE TEMPORARY TABLE tmp (a UInt64)", session_id=name, session_timeout=1)
    deadline = threading.Event()
    for _ in range(60):
        # Looking would keep it alive, so each look waits longer than the timeout.
        deadline.wait(2.2)
        response = clickhouse.request("POST", b"SELECT count() FROM tmp", session_id=name, session_check=1, session_timeout=1)
        if response.headers.get("X-ClickHouse-Exception-Code") == "372":
            return
    raise AssertionError("the session never ended")


def test_one_request_at_a_time(clickhouse: ClickHouse) -> None:
    """A second one is told that the session is locked."""
    name = session()
    fields = {"session_id": name, "query_id": name}
    busy = threading.Thread(target=clickhouse.run, args=("SELECT sleep(3)",), kwargs=fields)
    busy.start()
    eventually(lambda: is_running(clickhouse, name))
    assert clickhouse.fails("SELECT 1", session_id=name) == 373
    busy.join()
    assert clickhouse.run("SELECT 1", session_id=name) == "1\n"


def test_a_session_may_make_itself_readonly(clickhouse: ClickHouse) -> None:
    """After SET readonly = 1 it goes on reading, and changes nothing."""
    name = session()
    clickhouse.run("CREATE TABLE t (a UInt8) ENGINE = Memory")
    clickhouse.run("SET readonly = 1", session_id=name)
    assert clickhouse.run("SELECT 1", session_id=name) == "1\n"
    assert clickhouse.fails("INSERT INTO t VALUES (1)", session_id=name) == 164
    assert clickhouse.fails("SELECT 1", session_id=name, max_threads=1) == 164
