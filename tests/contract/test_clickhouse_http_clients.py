"""clickhouse-connect, synchronous and asynchronous, with its default ways."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Iterator

import clickhouse_connect
import pytest
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from tests.contract.test_clickhouse_http_formats import BATCH, PROTO_FIELDS
from tests.support.hotnode import ClickHouse


@pytest.fixture
def client(clickhouse: ClickHouse) -> Iterator[Client]:
    """A synchronous client as it comes: sessions, compression, progress."""
    host, port = clickhouse.address
    client = clickhouse_connect.get_client(
        host=host, port=port, username=clickhouse.user, password=clickhouse.password, database=clickhouse.database
    )
    yield client
    client.close()


@pytest.fixture
async def async_client(clickhouse: ClickHouse) -> AsyncIterator[AsyncClient]:
    """An asynchronous client as it comes."""
    host, port = clickhouse.address
    client = await clickhouse_connect.get_async_client(
        host=host, port=port, username=clickhouse.user, password=clickhouse.password, database=clickhouse.database
    )
    yield client
    await client.close()


def test_inserts_and_reads_typed_rows(client: Client) -> None:
    """Native both ways."""
    client.command(
        "CREATE TABLE t (a UInt64, b String, c DateTime64(9, 'UTC'), d Map(LowCardinality(String), Int64), e Array(Nullable(Float64)))"
    )
    at = dt.datetime(2026, 1, 2, 3, 4, 5, 678901)  # noqa: DTZ001  # the client returns UTC without a zone
    rows = [[number, f"row {number}", at, {"k": -number}, [None, number / 4]] for number in range(1000)]
    summary = client.insert("t", rows, column_names=["a", "b", "c", "d", "e"])
    assert summary.written_rows == 1000
    result = client.query("SELECT * FROM t WHERE a = {wanted:UInt64}", parameters={"wanted": 7}, settings={"max_threads": 1})
    assert [list(row) for row in result.result_rows] == [rows[7]]
    assert int(str(result.summary["read_rows"])) == 1000


def test_compression_of_every_kind(clickhouse: ClickHouse) -> None:
    """Each kind that the client offers, for rows in and out."""
    host, port = clickhouse.address
    clickhouse.run("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    for kind in ("lz4", "zstd", "gzip"):
        client = clickhouse_connect.get_client(
            host=host, port=port, username=clickhouse.user, password=clickhouse.password, database=clickhouse.database, compress=kind
        )
        client.insert("t", [[number, "x" * 50] for number in range(20_000)])
        assert len(client.query("SELECT * FROM t LIMIT 20000").result_rows) == 20_000
        client.close()
    assert clickhouse.run("SELECT count() FROM t") == "60000\n"


def test_raw_insert_and_query(client: Client) -> None:
    """The write path: bytes as they are, with settings of the call."""
    client.command("CREATE TABLE t (items Array(Tuple(name String, count Int64))) ENGINE = Memory")
    client.raw_insert("t", insert_block=BATCH, fmt="ProtobufSingle", settings=PROTO_FIELDS)
    assert client.raw_query("SELECT items.name FROM t", fmt="TSVRaw") == b"['one','two']\n"


def test_streams_and_sessions(client: Client) -> None:
    """Blocks of rows one by one, and a temporary table in the client's session."""
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(300000)") as stream:
        assert sum(len(block) for block in stream) == 300_000
    client.command("CREATE TEMPORARY TABLE tmp (a UInt64)")
    client.insert("tmp", [[1], [2]])
    assert client.query("SELECT sum(a) FROM tmp").result_rows == [(3,)]


def test_errors_carry_code_and_name(client: Client) -> None:
    """Early and late ones."""
    with pytest.raises(DatabaseError, match="60"):
        client.query("SELECT * FROM nope")
    with pytest.raises(DatabaseError, match="395"):
        client.query("SELECT number, throwIf(number = 3000000) FROM numbers(4000000)")
    with (
        pytest.raises(DatabaseError, match="395"),
        client.query_row_block_stream("SELECT number, throwIf(number = 3000000) FROM numbers(4000000)") as stream,
    ):
        assert sum(len(block) for block in stream) > 0


async def test_async_client_runs_statements_side_by_side(async_client: AsyncClient) -> None:
    """One client, no session, many at once."""
    await async_client.command("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
    await asyncio.gather(*(async_client.insert("t", [[number]], settings={"async_insert": 0}) for number in range(20)))
    answers = await asyncio.gather(*(async_client.query("SELECT count(), {n:UInt8} FROM t", parameters={"n": n}) for n in range(20)))
    assert [answer.result_rows for answer in answers] == [[(20, n)] for n in range(20)]


async def test_async_raw_insert(async_client: AsyncClient) -> None:
    """The writer's own call."""
    await async_client.command("CREATE TABLE t (items Array(Tuple(name String, count Int64))) ENGINE = Memory")
    await async_client.raw_insert("t", insert_block=BATCH, fmt="ProtobufSingle", settings=PROTO_FIELDS)
    assert (await async_client.query("SELECT length(items) FROM t")).result_rows == [(2,)]


async def test_long_parameters_come_in_a_form(async_client: AsyncClient) -> None:
    """A client sends what is too long for a URL as fields of a form: a page of keys, for example."""
    keys = [f"{number:032x}" for number in range(5_000)]
    answer = await async_client.query(
        "SELECT count(), {n:UInt8} FROM numbers(20000) WHERE has({keys:Array(String)}, lower(leftPad(hex(number), 32, '0')))",
        parameters={"keys": keys, "n": 7},
    )
    assert answer.result_rows == [(5_000, 7)]
