"""ClickHouse's HTTP interface as such: how statements come in, what headers and statuses answer, who may ask."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import subprocess
import uuid
from typing import Any

import pytest

from tests.support.hotnode import ClickHouse


@pytest.mark.parametrize("path", ["/ping", "/replicas_status", "/"])
def test_says_ok_without_credentials(clickhouse: ClickHouse, path: str) -> None:
    """A health check needs no user and no statement."""
    response = clickhouse.http.request("GET", f"{clickhouse.url}{path}")
    assert (response.status, response.data) == (200, b"Ok.\n")


def test_reads_a_statement_from_the_url_the_body_or_both(clickhouse: ClickHouse) -> None:
    """The URL's text and the body follow one another."""
    assert clickhouse.request("GET", query="SELECT 1").data == b"1\n"
    assert clickhouse.request("POST", b"SELECT 2").data == b"2\n"
    assert clickhouse.request("POST", b"1 + 2", query="SELECT").data == b"3\n"
    assert clickhouse.request("POST", query="SELECT 4").data == b"4\n"


def test_statement_may_end_in_a_semicolon_and_hold_comments(clickhouse: ClickHouse) -> None:
    """Comments and quoted text do not confuse the reading of a statement."""
    assert clickhouse.run("/* FORMAT CSV; */ SELECT ';' AS `FORMAT` -- ; FORMAT Null\n; ") == ";\n"
    assert clickhouse.run("SELECT 'INTO OUTFILE' # not\n") == "INTO OUTFILE\n"


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ({}, b"caf\xe9"),
        ({"Content-Type": "text/plain; charset=nope"}, b"1"),
        ({"Content-Transfer-Encoding": "nope"}, b"1"),
        ({"Content-Transfer-Encoding": "base64"}, b"1"),
    ],
    ids=["not UTF-8", "unknown charset", "unknown transfer encoding", "not base64"],
)
def test_refuses_a_form_field_that_is_not_text(clickhouse: ClickHouse, headers: dict[str, str], value: bytes) -> None:
    """The answer names the field."""
    lines = {"Content-Disposition": 'form-data; name="param_p"', **headers}
    head = "".join(f"{name}: {text}\r\n" for name, text in lines.items()).encode()
    body = b"--b\r\n" + head + b"\r\n" + value + b"\r\n--b--\r\n"
    response = clickhouse.request("POST", body, {"Content-Type": "multipart/form-data; boundary=b"}, query="SELECT {p:String}")
    assert (response.status, "'param_p'" in response.data.decode()) == (400, True)


def test_refuses_several_statements(clickhouse: ClickHouse) -> None:
    """One request, one statement."""
    assert clickhouse.fails("SELECT 1; SELECT 2") == 62


def test_refuses_to_write_beside_the_server(clickhouse: ClickHouse) -> None:
    """INTO OUTFILE would be the server's file."""
    assert clickhouse.fails("SELECT 1 INTO OUTFILE '/tmp/never'") != 0


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELEC 1", 62, 400),
        ("nonsense", 62, 400),
        ("SELECT nope", 47, 404),
        ("SELECT nope(1)", 46, 404),
        ("SELECT * FROM nope", 60, 404),
        ("SELECT * FROM nope.nope", 81, 404),
        ("INSERT INTO nope VALUES (1)", 60, 404),
        ("CREATE TABLE t (a Nope) ENGINE = Memory", 50, 404),
        ("SELECT 1 FORMAT Nope", 73, 404),
        ("SELECT 1 SETTINGS nope = 1", 115, 404),
        ("SELECT throwIf(1)", 395, 500),
        ("SELECT toUInt8('x')", 6, 400),
    ],
)
def test_fails_with_a_servers_code_and_status(clickhouse: ClickHouse, sql: str, code: int, status: int) -> None:
    """The code stands in a header and opens the text."""
    response = clickhouse.request("POST", sql.encode())
    assert int(response.headers["X-ClickHouse-Exception-Code"]) == code
    assert response.data.decode().startswith(f"Code: {code}. DB::Exception: ")
    assert response.status == status


def test_unknown_setting_and_database_in_the_url_fail(clickhouse: ClickHouse) -> None:
    """A URL field that is no parameter is a setting."""
    assert clickhouse.request("POST", b"SELECT 1", no_such_setting="1").headers["X-ClickHouse-Exception-Code"] == "115"
    assert clickhouse.request("POST", b"SELECT 1", database="nope").headers["X-ClickHouse-Exception-Code"] == "81"


def test_error_text_ends_like_a_servers(clickhouse: ClickHouse) -> None:
    """Name of the code and version end the text."""
    text = clickhouse.request("POST", b"SELECT * FROM nope").data.decode()
    assert "(UNKNOWN_TABLE) (version " in text
    clickhouse.excuse("exact server version text")
    assert text.endswith("(official build))\n")


def test_answers_with_a_servers_headers(clickhouse: ClickHouse) -> None:
    """Id, format, time zone, name and summary."""
    query_id = str(uuid.uuid4())
    response = clickhouse.request("POST", b"SELECT number FROM numbers(1000) WHERE number < 10 FORMAT JSONEachRow", query_id=query_id)
    assert response.headers["X-ClickHouse-Query-Id"] == query_id
    assert response.headers["X-ClickHouse-Format"] == "JSONEachRow"
    assert response.headers["X-ClickHouse-Timezone"]
    assert response.headers["X-ClickHouse-Server-Display-Name"]
    assert "ndjson" in response.headers["Content-Type"]
    summary = json.loads(response.headers["X-ClickHouse-Summary"])
    assert int(summary["elapsed_ns"]) > 0


def test_summary_counts_rows_read_and_written(clickhouse: ClickHouse) -> None:
    """With the whole result awaited, the summary is final."""
    clickhouse.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    written = clickhouse.request("POST", b"1\n2\n3\n", query="INSERT INTO t FORMAT TSV", async_insert=0)
    assert json.loads(written.headers["X-ClickHouse-Summary"])["written_rows"] == "3"
    copied = clickhouse.request("POST", b"INSERT INTO t SELECT number FROM numbers(100)", wait_end_of_query=1)
    assert json.loads(copied.headers["X-ClickHouse-Summary"])["written_rows"] == "100"
    read = clickhouse.request("POST", b"SELECT a FROM t", wait_end_of_query=1)
    assert json.loads(read.headers["X-ClickHouse-Summary"])["read_rows"] == "103"


def test_get_only_reads(clickhouse: ClickHouse) -> None:
    """GET implies readonly: changing anything is refused with code 164, reading with settings is not."""
    clickhouse.run("CREATE TABLE t (a UInt64) ENGINE = Memory")
    for sql in ("INSERT INTO t VALUES (1)", "DROP TABLE t", "CREATE TABLE u (a Int8) ENGINE = Memory", "TRUNCATE TABLE t"):
        response = clickhouse.request("GET", query=sql)
        assert (response.headers["X-ClickHouse-Exception-Code"], response.status) == ("164", 500)
    assert clickhouse.request("GET", query="SELECT count() FROM t", max_threads=1).data == b"0\n"
    assert clickhouse.request("GET", query="SHOW TABLES").data == b"t\n"


def test_readonly_setting_refuses_changes(clickhouse: ClickHouse) -> None:
    """The same by a URL field."""
    clickhouse.run("CREATE TABLE t (a UInt64) ENGINE = Memory")
    assert clickhouse.fails("INSERT INTO t VALUES (1)", readonly=1) == 164
    assert clickhouse.run("SELECT 1", readonly=2) == "1\n"


def test_keeps_the_connection(clickhouse: ClickHouse) -> None:
    """Two statements, one of them failing, over one connection."""
    connection = http.client.HTTPConnection(*clickhouse.address, timeout=10)
    headers = {"X-ClickHouse-User": clickhouse.user, "X-ClickHouse-Key": clickhouse.password}
    connection.request("POST", "/", b"SELECT 1", headers)
    assert connection.getresponse().read() == b"1\n"
    socket = connection.sock
    connection.request("POST", "/", b"SELECT nope", headers)
    connection.getresponse().read()
    connection.request("POST", "/", b"SELECT 3", headers)
    assert connection.getresponse().read() == b"3\n"
    assert connection.sock is socket
    connection.close()


def test_user_by_headers_basic_or_url(clickhouse: ClickHouse) -> None:
    """Three ways to say who one is."""
    basic = base64.b64encode(f"{clickhouse.user}:{clickhouse.password}".encode()).decode()
    url = f"{clickhouse.url}/?query=SELECT+1"
    assert clickhouse.http.request("GET", url, headers={"Authorization": f"Basic {basic}"}).data == b"1\n"
    assert clickhouse.http.request("GET", f"{url}&user={clickhouse.user}&password={clickhouse.password}").data == b"1\n"
    assert clickhouse.request("GET", query="SELECT 1").data == b"1\n"


def test_wrong_password_or_user_is_refused(clickhouse: ClickHouse) -> None:
    """Code 516 and status 403, whichever is wrong."""
    for user, password in (("default", "wrong"), ("nobody", "")):
        url = f"{clickhouse.url}/?query=SELECT+1&user={user}&password={password}"
        response = clickhouse.http.request("GET", url)
        assert (response.status, response.headers["X-ClickHouse-Exception-Code"]) == (403, "516")
        assert "AUTHENTICATION_FAILED" in response.data.decode()


def test_database_by_url_or_header(clickhouse: ClickHouse) -> None:
    """The current database of one statement."""
    assert clickhouse.run("SELECT currentDatabase()") == f"{clickhouse.database}\n"
    response = clickhouse.request("POST", b"SELECT currentDatabase()", {"X-ClickHouse-Database": "system"})
    assert response.data == b"system\n"


def test_settings_of_one_statement_stay_with_it(clickhouse: ClickHouse) -> None:
    """For SELECT, INSERT and DDL alike, and gone with the next statement."""
    assert clickhouse.run("SELECT getSetting('max_block_size')", max_block_size=77) == "77\n"
    assert clickhouse.run("SELECT getSetting('max_block_size')") != "77\n"
    assert clickhouse.run("SELECT getSetting('max_block_size') SETTINGS max_block_size = 78 FORMAT CSV", max_block_size=77) == "78\n"
    clickhouse.run("CREATE TABLE t (a DateTime('UTC'), n UInt64) ENGINE = Memory")
    clickhouse.run("INSERT INTO t FORMAT CSV", b"2026-01-01T00:00:00Z,1\n", date_time_input_format="best_effort")
    clickhouse.run("INSERT INTO t SELECT now(), getSetting('max_block_size')", max_block_size=79)
    assert clickhouse.run("SELECT n FROM t ORDER BY n") == "1\n79\n"
    clickhouse.fails("CREATE TABLE u (a LowCardinality(UInt8)) ENGINE = Memory")
    clickhouse.run("CREATE TABLE u (a LowCardinality(UInt8)) ENGINE = Memory", allow_suspicious_low_cardinality_types=1)


def test_setting_values_may_hold_anything(clickhouse: ClickHouse) -> None:
    """Quotes, backslashes, line breaks and letters of every kind pass through."""
    value = 'it\'s \\ a "test"\nπ; --'
    sql = "SELECT getSetting('format_csv_null_representation') FORMAT TSVRaw"
    assert clickhouse.run(sql, format_csv_null_representation=value) == f"{value}\n"


def test_parameters_fill_placeholders(clickhouse: ClickHouse) -> None:
    """``param_x`` fills {x:Type}, in the escaped form of TabSeparated."""
    fields: dict[str, Any] = {"param_n": "7", "param_s": "a\\tb'c", "param_a": "[1,2]", "param_t": "numbers"}
    sql = "SELECT {n:UInt8} + 1, {s:String}, {a:Array(UInt8)}[2], count() FROM {t:Identifier} FORMAT TSVRaw"
    clickhouse.run("CREATE TABLE numbers (a Int8) ENGINE = Memory")
    assert clickhouse.run(sql, **fields) == "8\ta\tb'c\t2\t0\n"
    clickhouse.run("INSERT INTO {t:Identifier} SELECT {n:Int8}", param_t="numbers", param_n=3)
    assert clickhouse.run("SELECT * FROM numbers") == "3\n"
    assert clickhouse.fails("SELECT {missing:String}") == 456


def test_parameters_fill_placeholders_among_values(clickhouse: ClickHouse) -> None:
    """Rows of VALUES may hold expressions."""
    clickhouse.run("CREATE TABLE t (a UInt64, b String) ENGINE = Memory")
    clickhouse.run("INSERT INTO t VALUES ({n:UInt64} + 1, {s:String}), (9, lower('X'))", param_n=7, param_s="y")
    assert clickhouse.run("SELECT * FROM t ORDER BY a") == "8\ty\n9\tx\n"


def test_asynchronous_inserts_are_stored(clickhouse: ClickHouse) -> None:
    """Waited for, the rows are there; a hot node stores them at once in either case."""
    clickhouse.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    clickhouse.run("INSERT INTO t FORMAT TSV", b"1\n", async_insert=1, wait_for_async_insert=1)
    clickhouse.run("INSERT INTO t SETTINGS async_insert = 1, wait_for_async_insert = 1 VALUES (2)")
    assert clickhouse.run("SELECT count() FROM t") == "2\n"


def test_head_has_no_body_and_large_bodies_may_be_announced(clickhouse: ClickHouse) -> None:
    """HEAD is a GET without its body; ``Expect: 100-continue`` is answered."""
    response = clickhouse.request("HEAD", query="SELECT 1")
    assert (response.status, response.data) == (200, b"")
    connection = http.client.HTTPConnection(*clickhouse.address, timeout=10)
    headers = {"X-ClickHouse-User": clickhouse.user, "X-ClickHouse-Key": clickhouse.password, "Expect": "100-continue"}
    connection.request("POST", "/", b"SELECT 1", headers)
    assert connection.getresponse().read() == b"1\n"
    connection.close()


def test_curl_runs_statements(clickhouse: ClickHouse) -> None:
    """The command line of every tutorial."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("curl is not installed")
    command = [curl, "-sS", "--compressed", "-u", f"{clickhouse.user}:{clickhouse.password}", f"{clickhouse.url}/", "--data-binary", "@-"]
    done = subprocess.run(command, input=b"SELECT number FROM numbers(3) FORMAT CSV", capture_output=True, check=True, timeout=20)
    assert done.stdout == b"0\n1\n2\n"
