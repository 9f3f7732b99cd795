"""Rows in and out over ClickHouse's HTTP interface: formats, compression, and bodies larger than memory should hold."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import lz4.frame
import pytest
import urllib3
import zstandard

from tests.support.hotnode import ClickHouse

PROTO = """syntax = "proto3";
message Item { string name = 1; int64 count = 2; }
message Batch { repeated Item items = 1; }
"""
BATCH = b"\x0a\x07\x0a\x03one\x10\x01" + b"\x0a\x07\x0a\x03two\x10\x02"
PROTO_FIELDS: dict[str, Any] = {
    "format_schema_source": "string",
    "format_schema": PROTO,
    "format_schema_message_name": "Batch",
    "async_insert": 0,
}


@pytest.mark.parametrize(
    "name",
    [
        *("Native", "RowBinary", "RowBinaryWithNamesAndTypes", "Arrow", "ArrowStream", "Parquet", "Avro", "ORC", "MsgPack"),
        *("JSONEachRow", "JSONCompactEachRow", "JSON", "CSV", "CSVWithNames", "TabSeparated", "TSVWithNamesAndTypes", "Values"),
    ],
)
def test_round_trip_of_a_format(clickhouse: ClickHouse, name: str) -> None:
    """What a SELECT writes in a format, an INSERT reads back from a body."""
    clickhouse.run("CREATE TABLE t (a UInt64, b String, c Array(Float64)) ENGINE = Memory")
    sql = "SELECT number AS a, concat('row ', toString(number), '\\n\\'\"') AS b, [number / 2] AS c FROM numbers(1000)"
    out = clickhouse.request("POST", f"{sql} FORMAT {name}".encode(), output_format_avro_string_column_pattern=".*")
    assert (out.status, out.headers["X-ClickHouse-Format"]) == (200, name)
    back = clickhouse.request("POST", out.data, query=f"INSERT INTO t FORMAT {name}", async_insert=0)
    assert back.status == 200, back.data
    assert clickhouse.run(f"SELECT count() FROM (SELECT * FROM t EXCEPT {sql})") == "0\n"
    assert clickhouse.run("SELECT count(), sum(a) FROM t") == "1000\t499500\n"


def test_default_format(clickhouse: ClickHouse) -> None:
    """By URL or header; the statement's own FORMAT wins."""
    assert clickhouse.request("POST", b"SELECT 1, 'a'", default_format="CSV").data == b'1,"a"\n'
    assert clickhouse.request("POST", b"SELECT 1, 'a'", {"X-ClickHouse-Format": "CSV"}).data == b'1,"a"\n'
    assert clickhouse.request("POST", b"SELECT 1, 'a' FORMAT TSV", default_format="CSV").data == b"1\ta\n"
    assert json.loads(clickhouse.request("POST", b"SHOW TABLES", default_format="JSON").data)["rows"] == 0
    assert json.loads(clickhouse.request("POST", b"DESCRIBE system.one FORMAT JSON").data)["data"][0]["name"] == "dummy"
    assert json.loads(clickhouse.run("SELECT 1 AS x FORMAT JSON SETTINGS output_format_json_quote_64bit_integers = 1"))["data"] == [
        {"x": 1}
    ]


def test_a_result_of_many_blocks_is_one_document(clickhouse: ClickHouse) -> None:
    """Formats with a head and a foot have one of each, however long the result."""
    result = json.loads(clickhouse.run("SELECT number FROM numbers(200000) FORMAT JSONCompact", output_format_json_quote_64bit_integers=0))
    assert result["rows"] == 200_000
    assert len(result["data"]) == 200_000
    assert clickhouse.run("SELECT number FROM numbers(200000) FORMAT CSVWithNames").count("number") == 1


@pytest.mark.parametrize("where", ["url", "body"])
def test_rows_inline_and_apart(clickhouse: ClickHouse, where: str) -> None:
    """Rows stand after the statement in the body, or alone in it with the statement in the URL."""
    clickhouse.run("CREATE TABLE t (a UInt64, b String) ENGINE = Memory")

    def insert(sql: str, rows: bytes) -> None:
        if where == "url":
            assert clickhouse.request("POST", rows, query=sql).status == 200
        else:
            assert clickhouse.request("POST", sql.encode() + b"\n" + rows).status == 200

    insert("INSERT INTO t FORMAT JSONEachRow", b'{"a":1,"b":"x"}')
    insert("INSERT INTO t (b, a) VALUES", b"('VALUES (', 2), ('x', 1 + 2)")
    insert("INSERT INTO t SETTINGS async_insert = 0 FORMAT TSV", b"4\tx\n")
    insert("INSERT INTO TABLE t (*) FORMAT RowBinary", b"\x05\x00\x00\x00\x00\x00\x00\x00\x01\xff")
    insert("INSERT INTO t SELECT a, b FROM input('a UInt64, b String') FORMAT CSV", b"6,x\n7,y\n")
    assert clickhouse.run("SELECT groupArray(a) FROM (SELECT a FROM t ORDER BY a)") == "[1,2,3,4,5,6,7]\n"


def test_insert_select_reads_no_rows_from_the_body(clickhouse: ClickHouse) -> None:
    """INSERT … SELECT is a statement like any other, with or without brackets."""
    clickhouse.run("CREATE TABLE t (a UInt64) ENGINE = Memory")
    clickhouse.run("INSERT INTO t SELECT number FROM numbers(10)")
    clickhouse.run("INSERT INTO t (a) SELECT * FROM values('a UInt64', 1, 2)")
    clickhouse.run("INSERT INTO t WITH 5 AS x SELECT x")
    assert clickhouse.run("SELECT count() FROM t") == "13\n"


def test_bad_rows_insert_nothing(clickhouse: ClickHouse) -> None:
    """An insert of one block is all or nothing, and the connection goes on."""
    clickhouse.run("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    response = clickhouse.request("POST", b"1\n2\nx\n", query="INSERT INTO t FORMAT TSV", async_insert=0)
    assert response.headers["X-ClickHouse-Exception-Code"] == "27"
    assert response.status == 400
    assert clickhouse.run("SELECT count() FROM t") == "0\n"


def test_protobuf_with_a_schema_in_the_settings(clickhouse: ClickHouse) -> None:
    """The write path of spans: a bare message, its schema given by text."""
    clickhouse.run("CREATE TABLE t (items Array(Tuple(name String, count Int64))) ENGINE = Memory")
    response = clickhouse.request("POST", BATCH, query="INSERT INTO t FORMAT ProtobufSingle", **PROTO_FIELDS)
    assert response.status == 200, response.data
    assert clickhouse.run("SELECT items.name, items.count FROM t") == "['one','two']\t[1,2]\n"
    broken = clickhouse.request("POST", BATCH[:-1], query="INSERT INTO t FORMAT ProtobufSingle", **PROTO_FIELDS)
    assert broken.status >= 400


_ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": lambda plain: zstandard.ZstdCompressor().compress(plain),
    "lz4": lambda plain: bytes(lz4.frame.compress(plain)),
}
_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "zstd": lambda packed: zstandard.ZstdDecompressor().decompressobj().decompress(packed),
    "lz4": lambda packed: bytes(lz4.frame.decompress(packed)),
}


@pytest.mark.parametrize("encoding", sorted(_ENCODERS))
def test_compressed_request(clickhouse: ClickHouse, encoding: str) -> None:
    """Rows alone, or a statement with them."""
    clickhouse.run("CREATE TABLE t (a UInt64) ENGINE = Memory")
    rows = b"".join(b"%d\n" % number for number in range(100_000))
    packed = _ENCODERS[encoding](rows)
    assert clickhouse.request("POST", packed, {"Content-Encoding": encoding}, query="INSERT INTO t FORMAT TSV").status == 200
    packed = _ENCODERS[encoding](b"INSERT INTO t FORMAT TSV\n1\n")
    assert clickhouse.request("POST", packed, {"Content-Encoding": encoding}).status == 200
    assert clickhouse.run("SELECT count(), sum(a) FROM t") == "100001\t4999950001\n"


def test_damaged_compression_is_refused(clickhouse: ClickHouse) -> None:
    """Nothing of a body that cannot be decompressed is inserted."""
    clickhouse.run("CREATE TABLE t (a UInt64) ENGINE = Memory")
    packed = gzip.compress(b"".join(b"%d\n" % number for number in range(10_000)))
    response = clickhouse.request("POST", packed[: len(packed) // 2], {"Content-Encoding": "gzip"}, query="INSERT INTO t FORMAT TSV")
    assert response.status >= 400
    assert clickhouse.request("POST", b"SELECT 1", {"Content-Encoding": "nope"}).status >= 400


@pytest.mark.parametrize("encoding", sorted(_DECODERS))
@pytest.mark.parametrize("rows", [1, 500_000])
def test_compressed_response(clickhouse: ClickHouse, encoding: str, rows: int) -> None:
    """By Accept-Encoding, and only when asked for by the setting."""
    sql = f"SELECT number FROM numbers({rows})".encode()
    response = clickhouse.request("POST", sql, {"Accept-Encoding": encoding}, enable_http_compression=1)
    assert response.headers["Content-Encoding"] == encoding
    assert _DECODERS[encoding](response.data) == b"".join(b"%d\n" % number for number in range(rows))
    plain = clickhouse.request("POST", b"SELECT 1", {"Accept-Encoding": encoding}, enable_http_compression=0)
    assert ("Content-Encoding" in plain.headers, plain.data) == (False, b"1\n")


def test_chunked_insert_larger_than_one_buffer(clickhouse: ClickHouse) -> None:
    """A body of unknown length, in pieces that cut rows apart."""
    clickhouse.run("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")

    def pieces() -> Iterator[bytes]:
        for block in range(200):
            text = b"".join(b"%d,%b\n" % (block * 1000 + row, b"x" * 100) for row in range(1000))
            yield text[:50_001]
            yield text[50_001:]

    response = clickhouse.request("POST", pieces(), query="INSERT INTO t FORMAT CSV", async_insert=0)
    assert response.status == 200, response.data
    assert clickhouse.run("SELECT count(), uniqExact(a) FROM t") == "200000\t200000\n"


def test_large_result_streams(clickhouse: ClickHouse) -> None:
    """The first bytes come while the statement still runs."""
    sql = b"SELECT number, repeat('x', 1000) FROM numbers(100000000) FORMAT CSV"
    response = clickhouse.request("POST", sql, preload=False)
    assert len(response.read(5_000_000)) == 5_000_000
    response.close()


def test_wait_end_of_query_gives_the_final_status(clickhouse: ClickHouse) -> None:
    """A failure after megabytes of rows still answers with its own status."""
    sql = b"SELECT number, throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_threads = 1"
    response = clickhouse.request("POST", sql, wait_end_of_query=1)
    assert (response.status, response.headers["X-ClickHouse-Exception-Code"]) == (500, "395")


def test_late_failure_ends_the_body_with_an_exception(clickhouse: ClickHouse) -> None:
    """Without waiting the status is sent already, and the body says what went wrong."""
    sql = b"SELECT number, throwIf(number = 3000000) FROM numbers(4000000) SETTINGS max_threads = 1"
    response = clickhouse.request("POST", sql, preload=False)
    assert response.status == 200
    body = b""
    with contextlib.suppress(urllib3.exceptions.ProtocolError):
        for piece in response.stream(1 << 20):
            body = (body + piece)[-4000:]
    tag = response.headers["X-ClickHouse-Exception-Tag"].encode()
    assert b"__exception__\r\n" + tag in body
    assert b"Code: 395. DB::Exception" in body[-2000:]
