"""Statements under way: several at once, looked at, stopped by time, by KILL QUERY and by a client that leaves."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable
from urllib.parse import urlencode

from tests.support.hotnode import ClickHouse
from tests.support.suite import PATIENCE_SECONDS

SLOW = "SELECT count() FROM system.numbers WHERE NOT ignore(sipHash64(number))"


def eventually(check: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Poll until true."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)


def is_running(clickhouse: ClickHouse, query_id: str) -> bool:
    """Whether the statement is in the list of processes."""
    return clickhouse.run(f"SELECT count() FROM system.processes WHERE query_id = '{query_id}'") == "1\n"


class Slow(threading.Thread):
    """A statement without end, in a thread; ``code`` is the exception that ended it."""

    def __init__(self, clickhouse: ClickHouse, sql: str = SLOW) -> None:
        super().__init__(daemon=True)
        self.clickhouse = clickhouse
        self.sql = sql
        self.query_id = uuid.uuid4().hex
        self.code = 0
        self.start()
        eventually(lambda: is_running(clickhouse, self.query_id))

    def run(self) -> None:
        self.code = self.clickhouse.fails(self.sql, query_id=self.query_id, max_execution_time=20, max_rows_to_read=0)


def test_timeout_stops_a_statement(clickhouse: ClickHouse) -> None:
    """max_execution_time is code 159 and status 408."""
    began = time.monotonic()
    response = clickhouse.request("POST", SLOW.encode(), max_execution_time=0.3)
    assert (response.headers["X-ClickHouse-Exception-Code"], response.status) == ("159", 408)
    assert time.monotonic() - began < 30


def test_memory_limit_stops_a_statement(clickhouse: ClickHouse) -> None:
    """max_memory_usage is code 241."""
    assert clickhouse.fails("SELECT groupArray(number) FROM numbers(100000000)", max_memory_usage=50_000_000) == 241


def test_a_long_statement_blocks_nobody(clickhouse: ClickHouse) -> None:
    """Pings and other statements are answered meanwhile."""
    slow = Slow(clickhouse)
    assert clickhouse.http.request("GET", f"{clickhouse.url}/ping").data == b"Ok.\n"
    assert clickhouse.run("SELECT 1") == "1\n"
    assert slow.is_alive()
    clickhouse.run(f"KILL QUERY WHERE query_id = '{slow.query_id}' SYNC")
    slow.join(60)
    assert slow.code == 394


def test_shown_under_its_query_id(clickhouse: ClickHouse) -> None:
    """system.processes knows the client's id; a second statement under it is refused."""
    slow = Slow(clickhouse)
    assert SLOW in clickhouse.run(f"SELECT query FROM system.processes WHERE query_id = '{slow.query_id}' FORMAT TSVRaw")
    assert clickhouse.fails("SELECT 1", query_id=slow.query_id) == 216
    clickhouse.run(f"KILL QUERY WHERE query_id = '{slow.query_id}' ASYNC")
    slow.join(60)
    assert clickhouse.run("SELECT 1", query_id=slow.query_id) == "1\n"


def test_leaving_stops_the_statement(clickhouse: ClickHouse) -> None:
    """A closed connection cancels what ran on it, before and while rows are sent."""
    for sql in (SLOW, "SELECT number FROM system.numbers"):
        query_id = uuid.uuid4().hex
        fields = {"query_id": query_id, "user": clickhouse.user, "password": clickhouse.password, "max_execution_time": 60}
        fields |= {"cancel_http_readonly_queries_on_client_close": 1}
        head = f"POST /?{urlencode(fields)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(sql)}\r\n\r\n{sql}"
        with socket.create_connection(clickhouse.address, timeout=10) as connection:
            connection.sendall(head.encode())
            eventually(lambda i=query_id: is_running(clickhouse, i))  # type: ignore[misc]  # the default binds the loop's value
        eventually(lambda i=query_id: not is_running(clickhouse, i))  # type: ignore[misc]  # the same


def test_an_unfinished_body_inserts_nothing(clickhouse: ClickHouse) -> None:
    """A client that dies amid its rows leaves none behind."""
    clickhouse.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    fields = {"user": clickhouse.user, "password": clickhouse.password, "async_insert": 0}
    fields |= {"query": f"INSERT INTO {clickhouse.database}.t FORMAT TSV", "query_id": uuid.uuid4().hex}
    with socket.create_connection(clickhouse.address, timeout=10) as connection:
        connection.sendall(f"POST /?{urlencode(fields)} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n1\n2\n3\n".encode())
    eventually(lambda: not is_running(clickhouse, str(fields["query_id"])))
    assert clickhouse.run("SELECT count() FROM t") == "0\n"


def test_many_statements_at_once(clickhouse: ClickHouse) -> None:
    """Readers and writers side by side, each row counted once."""
    clickhouse.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    failures: list[str] = []

    def work(worker: int) -> None:
        try:
            for round_ in range(10):
                clickhouse.run("INSERT INTO t FORMAT TSV", b"".join(b"%d\n" % (worker * 10_000 + round_ * 100 + n) for n in range(100)))
                clickhouse.run("SELECT count() FROM t", max_threads=1 + worker % 3)
        except AssertionError as error:
            failures.append(str(error))

    workers = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert failures == []
    assert clickhouse.run("SELECT count(), uniqExact(a) FROM t") == "8000\t8000\n"
