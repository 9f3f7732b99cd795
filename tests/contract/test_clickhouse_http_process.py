"""The hot node as a process: one a directory, one a port, and no acknowledged row lost however it ends."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import urllib3

from tests.contract.test_clickhouse_http_running import SLOW, eventually
from tests.support.hotnode import ClickHouse, HotNode

HotNodes = Callable[..., HotNode]


@contextlib.contextmanager
def client_of(node: HotNode) -> Iterator[ClickHouse]:
    """A client of a node of the test's own."""
    client = ClickHouse(node.url, node.user, node.password, node)
    yield client
    client.http.clear()


def last_words(node: HotNode) -> list[str]:
    """What a process that may not start says before it ends with a failure."""
    assert node.spawn().wait(90) != 0
    return [line for line in node.log.splitlines() if line]


def test_locked_directory_is_one_line(hot_nodes: HotNodes, tmp_path: Path) -> None:
    """A second process on a directory says so and ends with a failure; the first goes on."""
    first = hot_nodes()
    second = HotNode(tmp_path / "second", environment={"TAEL_HOTNODE_DATA_DIR": str(first.directory)})
    (line,) = last_words(second)
    assert "in use by another process" in line
    assert "TAEL_HOTNODE_DATA_DIR" in line
    assert first.answers()


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    """The same for the address."""
    node = HotNode(tmp_path / "hot")
    with socket.create_server(("127.0.0.1", node.port)):
        (line,) = last_words(node)
    assert "already taken" in line
    assert "TAEL_HOTNODE_ADDR" in line


def test_bad_setting_is_one_line(tmp_path: Path) -> None:
    """Variable, value and what it takes."""
    (line,) = last_words(HotNode(tmp_path / "hot", environment={"TAEL_HOTNODE_THREADS": "many"}))
    assert "TAEL_HOTNODE_THREADS='many'" in line


def test_kill_loses_no_acknowledged_row(hot_nodes: HotNodes) -> None:
    """A kill -9 amid inserts: what was acknowledged is there after a restart, and nothing is torn."""
    node = hot_nodes()
    with client_of(node) as client:
        client.run("CREATE TABLE t (batch UInt64, a UInt64) ENGINE = MergeTree ORDER BY a")
        acknowledged = 0
        stopper = threading.Timer(0.5, node.kill)
        stopper.start()
        try:
            while True:
                rows = b"".join(b"%d\t%d\n" % (acknowledged, row) for row in range(100))
                client.run("INSERT INTO t FORMAT TSV", rows, async_insert=0)
                acknowledged += 1
        except urllib3.exceptions.HTTPError:
            stopper.join()
    assert acknowledged > 0
    node.start()
    with client_of(node) as client:
        assert (
            client.run(f"SELECT uniqExact(batch), count() FROM t WHERE batch < {acknowledged}") == f"{acknowledged}\t{acknowledged * 100}\n"
        )
        assert client.run("SELECT count() % 100 FROM t") == "0\n"


def test_sigterm_lets_statements_finish(hot_nodes: HotNodes) -> None:
    """A statement under way is answered, and the process ends with 0."""
    node = hot_nodes()
    answers: list[str] = []
    with client_of(node) as client:
        waiting = threading.Thread(target=lambda: answers.append(client.run("SELECT sleep(3)", query_id="waiting")))
        waiting.start()
        eventually(lambda: client.run("SELECT count() FROM system.processes WHERE query_id = 'waiting'") == "1\n")
        assert node.stop() == 0
        waiting.join()
    assert answers == ["0\n"]


def test_sigterm_stops_what_does_not_finish(hot_nodes: HotNodes) -> None:
    """A statement without end is cancelled when the time to drain is over."""
    node = hot_nodes(environment={"TAEL_HOTNODE_DRAIN_SECS": "0.5"})
    with client_of(node) as client:
        assert client.run("SELECT 1") == "1\n"
        running = threading.Thread(target=_ignore_loss, args=(client, "endless"), daemon=True)
        running.start()
        eventually(lambda: client.run("SELECT count() FROM system.processes WHERE query_id = 'endless'") == "1\n")
        node.kill(signal.SIGTERM)
        assert node.process is not None
        assert node.process.wait(60) == 0
        running.join(60)


def _ignore_loss(client: ClickHouse, query_id: str) -> None:
    """Run a statement without end, again while it is refused, until the node is gone."""
    with contextlib.suppress(urllib3.exceptions.HTTPError):
        while client.request("POST", SLOW.encode(), query_id=query_id).headers.get("X-ClickHouse-Exception-Code") == "202":
            pass


def test_more_statements_than_may_wait_are_refused(hot_nodes: HotNodes) -> None:
    """Code 202, at once, while pings are answered."""
    node = hot_nodes(environment={"TAEL_HOTNODE_THREADS": "2", "TAEL_HOTNODE_WAITING": "0"})
    with client_of(node) as client:
        endless = [threading.Thread(target=_ignore_loss, args=(client, f"endless-{number}"), daemon=True) for number in range(2)]
        for thread in endless:
            thread.start()
        eventually(lambda: client.request("POST", b"SELECT 1").headers.get("X-ClickHouse-Exception-Code") == "202")
        assert node.answers()
        node.kill()
        for thread in endless:
            thread.join(60)


@pytest.fixture(scope="module")
def small_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HotNode]:
    """One that may take little memory, for itself and for bodies."""
    environment = {"TAEL_HOTNODE_MEMORY_BYTES": "600MiB", "TAEL_HOTNODE_BODY_MEMORY_BYTES": "1MiB"}
    with HotNode(tmp_path_factory.mktemp("small") / "hot", environment=environment) as node:
        yield node


def test_the_node_keeps_to_its_memory(small_node: HotNode) -> None:
    """A statement that wants more than the node may take fails with 241; others go on."""
    with client_of(small_node) as client:
        assert client.fails("SELECT length(groupArray(number)) FROM numbers(200000000)") == 241
        assert client.run("SELECT 1") == "1\n"


def test_a_body_beyond_the_memory_budget_goes_to_disk(small_node: HotNode) -> None:
    """More rows than the node keeps in memory are inserted all the same, and the file is gone afterwards."""
    with client_of(small_node) as client:
        client.run("CREATE TABLE bodies (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
        rows = b"".join(b"%d\t%b\n" % (number, b"x" * 90) for number in range(100_000))
        client.run("INSERT INTO bodies FORMAT TSV", rows)
        assert client.run("SELECT count(), uniqExact(a) FROM bodies") == "100000\t100000\n"
        assert not any((small_node.directory / "spool").iterdir())


def test_schemas_are_kept_in_the_data_directory(small_node: HotNode) -> None:
    """The engine's cache of format schemas is not left where the process was started."""
    with client_of(small_node) as client:
        client.run("CREATE TABLE schemas (a Int32) ENGINE = Memory")
        schema = 'syntax = "proto3"; message M { int32 a = 1; }'
        fields = {"format_schema_source": "string", "format_schema": schema, "format_schema_message_name": "M"}
        client.run("INSERT INTO schemas FORMAT ProtobufSingle", b"\x08\x05", **fields)
        assert client.run("SELECT a FROM schemas") == "5\n"
    assert any((small_node.directory / "__cache__").iterdir())


def test_unsupported_encodings_and_external_tables_are_refused(small_node: HotNode) -> None:
    """ClickHouse's own block framing, and tables that come with a request."""
    with client_of(small_node) as clickhouse:
        for response in (
            clickhouse.request("POST", b"SELECT 1", compress=1),
            clickhouse.request("POST", b"SELECT 1", decompress=1),
            clickhouse.http.request("POST", small_node.url, fields=[("query", "SELECT 1"), ("ext", ("ext.csv", "1"))]),
        ):
            assert response.status == 400
            assert b"not supported" in response.data
